"""The public module: what it exports, and which texts are kept of some that resemble each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgen import InvalidParameterError, text


def test_names() -> None:
    assert text.levenshtein("kitten", "sitting") == 3
    assert text.similarity("abcd", "abce") == 0.75
    assert text.jaccard("abcd", "abce") == 1 / 3
    assert text.cosine(np.array([3, 4], np.float32), np.array([1, 0], np.float32)) == pytest.approx(0.6)
    assert text.token_overlap([1, 2, 3], [3, 4]) == 0.5
    assert text.common_prefix("abc", "abd") == 2
    assert text.levenshtein_many("ab", ["a", "abc"]).tolist() == [1, 1]
    assert sorted(text.__all__) == text.__all__
    assert all(getattr(text, name).__doc__ for name in text.__all__)


def test_valid_utf8() -> None:
    assert text.valid_utf8("日本語 😀".encode()) is True
    assert text.valid_utf8(b"\xc0\x80") is False
    assert text.valid_utf8("日".encode()[:2]) is False


@pytest.mark.parametrize(
    ("texts", "threshold", "kept"),
    [
        ([], 0.9, []),
        (["a"], 0.9, [0]),
        (["a", "a", "b"], 1, [0, 2]),
        (["", "", "a"], 0.5, [0, 2]),
        (["abcdefghij", "abcdefghiX", "abcdefghXX"], 0.9, [0, 2]),
        (["abcdefghij", "abcdefghiX", "abcdefghXX"], 0.95, [0, 1, 2]),
        (["abcdefghij", "abcdefghiX", "abcdefghXX"], 0.8, [0]),
        ([[1, 2, 3, 4], [1, 2, 3, 5], [7]], 0.75, [0, 2]),
        ([b"ab", b"ab"], 0.9, [0]),
    ],
)
def test_distinct_literals(texts: list[Any], threshold: float, kept: list[int]) -> None:
    assert text.distinct(texts, threshold) == kept
    assert text.distinct(iter(texts), threshold) == kept


@settings(max_examples=100, deadline=None)
@given(
    texts=st.lists(st.text("ab日", max_size=12), max_size=8),
    threshold=st.one_of(st.floats(0.01, 1), st.sampled_from([0.1, 0.3, 1 / 3, 0.7, 0.9])),
)
def test_distinct_is_what_similarity_says(texts: list[str], threshold: float) -> None:
    """To the last bit of the threshold."""
    kept: list[int] = []
    for place, one in enumerate(texts):
        if all(text.similarity(one, texts[other]) < threshold for other in kept):
            kept.append(place)
    assert text.distinct(texts, threshold) == kept


def test_bad_arguments() -> None:
    bad: Any
    for bad in (0, -0.5, 1.5, float("nan"), "0.9", None, True):
        with pytest.raises(InvalidParameterError, match="threshold"):
            text.distinct(["a", "b"], bad)
    with pytest.raises(InvalidParameterError, match="collection"):
        text.distinct("abc")
    with pytest.raises(InvalidParameterError, match="different kinds"):
        text.distinct(["a", b"a"])
    for bad in ([1, 2], [None, None]):
        with pytest.raises(InvalidParameterError, match="not a text"):
            text.distinct(bad)
