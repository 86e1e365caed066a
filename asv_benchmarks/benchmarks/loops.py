"""Loop detection and stop sequences of ids: the cost of a token, against the plain definitions in Python."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from fastgen import cpu
from fastgen.loops import LoopDetector
from fastgen.token_stops import TokenStops

from .common import LEVELS, Bench, Peer, level_of, paired
from .kernels.tokens import VOCAB, history

SIZES = [16, 64, 1024]
COUNT = 3
SEQUENCES = [4, 100, 10_000]


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


@cache
def sequences(count: int) -> list[list[int]]:
    """Return stop sequences of two to five tokens; half of them end with the same token."""
    rng = np.random.default_rng(count)
    found = [rng.integers(0, VOCAB, rng.integers(2, 6)).tolist() for _ in range(count)]
    for one in found[::2]:
        one[-1] = 7
    return found


def stop_peer(impl: str, count: int) -> Peer:
    """Return a question after a token that half of the sequences end with."""
    text, given = [*history(1000).tolist(), VOCAB, 7], sequences(count)
    call: Callable[[], Any]
    if impl == "python":
        call = lambda: next((i for i, one in enumerate(given) if text[-len(one) :] == one), None)  # noqa: E731
    else:
        stops = TokenStops(given)
        call = lambda: stops.ended(text)  # noqa: E731
    return Peer(call, level_of(impl))


class Loops(Bench):
    param_names = ("impl", "max_pattern_size")
    params = (["fastgen", *(f"fastgen-{level}" for level in LEVELS), "vllm"], SIZES)

    def setup(self, impl: str, size: int) -> None:
        cpu.force(level_of(impl))
        self.call = loop_peer(impl, size).call

    def time_token(self, impl: str, size: int) -> None:
        self.call()


class Stops(Bench):
    param_names = ("impl", "sequences")
    params = (["fastgen", "python"], SEQUENCES)

    def setup(self, impl: str, count: int) -> None:
        self.call = stop_peer(impl, count).call

    def time_token(self, impl: str, count: int) -> None:
        self.call()


class Speedup:
    version = "1"
    unit = "x faster"
    param_names = ("what",)
    params = ([*(f"loops-{size}" for size in SIZES), *(f"stops-{count}" for count in SEQUENCES)],)

    def track_speedup(self, what: str) -> float:
        kind, number = what.split("-")
        if kind == "loops":
            return paired(loop_peer("fastgen", int(number)), loop_peer("vllm", int(number))).ratio
        return paired(stop_peer("fastgen", int(number)), stop_peer("python", int(number))).ratio
