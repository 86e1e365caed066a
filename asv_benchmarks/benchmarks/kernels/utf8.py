"""Validating and counting UTF-8: fastgen on each SIMD level against CPython's decoder and StringZilla, one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

from fastgen import cpu
from fastgen.kernels import utf8

from ..common import LEVELS, Bench, Figure, Peer, level_of, package, paired

SIZES = [64, 4096, 262_144]
SOURCES = {
    "ascii": ("The quick brown fox jumps over the lazy dog; every token is chosen by its probability. ",),
    "french": ("Tous les êtres humains naissent libres et égaux en dignité et en droits; déjà vu, garçon, où. ",),
    "chinese": ("人工智能是计算机科学的一个分支，它企图了解智能的实质，并生产出一种新的智能机器。",),
    "mixed": (
        "The quick brown fox jumps over the lazy dog; every token is chosen by its probability. ",
        "Every answer of a model is text, and most of it is plain English with a few odd characters. ",
        "Tous les êtres humains naissent libres et égaux en dignité et en droits; déjà vu, garçon, où. ",
        "Съешь же ещё этих мягких французских булок, да выпей чаю. ",
        "人工智能是计算机科学的一个分支，它企图了解智能的实质，并生产出一种新的智能机器。",
        "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। ",
        "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. ",
        "😀🎉👩‍👩‍👧‍👦🚀✨ ",
    ),
}
KINDS = list(SOURCES)


@cache
def text(kind: str, size: int) -> bytes:
    """Return about `size` bytes of UTF-8, cut and joined at random from the sources of a kind."""
    rng = np.random.default_rng(size)
    parts: list[str] = []
    length = 0
    while length < size:
        source = SOURCES[kind][rng.integers(len(SOURCES[kind]))]
        start = int(rng.integers(len(source)))
        parts.append(source[start : start + int(rng.integers(1, 80))])
        length += len(parts[-1].encode())
    return "".join(parts).encode()[:size].decode(errors="ignore").encode()


def calls(impl: str) -> dict[str, Callable[[bytes], Any]]:
    if impl == "python":  # what a program does that has no validator, and a count of code points
        return {"validate": bytes.decode, "count": lambda data: len(data.decode())}
    if impl == "stringzilla":
        return {"count": package("stringzilla").utf8_count}
    return {"validate": utf8.validate, "count": utf8.count}


def peer(impl: str, operation: str, kind: str, size: int) -> Peer:
    if operation not in (found := calls(impl)):
        raise NotImplementedError(f"{impl} has no such function")
    call, data = found[operation], text(kind, size)
    return Peer(lambda: call(data), level_of(impl))


class Validate(Bench):
    param_names = ("impl", "kind", "size")
    params = (["fastgen", *(f"fastgen-{level}" for level in LEVELS), "python"], KINDS, SIZES)

    def setup(self, impl: str, kind: str, size: int) -> None:
        one = peer(impl, "validate", kind, size)
        cpu.force(one.level)
        self.call = one.call

    def time_validate(self, impl: str, kind: str, size: int) -> None:
        self.call()


class Count(Bench):
    param_names = ("impl", "kind", "size")
    params = ([*Validate.params[0], "stringzilla"], KINDS, SIZES)

    def setup(self, impl: str, kind: str, size: int) -> None:
        one = peer(impl, "count", kind, size)
        cpu.force(one.level)
        self.call = one.call

    def time_count(self, impl: str, kind: str, size: int) -> None:
        self.call()


class Speedup:
    version = "1"
    unit = "x faster"
    param_names = ("peer", "operation", "kind", "size")
    params = (["python", "stringzilla", "fastgen-scalar"], ["validate", "count"], KINDS, SIZES)

    def setup(self, impl: str, operation: str, kind: str, size: int) -> None:
        self.peers = peer("fastgen", operation, kind, size), peer(impl, operation, kind, size)

    def track_speedup(self, impl: str, operation: str, kind: str, size: int) -> float:
        return paired(*self.peers).ratio


def figures() -> Iterator[Figure]:
    """Yield what the README tells of this family, with the targets."""
    size = 262_144
    for kind in ("ascii", "chinese", "mixed"):
        for impl, target in (("fastgen-scalar", 8.0), ("python", 2.0)):
            pair = paired(peer("fastgen", "validate", kind, size), peer(impl, "validate", kind, size))
            yield Figure(f"validate, {kind}, {size // 1024} KiB", impl, pair, target=target)
    pair = paired(peer("fastgen", "count", "mixed", size), peer("stringzilla", "count", "mixed", size))
    yield Figure(f"count, mixed, {size // 1024} KiB", "stringzilla", pair, target=1.0)
