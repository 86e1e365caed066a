"""Dequantization: one weight matrix to float32, fastgen on each SIMD level against the gguf library."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from fastgen import cpu
from fastgen.kernels import quant

Array = np.ndarray[Any, Any]
LEVELS = ["scalar", "avx2", "avx512", "neon"]


def fastgen_peer(level: str, type_name: str, blocks: Array, out: Array) -> Callable[[], Any]:
    if level not in cpu.detected():
        raise NotImplementedError(f"this machine has no {level}")
    cpu.force(level)
    return lambda: quant.dequantize(type_name, blocks, out)


def gguf_peer(type_name: str, blocks: Array) -> Callable[[], Any]:
    try:
        import gguf
    except ImportError as error:
        raise NotImplementedError("gguf is not installed") from error
    kind = gguf.GGMLQuantizationType[type_name]
    return lambda: gguf.quants.dequantize(blocks, kind)


class Dequantize:
    """Matrices of 576 columns, the demo model's width: one that stays in the cache and one that does not."""

    timer = perf_counter
    rounds = 4
    sample_time = 0.05
    version = "1"
    param_names = ("impl", "type", "rows")
    params = (["gguf", *(f"fastgen-{level}" for level in LEVELS)], list(quant.supported()), [64, 16384])

    def setup(self, impl: str, type_name: str, rows: int) -> None:
        values, size = quant.BLOCKS[type_name]
        blocks = np.random.default_rng(0).integers(0, 256, (rows, 576 // values, size), np.uint8)
        blocks[:, :, 1::2] &= 0x3F  # no infinite scales: warnings of NumPy are not what is measured
        blocks = blocks.reshape(rows, -1)
        out = np.zeros((rows, 576), np.float32)
        if impl == "gguf":
            self.dequantize = gguf_peer(type_name, blocks)
        else:
            self.dequantize = fastgen_peer(impl.removeprefix("fastgen-"), type_name, blocks, out)

    def teardown(self, impl: str, type_name: str, rows: int) -> None:
        cpu.force(cpu.detected()[-1])

    def time_dequantize(self, impl: str, type_name: str, rows: int) -> None:
        self.dequantize()
