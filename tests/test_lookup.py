"""Prompt look-up: where the last tokens stood before, and what followed."""

from __future__ import annotations

import array
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fastgen import cpu
from fastgen.errors import InvalidParameterError
from fastgen.lookup import MAX_NGRAM, PromptLookup

FEW = st.lists(st.integers(0, 3), max_size=120)


def guess(tokens: list[int], k: int, longest: int, shortest: int) -> list[int]:
    """Return what followed the last place with the longest n-gram, going on with the guess itself."""
    for size in range(min(longest, len(tokens) - 1), shortest - 1, -1):
        for end in range(len(tokens) - 1, size - 1, -1):
            if tokens[end - size : end] == tokens[-size:]:
                text = list(tokens)
                while len(text) < len(tokens) + k:
                    text.append(text[end + len(text) - len(tokens)])
                return text[len(tokens) :]
    return []


@pytest.mark.parametrize(
    ("tokens", "k", "expected"),
    [
        ([], 3, []),
        ([1], 3, []),
        ([1, 2, 3], 3, []),
        ([7, 1, 2, 3, 4, 1, 2], 3, [3, 4, 1]),
        ([7, 1, 2, 3, 4, 1, 2], 1, [3]),
        ([1, 2, 3, 1, 2, 4, 1, 2], 2, [4, 1]),  # of two places the later one
        ([6, 1, 2, 3, 1, 2, 4, 6, 1, 2], 2, [3, 1]),  # but three tokens before two
        ([9, 9], 4, [9, 9, 9, 9]),
        ([5, 6, 5, 6], 5, [5, 6, 5, 6, 5]),
        ([1, 2, 3, 1], 7, [2, 3, 1, 2, 3, 1, 2]),  # a period of three
        ([0, 0, 1], 3, []),
    ],
)
def test_literals(tokens: list[int], k: int, expected: list[int], level: str) -> None:
    assert PromptLookup(tokens).propose(k) == expected


def test_lengths_of_ngrams(level: str) -> None:
    tokens = [1, 2, 3, 50, 2, 3, 60, 3, 70, 1, 2, 3]
    assert PromptLookup(tokens, max_ngram=1).propose(1) == [70]
    assert PromptLookup(tokens, max_ngram=2).propose(1) == [60]
    assert PromptLookup(tokens, max_ngram=3).propose(1) == [50]
    assert PromptLookup(tokens, max_ngram=9).propose(1) == [50]
    assert PromptLookup(tokens, max_ngram=4, min_ngram=3).propose(1) == [50]
    assert PromptLookup(tokens, max_ngram=4, min_ngram=4).propose(1) == []
    assert PromptLookup([1, 1], max_ngram=2, min_ngram=2).propose(1) == []


def test_the_first_token_counts(level: str) -> None:
    for count in range(2, 200):
        assert PromptLookup([0, *range(1, count), 0]).propose(1) == [1]
        assert PromptLookup([5, 6, *range(10, count + 10), 5, 6], max_ngram=8, min_ngram=2).propose(1) == [10]


@given(FEW, st.integers(1, 12), st.integers(1, 20), st.integers(1, 20))
def test_equals_the_definition(tokens: list[int], k: int, longest: int, shortest: int) -> None:
    shortest = min(shortest, longest)
    expected = guess(tokens, k, longest, shortest)
    for name in cpu.detected():
        with cpu.force(name):
            assert PromptLookup(tokens, max_ngram=longest, min_ngram=shortest).propose(k) == expected


class Growing(RuleBasedStateMachine):
    """Tokens come one by one and many at a time, and are taken back."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: list[int] = []
        self.lookup = PromptLookup(max_ngram=4)

    @rule(token=st.integers(0, 3))
    def append(self, token: int) -> None:
        self.lookup.append(token)
        self.tokens.append(token)

    @rule(tokens=FEW)
    def extend(self, tokens: list[int]) -> None:
        self.lookup.extend(tokens)
        self.tokens += tokens

    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        length = data.draw(st.integers(0, len(self.tokens)))
        self.lookup.truncate(length)
        del self.tokens[length:]

    @invariant()
    def proposes_what_the_tokens_say(self) -> None:
        assert len(self.lookup) == len(self.tokens)
        assert self.lookup.propose(5) == guess(self.tokens, 5, 4, 1)


TestGrowing = Growing.TestCase


def test_long_texts(level: str, rng: np.random.Generator) -> None:
    text = rng.permutation(100_000).astype(np.int32)
    lookup = PromptLookup(text)
    assert lookup.propose(3) == []
    lookup.extend(text[70_000:70_003])
    assert lookup.propose(4) == text[70_003:70_007].tolist()
    lookup.append(int(text[5]))
    assert lookup.propose(2) == text[6:8].tolist()
    lookup.truncate(100_000)
    assert lookup.propose(3) == []


def test_what_can_be_added() -> None:
    expected = [1, 2, 3]
    for more in (expected, tuple(expected), np.array(expected), array.array("i", expected), iter(expected)):
        lookup = PromptLookup([0])
        lookup.extend(more)
        lookup.append(0)
        assert lookup.propose(3) == expected


@pytest.mark.parametrize("bad", [[-1], np.array([-1]), np.array([3, -1], np.int32), [1 << 31], [1.0], None, "1"])
def test_tokens_that_are_refused_change_nothing(bad: Any) -> None:
    lookup = PromptLookup([1, 2, 1])
    with pytest.raises(InvalidParameterError):
        lookup.extend(bad)
    with pytest.raises(InvalidParameterError):
        lookup.append(bad)
    with pytest.raises(InvalidParameterError):
        PromptLookup(bad)
    assert lookup.propose(2) == [2, 1]
    assert len(lookup) == 3


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: PromptLookup(max_ngram=0), "max_ngram"),
        (lambda: PromptLookup(max_ngram=MAX_NGRAM + 1), "max_ngram"),
        (lambda: PromptLookup(max_ngram=2.0), "max_ngram"),  # type: ignore[arg-type]
        (lambda: PromptLookup(max_ngram=3, min_ngram=4), "min_ngram"),
        (lambda: PromptLookup(min_ngram=0), "min_ngram"),
        (lambda: PromptLookup([1]).propose(0), "k"),
        (lambda: PromptLookup([1]).propose((1 << 16) + 1), "k"),
        (lambda: PromptLookup([1]).propose(True), "k"),
        (lambda: PromptLookup([1]).truncate(2), "length"),
        (lambda: PromptLookup([1]).truncate(-1), "length"),
        (lambda: PromptLookup([1]).truncate(10**5000), "length"),
    ],
)
def test_numbers_out_of_range(call: Any, argument: str) -> None:
    with pytest.raises(InvalidParameterError, match="integer in its range") as caught:
        call()
    assert caught.value.details["argument"] == argument


def test_threads_that_share_one() -> None:
    lookup = PromptLookup()

    def grow() -> None:
        for token in range(3000):
            lookup.append(token)
            lookup.propose(4)

    threads = [threading.Thread(target=grow) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lookup) == 12_000


def test_one_guess_may_ask_for_more_than_the_others() -> None:
    lookup = PromptLookup([1, 2, 3, 9, 2, 3], max_ngram=4)
    assert lookup.propose(1) == lookup.propose(1, 2) == lookup.propose(1, min_ngram=None) == [9]
    assert lookup.propose(1, 3) == lookup.propose(1, min_ngram=4) == []
    for wrong in (0, 5, -1, 1.0, "2"):
        with pytest.raises(InvalidParameterError):
            lookup.propose(1, wrong)  # type: ignore[arg-type]
