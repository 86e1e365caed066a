"""Kernels over one row: literals on every level, agreement of the levels, oracles in float64, bad numbers."""

from __future__ import annotations

import ctypes
import platform
import sys
from itertools import product
from math import log2
from typing import Any

import numpy as np
import oracles
import pytest
from lending import DTYPES, INFINITY, NANS, SIGN, WORDS, lend, pack, widen
from shapes import ROW_LENGTHS, guarded, row_patterns, unaligned

from fastgen import cpu
from fastgen.errors import InvalidParameterError, LogitsError
from fastgen.kernels import logits

Array = np.ndarray[Any, Any]
SCALE_OF_ONE = 1.4426950408889634  # log2(e): at this temperature a weight is 2^(score - largest)
LARGEST = float(np.finfo(np.float32).max)


def row(*scores: float) -> Array:
    return np.array(scores, np.float32)


def everything(given: Any, temperature: float, threshold: float, k: int) -> list[Any]:
    """Return what every function says about a row, as something that compares bit for bit."""
    found: list[Any] = [logits.argmax(given), logits.maximum(given).hex(), logits.exp_sum(given, temperature).hex()]
    found.append(logits.weights(given, temperature).tobytes())
    found += [part.tobytes() for part in (*logits.filter(given, threshold), *logits.top_k(given, k))]
    found += [logits.entropy(given, temperature).hex(), *(value.hex() for value in logits.mean_and_deviation(given))]
    found.append(logits.apply_bitmask(given, scattered_bits(len(found[3]) // 4)).tobytes())
    return found


def scattered_bits(count: int) -> Array:
    """Return a mask for `count` scores that allows half of them, the same ones every time; also behind the last."""
    return (np.arange(1, (count + 31) // 32 + 1, dtype=np.uint64) * 0x9E3779B97F4A7C15 >> 32).astype(np.uint32)


def allowed_by(mask: Array, count: int) -> Array:
    """Return a bool for each score."""
    return np.unpackbits(mask.view(np.uint8), count=count, bitorder="little").astype(bool)


# Literals, on every level.


@pytest.mark.parametrize(
    ("scores", "index", "largest"),
    [
        ((7.0,), 0, "0x1.c000000000000p+2"),
        ((1.0, 3.0, 2.0), 1, "0x1.8000000000000p+1"),
        ((2.0, 5.0, 5.0, 1.0, 5.0), 1, "0x1.4000000000000p+2"),
        ((-3.0, -1.0, -2.0), 1, "-0x1.0000000000000p+0"),
        ((-np.inf, -1.0, -np.inf), 1, "-0x1.0000000000000p+0"),
        ((-0.0, 0.0), 0, "0x0.0p+0"),
        ((0.0, -0.0), 0, "0x0.0p+0"),
        ((-0.0, -0.0), 0, "0x0.0p+0"),
        ((-1.0, -0.0), 1, "0x0.0p+0"),
        ((1e-45, 2.8e-45, 0.0), 1, "0x1.0000000000000p-148"),
        ((-LARGEST, LARGEST), 1, "0x1.fffffe0000000p+127"),
        ((-np.inf, -np.inf), 0, "-inf"),
    ],
)
def test_largest(scores: tuple[float, ...], index: int, largest: str, level: str) -> None:
    assert logits.argmax(row(*scores)) == index
    assert logits.maximum(row(*scores)).hex() == largest


def test_weights_of_whole_steps_are_powers_of_two(level: str) -> None:
    scores = row(0.0, -1.0, -2.0, -10.0, -125.0, -126.0, -1000.0, -LARGEST, -np.inf)
    expected = [1.0, 0.5, 0.25, 2.0**-10, 2.0**-125, 0.0, 0.0, 0.0, 0.0]
    assert logits.weights(scores, SCALE_OF_ONE).tolist() == expected
    assert logits.weights(scores + np.float32(64), SCALE_OF_ONE).tolist() == expected
    assert logits.exp_sum(scores, SCALE_OF_ONE) == 1.75 + 2.0**-10


def test_weights_at_both_ends_of_the_temperature(level: str) -> None:
    assert logits.weights(row(1.0, 1.0, 0.999), 1e-5).tolist() == [1.0, 1.0, 0.0]
    np.testing.assert_allclose(logits.weights(row(100.0, 0.0), 100.0), [1.0, np.exp(-1.0)], rtol=1e-6)
    assert logits.weights(row(8000.0, 0.0), 100.0)[1] > 0
    assert logits.weights(row(9000.0, 0.0), 100.0)[1] == 0


def test_sum_of_a_flat_row_is_its_length(level: str) -> None:
    for count in (*ROW_LENGTHS, 128_256):
        assert logits.exp_sum(np.full(count, 3.0, np.float32)) == count


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((5.0,), 0.0),
        ((5.0, -np.inf), 0.0),
        ((0.0, -1000.0), 0.0),
        ((3.0, 3.0), 0.6931471805599453),
        ((-7.0, -7.0, -7.0, -7.0), 1.3862943611198906),
        ((0.0, -1.0), 0.6365141682948128),  # 2/3 and 1/3
        ((0.0, -1.0, -np.inf, -2.0, -2.0), 1.2130075659799042),  # 1/2, 1/4, 1/8, 1/8
    ],
)
def test_entropy_literals(scores: tuple[float, ...], expected: float, level: str) -> None:
    assert logits.entropy(row(*scores), SCALE_OF_ONE) == pytest.approx(expected, rel=1e-15, abs=0)


@pytest.mark.parametrize(
    ("scores", "mean", "deviation"),
    [
        ((5.0,), 5.0, 0.0),
        ((5.0, 5.0, 5.0), 5.0, 0.0),
        ((1.0, 3.0), 2.0, 1.0),
        ((-np.inf, 2.0, 4.0, -np.inf, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0, -np.inf), 5.0, 2.0),
        ((1e4 - 1, 1e4 + 1), 1e4, 1.0),
        ((-0.0, 0.0), 0.0, 0.0),
    ],
)
def test_mean_and_deviation_literals(scores: tuple[float, ...], mean: float, deviation: float, level: str) -> None:
    assert logits.mean_and_deviation(row(*scores)) == (mean, deviation)


def test_apply_bitmask_literals(level: str) -> None:
    scores = row(1, -2, 3, -np.inf, -0.0)
    for mask in (np.array([0b10101], np.int32), np.array([0xFFFFFFF5], np.uint32), np.array([-11], np.int32)):
        found = logits.apply_bitmask(scores, mask)
        assert found.tolist() == [1.0, -np.inf, 3.0, -np.inf, 0.0]
        assert found.dtype == np.float32
        assert np.signbit(found[4])
    assert logits.apply_bitmask(scores, np.array([0], np.int32)).tolist() == [-np.inf] * 5
    ones = np.ones(65, np.float32)
    found = logits.apply_bitmask(ones, np.array([1 << 31, 1, 1], np.uint32))
    assert np.flatnonzero(found == 1).tolist() == [31, 32, 64]


def test_apply_bitmask_in_place(level: str) -> None:
    for count in (1, 15, 300, 1000):
        scores = np.arange(count, dtype=np.float32)
        expected = np.where(allowed_by(scattered_bits(count), count), scores, -np.inf)
        assert logits.apply_bitmask(scores, scattered_bits(count), scores) is scores
        np.testing.assert_array_equal(scores, expected)


def test_filter_keeps_index_order(level: str) -> None:
    scores, indices = logits.filter(row(1, 5, 2, 5, -np.inf, 2), 2.0)
    assert scores.tolist() == [5, 2, 5, 2]
    assert indices.tolist() == [1, 2, 3, 5]
    assert scores.dtype == np.float32
    assert indices.dtype == np.uint32


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(-np.inf, [0, 1, 3, 4]), (-LARGEST, [1, 3, 4]), (0.0, [1, 3, 4]), (1e-45, [4]), (np.inf, []), (np.nan, [])],
)
def test_filter_thresholds(threshold: float, expected: list[int], level: str) -> None:
    assert logits.filter(row(-np.inf, 0.0, np.nan, -0.0, 1.0), threshold)[1].tolist() == expected


@pytest.mark.parametrize(
    ("scores", "k", "expected"),
    [
        ((1, 3, 2, 2, 2), 1, [1]),
        ((1, 3, 2, 2, 2), 2, [1, 2]),
        ((1, 3, 2, 2, 2), 4, [1, 2, 3, 4]),
        ((1, 3, 2, 2, 2), 5, [1, 2, 3, 4, 0]),
        ((1, 3, 2, 2, 2), 1 << 70, [1, 2, 3, 4, 0]),
        ((0.0, -0.0, 0.0), 2, [0, 1]),
        ((-np.inf, 4, -np.inf, -np.inf), 3, [1]),
        ((-np.inf, -np.inf), 1, []),
        ((-LARGEST, -np.inf, -LARGEST), 3, [0, 2]),
    ],
)
def test_top_k_literals(scores: tuple[float, ...], k: int, expected: list[int], level: str) -> None:
    found, indices = logits.top_k(row(*scores), k)
    assert indices.tolist() == expected
    assert found.tolist() == [scores[i] for i in expected]
    assert (found.dtype, indices.dtype) == (np.float32, np.uint32)


# The levels agree, whatever the row.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("other", cpu.detected()[1:])
def test_levels_agree(other: str, dtype: str, rng: np.random.Generator) -> None:
    temperatures = (1.0, 0.7, 1e-5, 100.0, SCALE_OF_ONE)
    lengths = (*ROW_LENGTHS, *rng.integers(1, 20_000, 12).tolist())
    for number, (count, (name, values)) in enumerate((n, p) for n in lengths for p in row_patterns(rng, n)):
        bits = pack(values, dtype)
        wide = widen(bits, dtype)
        if wide.max() == np.inf or wide.max() == -np.inf:
            continue  # float16 has no room for some patterns
        arguments = temperatures[number % 5], float(rng.choice(wide)), int(rng.integers(1, count + 1))
        given = lend(bits, dtype)
        with cpu.force("scalar"):
            expected = everything(given, *arguments)
        with cpu.force(other):
            assert everything(given, *arguments) == expected, (name, count, arguments)


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_short_dtypes_equal_their_widened_rows(dtype: str, level: str) -> None:
    every_bits = np.arange(1 << 16, dtype=np.uint16)
    wide = widen(every_bits, dtype)
    sound = every_bits[~np.isnan(wide) & (wide != np.inf)]
    sound_wide = widen(sound, dtype)
    assert everything(lend(sound, dtype), 1.0, 0.5, 100) == everything(sound_wide, 1.0, 0.5, 100)
    scores, indices = logits.filter(lend(sound, dtype), -np.inf)
    np.testing.assert_array_equal(scores.view(np.uint32), sound_wide.view(np.uint32))
    np.testing.assert_array_equal(indices, np.arange(sound.size))


# Against float64.


@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_the_oracles(dtype: str, level: str, rng: np.random.Generator) -> None:
    for count in ROW_LENGTHS[::2]:
        for name, values in row_patterns(rng, count):
            bits = pack(values, dtype)
            wide = widen(bits, dtype)
            if not -np.inf < wide.max() < np.inf:
                continue
            given, threshold = lend(bits, dtype), float(wide[count // 2])
            assert logits.argmax(given) == int(wide.argmax()), name
            assert logits.maximum(given) == wide.max(), name
            np.testing.assert_array_equal(logits.filter(given, threshold)[1], np.flatnonzero(wide >= threshold), name)
            mask = rng.integers(0, 1 << 32, (count + 31) // 32, np.uint32)
            np.testing.assert_array_equal(
                logits.apply_bitmask(given, mask).view(np.uint32),
                np.where(allowed_by(mask, count), wide, np.float32(-np.inf)).view(np.uint32),
                name,
            )
            for k in {1, 2, 3, 16, 17, count // 3 + 1, count - 1, count, count + 1} - {0}:
                expected = oracles.top_k(wide, k)
                scores, indices = logits.top_k(given, k)
                np.testing.assert_array_equal(indices, expected, f"{name} k={k}")
                np.testing.assert_array_equal(scores, wide[expected], f"{name} k={k}")


def test_top_k_of_every_size(level: str, rng: np.random.Generator) -> None:
    """Row by row through the three ways of `fg_logits_cut`: by blocks, by lanes, and whole."""
    for values in (
        rng.standard_normal(600).astype(np.float32),
        rng.integers(0, 4, 600).astype(np.float32),
        np.zeros(600, np.float32),
        np.arange(600, dtype=np.float32) % 16,
    ):
        ids = oracles.descending(values)
        for k in range(1, 602):
            np.testing.assert_array_equal(logits.top_k(values, k)[1], ids[:k])


def test_top_k_of_long_rows(level: str, rng: np.random.Generator) -> None:
    for values in (rng.standard_normal(70_001), rng.integers(0, 3, 70_001), np.zeros(70_001), np.arange(70_001)):
        scores = values.astype(np.float32)
        ids = oracles.descending(scores)
        for k in (1, 2, 50, 273, 274, 275, 1000, 4383, 4384, 4385, 50_000, 70_001):
            np.testing.assert_array_equal(logits.top_k(scores, k)[1], ids[:k])


def test_weights_are_close_to_exp(level: str, rng: np.random.Generator) -> None:
    """Two ulps where the score is near the largest, and half an ulp more for each power of two below it."""
    for temperature in (0.3, 1.0, 2.0, 7.5):
        distances = np.concatenate([np.linspace(0, 86 * temperature, 200_001), rng.random(100_000) * temperature])
        scores = row(0, *-distances)
        expected = oracles.exps(scores, temperature)
        found = logits.weights(scores, temperature).astype(np.float64)
        ulps = np.abs(found - expected) / np.spacing(expected.astype(np.float32)).astype(np.float64)
        halvings = -scores.astype(np.float64) / temperature / np.log(2)
        assert (ulps <= 1.0 + 1.5 * halvings).all(), float((ulps - 1.5 * halvings).max())
        assert ulps[halvings < 1].max() < 2


def test_sum_has_the_documented_error(level: str, rng: np.random.Generator) -> None:
    for count, spread, temperature in product((100, 5000, 128_256), (0.1, 1, 5), (0.2, 1.0, 3.0)):
        values = (rng.standard_normal(count) * spread).astype(np.float32)
        exact = oracles.exps(values, temperature).sum()
        assert abs(logits.exp_sum(values, temperature) / exact - 1) < 2e-6


@pytest.mark.parametrize("dtype", DTYPES)
def test_entropy_and_moments_are_close_to_float64(dtype: str, level: str, rng: np.random.Generator) -> None:
    for count, spread, temperature in product((1, 2, 17, 257, 5000, 128_256), (0.1, 1, 5), (0.2, 1.0, 3.0)):
        values = rng.standard_normal(count) * spread + rng.integers(-20, 20)
        values[rng.random(count) < 0.1] = -np.inf
        values[0] = 0.5
        bits = pack(values, dtype)
        wide = widen(bits, dtype)
        assert abs(logits.entropy(lend(bits, dtype), temperature) - oracles.entropy(wide, temperature)) < 1e-5
        finite = wide[wide > -np.inf].astype(np.float64)
        mean, deviation = logits.mean_and_deviation(lend(bits, dtype))
        assert mean == pytest.approx(finite.mean(), abs=1e-4)
        squares = ((finite - 0.5) ** 2).mean()  # about the first score, the shift: the sums are of these
        assert abs(deviation**2 - finite.var()) <= 2e-6 * squares


def test_sum_is_made_of_weights_in_the_documented_order(level: str, rng: np.random.Generator) -> None:
    """Lanes in float32, then a tree in double, then block after block."""
    for count in (1, 16, 17, 255, 256, 257, 1000, 5000):
        values = rng.standard_normal(count).astype(np.float32) * 3
        padded = np.zeros(-(-count // 256) * 256, np.float32)
        padded[:count] = logits.weights(values)
        lanes = np.zeros((padded.size // 256, 16), np.float32)
        for step in range(16):
            lanes += padded.reshape(-1, 16, 16)[:, step]
        tree = lanes.astype(np.float64)
        while tree.shape[1] > 1:
            tree = tree[:, : tree.shape[1] // 2] + tree[:, tree.shape[1] // 2 :]
        total = 0.0
        for block in tree[:, 0].tolist():
            total += block
        assert logits.exp_sum(values).hex() == total.hex()


@pytest.mark.parametrize("largest", [1000.0, 1e5, 1e8, 3e8, 1e12, 1e30, 3.4e38, -1000.0, -3e8, -1e30])
def test_weights_of_coarse_scores(largest: float, level: str) -> None:
    """Where a float's neighbor is far away, the smallest weight that counts must still be a normal number."""
    steps = np.arange(64)
    scores = np.float32(largest) - (steps * np.float64(np.spacing(np.float32(abs(largest))))).astype(np.float32)
    for temperature in np.concatenate([np.geomspace(1e-5, 100, 101), np.linspace(1e-5, 1.5e-5, 101)]):
        found = logits.weights(scores, float(temperature))
        assert found[0] == 1
        assert (found >= 0).all()
        assert (found <= 1).all()
        expected = oracles.exps(scores, float(temperature))
        np.testing.assert_allclose(found, np.where(expected < 2.0**-124, found, expected), rtol=2e-5)
        assert 1 <= logits.exp_sum(scores, float(temperature)) <= scores.size


# Numbers that are faults.


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_is_seen_wherever_it_stands(dtype: str, level: str) -> None:
    places = [(count, place) for count in range(1, 131) for place in range(count)]
    for count in (32_000, 50_257, 151_936):
        places += [(count, place) for place in (*range(64), *range(count - 64, count), count // 2)]
    room = pack(np.zeros(151_936), dtype)
    for number, (count, place) in enumerate(places):
        room[place] = NANS[dtype][number % 4]
        with pytest.raises(LogitsError) as caught:
            (logits.argmax, logits.maximum)[number % 2](lend(room[:count], dtype))
        assert caught.value.code == "logits_nonfinite"
        assert caught.value.details["index"] == place
        room[place] = 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("words", [0, 0xFFFFFFFF])
def test_faults_are_seen_under_a_mask(words: int, dtype: str, level: str) -> None:
    """A NaN or +inf is a fault wherever it stands, allowed or not."""
    places = [(count, place) for count in range(1, 131) for place in range(count)]
    places += [(50_257, place) for place in (*range(64), *range(50_257 - 64, 50_257), 25_000)]
    room, mask = pack(np.zeros(50_257), dtype), np.full(1571, words, np.uint32)
    for number, (count, place) in enumerate(places):
        room[place] = (*NANS[dtype], INFINITY[dtype])[number % 5]
        with pytest.raises(LogitsError) as caught:
            logits.apply_bitmask(lend(room[:count], dtype), mask[: (count + 31) // 32])
        assert caught.value.code == "logits_nonfinite"
        assert caught.value.details["index"] == place
        room[place] = 0


def allow_nothing(given: Any) -> Array:
    """Apply a mask that allows no score, of the length that the row turns out to need."""
    try:
        return logits.apply_bitmask(given, np.zeros(0, np.uint32))
    except InvalidParameterError as error:
        return logits.apply_bitmask(given, np.zeros(error.details["expected"], np.uint32))


FUNCTIONS = [logits.argmax, logits.maximum, logits.exp_sum, logits.weights, logits.entropy, logits.mean_and_deviation]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", [*FUNCTIONS, allow_nothing])
def test_nonfinite_is_counted(function: Any, dtype: str, level: str) -> None:
    nan, infinity = NANS[dtype][0], INFINITY[dtype]
    for bits, first, nans, infinities in (
        ([0, 0, infinity], 2, 0, 1),
        ([nan], 0, 1, 0),
        ([0, infinity, infinity | SIGN[dtype], nan, nan, infinity], 1, 2, 2),
        ([0] * 300 + [infinity] + [0] * 300 + [nan], 300, 1, 1),
        ([0] * 17_000 + [nan] + [0] * 300 + [infinity], 17_000, 1, 1),
    ):
        with pytest.raises(LogitsError) as caught:
            function(lend(np.array(bits, WORDS[dtype]), dtype))
        assert caught.value.code == "logits_nonfinite"
        assert caught.value.details == {"index": first, "counts": {"nan": nans, "inf": infinities}}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_top_k_refuses_what_is_not_finite(bad: float, level: str) -> None:
    with pytest.raises(LogitsError) as caught:
        logits.top_k(row(1.0, bad, 2.0), 2)
    assert caught.value.code == "logits_nonfinite"


def test_nothing_but_minus_infinity(level: str) -> None:
    for count in (1, 8, 17, 300):
        nothing = np.full(count, -np.inf, np.float32)
        for function in (logits.exp_sum, logits.weights, logits.entropy, logits.mean_and_deviation):
            with pytest.raises(LogitsError) as caught:
                function(nothing)
            assert caught.value.code == "no_candidates"


def test_ties_in_every_pair_of_places(level: str) -> None:
    for first in range(0, 70, 3):
        for second in range(first, 70):
            scores = np.zeros(70, np.float32)
            scores[[first, second]] = 1
            assert logits.argmax(scores) == first
            assert logits.top_k(scores, 1)[1].tolist() == [first]


def test_argmax_of_rows_longer_than_a_chunk(level: str) -> None:
    """argmax goes by chunks of 16384: the lowest index must win across their borders too."""
    for first, second in ((0, 16_384), (16_383, 16_384), (16_384, 32_768), (40_000, 40_001), (5, 40_000)):
        scores = np.full(40_002, -7.5, np.float32)
        scores[[first, second]] = 1
        assert logits.argmax(scores) == first


# Memory.


@pytest.mark.parametrize("at", ["start", "end"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_reads_nothing_outside(dtype: str, at: str, level: str, rng: np.random.Generator) -> None:
    size = np.dtype(WORDS[dtype]).itemsize
    longest = 4097
    values = pack(rng.standard_normal(longest), dtype)
    with guarded(longest * size, at=at) as room:
        for count in (*range(1, 514), 4095, 4096, 4097):
            bits = (room[-count * size :] if at == "end" else room[: count * size]).view(WORDS[dtype])
            bits[:] = values[:count]
            given, wide = lend(bits, dtype), widen(values[:count], dtype)
            assert logits.argmax(given) == int(wide.argmax())
            assert logits.exp_sum(given) == logits.exp_sum(wide)
            assert logits.weights(given).tobytes() == logits.weights(wide).tobytes()
            assert logits.filter(given, 0.0)[1].size == int((wide >= 0).sum())
            assert logits.top_k(given, 5)[1].tolist() == oracles.top_k(wide, 5).tolist()
            assert logits.entropy(given) == logits.entropy(wide)
            assert logits.mean_and_deviation(given) == logits.mean_and_deviation(wide)
            np.testing.assert_array_equal(bits, values[:count])


@pytest.mark.parametrize("at", ["start", "end"])
def test_bitmask_stays_inside(at: str, level: str) -> None:
    """Row, mask and result beside pages that fault."""
    longest = 1025
    words = (longest + 31) // 32
    with (
        guarded(longest * 4, at=at) as room,
        guarded(words * 4, at=at) as mask_room,
        guarded(longest * 4, at=at) as put,
    ):
        for count in range(1, longest + 1):
            used = (count + 31) // 32

            def part(memory: Array, length: int) -> Array:
                return memory[-length * 4 :] if at == "end" else memory[: length * 4]

            scores, out = part(room, count).view(np.float32), part(put, count).view(np.float32)
            mask = part(mask_room, used).view(np.uint32)
            scores[:] = np.arange(count)
            mask[:] = scattered_bits(count)
            logits.apply_bitmask(scores, mask, out)
            np.testing.assert_array_equal(out, np.where(allowed_by(mask, count), scores, -np.inf))


def test_unaligned_masks(level: str) -> None:
    for count in (1, 33, 256, 300, 1000):
        scores = np.arange(count, dtype=np.float32)
        expected = logits.apply_bitmask(scores, scattered_bits(count)).tobytes()
        for offset in range(9):
            assert logits.apply_bitmask(scores, unaligned(scattered_bits(count), offset)).tobytes() == expected
        spread = np.repeat(scattered_bits(count), 2)
        assert logits.apply_bitmask(scores, spread[::2]).tobytes() == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_unaligned_rows(dtype: str, level: str, rng: np.random.Generator) -> None:
    for count in (1, 7, 31, 256, 300, 1000):
        bits = pack(rng.standard_normal(count), dtype)
        expected = everything(lend(bits, dtype), 0.8, 0.1, 3)
        for offset in range(65):
            assert everything(lend(unaligned(bits, offset), dtype), 0.8, 0.1, 3) == expected


# The thread's floating-point mode, which other libraries change.


def test_denormals_under_flush_to_zero(level: str) -> None:
    torch = pytest.importorskip("torch")
    rows = [row(1e-45, 3e-45, 2e-45, -1e-45), row(-3e-45, -1e-45), np.arange(1000, dtype=np.uint32).view(np.float32)]

    def found() -> list[Any]:
        """Return bits only: the mode also changes what NumPy and the conversions of Python see."""
        return [
            (
                logits.argmax(scores),
                logits.exp_sum(scores),
                logits.weights(scores).tobytes(),
                *(part.tobytes() for part in logits.filter(scores, 0.0)),
            )
            for scores in rows
        ]

    expected = found()
    assert [largest for largest, *_ in expected] == [1, 1, 999]
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor can't flush denormals")
    try:
        assert (torch.tensor([1e-39]) * 1.0).item() == 0.0
        assert found() == expected
        assert (torch.tensor([1e-39]) * 1.0).item() == 0.0
    finally:
        torch.set_flush_denormal(False)


# What glibc's fesetround() takes for down, up and toward zero on each processor.
ROUNDINGS = {"x86_64": (0x400, 0x800, 0xC00), "aarch64": (0x800000, 0x400000, 0xC00000)}


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() not in ROUNDINGS, reason="needs glibc's numbers")
@pytest.mark.parametrize("mode", range(3))
def test_rounding_mode_does_not_matter(mode: int, level: str, rng: np.random.Generator) -> None:
    libm = ctypes.CDLL("libm.so.6")
    rounding = ROUNDINGS[platform.machine()][mode]
    scores = rng.standard_normal(1000).astype(np.float32)

    def bits() -> list[Any]:
        statistics = logits.entropy(scores, 0.9), logits.mean_and_deviation(scores)
        return [logits.exp_sum(scores), logits.weights(scores).tobytes(), *statistics]

    expected = bits()
    libm.fesetround(rounding)
    try:
        found = bits()
        after = libm.fegetround()
    finally:
        libm.fesetround(0)
    assert after == rounding
    assert found == expected


# Arguments.


@pytest.mark.parametrize("temperature", [0.0, -1.0, 9e-6, 100.1, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("function", [logits.exp_sum, logits.weights, logits.entropy])
def test_temperature_out_of_range(function: Any, temperature: float) -> None:
    with pytest.raises(InvalidParameterError, match="temperature"):
        function(row(1, 2), temperature)


@pytest.mark.parametrize("k", [0, -1, -(1 << 70)])
def test_k_out_of_range(k: int) -> None:
    with pytest.raises(InvalidParameterError, match="k must be an integer of at least 1"):
        logits.top_k(row(1, 2), k)


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros(0, np.int32),
        np.zeros(1, np.int32),
        np.zeros(3, np.int32),
        np.zeros(2, np.int64),
        np.zeros(8, np.uint8),
        np.zeros(2, np.float32),
        np.zeros((1, 2), np.int32),
        np.zeros(2, ">i4"),
        "mask",
        None,
    ],
)
def test_refuses_masks(mask: Any) -> None:
    with pytest.raises(InvalidParameterError, match="mask"):
        logits.apply_bitmask(np.zeros(33, np.float32), mask)


@pytest.mark.parametrize(
    "out", [np.zeros(32, np.float32), np.zeros(34, np.float32), np.zeros(33), np.zeros(66, np.float32)[::2], b"", 1]
)
def test_refuses_what_cannot_take_the_masked_row(out: Any) -> None:
    with pytest.raises(InvalidParameterError, match="out"):
        logits.apply_bitmask(np.zeros(33, np.float32), np.zeros(2, np.int32), out)


@pytest.mark.parametrize("function", [*FUNCTIONS, allow_nothing])
def test_takes_one_row(function: Any) -> None:
    with pytest.raises(LogitsError) as caught:
        function(np.zeros((2, 3), np.float32))
    assert caught.value.code == "logits_invalid"


def test_scale_of_one_is_one() -> None:
    assert np.float32(log2(np.e) / SCALE_OF_ONE) == 1
