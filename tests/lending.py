"""Memory lent as logits in each dtype; among the lenders one that speaks DLPack and nothing else, and can lie."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

DTYPES = ("float32", "bfloat16", "float16")
WORDS = {"float32": np.uint32, "bfloat16": np.uint16, "float16": np.uint16}
"""The unsigned integer that holds a score's bits."""

NANS = {
    "float32": (0x7FC00000, 0x7F800001, 0xFFC00001, 0xFFBFFFFF),
    "bfloat16": (0x7FC0, 0x7F81, 0xFFC1, 0xFFBF),
    "float16": (0x7E00, 0x7C01, 0xFE01, 0xFDFF),
}
"""Of each dtype: quiet, signaling, negative quiet, negative signaling."""

INFINITY = {"float32": 0x7F800000, "bfloat16": 0x7F80, "float16": 0x7C00}
SIGN = {"float32": 0x80000000, "bfloat16": 0x8000, "float16": 0x8000}

DL_CPU, DL_CUDA = 1, 2
DL_INT, DL_FLOAT, DL_BFLOAT = 0, 2, 4


class _DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_new_capsule = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)


class Lender:
    """A producer that knows only ``__dlpack__``. What it says about the array is true unless it is told otherwise."""

    def __init__(
        self,
        array: Array,
        code: int = DL_BFLOAT,
        *,
        bits: int | None = None,
        lanes: int = 1,
        shape: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        compact: bool = False,
        device: int = DL_CPU,
        byte_offset: int = 0,
        capsule: bytes = b"dltensor",
    ) -> None:
        shape = array.shape if shape is None else shape
        if strides is None:
            strides = [stride // array.itemsize for stride in array.strides]
        self._kept = array, (ctypes.c_int64 * len(shape))(*shape), (ctypes.c_int64 * len(strides))(*strides), capsule
        self._tensor = _DLTensor(
            data=array.ctypes.data - byte_offset,
            device_type=device,
            ndim=len(shape),
            code=code,
            bits=array.itemsize * 8 if bits is None else bits,
            lanes=lanes,
            shape=ctypes.cast(self._kept[1], ctypes.POINTER(ctypes.c_int64)),
            strides=None if compact else ctypes.cast(self._kept[2], ctypes.POINTER(ctypes.c_int64)),
            byte_offset=byte_offset,
        )

    def __dlpack__(self, **_: Any) -> Any:
        return _new_capsule(ctypes.addressof(self._tensor), self._kept[3], None)


def pack(values: Array, dtype: str) -> Array:
    """Return the bits of float32 values in a dtype; bfloat16 drops the lower half."""
    values = np.asarray(values, np.float32)
    if dtype == "float32":
        return values.view(np.uint32)
    if dtype == "bfloat16":
        return (values.view(np.uint32) >> 16).astype(np.uint16)
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(np.float16).view(np.uint16)


def widen(bits: Array, dtype: str) -> Array:
    """Return the float32 values of bits, exactly."""
    if dtype == "float32":
        return bits.view(np.float32)
    if dtype == "bfloat16":
        return (bits.astype(np.uint32) << 16).view(np.float32)
    return bits.view(np.float16).astype(np.float32)


def lend(bits: Array, dtype: str) -> Any:
    """Return an object that gives the bits away as logits; only bfloat16, which NumPy lacks, takes DLPack."""
    return Lender(bits) if dtype == "bfloat16" else bits.view(dtype)
