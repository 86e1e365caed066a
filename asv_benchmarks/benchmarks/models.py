"""From a GGUF file to a model, and from a fresh process to the first token: fastgen against transformers."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

from .common import demo_file, package

PROMPT = "Why is the sky blue?"
FIRST_TOKEN = {
    "fastgen": f"""
import fastgen as fg
next(iter(fg.Generator.from_pretrained("demo").stream({PROMPT!r}, max_tokens=1)))
""",
    "transformers": f"""
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
where = dict(pretrained_model_name_or_path=sys.argv[1], gguf_file=sys.argv[2])
model, tokenizer = AutoModelForCausalLM.from_pretrained(**where), AutoTokenizer.from_pretrained(**where)
model.generate(**tokenizer({PROMPT!r}, return_tensors="pt"), max_new_tokens=1)
""",
}


def loader(impl: str) -> Callable[[], Any]:
    """Return a call that loads the demo model's weights and tokenizer as float32."""
    path, torch = demo_file(), package("torch")
    if impl == "fastgen":
        from fastgen import Generator

        return lambda: Generator.from_pretrained(path, dtype="float32")
    transformers = package("transformers")
    transformers.utils.logging.disable_progress_bar()
    where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}

    def load() -> Any:
        model = transformers.AutoModelForCausalLM.from_pretrained(dtype=torch.float32, **where)
        return model.eval(), transformers.AutoTokenizer.from_pretrained(**where)

    return load


def first_token_seconds(impl: str) -> float:
    """Return the time from starting Python to the first token: imports, weights, tokenizer, prompt."""
    path = demo_file()
    package(impl)
    began = perf_counter()
    command = [sys.executable, "-c", FIRST_TOKEN[impl], str(path.parent), path.name]
    subprocess.run(command, check=True, capture_output=True)
    return perf_counter() - began


class Load:
    version = "1"
    number = 1
    repeat = (1, 3, 30.0)
    rounds = 1
    warmup_time = 0
    timeout = 300
    param_names = ("impl",)
    params = (["fastgen", "transformers"],)

    def setup(self, impl: str) -> None:
        self.load = loader(impl)

    def time_load(self, impl: str) -> None:
        self.load()


class FirstToken:
    version = "1"
    unit = "s"
    timeout = 300
    param_names = ("impl",)
    params = (["fastgen", "transformers"],)

    def track_first_token(self, impl: str) -> float:
        return statistics.median(first_token_seconds(impl) for _ in range(3))
