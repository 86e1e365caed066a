"""Search and comparison of token ids: literals on every level, agreement of the levels, memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import LENGTHS, guarded, unaligned

from fastgen import cpu
from fastgen.kernels import tokens

Array = np.ndarray[Any, Any]
TEXT = [5, 1, 2, 3, 5, 1, 2, 4, 1, 2]
FEW = st.lists(st.integers(0, 2), max_size=200)


def places(text: list[int], ngram: list[int]) -> list[int]:
    return [i for i in range(len(text) - len(ngram) + 1) if text[i : i + len(ngram)] == ngram]


def shared(left: list[int], right: list[int]) -> int:
    return next((i for i in range(min(len(left), len(right))) if left[i] != right[i]), min(len(left), len(right)))


# Literals, on every level.


@pytest.mark.parametrize(
    ("ngram", "first", "last"),
    [
        ([1, 2], 1, 8),
        ([5], 0, 4),
        ([5, 1, 2], 0, 4),
        ([5, 1, 2, 4], 4, 4),
        ([2, 1], -1, -1),
        ([4, 1, 2], 7, 7),
        ([1, 2, 5], -1, -1),
        ([9], -1, -1),
        ([-1], -1, -1),
        (TEXT, 0, 0),
        ([*TEXT, 1], -1, -1),
        ([], 0, 10),
    ],
)
def test_find_literals(ngram: list[int], first: int, last: int, level: str) -> None:
    assert tokens.find(TEXT, ngram) == first
    assert tokens.find_last(TEXT, ngram) == last


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([], [], 0),
        ([1], [], 0),
        ([1, 2, 3], [1, 2, 3], 3),
        ([1, 2, 3], [1, 2], 2),
        ([1, 2, 3, 4], [1, 2, 9, 4], 2),
        ([2, 2], [1, 2], 0),
        ([0, -1, 7], [0, -1, 8], 2),
    ],
)
def test_common_prefix_literals(left: list[int], right: list[int], expected: int, level: str) -> None:
    assert tokens.common_prefix(left, right) == expected
    assert tokens.common_prefix(right, left) == expected


def test_nothing_in_nothing(level: str) -> None:
    assert tokens.find([], []) == 0
    assert tokens.find_last([], []) == 0
    assert tokens.find([], [1]) == -1
    assert tokens.find_last([], [1]) == -1


@pytest.mark.parametrize("bit", range(32))
def test_every_bit_of_an_id_counts(bit: int, level: str) -> None:
    text = np.zeros(100, np.uint32)
    text[60] = 1 << bit
    signed = text.view(np.int32)
    assert tokens.find(signed, signed[60:61]) == 60
    assert tokens.find_last(signed, signed[59:62]) == 59
    assert tokens.common_prefix(signed, np.zeros(100, np.int32)) == 60


# Every length, every place.


def test_every_length_and_place_beside_pages_that_fault(level: str) -> None:
    for count in (*LENGTHS, 511, 512, 513):
        for at in ("start", "end"):
            with guarded(4 * count, at=at) as room, guarded(4 * count, at=at) as other:
                text, copy = room.view(np.int32), other.view(np.int32)
                text[:] = copy[:] = np.arange(count) % 5 + 10
                assert tokens.find(text, [1]) == tokens.find_last(text, [1]) == -1
                assert tokens.common_prefix(text, copy) == count
                for place in {0, 1, count // 2, count - 9, count - 2, count - 1} & set(range(count)):
                    text[place] = 1
                    assert tokens.find(text, [1]) == tokens.find_last(text, [1]) == place
                    assert tokens.common_prefix(text, copy) == place
                    for size in {2, 3, 8, 17, count} & set(range(2, count - place + 1)):
                        ngram = text[place : place + size]
                        assert tokens.find(text, ngram) == tokens.find_last(text, ngram) == place
                    text[place] = copy[place]
                del text, copy


def test_every_offset_of_a_cache_line(level: str) -> None:
    text = np.arange(300, dtype=np.int32)
    for offset in range(64):
        moved = unaligned(text, offset)
        assert tokens.find(moved, [250, 251]) == 250
        assert tokens.find_last(moved, unaligned(text[3:20], offset)) == 3
        assert tokens.common_prefix(moved, text) == 300


@given(FEW, st.lists(st.integers(0, 2), max_size=20), st.booleans(), st.data())
def test_equals_the_definitions(text: list[int], ngram: list[int], cut: bool, data: st.DataObject) -> None:
    if cut and text:
        start = data.draw(st.integers(0, len(text) - 1))
        ngram = text[start : start + len(ngram)]
    other = list(text)
    if text:
        other[data.draw(st.integers(0, len(text) - 1))] = 3
    found = places(text, ngram)
    for name in cpu.detected():
        with cpu.force(name):
            assert tokens.find(text, ngram) == (found[0] if found else -1)
            assert tokens.find_last(text, ngram) == (found[-1] if found else -1)
            assert tokens.common_prefix(text, other) == shared(text, other)


@pytest.mark.parametrize("other", cpu.detected()[1:])
def test_levels_agree_on_long_texts(other: str, rng: np.random.Generator) -> None:
    for kinds in (1, 2, 50, 50_000):
        text = rng.integers(0, kinds, 50_001).astype(np.int32)
        copy = text.copy()
        copy[rng.integers(text.size)] += 1
        for size in (1, 2, 3, 16, 17, 300):
            ngram = text[30_000 : 30_000 + size].copy()
            ngram[rng.integers(size)] += rng.integers(2)
            with cpu.force("scalar"):
                expected = tokens.find(text, ngram), tokens.find_last(text, ngram), tokens.common_prefix(text, copy)
            with cpu.force(other):
                assert expected == (
                    tokens.find(text, ngram),
                    tokens.find_last(text, ngram),
                    tokens.common_prefix(text, copy),
                )


def test_near_misses_everywhere(level: str) -> None:
    """All tokens equal but one of the n-gram, at each of its places: every place of the text is looked at longest."""
    text = np.zeros(2000, np.int32)
    for size in (1, 2, 3, 16, 33):
        for place in range(size):
            ngram = np.zeros(size, np.int32)
            ngram[place] = 1
            assert tokens.find(text, ngram) == tokens.find_last(text, ngram) == -1
        zeros = np.zeros(size, np.int32)
        assert (tokens.find(text, zeros), tokens.find_last(text, zeros)) == (0, 2000 - size)
