"""Loop detection: vLLM's own cases, and its decision after every token."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgen import cpu
from fastgen.errors import InvalidParameterError
from fastgen.loops import MAX_COUNT, MAX_PATTERN_SIZE, LoopDetector


def sizes(detector: LoopDetector, tokens: list[int]) -> list[int]:
    return [detector.push(token) for token in tokens]


def repeated(tokens: list[int], longest: int, shortest: int, count: int) -> int:
    """Return the size of the first pattern that vLLM's `check_sequence_repetition` finds, or 0."""
    for size in range(shortest, longest + 1):
        if size * count > len(tokens):
            return 0
        tail = tokens[len(tokens) - size * count :]
        if tail == tail[:size] * count:
            return size
    return 0


@pytest.mark.parametrize(
    ("tokens", "longest", "shortest", "count", "expected"),
    [  # tests/v1/core/test_repetition_detection.py of vLLM, with the sizes
        ([1, 2, 3, 1, 2, 3, 1, 2, 3], 3, 2, 3, 3),
        ([1, 2, 3, 1, 2, 3], 3, 2, 3, 0),
        ([1, 2, 1, 2, 1, 2, 1, 2], 5, 2, 4, 2),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], 5, 2, 2, 0),
        ([1, 2, 3, 1, 2, 3, 1, 2, 4], 3, 2, 3, 0),
        ([1, 2, 3, 4, 5, 6, 5, 6, 5, 6], 3, 2, 3, 2),
        ([1, 2, 3, 4, 5, 6, 7, 8] * 5, 10, 2, 3, 8),
        ([10, 20, 30, 10, 20, 30], 3, 3, 2, 3),
        ([7, 8, 9, 10, 7, 8, 9, 10, 7, 8, 9, 10], 5, 2, 3, 4),
        ([10, 20, 10, 20, 10, 20], 5, 3, 3, 0),
        ([10, 20, 10, 20, 10, 20], 5, 2, 5, 0),
        ([4, 4, 4], 5, 1, 3, 1),
        ([4, 4, 4, 4, 4, 4], 5, 2, 3, 2),
    ],
)
def test_literals(tokens: list[int], longest: int, shortest: int, count: int, expected: int, level: str) -> None:
    assert sizes(LoopDetector(longest, shortest, count), tokens)[-1] == expected


def test_a_loop_is_reported_as_long_as_it_goes_on(level: str) -> None:
    detector = LoopDetector(max_pattern_size=4, min_count=3)
    assert sizes(detector, [9, 5, 6, 5, 6, 5, 6, 5, 6, 6, 6, 6]) == [0, 0, 0, 0, 0, 0, 2, 2, 2, 0, 1, 1]
    detector.reset()
    assert sizes(detector, [6, 6, 6]) == [0, 0, 1]


def test_the_first_token_repeats_nothing(level: str) -> None:
    assert sizes(LoopDetector(1), [0, 0]) == [0, 1]
    assert sizes(LoopDetector(40), [0, 1, 0, 1]) == [0, 0, 0, 2]


@given(
    st.lists(st.integers(0, 3), max_size=150),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(2, 5),
    st.integers(1, 30),
)
def test_equals_the_definition(start: list[int], longest: int, shortest: int, count: int, period: int) -> None:
    tokens = start + (start[-period:] * 4)[:80]
    shortest = min(shortest, longest)
    expected = [repeated(tokens[: end + 1], longest, shortest, count) for end in range(len(tokens))]
    for name in cpu.detected():
        with cpu.force(name):
            assert sizes(LoopDetector(longest, shortest, count), tokens) == expected


@pytest.mark.parametrize("size", [1, 15, 16, 17, 64, 100, 513])
def test_long_patterns_after_much_else(size: int, level: str, rng: np.random.Generator) -> None:
    detector = LoopDetector(size, size, 3)
    assert not any(sizes(detector, list(range(1000, 4000))))
    pattern = [int(token) for token in rng.integers(0, 900, size)]
    found = sizes(detector, pattern * 3)
    assert found == [0] * (3 * size - 1) + [size]


def test_counters_do_not_run_over(level: str) -> None:
    """The largest numbers there are: what is missing just fits its counter, and never falls below 0."""
    detector = LoopDetector(40, 1, MAX_COUNT)
    found = sizes(detector, [3] * (MAX_COUNT + 5))
    assert found == [0] * (MAX_COUNT - 1) + [1] * 6
    assert detector.push(4) == 0
    assert sizes(LoopDetector(MAX_PATTERN_SIZE, 1, MAX_COUNT), [1] * 40) == [0] * 40
    assert sizes(LoopDetector(MAX_PATTERN_SIZE, MAX_PATTERN_SIZE, MAX_COUNT), [1] * 40) == [0] * 40


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_pattern_size": 0},
        {"max_pattern_size": -1},
        {"max_pattern_size": MAX_PATTERN_SIZE + 1},
        {"max_pattern_size": 1 << 70},
        {"max_pattern_size": 2.0},
        {"max_pattern_size": True},
        {"max_pattern_size": "4"},
        {"max_pattern_size": None},
        {"max_pattern_size": 4, "min_pattern_size": 0},
        {"max_pattern_size": 4, "min_pattern_size": 5},
        {"max_pattern_size": 4, "min_count": 1},
        {"max_pattern_size": 4, "min_count": MAX_COUNT + 1},
    ],
)
def test_numbers_out_of_range(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match="integer in its range") as caught:
        LoopDetector(**arguments)
    assert caught.value.details["argument"] == list(arguments)[-1]


@pytest.mark.parametrize("token", [-1, 1 << 31, 1 << 64, 1.0, True, None, "1", [1]])
def test_tokens_out_of_range_change_nothing(token: Any) -> None:
    detector = LoopDetector(3)
    detector.push(5)
    with pytest.raises(InvalidParameterError):
        detector.push(token)
    assert detector.push(5) == 1


class Liar(int):
    """An integer that is in every range."""

    def __le__(self, other: int) -> bool:
        return True

    __ge__ = __lt__ = __gt__ = __le__


@pytest.mark.parametrize("number", [Liar(1 << 62), Liar(-1)])
def test_integers_that_lie(number: int) -> None:
    with pytest.raises(InvalidParameterError):
        LoopDetector(number)
    with pytest.raises(InvalidParameterError):
        LoopDetector(3).push(number)


def test_made_without_arguments() -> None:
    with pytest.raises(TypeError):
        LoopDetector.__new__(LoopDetector)  # type: ignore[call-arg]


def test_numpy_integers() -> None:
    detector = LoopDetector(np.int64(3), np.int32(1), np.uint8(2))  # type: ignore[arg-type]
    assert [detector.push(token) for token in np.array([1, 2, 1, 2])] == [0, 0, 0, 2]
