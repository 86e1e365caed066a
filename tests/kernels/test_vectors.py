"""Cosine: literals, float64 answers, equal bits on every level, arrays of every kind, bad arguments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fastgen import InvalidParameterError, cpu
from fastgen.kernels import vectors

Array = np.ndarray[Any, Any]


def narrowed(numbers: Array) -> Array:
    """Return bfloat16 by cutting float32 off."""
    return (np.ascontiguousarray(numbers, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def widened(halves: Array) -> Array:
    return (halves.astype(np.uint32) << 16).view(np.float32)


def exact(u: Array, v: Array) -> float:
    a, b = u.astype(np.float64), v.astype(np.float64)
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(
    ("u", "v", "expected"),
    [
        ([1, 0], [0, 1], 0.0),
        ([3, 4], [3, 4], 1.0),
        ([3, 4], [-3, -4], -1.0),
        ([1, 0], [3, 4], 0.6),
        ([2], [5], 1.0),
        ([0, 0], [1, 2], 0.0),
        ([0, 0], [0, 0], 0.0),
    ],
)
def test_literals(level: str, dtype: Any, u: list[int], v: list[int], expected: float) -> None:
    assert vectors.cosine(np.array(u, dtype), np.array(v, dtype)) == pytest.approx(expected, abs=1e-15)
    halves = narrowed(np.array(u)), narrowed(np.array(v))
    assert vectors.cosine(*halves, dtype="bfloat16") == pytest.approx(expected, abs=1e-15)


def test_every_length(level: str, rng: np.random.Generator) -> None:
    for length in [*range(1, 132), 511, 512, 513, 4095, 4096, 4097, 8192, 20_000]:
        u, v = rng.normal(0, 1, (2, length + 1)).astype(np.float32)[:, 1:]  # not at a register's boundary
        assert vectors.cosine(u, v) == pytest.approx(exact(u, v), abs=(length / 8 + 20) * 2**-53)
        a, b = narrowed(u), narrowed(v)
        assert vectors.cosine(a, b, dtype="bfloat16") == pytest.approx(exact(widened(a), widened(b)), abs=2e-6)
        a, b = u.astype(np.float16), v.astype(np.float16)
        assert vectors.cosine(a, b) == pytest.approx(exact(a, b), abs=2e-6)


def test_levels_have_equal_bits(rng: np.random.Generator) -> None:
    found = []
    numbers = rng.normal(0, 1, (2, 5000)).astype(np.float32)
    for name in cpu.detected():
        with cpu.force(name):
            for length in (1, 15, 16, 17, 31, 33, 1000, 4096, 4097, 5000):
                u, v = numbers[:, :length]
                found.append((length, vectors.cosine(u, v), vectors.cosine(narrowed(u), narrowed(v), "bfloat16")))
                found.append((length, vectors.cosine(u.astype(np.float16), v.astype(np.float16)), 0.0))
    assert len(set(found)) == 20


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_in_each_lane(level: str, bad: float) -> None:
    for place in range(70):
        for side in (0, 1):
            pair = [np.ones(70, np.float32), np.ones(70, np.float32)]
            pair[side][place] = bad
            assert math.isnan(vectors.cosine(*pair))
            assert math.isnan(vectors.cosine(*[one.astype(np.float16) for one in pair]))
            assert math.isnan(vectors.cosine(*[narrowed(one) for one in pair], dtype="bfloat16"))


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-30, 1e30, 3e38])
def test_scale_does_not_matter(level: str, scale: float) -> None:
    """Squares leave the range of float32."""
    u, v = np.array([[1, 0, 0.5], [0.75, 1, 0.25]], np.float64) * scale
    a, b = u.astype(np.float32), v.astype(np.float32)
    assert vectors.cosine(a, b) == pytest.approx(exact(a, b), abs=1e-12)
    if scale > 1e-40:  # below, bfloat16 has no bits left
        halves = narrowed(a), narrowed(b)
        assert vectors.cosine(*halves, dtype="bfloat16") == pytest.approx(exact(*map(widened, halves)), abs=1e-12)


def test_torch(level: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    u, v = (torch.from_numpy(row) for row in rng.normal(0, 1, (2, 100)).astype(np.float32))
    assert vectors.cosine(u, v) == vectors.cosine(u.numpy(), v.numpy())
    a, b = u.bfloat16(), v.bfloat16()
    expected = vectors.cosine(*[one.view(torch.int16).numpy() for one in (a, b)], dtype="bfloat16")
    assert vectors.cosine(a, b) == vectors.cosine(a, b, dtype="bfloat16") == expected
    with pytest.raises(InvalidParameterError, match="not a vector"):
        vectors.cosine(u, v, dtype="bfloat16")
    with pytest.raises(InvalidParameterError, match="not a vector"):
        vectors.cosine(u.reshape(2, 50), v)
    with pytest.raises(InvalidParameterError, match="not a vector"):
        vectors.cosine(u.double(), v)


def test_unaligned_and_read_only(level: str) -> None:
    memory = bytes(1) + np.arange(1, 41, dtype=np.float32).tobytes()
    u = np.frombuffer(memory, np.uint8)[1:].view(np.float32)
    assert vectors.cosine(u, u.copy()) == 1.0


@pytest.mark.parametrize(
    ("u", "v", "message"),
    [
        (np.ones(3, np.float32), np.ones(4, np.float32), "lengths"),
        (np.ones(3, np.float32), np.ones(3, np.float16), "dtypes"),
        (np.ones(3), np.ones(3), "not a vector"),
        (np.ones(3, np.uint16), np.ones(3, np.uint16), "not a vector"),
        (np.ones(3, ">f4"), np.ones(3, ">f4"), "not a vector"),
        (np.ones(0, np.float32), np.ones(0, np.float32), "not a vector"),
        (np.ones((2, 2), np.float32), np.ones((2, 2), np.float32), "not a vector"),
        (np.float32(1), np.float32(1), "not a vector"),
        (np.ones(6, np.float32)[::2], np.ones(3, np.float32), "not a vector"),
        (np.ones(3, np.float32)[::-1], np.ones(3, np.float32), "not a vector"),
        (np.ones(2, [("x", "f4")]), np.ones(2, np.float32), "not a vector"),
        (b"abcd", b"abcd", "not a vector"),
        ([1.0], [1.0], "not a vector"),
        (None, None, "not a vector"),
    ],
)
def test_bad_vectors(u: Any, v: Any, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        vectors.cosine(u, v)


def test_bad_dtype() -> None:
    one = np.ones(3, np.float32)
    for dtype in ("float32", 3, ""):
        with pytest.raises(InvalidParameterError, match="dtype must be"):
            vectors.cosine(one, one, dtype)  # type: ignore[arg-type]
    with pytest.raises(InvalidParameterError, match="not a vector"):
        vectors.cosine(one, one, dtype="bfloat16")
