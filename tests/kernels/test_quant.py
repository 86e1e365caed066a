"""Dequantization: literal blocks, equal bits on every level, agreement with the gguf library, memory, bad arguments."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from shapes import LENGTHS, guarded, unaligned

from fastgen import cpu
from fastgen.errors import CheckpointError, InvalidParameterError
from fastgen.kernels import quant

Array = np.ndarray[Any, Any]
TYPES = quant.supported()


@pytest.fixture(params=cpu.detected())
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once on each SIMD level of the machine."""
    with cpu.force(request.param):
        yield request.param


def dequantize(type_name: str, data: Any) -> Array:
    values, size = quant.BLOCKS[type_name]
    out = np.full(memoryview(data).nbytes // size * values, 777.0, np.float32)
    quant.dequantize(type_name, data, out)
    return out


def random_blocks(type_name: str, count: int, seed: int = 0) -> Array:
    """Return blocks of random bytes, so with scales of every size and sign."""
    return np.random.default_rng(seed).integers(0, 256, count * quant.BLOCKS[type_name][1], np.uint8)


def all_scales(type_name: str) -> Array:
    """Return random blocks whose scales (or values) are all bit patterns of float16, NaN and infinities as well."""
    blocks = random_blocks(type_name, 1 << 16).reshape(1 << 16, -1)
    blocks[:, :2] = np.arange(1 << 16, dtype="<u2").view(np.uint8).reshape(-1, 2)
    return blocks.ravel()


def assert_same_bits(found: Array, expected: Array) -> None:
    """Compare bits; a NaN equals any NaN, because its sign and payload are not promised."""
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(found), ~numbers)
    np.testing.assert_array_equal(found.view(np.uint32)[numbers], expected.view(np.uint32)[numbers])


ONE, HALF, MINUS_TWO = b"\x00\x3c", b"\x00\x38", b"\x00\xc0"  # float16, little endian
NIBBLES = bytes([0xF0, 0xE1, 0xD2, 0xC3, 0xB4, 0xA5, 0x96, 0x87, 0x78, 0x69, 0x5A, 0x4B, 0x3C, 0x2D, 0x1E, 0x0F])
ASCENDING = list(range(16))
DESCENDING = ASCENDING[::-1]
FIFTH_BITS = bytes([0b0000_0001, 0b1000_0000, 0b0000_0010, 0b0100_0000])  # of the quants 0, 15, 17 and 30


