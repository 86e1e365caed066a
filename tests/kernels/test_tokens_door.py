"""The door for token ids: every kind of sequence that is let in, and what is said to the others."""

from __future__ import annotations

import array
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from shapes import unaligned

from fastgen.errors import InvalidParameterError
from fastgen.kernels import tokens

TEXT = [5, 1, 2, 3, 5, 1, 2, 4, 1, 2]


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
