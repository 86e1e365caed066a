"""Search and comparison of token ids: literals on every level, agreement of the levels, memory, the door."""

from __future__ import annotations

import array
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import LENGTHS, guarded, unaligned

from fastgen import cpu
from fastgen.errors import InvalidParameterError
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


# The door.


class Tensor:
    """What fastgen sees of a tensor: no buffer protocol, but a way to an array."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def numpy(self) -> Any:
        if isinstance(self.array, Exception):
            raise self.array
        return self.array


def numbers() -> Iterator[int]:
    yield from TEXT


@pytest.mark.parametrize(
    "given_tokens",
    [
        TEXT,
        tuple(TEXT),
        numbers,
        [np.int64(token) for token in TEXT],
        *(np.array(TEXT, dtype) for dtype in ("i4", "i8", "u4", "u8", "l", "q")),
        array.array("i", TEXT),
        array.array("q", TEXT),
        memoryview(np.array(TEXT, np.int32)),
        memoryview(np.array(TEXT, np.int32).tobytes()).cast("i"),
        np.repeat(np.array(TEXT, np.int32), 2)[::2],
        np.array(TEXT[::-1], np.int64)[::-1],
        np.array([TEXT, TEXT]).T[:, 0],
        unaligned(np.array(TEXT, np.int32), 1),
        unaligned(np.array(TEXT, np.int64), 3),
        Tensor(np.array(TEXT)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_let_in(given_tokens: Any) -> None:
    def fresh() -> Any:
        return given_tokens() if given_tokens is numbers else given_tokens

    assert tokens.find(fresh(), [1, 2, 4]) == 5
    assert tokens.find_last(fresh(), [1, 2]) == 8
    assert tokens.common_prefix(fresh(), TEXT) == 10
    assert tokens.find([0, *TEXT], fresh()) == 1


def test_arrays_that_may_not_be_written() -> None:
    text = np.array(TEXT, np.int32)
    text.flags.writeable = False
    assert tokens.find(text, [4]) == 7


def test_torch() -> None:
    torch = pytest.importorskip("torch")
    assert tokens.find(torch.tensor(TEXT), torch.tensor([1, 2, 4], dtype=torch.int32)) == 5
    with pytest.raises(InvalidParameterError, match="32 or 64 bits"):
        tokens.find(torch.tensor([1.0]), [1])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros(3, np.float32), "32 or 64 bits.*format='f'"),
        (np.zeros(3, bool), "32 or 64 bits"),
        (np.zeros(3, np.int16), "32 or 64 bits"),
        (np.zeros(3, ">i4"), "32 or 64 bits.*format='>i'"),
        (np.zeros(3, "m8[s]"), "give their memory"),
        (b"abc", "32 or 64 bits"),
        (np.zeros((2, 3), np.int32), "one sequence.*dimensions=2"),
        (np.array(5), "one sequence.*dimensions=0"),
        ([1, 2.0], "must be an integer.*float"),
        ([True], "must be an integer.*bool"),
        ([None], "must be an integer"),
        ("ab", "must be an integer.*str"),
        ([[1]], "must be an integer.*list"),
        (5, "sequence of integers.*int"),
        (None, "sequence of integers.*NoneType"),
        (Tensor(TypeError("can't convert cuda:0 device type tensor to numpy")), "give their memory"),
        (Tensor(RuntimeError("can't call numpy() on a tensor that requires grad")), "give their memory"),
        (Tensor(7), "sequence of integers"),
        ([1 << 31], "2147483648"),
        ([-(1 << 31) - 1], "-2147483649"),
        (np.array([1 << 31]), "2147483648"),
        (np.array([-(1 << 31) - 1]), "-2147483649"),
        (np.array([1 << 31], np.uint32), "2147483648"),
        (np.array([1 << 63], np.uint64), "9223372036854775808"),
        (np.array([(1 << 64) - 1], np.uint64), "18446744073709551615"),
    ],
    ids=repr,
)
def test_what_is_refused(bad: Any, message: str) -> None:
    for call in (tokens.find, tokens.find_last, tokens.common_prefix):
        for arguments in ((bad, [1]), ([1], bad)):
            with pytest.raises(InvalidParameterError, match=message):
                call(*arguments)


def test_integers_without_a_text() -> None:
    """Python refuses to print integers of thousands of digits: an error must not try."""
    with pytest.raises(InvalidParameterError) as caught:
        tokens.find([1], [10**5000])
    assert caught.value.code == "token_out_of_range"
    assert "token='int'" in str(caught.value)


def test_a_list_that_changes_while_it_is_read() -> None:
    class Index(int):  # an integer that is told what it is by Python code
        def __int__(self) -> int:
            text.clear()
            return 1

    text: list[int] = [Index(1), 2, 3, 4]
    assert tokens.find(text, [3]) == 2


def test_many_threads_share_an_array() -> None:
    text = np.arange(200_000, dtype=np.int32)
    found: list[int] = []

    def search() -> None:
        found.extend(tokens.find(text, [199_998, 199_999]) for _ in range(50))

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [199_998] * 200
