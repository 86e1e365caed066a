"""Search and comparison of token ids: fastgen on each SIMD level against NumPy, torch and lists, one thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgen import cpu
from fastgen.kernels import tokens as kernels

from ..common import LEVELS, Bench, Peer, level_of, package, paired

COUNTS = [4096, 32_768, 131_072]
VOCAB = 49_152
OPERATIONS = ["find", "find_last", "find_one", "common_prefix"]
NOWHERE = [VOCAB, VOCAB + 1, VOCAB + 2]


@cache
def history(count: int) -> NDArray[np.int32]:
    """Return tokens of a text: token r is about as frequent as 1 / r; the n-gram `NOWHERE` is not among them."""
    ranks = np.exp(np.random.default_rng(count).random(count) * np.log(VOCAB))
    return (ranks - 1).astype(np.int32)


@cache
def near_miss() -> NDArray[np.int32]:
    """Return an n-gram that no text holds but whose first token is the most frequent of all."""
    return np.array([0, *NOWHERE[1:]], np.int32)


def numpy_find(tokens: Any, ngram: Any) -> Any:
    """Return all places: by shifted compares, forty times as fast as on a `sliding_window_view`."""
    starts = tokens.size - ngram.size + 1
    found = tokens[:starts] == ngram[0]
    for place in range(1, ngram.size):
        found &= tokens[place : place + starts] == ngram[place]
    return np.flatnonzero(found)


def numpy_common_prefix(left: Any, right: Any) -> int:
    unequal = left != right
    place = int(unequal.argmax())
    return place if unequal[place] else int(unequal.size)


def list_find(tokens: list[int], ngram: list[int]) -> int:
    place = -1
    try:
        while True:
            place = tokens.index(ngram[0], place + 1)
            if tokens[place : place + len(ngram)] == ngram:
                return place
    except ValueError:
        return -1


def list_common_prefix(left: list[int], right: list[int]) -> int:
    return next((i for i, (one, other) in enumerate(zip(left, right, strict=True)) if one != other), len(left))


def peer(impl: str, operation: str, count: int) -> Peer:
    """Return a search that has to go through all tokens, or a comparison of equal ones."""
    tokens: Any = history(count)
    ngram: Any = near_miss() if operation != "find_one" else near_miss()[1:2]
    same: Any = tokens.copy()
    calls: dict[str, Callable[[], Any]]
    if impl == "torch":
        torch = package("torch")
        tokens, ngram, same = (torch.from_numpy(array) for array in (tokens, ngram, same))
        size = len(ngram)  # as transformers' PromptLookupCandidateGenerator searches
        calls = {
            "find": lambda: (tokens.unfold(0, size, 1) == ngram).all(1).nonzero(),
            "find_one": lambda: (tokens == ngram).nonzero(),
            "common_prefix": lambda: (tokens != same).nonzero(),
        }
    elif impl == "numpy":
        calls = {
            "find": lambda: numpy_find(tokens, ngram),
            "find_one": lambda: numpy_find(tokens, ngram),
            "common_prefix": lambda: numpy_common_prefix(tokens, same),
        }
    elif impl == "list":
        tokens, ngram, same = tokens.tolist(), ngram.tolist(), same.tolist()
        calls = {
            "find": lambda: list_find(tokens, ngram),
            "find_one": lambda: list_find(tokens, ngram),
            "common_prefix": lambda: list_common_prefix(tokens, same),
        }
    else:
        calls = {
            "find": lambda: kernels.find(tokens, ngram),
            "find_one": lambda: kernels.find(tokens, ngram),
            "find_last": lambda: kernels.find_last(tokens, ngram),
            "common_prefix": lambda: kernels.common_prefix(tokens, same),
        }
    # Of the peers none stops early: they look for all places, so for the last one too.
    return Peer(calls.get(operation, calls["find"]), level_of(impl))


class Tokens(Bench):
    param_names = ("impl", "operation", "count")
    params = (["fastgen", *(f"fastgen-{level}" for level in LEVELS), "numpy", "torch", "list"], OPERATIONS, COUNTS)

    def setup(self, impl: str, operation: str, count: int) -> None:
        cpu.force(level_of(impl))
        self.call = peer(impl, operation, count).call

    def time_tokens(self, impl: str, operation: str, count: int) -> None:
        self.call()


class Speedup:
    version = "1"
    unit = "x faster"
    param_names = ("peer", "operation", "count")
    params = (["numpy", "torch", "list", "fastgen-scalar"], OPERATIONS, COUNTS)

    def track_speedup(self, impl: str, operation: str, count: int) -> float:
        return paired(peer("fastgen", operation, count), peer(impl, operation, count)).ratio
