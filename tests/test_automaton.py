"""StopAutomaton: any number of stops, their memory, and the cache that streams share them from."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgen import automaton as module
from fastgen.automaton import StopAutomaton
from fastgen.errors import InvalidParameterError
from fastgen.stop import Match, StopMatcher

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(autouse=True)
def fresh_cache() -> Iterator[None]:
    module.cache_clear()
    yield
    module.cache_clear()


def words(count: int, size: int) -> list[str]:
    return ["".join(random.choices(LETTERS, k=size)) for _ in range(count)]


def first_end(text: bytes, stops: list[str]) -> tuple[int, int]:
    """Return where the first stop ends, and its place in the list: the definition, one search for each stop."""
    found = [(text.find(stop.encode()), -len(stop.encode()), place) for place, stop in enumerate(stops)]
    end, _, place = min((start - length, length, place) for start, length, place in found if start >= 0)
    return end, place


def test_case_34_a_thousand_stops_in_a_megabyte(level: str) -> None:
    stops = [f"<stop {number}>" for number in range(1000)]
    text = b"no stop < here, only a beginning <stop 12 of one. " * 20_000
    for pieces in ([text], [text[i : i + 997] for i in range(0, len(text), 997)]):
        matcher = StopMatcher(stops)
        assert b"".join(matcher.feed(piece).text for piece in pieces) == text
        assert matcher.feed("<stop 99") == Match(b"", False)
        assert matcher.feed("9> more") == Match(b"", True, "<stop 999>", 999, len(text))


def test_case_52_ten_thousand_stops(level: str) -> None:
    stops = words(10_000, 7)
    text = f"{words(1, 30_000)[0]}{stops[1234]}{words(1, 100)[0]}".encode()
    end, place = first_end(text, stops)
    matcher = StopMatcher(stops)
    match = matcher.feed(text)
    assert (match.stop, match.index, match.offset) == (stops[place], place, end - 7)
    assert match.text == text[: end - 7]


def test_case_52_a_stop_of_a_megabyte(level: str) -> None:
    long = "ab" * 500_000
    matcher = StopMatcher([long, "</s>"])
    assert matcher.states == 1_000_005
    assert matcher.feed(long[:-1]) == Match(b"", False)
    assert matcher.held == 999_999
    assert matcher.feed("a") == Match(long[:-1].encode(), False)  # refuted: the last "a" may begin another one
    assert matcher.held == 1
    assert matcher.feed("x") == Match(b"ax", False)
    assert matcher.feed("-" + long) == Match(b"-", True, long, 0, 1_000_002)


def test_many_stops_and_a_long_stop() -> None:
    stops = [f"<stop {number}>" for number in range(1000)] + ["y" * 100_000]
    text = b"<stop " * 5000 + b"y" * 99_999
    matcher = StopMatcher(stops)
    assert matcher.feed(text).text == text[:-99_999]
    assert matcher.feed("<stop 999>") == Match(b"y" * 99_999, True, "<stop 999>", 999, len(text))


@pytest.mark.parametrize("power", [1, 2, 7, 300])
def test_periodic_stops(power: int) -> None:
    matcher = StopMatcher("aab" * power + "!")
    text = "aab" * (power + 3)
    sent = b"".join(matcher.feed(letter).text for letter in text)
    assert (sent, matcher.held) == (b"aab" * 3, 3 * power)
    assert matcher.feed("!").offset == 9


def test_states_are_what_a_text_can_reach() -> None:
    assert StopAutomaton([]).states == 1
    assert StopAutomaton("abc").states == 4
    assert StopAutomaton(["abc", "abd", "abc"]).states == 5
    assert StopAutomaton(["a", "abc"]).states == 2  # "a" comes first, always
    assert StopAutomaton(["xabc", "a"]).states == 4  # so nothing follows "xa"
    assert StopAutomaton(["é"]).states == 3


@given(st.lists(st.text("abé🙂", min_size=1, max_size=6), max_size=20))
def test_memory_is_a_formula(stops: list[str]) -> None:
    """As the documentation of `StopAutomaton` says: 9 bytes a byte, 88 a stop, and the table of the root."""
    count, size = len(stops), sum(len(stop.encode()) for stop in stops)
    automaton = StopAutomaton(stops)
    fixed = 256 * 4 + 2 * 3 * 16 + 6 * 8
    branches = max(0, count - 1)
    rounded = (size + 1 + 7) // 8 * 8
    assert automaton.nbytes == fixed + 8 * (size + 1) + rounded + 72 * branches + 8 * branches + 8 * count
    assert automaton.nbytes <= 1200 + 9 * size + 88 * count
    assert automaton.states <= size + 1
    assert automaton.stops == tuple(stops)


def test_matchers_of_the_same_stops_share_an_automaton() -> None:
    stops = ["</s>", "".join(["<", "|end|>"])]
    first = StopMatcher(stops)
    second = StopMatcher(iter(["</s>", "<|end|>"]), include=True)
    assert first.automaton is second.automaton is StopAutomaton.compile(tuple(stops))
    assert StopMatcher(first.automaton).automaton is first.automaton
    first.feed("<")
    assert (first.held, second.held) == (1, 0)
    assert StopAutomaton(stops) is not first.automaton


def test_another_order_is_another_automaton_for_the_place_differs() -> None:
    assert StopMatcher(["a", "b"]).feed("b").index == 1
    assert StopMatcher(["b", "a"]).feed("b").index == 0


def test_the_cache_is_bounded_in_number_and_forgets_what_was_used_longest_ago() -> None:
    first, second = StopAutomaton.compile("first"), StopAutomaton.compile("second")
    for number in range(62):
        StopAutomaton.compile(f"stop {number}")
    assert StopAutomaton.compile("first") is first
    StopAutomaton.compile("one more")
    assert module.cache_info()["automata"] == 64
    assert StopAutomaton.compile("first") is first
    assert StopAutomaton.compile("second") is not second
    module.cache_clear()
    assert module.cache_info() == {"automata": 0, "nbytes": 0}
    assert StopMatcher(first).feed("first").stop == "first"


def test_the_cache_is_bounded_in_bytes() -> None:
    big = [chr(ord("a") + number) * 400_000 for number in range(8)]
    for stop in big:
        assert StopAutomaton.compile(stop) is StopAutomaton.compile(stop)
        assert module.cache_info()["nbytes"] <= 1 << 24
    assert module.cache_info()["automata"] == 4
    too_big = "z" * 2_000_000
    assert StopAutomaton.compile(too_big) is not StopAutomaton.compile(too_big)
    assert StopAutomaton.compile(big[-1]) is StopAutomaton.compile(big[-1])
    assert module.cache_info()["automata"] == 4


def test_case_52_stops_that_are_too_long_together_are_refused() -> None:
    with pytest.raises(InvalidParameterError) as caught:
        StopAutomaton(["x" * (1 << 20)] * 600)
    assert caught.value.details == {"place": 511, "most": (1 << 29) - 2}


def test_a_stop_that_is_refused_is_not_kept() -> None:
    with pytest.raises(ValueError, match="empty"):
        StopAutomaton.compile(["a", ""])
    assert module.cache_info()["automata"] == 0


def test_threads_share_an_automaton() -> None:
    stops = words(2000, 12)

    def one(number: int) -> tuple[int, Match]:
        matcher = StopMatcher(list(stops))
        match = matcher.feed("x " * 20_000 + stops[number])
        return id(matcher.automaton), match

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(one, range(40)))
    assert len({automaton for automaton, _ in found}) == 1
    assert [match.index for _, match in found] == list(range(40))
