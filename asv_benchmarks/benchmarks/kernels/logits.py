"""Passes over a row of logits: fastgen on each SIMD level against NumPy and torch, one thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgen import cpu
from fastgen.kernels import logits as kernels

from ..common import LEVELS, VOCABULARIES, Bench, Peer, level_of, logits, package, paired

K = 50


@cache
def bitmask(vocab: int) -> NDArray[np.int32]:
    """Return a mask that allows half of the tokens."""
    return np.random.default_rng(vocab).integers(-(1 << 31), 1 << 31, (vocab + 31) // 32, np.int32)


OPERATIONS = ["argmax", "max", "exp_sum", "top_k", "entropy", "apply_bitmask"]
FASTGEN: dict[str, Callable[[Any], Any]] = {
    "argmax": kernels.argmax,
    "max": kernels.maximum,
    "exp_sum": kernels.exp_sum,
    "top_k": lambda row: kernels.top_k(row, K),
    "entropy": kernels.entropy,
    "apply_bitmask": lambda row: kernels.apply_bitmask(row, bitmask(row.size)),
}


def numpy_top_k(row: Any) -> Any:
    chosen = np.argpartition(row, -K)[-K:]
    return chosen[np.argsort(row[chosen])[::-1]]


def numpy_entropy(row: Any) -> Any:
    distances = row - row.max()
    weights = np.exp(distances)
    total = weights.sum()
    return np.log(total) - (weights * distances).sum() / total


def numpy_apply_bitmask(row: Any) -> Any:
    allowed = np.unpackbits(bitmask(row.size).view(np.uint8), count=row.size, bitorder="little").view(bool)
    return np.where(allowed, row, np.float32(-np.inf))


NUMPY: dict[str, Callable[[Any], Any]] = {
    "argmax": np.argmax,
    "max": np.max,
    "exp_sum": lambda row: np.exp(row - row.max()).sum(),
    "top_k": numpy_top_k,
    "entropy": numpy_entropy,
    "apply_bitmask": numpy_apply_bitmask,
}


def torch_calls() -> dict[str, Callable[[Any], Any]]:
    torch = package("torch")
    shifts = torch.arange(32, dtype=torch.int32)

    def entropy(row: Any) -> Any:
        shares = torch.log_softmax(row, 0)
        return -(shares.exp() * shares).sum()

    def apply_bitmask(row: Any) -> Any:
        words = torch.from_numpy(bitmask(row.numel()))
        barred = (words[:, None] >> shifts & 1).flatten()[: row.numel()] == 0
        return row.masked_fill(barred, -torch.inf)

    return {
        "argmax": torch.argmax,
        "max": torch.max,
        "exp_sum": lambda row: torch.exp(row - row.max()).sum(),
        "top_k": lambda row: torch.topk(row, K),
        "entropy": entropy,
        "apply_bitmask": apply_bitmask,
    }


def peer(impl: str, operation: str, vocab: int) -> Peer:
    """Return a call of `operation` on a row of the data set "random"."""
    row: Any = logits("random", vocab)
    if impl == "torch":
        call, row = torch_calls()[operation], package("torch").from_numpy(row)
    else:
        call = (NUMPY if impl == "numpy" else FASTGEN)[operation]
    return Peer(lambda: call(row), level_of(impl))


class Logits(Bench):
    param_names = ("impl", "vocab")
    params = (["fastgen", *(f"fastgen-{level}" for level in LEVELS), "numpy", "torch"], VOCABULARIES)

    def setup(self, impl: str, vocab: int) -> None:
        cpu.force(level_of(impl))
        self.calls = {operation: peer(impl, operation, vocab).call for operation in OPERATIONS}

    def time_argmax(self, impl: str, vocab: int) -> None:
        self.calls["argmax"]()

    def time_max(self, impl: str, vocab: int) -> None:
        self.calls["max"]()

    def time_exp_sum(self, impl: str, vocab: int) -> None:
        self.calls["exp_sum"]()

    def time_top_k(self, impl: str, vocab: int) -> None:
        self.calls["top_k"]()

    def time_entropy(self, impl: str, vocab: int) -> None:
        self.calls["entropy"]()

    def time_apply_bitmask(self, impl: str, vocab: int) -> None:
        self.calls["apply_bitmask"]()


class Speedup:
    version = "1"
    unit = "x faster"
    param_names = ("peer", "operation", "vocab")
    params = (["numpy", "torch", "fastgen-scalar"], OPERATIONS, VOCABULARIES)

    def track_speedup(self, impl: str, operation: str, vocab: int) -> float:
        return paired(peer("fastgen", operation, vocab), peer(impl, operation, vocab)).ratio
