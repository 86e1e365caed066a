"""Shapes that break kernels: lengths around register widths, unaligned starts, memory beside pages that fault."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

LENGTHS = (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257)
"""Element counts on both sides of every register width and of a block of 256."""

ROW_LENGTHS = (*LENGTHS[1:], 4, 5, 19, 47, 48, 49, 511, 512, 513, 527, 528, 767, 1000, 4095, 4096, 4097)
"""Lengths of rows, which are never empty: as above, and around a few blocks."""

PROT_NONE = 0


@contextmanager
def guarded(nbytes: int, *, at: str = "end") -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
    """Yield `nbytes` zeroed bytes that end (``at="end"``) or start (``at="start"``) at a page that faults.

    Both outer pages fault, so a kernel that reads or writes outside its range ends the process.
    """
    page = mmap.PAGESIZE
    room = max(-(-nbytes // page), 1) * page
    pages = mmap.mmap(-1, room + 2 * page)
    everything = np.frombuffer(pages, np.uint8)
    address = everything.ctypes.data
    protect(address, page, PROT_NONE)
    protect(address + page + room, page, PROT_NONE)
    start = page + (room - nbytes if at == "end" else 0)
    # The mapping ends with the last view of it: a view that a failed test keeps must not dangle.
    yield everything[start : start + nbytes]


def protect(address: int, nbytes: int, protection: int) -> None:
    """Call mprotect(2), or skip the test where there is none."""
    try:
        mprotect = ctypes.CDLL(None, use_errno=True).mprotect
    except (AttributeError, TypeError):
        pytest.skip("no mprotect on this platform")
    if mprotect(ctypes.c_void_p(address), ctypes.c_size_t(nbytes), protection):
        raise OSError(ctypes.get_errno(), "mprotect failed")


def unaligned(array: np.ndarray[Any, Any], offset: int) -> np.ndarray[Any, Any]:
    """Return a copy of a contiguous array that starts `offset` bytes behind a cache line."""
    room = np.zeros(array.nbytes + 64 + offset, np.uint8)
    start = -room.ctypes.data % 64 + offset
    view = room[start : start + array.nbytes]
    view[:] = np.frombuffer(array.tobytes(), np.uint8)
    return view.view(array.dtype).reshape(array.shape)


def row_patterns(rng: np.random.Generator, count: int) -> Iterator[tuple[str, np.ndarray[Any, np.dtype[np.float32]]]]:
    """Yield named rows of `count` float32 scores without NaN and +inf, each with at least one finite score."""
    normal = rng.standard_normal(count).astype(np.float32)
    steps = np.arange(count, dtype=np.float32)
    bits = rng.integers(0, 1 << 32, count, np.uint32)
    denormal_bits = bits & np.uint32(0x807FFFFF)
    finite = np.where((bits >> 23 & 0xFF) == 0xFF, bits & np.uint32(0xFF7FFFFF), bits).view(np.float32)
    one = np.full(count, -np.inf, np.float32)
    one[rng.integers(count)] = normal[0]
    yield "flat", np.full(count, normal[0])
    yield "ascending", steps / 16
    yield "descending", -steps / 16
    yield "peaked", normal * 4
    yield "broad", normal / 16
    yield "ties", rng.integers(-2, 3, count).astype(np.float32)
    yield "signed zeros", rng.choice(np.array([0.0, -0.0], np.float32), count)
    yield "denormal", denormal_bits.view(np.float32)
    yield "any bits", finite
    yield "extremes", rng.choice(np.array([3.4e38, -3.4e38, 1e-38, 0.0, -0.0, 1.0], np.float32), count)
    yield "coarse", (3e8 + 32 * rng.integers(-8, 1, count)).astype(np.float32)
    yield "one score", one
    yield "masked", np.where(rng.random(count) < 0.9, one, normal)
    yield "alternating", np.where(steps % 2 == 0, np.float32(10), np.float32(-10)) + normal / 64
