"""Token ids to text, one at a time and many at once, against transformers' streamer and tokenizers' DecodeStream."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastgen import load_tokenizer
from fastgen.detokenizer import Detokenizer
from fastgen.tokenizer import Tokenizer
from fastgen.tokenizer.table import ByteTable

from .common import Bench, Figure, Peer, demo_file, level_of, package, paired

TEXTS = {
    "english": "It was a bright cold day in April, and the clocks were striking thirteen. The quick brown fox jumps. ",
    "chinese": "四月间，天气寒冷晴朗，钟敲了十三下。敏捷的棕色狐狸跳过了懒狗。",
    "korean": "사월의 어느 맑고 쌀쌀한 날, 시계들이 열세 번을 울리고 있었다. ",
    "emoji": "👩‍👩‍👧‍👦 🇩🇪 👍🏽 ❤️‍🔥 🏴‍☠️ ",
}
TOKENS = 1000
IMPLS = ["fastgen", "fastgen grapheme", "tokenizers", "transformers"]


@cache
def tokenizer() -> Tokenizer:
    return load_tokenizer(demo_file())


@cache
def token_ids(text: str) -> list[int]:
    """Return 1,000 tokens of a text, over and over."""
    ids = tokenizer().encode(TEXTS[text])
    return (ids * (TOKENS // len(ids) + 1))[:TOKENS]


def fastgen_call(text: str, hold: Any = "codepoint") -> Callable[[], Any]:
    ids, detokenizer = token_ids(text), Detokenizer(tokenizer(), hold=hold)

    def call() -> None:
        push = detokenizer.push
        for token in ids:
            push(token)
        detokenizer.flush()

    return call


def tokenizers_call(text: str) -> Callable[[], Any]:
    ids, backend = token_ids(text), tokenizer().backend  # type: ignore[attr-defined]
    stream = package("tokenizers").decoders.DecodeStream

    def call() -> None:
        step = stream(skip_special_tokens=True).step
        for token in ids:
            step(backend, token)

    return call


def transformers_call(text: str) -> Callable[[], Any]:
    library, torch = package("transformers"), package("torch")
    fast = library.PreTrainedTokenizerFast(tokenizer_object=tokenizer().backend)  # type: ignore[attr-defined]
    tensors = [torch.tensor([token]) for token in token_ids(text)]

    def call() -> None:
        streamer = library.TextIteratorStreamer(fast, skip_special_tokens=True)
        for tensor in tensors:
            streamer.put(tensor)
        streamer.end()

    return call


def call_of(impl: str, text: str) -> Callable[[], Any]:
    match impl:
        case "tokenizers":
            return tokenizers_call(text)
        case "transformers":
            return transformers_call(text)
    return fastgen_call(text, "grapheme" if impl.endswith("grapheme") else "codepoint")


class Push(Bench):
    """1,000 tokens, each by a call from Python."""

    params = (IMPLS, list(TEXTS))
    param_names = ("impl", "text")

    def setup(self, impl: str, text: str) -> None:
        self.call = call_of(impl, text)

    def time_thousand_tokens(self, *_: Any) -> None:
        self.call()


class PushMany(Bench):
    """20,000 tokens in one call: what a token costs in C."""

    params = (["codepoint", "grapheme"], list(TEXTS))
    param_names = ("hold", "text")

    def setup(self, hold: Any, text: str) -> None:
        self.ids = np.tile(np.array(token_ids(text), np.int32), 20)
        self.detokenizer = Detokenizer(tokenizer(), hold=hold)

    def time_twenty_thousand_tokens(self, *_: Any) -> None:
        self.detokenizer.push_many(self.ids)


class First(Bench):
    """The first detokenizer of a vocabulary, which looks at every token once."""

    number = 1
    repeat = (5, 50, 1.0)

    def setup(self) -> None:
        whole = tokenizer()
        fresh = ByteTable(whole.bytes_table.blob, np.diff(whole.bytes_table.offsets).tolist(), whole.vocab_size)
        self.tokenizer: Any = SimpleNamespace(
            bytes_table=fresh, special_ids=whole.special_ids, strip_leading_space=whole.strip_leading_space
        )

    def time_detokenizer(self) -> None:
        Detokenizer(self.tokenizer)


def figures() -> list[Figure]:
    """Return `Detokenizer.push` against its peers, by what the project aims at."""
    rows = []
    for text in TEXTS:
        for impl, target in (("tokenizers", 2.0), ("transformers", 30.0)):
            ours, theirs = (Peer(call_of(one, text), level_of(one)) for one in ("fastgen", impl))
            rows.append(Figure(f"Detokenizer.push, {text}", impl, paired(ours, theirs, pairs=9), target=target))
    return rows