@pytest.mark.parametrize(
    ("type_name", "block", "expected"),
    [
        ("F16", b"\x00\x3c\x00\xc0\x01\x00\xff\x7b\x00\x80", [1.0, -2.0, 2.0**-24, 65504.0, -0.0]),
        ("F16", b"\x00\x7c\x00\xfc\x00\x04\xff\x83", [np.inf, -np.inf, 2.0**-14, -1023 * 2.0**-24]),
        ("BF16", b"\x80\x3f\x00\xc0\x01\x00\x80\x7f\x00\x80", [1.0, -2.0, 2.0**-133, np.inf, -0.0]),
        ("Q4_0", HALF + NIBBLES, [(q - 8) / 2 for q in ASCENDING + DESCENDING]),
        ("Q4_1", HALF + MINUS_TWO + NIBBLES, [q / 2 - 2 for q in ASCENDING + DESCENDING]),
        (
            "Q5_0",
            ONE + FIFTH_BITS + NIBBLES,
            [0, *range(-15, -1), 15, -1, 14, *range(-3, -15, -1), 1, -16],
        ),
        (
            "Q5_1",
            HALF + MINUS_TWO + FIFTH_BITS + NIBBLES,
            [6, *(q / 2 - 2 for q in range(1, 15)), 13.5, 5.5, 13, *(q / 2 - 2 for q in range(13, 1, -1)), 6.5, -2],
        ),
        (
            "Q8_0",
            MINUS_TWO + bytes([0, 1, 127, 128, 255, *range(2, 29)]),
            [-0.0, -2, -254, 256, 2, *range(-4, -58, -2)],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_literal_block(type_name: str, block: bytes, expected: list[float], level: str) -> None:
    assert_same_bits(dequantize(type_name, block), np.array(expected, np.float32))


def test_sum_rounds_once_and_product_not_at_all(level: str) -> None:
    # d = 1023 * 2^-24, m = 1024, q = 15: the product is exact, 7.49 * 2^-13, and the sum keeps whole multiples of 2^-13
    block = b"\xff\x03" + b"\x00\x64" + b"\xff" * 16
    assert dequantize("Q4_1", block).tolist() == [1024 + 7 * 2.0**-13] * 32


@pytest.mark.parametrize("type_name", TYPES)
def test_levels_agree(type_name: str, level: str) -> None:
    for blocks in (all_scales(type_name), *(random_blocks(type_name, count, seed=count) for count in LENGTHS)):
        with cpu.force("scalar"):
            expected = dequantize(type_name, blocks)
        assert_same_bits(dequantize(type_name, blocks), expected)


@pytest.mark.parametrize("type_name", TYPES)
def test_equals_gguf_library(type_name: str, level: str) -> None:
    gguf = pytest.importorskip("gguf")
    blocks = all_scales(type_name)
    with np.errstate(all="ignore"):
        expected = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[type_name])
    assert np.isnan(expected).any()
    assert_same_bits(dequantize(type_name, blocks), expected)


@pytest.mark.parametrize("type_name", TYPES)
def test_block_sizes_equal_gguf_library(type_name: str) -> None:
    gguf = pytest.importorskip("gguf")
    assert quant.BLOCKS[type_name] == gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[type_name]]


@pytest.mark.parametrize("type_name", TYPES)
def test_unaligned_starts(type_name: str, level: str) -> None:
    blocks = random_blocks(type_name, 33)
    expected = dequantize(type_name, blocks)
    for offset in range(65):
        out = unaligned(np.zeros_like(expected), offset % 16 * 4)
        quant.dequantize(type_name, unaligned(blocks, offset), out)
        assert_same_bits(out, expected)


@pytest.mark.parametrize("at", ["start", "end"])
@pytest.mark.parametrize("type_name", TYPES)
def test_touches_nothing_outside(type_name: str, at: str, level: str) -> None:
    values, size = quant.BLOCKS[type_name]
    for count in LENGTHS:
        with guarded(count * size, at=at) as data, guarded(count * values * 4, at=at) as room:
            data[:] = random_blocks(type_name, count)
            out = room.view(np.float32)
            quant.dequantize(type_name, data, out)
            assert_same_bits(out, dequantize(type_name, data.copy()))


@pytest.mark.skipif(os.name != "posix", reason="needs mprotect")
@pytest.mark.parametrize("at", ["start", "end"])
def test_guard_pages_do_fault(at: str) -> None:
    offset = {"start": -1, "end": 8}[at]
    code = (
        "import ctypes; from shapes import guarded\n"
        f"with guarded(8, at={at!r}) as room:\n"
        "    print('reached', flush=True)\n"
        f"    ctypes.string_at(room.ctypes.data + {offset}, 1)\n"
    )
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    done = subprocess.run([sys.executable, "-c", code], cwd=tests, capture_output=True, text=True, check=False)
    assert done.stdout == "reached\n"
    assert done.returncode < 0


def test_a_block_does_not_depend_on_its_neighbors(level: str) -> None:
    blocks = random_blocks("Q5_1", 64)
    whole = dequantize("Q5_1", blocks)
    singles = [dequantize("Q5_1", block) for block in blocks.reshape(64, -1)]
    assert_same_bits(np.concatenate(singles), whole)


def test_accepts_any_shape_and_any_buffer() -> None:
    blocks = random_blocks("Q4_1", 6)
    expected = dequantize("Q4_1", blocks)
    out = np.zeros((3, 2, 32), np.float32)
    quant.dequantize("Q4_1", memoryview(blocks.tobytes()), out)
    assert_same_bits(out.ravel(), expected)
    out = np.zeros((2, 96), np.float32)
    quant.dequantize("Q4_1", blocks.reshape(2, 60), out)
    assert_same_bits(out.ravel(), expected)
    read_only = blocks.copy()
    read_only.flags.writeable = False
    assert_same_bits(dequantize("Q4_1", read_only), expected)


def test_accepts_nothing() -> None:
    quant.dequantize("Q4_1", b"", np.zeros(0, np.float32))
    quant.dequantize("F16", np.zeros((0, 2), np.uint8), np.zeros((3, 0), np.float32))


def test_blocks_is_read_only() -> None:
    with pytest.raises(TypeError):
        quant.BLOCKS["Q4_1"] = (1, 1)  # type: ignore[index]


@pytest.mark.parametrize("type_name", ["Q4_K", "IQ2_XS", "F32", "q4_1", ""])
def test_unknown_type(type_name: str) -> None:
    with pytest.raises(CheckpointError, match="not supported") as caught:
        quant.dequantize(type_name, b"", np.zeros(0, np.float32))
    assert caught.value.code == "checkpoint_unsupported"
    assert caught.value.details == {"type_name": type_name}
    assert "Q4_1" in str(caught.value.hint)


def misaligned() -> Array:
    return np.zeros(32 * 4 + 16, np.uint8)[1 : 1 + 32 * 4].view(np.float32)


@pytest.mark.parametrize(
    ("data", "out", "message"),
    [
        (bytes(19), np.zeros(32, np.float32), r"end of a block.*block_bytes=20, bytes=19"),
        (bytes(20), np.zeros(31, np.float32), r"expected=32, found=31"),
        (bytes(20), np.zeros(33, np.float32), r"expected=32, found=33"),
        (bytes(40), np.zeros(32, np.float32), r"expected=64, found=32"),
        (bytes(0), np.zeros(1, np.float32), r"expected=0, found=1"),
        (bytes(20), np.zeros(0, np.float32), r"expected=32, found=0"),
        (bytes(20), np.zeros(32, np.float64), r"argument='out', format='d'"),
        (bytes(20), np.zeros(32, np.int32), r"argument='out', format='i'"),
        (bytes(20), np.zeros(32, ">f4"), r"argument='out', format='>f'"),
        (bytes(20), bytearray(128), r"argument='out', format='B'"),
        (bytes(20), np.zeros(64, np.float32)[::2], r"argument='out'.*contiguous=False"),
        (bytes(20), [0.0] * 32, r"argument='out', found='list'"),
        (bytes(20), memoryview(np.zeros(32, np.float32)).toreadonly(), r"read-only"),
        (bytes(20), misaligned(), r"argument='out'"),
        (np.zeros(20, np.int8), np.zeros(32, np.float32), r"argument='data', format='b'"),
        (np.zeros(5, np.float32), np.zeros(32, np.float32), r"argument='data', format='f'"),
        (np.zeros(40, np.uint8)[::2], np.zeros(32, np.float32), r"argument='data'.*contiguous=False"),
        ("text", np.zeros(32, np.float32), r"argument='data', found='str'"),
        (None, np.zeros(32, np.float32), r"argument='data', found='NoneType'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_arguments(data: Any, out: Any, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message) as caught:
        quant.dequantize("Q4_1", data, out)
    assert caught.value.code == "invalid_value"
    assert caught.value.hint
    if isinstance(out, np.ndarray):
        assert not out.any()


def test_type_name_is_a_string() -> None:
    with pytest.raises(TypeError):
        quant.dequantize(None, b"", np.zeros(0, np.float32))  # type: ignore[arg-type]


@pytest.mark.parametrize("start", [0, 108, 127])
def test_shared_memory_is_refused(start: int) -> None:
    room = np.zeros(256, np.uint8)
    out = room[:128].view(np.float32)
    with pytest.raises(InvalidParameterError, match="share memory"):
        quant.dequantize("Q4_1", room[start : start + 20], out)
    quant.dequantize("Q4_1", room[128 : 128 + 20], out)


# What glibc's fesetround() takes for "toward zero" on each processor.
TOWARD_ZERO = {"x86_64": 0xC00, "aarch64": 0xC00000}


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() not in TOWARD_ZERO, reason="needs glibc's numbers")
def test_rounding_mode_of_the_thread_does_not_matter(level: str) -> None:
    """Another library may leave the thread rounding toward zero: same bits, and the mode stays as it was."""
    libm = ctypes.CDLL("libm.so.6")
    toward_zero = TOWARD_ZERO[platform.machine()]
    blocks = random_blocks("Q5_1", 100)
    expected = dequantize("Q5_1", blocks)
    out = np.zeros_like(expected)
    libm.fesetround(toward_zero)
    try:
        quant.dequantize("Q5_1", blocks, out)
        mode = libm.fegetround()
    finally:
        libm.fesetround(0)
    assert mode == toward_zero
    assert_same_bits(out, expected)
