"""The generator: published vectors, an open interval, and draws that have nothing to do with each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgen.errors import InvalidParameterError
from fastgen.random import philox4x32, uniform

ONES = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_published_vectors(counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """The known answers of Random123, kat_vectors, philox4x32-10."""
    assert philox4x32(counter, key) == expected
    assert philox4x32(list(counter), list(key)) == expected


WORD = st.integers(0, ONES)


@given(st.integers(0, (1 << 64) - 1), WORD, WORD, WORD, WORD)
def test_uniform_is_made_of_philox(seed: int, choice: int, position: int, purpose: int, attempt: int) -> None:
    low, high, _, _ = philox4x32((position, choice, purpose, attempt), (seed & ONES, seed >> 32))
    k = (high << 32 | low) >> 11
    assert uniform(seed, choice, position, purpose, attempt) == min((k + 0.5) / 2**53, 1 - 2**-53)


@given(st.integers(1, 1 << 63))
def test_negative_seed_is_its_twos_complement(magnitude: int) -> None:
    assert uniform(-magnitude) == uniform((1 << 64) - magnitude)


# The outermost of the 2**32 positions of seed 7.
LOWEST, HIGHEST = 466_779_568, 1_702_576_940


def test_open_interval() -> None:
    assert 0 < uniform(7, position=LOWEST) < 2.0**-31
    assert 1 - 2.0**-30 < uniform(7, position=HIGHEST) < 1


def test_literal() -> None:
    assert uniform(0) == ((0xE169C58D6627E8D5 >> 11) + 0.5) / 2**53


def z_of_chi_square(counts: np.ndarray[Any, Any]) -> float:
    """Return how many standard deviations a chi-square over equal expectations lies from its mean."""
    expected = counts.sum() / counts.size
    chi = float(((counts - expected) ** 2 / expected).sum())
    return (chi - (counts.size - 1)) / float(np.sqrt(2 * (counts.size - 1)))


def pairs(first: list[float], second: list[float], bins: int = 16) -> np.ndarray[Any, Any]:
    counts, _, _ = np.histogram2d(first, second, bins=bins, range=[[0, 1], [0, 1]])
    return counts


COUNT = 20_000
POSITIONS = [uniform(5, position=i) for i in range(COUNT + 1)]


def test_positions_are_uniform() -> None:
    counts, _ = np.histogram(POSITIONS, bins=200, range=(0, 1))
    assert abs(z_of_chi_square(counts)) < 5


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("next position", POSITIONS[1:]),
        ("next choice", [uniform(5, 1, i) for i in range(COUNT)]),
        ("next purpose", [uniform(5, 0, i, 1) for i in range(COUNT)]),
        ("next attempt", [uniform(5, 0, i, 0, 1) for i in range(COUNT)]),
        ("next seed", [uniform(6, position=i) for i in range(COUNT)]),
        ("seed of the upper half", [uniform(5 + (1 << 32), position=i) for i in range(COUNT)]),
        ("choice and position swapped", [uniform(5, i, 0) for i in range(COUNT)]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_draws_are_independent(name: str, other: list[float]) -> None:
    """Pairs of draws at neighboring places fill the unit square evenly; place 0 may be shared."""
    assert abs(z_of_chi_square(pairs(POSITIONS[1:COUNT], other[1:COUNT]))) < 5, name


@pytest.mark.parametrize(
    ("counter", "key"),
    [
        ((0, 0, 0), (0, 0)),
        ((0,) * 5, (0, 0)),
        ((0,) * 4, (0,)),
        ((0, 0, 0, 1 << 32), (0, 0)),
        ((0,) * 4, (0, -1)),
        ((), ()),
    ],
)
def test_philox_refuses(counter: tuple[int, ...], key: tuple[int, ...]) -> None:
    with pytest.raises(InvalidParameterError, match="32-bit words"):
        philox4x32(counter, key)


@pytest.mark.parametrize(
    "arguments",
    [
        (1 << 64,),
        (-(1 << 63) - 1,),
        (0, -1),
        (0, 1 << 32),
        (0, 0, -1),
        (0, 0, 1 << 32),
        (0, 0, 0, 1 << 32),
        (0, 0, 0, 0, -1),
    ],
)
def test_uniform_refuses(arguments: tuple[int, ...]) -> None:
    with pytest.raises(InvalidParameterError, match="64 bits"):
        uniform(*arguments)
