"""Loop detection: the cost of a token, against the plain definition in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastgen import cpu
from fastgen.loops import LoopDetector

from .common import LEVELS, Bench, Peer, level_of, paired
from .kernels.tokens import history

SIZES = [16, 64, 1024]
COUNT = 3


def check_sequence_repetition(tokens: list[int], longest: int) -> int:
    """Decide as vLLM's function of this name does, which looks at the whole answer after every token."""
    for size in range(1, longest + 1):
        if size * COUNT > len(tokens):
            return 0
        for back in range(1, size + 1):
            if any(tokens[-(size * again + back)] != tokens[-back] for again in range(1, COUNT)):
                break
        else:
            return size
    return 0


def loop_peer(impl: str, size: int) -> Peer:
    """Return a call that takes one token of a text after many others."""
    text = history(8192).tolist()
    call: Callable[[], Any]
    if impl == "vllm":
        call = lambda: check_sequence_repetition(text, size)  # noqa: E731
    else:
        detector = LoopDetector(size, 1, COUNT)
        for token in text[:-1]:
            detector.push(token)
        last = text[-1]
        call = lambda: detector.push(last + 1)  # noqa: E731
    return Peer(call, level_of(impl))


class Loops(Bench):
    param_names = ("impl", "max_pattern_size")
    params = (["fastgen", *(f"fastgen-{level}" for level in LEVELS), "vllm"], SIZES)

    def setup(self, impl: str, size: int) -> None:
        cpu.force(level_of(impl))
        self.call = loop_peer(impl, size).call

    def time_token(self, impl: str, size: int) -> None:
        self.call()


class Speedup:
    version = "1"
    unit = "x faster"
    param_names = ("max_pattern_size",)
    params = (SIZES,)

    def track_speedup(self, size: int) -> float:
        return paired(loop_peer("fastgen", size), loop_peer("vllm", size)).ratio
