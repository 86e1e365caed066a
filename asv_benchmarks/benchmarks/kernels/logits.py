"""Passes over a row of logits: fastgen on each SIMD level against NumPy and torch, one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastgen import cpu
from fastgen.kernels import logits as kernels

from ..common import LEVELS, VOCABULARIES, Bench, Peer, level_of, logits, package, paired

K = 50
OPERATIONS = ["argmax", "max", "exp_sum", "top_k"]
FASTGEN: dict[str, Callable[[Any], Any]] = {
    "argmax": kernels.argmax,
    "max": kernels.maximum,
    "exp_sum": kernels.exp_sum,
    "top_k": lambda row: kernels.top_k(row, K),
}


def numpy_top_k(row: Any) -> Any:
    chosen = np.argpartition(row, -K)[-K:]
    return chosen[np.argsort(row[chosen])[::-1]]


NUMPY: dict[str, Callable[[Any], Any]] = {
    "argmax": np.argmax,
    "max": np.max,
    "exp_sum": lambda row: np.exp(row - row.max()).sum(),
    "top_k": numpy_top_k,
}


def torch_calls() -> dict[str, Callable[[Any], Any]]:
    torch = package("torch")
    return {
        "argmax": torch.argmax,
        "max": torch.max,
        "exp_sum": lambda row: torch.exp(row - row.max()).sum(),
        "top_k": lambda row: torch.topk(row, K),
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


class Speedup:
    version = "1"
    unit = "x faster"
    param_names = ("peer", "operation", "vocab")
    params = (["numpy", "torch", "fastgen-scalar"], OPERATIONS, VOCABULARIES)

    def track_speedup(self, impl: str, operation: str, vocab: int) -> float:
        return paired(peer("fastgen", operation, vocab), peer(impl, operation, vocab)).ratio
