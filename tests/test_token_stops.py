"""Stop sequences of token ids: which one the tokens end with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgen.errors import InvalidParameterError
from fastgen.token_stops import TokenStops

SEQUENCES = [[1, 2], [3], [9, 1, 2], [4, 4], [2147483647, 0]]


def longest_at_end(sequences: list[list[int]], tokens: list[int]) -> int | None:
    """Return the longest sequence that the tokens end with, of equal ones the first."""
    ending = [place for place, one in enumerate(sequences) if len(one) <= len(tokens) and tokens[-len(one) :] == one]
    return max(ending, key=lambda place: (len(sequences[place]), -place), default=None)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([], None),
        ([1, 2], 0),
        ([7, 1, 2], 0),
        ([9, 1, 2], 2),
        ([1, 2, 7], None),
        ([2], None),
        ([3], 1),
        ([4], None),
        ([4, 4], 3),
        ([0], None),
        ([2147483647, 0], 4),
        ([-1, 3], 1),
    ],
)
def test_literals(tokens: list[int], expected: int | None) -> None:
    stops = TokenStops(SEQUENCES)
    assert stops.ended(tokens) == expected
    assert stops.ended(np.array(tokens, np.int32)) == expected
    assert stops.ended(tuple(tokens)) == expected


def test_size() -> None:
    stops = TokenStops(SEQUENCES)
    assert (len(stops), stops.longest) == (5, 3)
    none = TokenStops([])
    assert (len(none), none.longest, none.ended([1])) == (0, 0, None)


def test_the_first_of_equals() -> None:
    stops = TokenStops([[5], [1, 2], [1, 2], [5]])
    assert stops.ended([1, 2]) == 1
    assert stops.ended([5]) == 0
    assert len(stops) == 2


IDS = st.lists(st.integers(0, 2), min_size=1, max_size=6)


@given(st.lists(IDS, max_size=60), st.lists(st.integers(0, 2), max_size=12))
def test_equals_the_definition(sequences: list[list[int]], tokens: list[int]) -> None:
    stops = TokenStops(sequences)
    for end in range(len(tokens) + 1):
        assert stops.ended(tokens[:end]) == longest_at_end(sequences, tokens[:end])


def test_many_that_end_alike(rng: np.random.Generator) -> None:
    sequences = [[int(token), int(other), 7] for token, other in rng.permutation(20_000).reshape(-1, 2)]
    stops = TokenStops(sequences)
    for place in (0, 1, 5000, 9999):
        assert stops.ended([3, *sequences[place]]) == place
        assert stops.ended([*sequences[place], 7]) is None
    assert stops.ended([7]) is None


def test_any_iterable_of_any_arrays() -> None:
    stops = TokenStops(np.array(one) for one in SEQUENCES)
    assert stops.ended([9, 1, 2]) == 2
    assert TokenStops(np.array([[1, 2], [3, 4]])).ended([3, 4]) == 1


@pytest.mark.parametrize(
    "sequences", [[[]], [[1], []], [[-1]], [[1 << 31]], [[1.5]], [1], None, 5, "ab", [None], [np.zeros((1, 2), int)]]
)
def test_what_is_refused(sequences: Any) -> None:
    with pytest.raises(InvalidParameterError):
        TokenStops(sequences)


@pytest.mark.parametrize("tokens", [None, 5, [1.0], "ab", np.zeros(3), [1 << 31]])
def test_tokens_that_are_refused(tokens: Any) -> None:
    with pytest.raises(InvalidParameterError):
        TokenStops(SEQUENCES).ended(tokens)
