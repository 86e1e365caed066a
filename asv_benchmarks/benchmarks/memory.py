"""Buffers from pools against new ones from NumPy and torch: one taken and dropped, many, and among many live ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from fastgen.memory import TensorPool, TokenPool

from .common import Bench, Figure, Peer, level_of, package, paired

SIZES = {"4 KiB": 1024, "64 KiB": 16_384, "1 MiB": 262_144}
WHATS = ["one", "64", "live"]
LIVE = 1000


def one_of(impl: str, size: str) -> Callable[[], Any]:
    """Return a function that makes a buffer of 32-bit numbers."""
    count = SIZES[size]
    if impl == "numpy":
        return partial(np.empty, count, np.int32)
    if impl == "torch":
        torch = package("torch")
        return partial(torch.empty, count, dtype=torch.int32)
    if impl == "fastgen tensor":
        tensors = TensorPool("int32", limit=1 << 30)
        return partial(tensors.take, count)
    return partial(TokenPool(limit=1 << 31).take, count)


def call(impl: str, what: str, size: str) -> Callable[[], Any]:
    """Return a function that takes and drops: one; 64, which live together; one in place of any of 1000."""
    one = one_of(impl, size)
    if what == "one":
        return one
    if what == "64":
        if impl == "fastgen":
            return partial(TokenPool(limit=1 << 31).take_many, SIZES[size], 64)
        return lambda: [one() for _ in range(64)]
    live, places = [one() for _ in range(LIVE)], random.Random(1).choices(range(LIVE), k=256)

    def churn() -> None:
        for place in places:
            live[place] = one()

    return churn


class Buffers(Bench):
    param_names = ("impl", "what", "size")
    params = (["fastgen", "fastgen tensor", "numpy", "torch"], WHATS, list(SIZES))

    def setup(self, impl: str, what: str, size: str) -> None:
        self.call = call(impl, what, size)

    def time_buffers(self, impl: str, what: str, size: str) -> None:
        self.call()


class Speedup:
    version = "1"
    unit = "x faster"
    param_names = ("peer", "what", "size")
    params = (["numpy", "torch"], WHATS, list(SIZES))

    def track_speedup(self, impl: str, what: str, size: str) -> float:
        return pair_of(impl, what, size).ratio


def pair_of(impl: str, what: str, size: str) -> Any:
    return paired(*(Peer(call(one, what, size), level_of("fastgen")) for one in ("fastgen", impl)))


def figures() -> Iterator[Figure]:
    """Yield what is measured for the figures of the README."""
    yield Figure("4 KiB taken and given back", "numpy.empty", pair_of("numpy", "one", "4 KiB"), target=5.0)
    yield Figure("64 times 4 KiB taken and given back", "numpy.empty", pair_of("numpy", "64", "4 KiB"), target=5.0)
    yield Figure("4 KiB taken, 1000 live", "numpy.empty", pair_of("numpy", "live", "4 KiB"))
    yield Figure("4 KiB taken and given back", "torch.empty", pair_of("torch", "one", "4 KiB"))
