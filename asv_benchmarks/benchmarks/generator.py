"""Decoding with the demo model in float32 on one thread: fastgen against transformers on the same weights."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from .common import demo_file, package
from .models import PROMPT, loader

TOKENS = 32


def decoder(impl: str, loaded: Any, batch: int) -> Callable[[int], Any]:
    """Return a call that greedily generates a number of tokens for each of `batch` equal prompts."""
    if impl == "fastgen":
        return lambda tokens: loaded.generate([PROMPT] * batch, max_tokens=tokens, temperature=0.0, ignore_eos=True)
    model, tokenizer = loaded
    inputs = tokenizer([PROMPT] * batch, return_tensors="pt")
    return lambda tokens: model.generate(
        **inputs, do_sample=False, min_new_tokens=tokens, max_new_tokens=tokens, pad_token_id=0
    )


def tokens_per_second(decode: Callable[[int], Any], batch: int, tokens: int = TOKENS) -> float:
    """Return the decoding speed of the whole batch: prompt and first token are timed alone and taken off."""

    def seconds(count: int) -> float:
        began = perf_counter()
        decode(count)
        return perf_counter() - began

    first = seconds(1)
    return batch * tokens / (seconds(tokens + 1) - first)


class Decode:
    version = "1"
    unit = "tokens/s"
    timeout = 300
    param_names = ("impl", "batch")
    params = (["fastgen", "transformers"], [1, 8])

    def setup(self, impl: str, batch: int) -> None:
        demo_file()
        package("torch").set_num_threads(1)
        self.decode = decoder(impl, loader(impl)(), batch)
        self.decode(2)

    def track_decode(self, impl: str, batch: int) -> float:
        return tokens_per_second(self.decode, batch)
