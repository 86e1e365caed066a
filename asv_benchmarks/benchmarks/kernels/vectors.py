"""Vectors: the cosine of two, on each SIMD level, against NumKong and NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastgen import cpu
from fastgen.kernels import vectors

from ..common import LEVELS, Bench, Figure, Peer, level_of, package, paired


def with_numpy(u: Any, v: Any) -> float:
    return float(u @ v / np.sqrt((u @ u) * (v @ v)))


class Cosine(Bench):
    """bfloat16 is given as 16-bit integers, which NumPy knows."""

    param_names = ("impl", "dtype", "count")
    params = (
        ["numpy", "numkong", *(f"fastgen-{level}" for level in LEVELS)],
        ["float32", "bfloat16"],
        [128, 512, 1536, 8192],
    )

    def setup(self, impl: str, dtype: str, count: int) -> None:
        u, v = np.random.default_rng(count).normal(0, 1, (2, count)).astype(np.float32)
        calls: dict[str, Callable[..., Any]] = {"numpy": with_numpy}
        if impl == "numkong":
            calls["numkong"] = package("numkong").angular  # 1 - cosine
        if impl == "numpy" and dtype == "bfloat16":
            raise NotImplementedError("NumPy has no bfloat16")
        if dtype == "bfloat16":
            u, v = ((one.view(np.uint32) >> 16).astype(np.uint16) for one in (u, v))
        self.arguments = (u, v, "bfloat16") if dtype == "bfloat16" else (u, v)
        self.call = calls.get(impl, vectors.cosine)
        cpu.force(level_of(impl))

    def time_cosine(self, impl: str, dtype: str, count: int) -> None:
        self.call(*self.arguments)


def figures() -> Iterator[Figure]:
    """Yield cosines against NumKong, with the targets."""
    level = level_of("fastgen")
    for dtype in ("float32", "bfloat16"):
        for count in (128, 1536):
            calls = []
            for impl in (f"fastgen-{level}", "numkong"):
                one = Cosine()
                one.setup(impl, dtype, count)
                calls.append(Peer(lambda one=one: one.call(*one.arguments), level))
            yield Figure(f"cosine of {count:,} numbers, {dtype}", "numkong", paired(*calls), target=1.0)
