"""StopMatcher: every cut of a text gives the same text and stop, and nothing is held longer than it must be."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastgen.errors import StreamClosedError
from fastgen.stop import Match, StopMatcher

# Few characters, so that stops do occur, overlap and fall back; é and ê share a first byte, é and ʩ a last one.
ALPHABET = "abéêʩ🙂🙃"
TEXTS = st.text(ALPHABET, max_size=24)
STOPS = st.lists(st.text(ALPHABET, min_size=1, max_size=5), max_size=5)


def search(text: bytes, stops: list[str]) -> tuple[int, str] | None:
    """The definition: the first place where a stop ends, and the longest stop that ends there."""
    for end in range(len(text) + 1):
        if ending := [stop for stop in stops if text[:end].endswith(stop.encode())]:
            return end, max(ending, key=lambda stop: len(stop.encode()))
    return None


def found_by_str_find(text: str, stops: list[str]) -> tuple[str, str | None, int | None]:
    """Return what the definition gives, from one `str.find` for each stop: text, stop, place in the list."""
    ends = [(text.find(stop) + len(stop), -len(stop), place) for place, stop in enumerate(stops) if stop in text]
    if not ends:
        return text, None, None
    end, length, place = min(ends)
    return text[: end + length], stops[place], place


def held(text: bytes, stops: list[str]) -> int:
    """The definition: the length of the longest end of the text that begins a stop without being one."""
    beginnings = {stop.encode()[:size] for stop in stops for size in range(1, len(stop.encode()))}
    return max((size for size in range(1, len(text) + 1) if text[-size:] in beginnings), default=0)


def run(matcher: StopMatcher, pieces: list[str] | list[bytes]) -> tuple[bytes, str | None]:
    text = b""
    for piece in pieces:
        match = matcher.feed(piece)
        text += match.text
        if match.stopped:
            return text + matcher.flush().text, match.stop
    return text + matcher.flush().text, None


def cuts(text: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


@given(text=TEXTS, stops=STOPS, places=st.lists(st.integers(0, 200), max_size=12), include=st.booleans())
@example(text="aab", stops=["aab"], places=[1, 2], include=False)
@example(text="abab🙂", stops=["ababé", "b🙂"], places=[2, 5], include=False)
def test_case_26_every_cut_gives_the_same_text_and_stop(
    text: str, stops: list[str], places: list[int], include: bool
) -> None:
    data = text.encode()
    expected: tuple[bytes, str | None] = (data, None)
    if found := search(data, stops):
        end, stop = found
        expected = (data[: end if include else end - len(stop.encode())], stop)
    assert run(StopMatcher(stops, include=include), cuts(data, places)) == expected
    assert run(StopMatcher(stops, include=include), [bytes([byte]) for byte in data]) == expected
    assert run(StopMatcher(stops, include=include), list(text)) == expected


@given(text=TEXTS, stops=STOPS, places=st.lists(st.integers(0, 200), max_size=12))
def test_the_same_as_str_find_for_each_stop(text: str, stops: list[str], places: list[int]) -> None:
    wanted, stop, index = found_by_str_find(text, stops)
    matcher = StopMatcher(stops)
    seen = b""
    for piece in cuts(text.encode(), places):
        match = matcher.feed(piece)
        seen += match.text
        if match.stopped:
            assert match.offset == len(seen)
            break
    last = matcher.flush()
    assert ((seen + last.text).decode(), last.stop, last.index) == (wanted, stop, index)


@given(text=TEXTS, stops=STOPS, places=st.lists(st.integers(0, 200), max_size=12))
def test_held_back_is_exactly_what_can_begin_a_stop(text: str, stops: list[str], places: list[int]) -> None:
    matcher = StopMatcher(stops)
    fed = sent = b""
    for piece in cuts(text.encode(), places):
        fed += piece
        match = matcher.feed(piece)
        sent += match.text
        if match.stopped:
            return
        assert len(fed) - len(sent) == matcher.held == held(fed, stops)


@given(pieces=st.lists(st.text(ALPHABET, max_size=4), max_size=10), stops=STOPS, include=st.booleans())
@example(pieces=["é"], stops=["ê"], include=False)
@example(pieces=["é", "é", "x"], stops=["éê"], include=False)
def test_whole_characters_in_whole_characters_out(pieces: list[str], stops: list[str], include: bool) -> None:
    matcher = StopMatcher(stops, include=include)
    for piece in pieces:
        match = matcher.feed(piece)
        assert match.text.decode(errors="strict").encode() == match.text
        if match.stopped:
            break
    matcher.flush().text.decode(errors="strict")


def test_case_24_stop_inside_a_token() -> None:
    matcher = StopMatcher(["DE"])
    assert matcher.feed("ABC") == Match(b"ABC", False)
    assert matcher.feed("DEF") == Match(b"", True, "DE", 0, 3)
    for matcher in (StopMatcher(["DE"], include=True), StopMatcher(["DE"], True)):
        assert matcher.feed("ABCDEF") == Match(b"ABCDE", True, "DE", 0, 3)


def test_case_25_prefix_held_then_refuted() -> None:
    matcher = StopMatcher(["</s>"])
    assert matcher.feed("a <") == Match(b"a ", False, None)
    assert matcher.feed("/b> c") == Match(b"</b> c", False, None)
    assert matcher.flush() == Match(b"", False, None)


def test_refuted_prefix_falls_back_to_a_shorter_one() -> None:
    matcher = StopMatcher(["ababc", "bd"])
    assert matcher.feed("abab") == Match(b"", False, None)
    assert matcher.feed("a") == Match(b"ab", False, None)  # "aba" may still become "ababc"
    assert matcher.feed("bd!") == Match(b"aba", True, "bd", 1, 5)


def test_case_27_text_before_the_stream_is_no_part_of_a_match() -> None:
    # The prompt ended with "</"; only the output is fed.
    assert run(StopMatcher(["</s>"]), ["s>"]) == (b"s>", None)


def test_case_28_held_text_is_flushed_at_the_end() -> None:
    matcher = StopMatcher(["TREX"])
    assert matcher.feed("UNO DUE TRE") == Match(b"UNO DUE ", False, None)
    assert matcher.flush() == Match(b"TRE", False, None)
    assert matcher.flush() == Match(b"", False, None)


def test_case_35_text_before_min_tokens_bypasses_the_matcher() -> None:
    # The engine feeds from the token on that may stop: a stop in the earlier text, or one that began there, is none.
    matcher = StopMatcher(["STOP"])
    tokens = ["a STOP", " b ST", "OP c", " STOP d"]
    seen = "".join(tokens[:2]).encode()
    for token in tokens[2:]:
        match = matcher.feed(token)
        seen += match.text
    assert (seen, match.stop) == (b"a STOP b STOP c ", "STOP")


@pytest.mark.parametrize("pieces", [[" END"], [" ", "END"], [" E", "N", "D"], [" EN", "D."]])
def test_case_38_stop_is_found_however_it_is_tokenized(pieces: list[str]) -> None:
    assert run(StopMatcher("END"), pieces) == (b" ", "END")


@pytest.mark.parametrize(
    ("stops", "text", "expected"),
    [
        (["abc", "b"], "abc", (b"a", "b")),  # the earliest completion
        (["b", "abc"], "abc", (b"a", "b")),
        (["c", "abc", "bc"], "abc", (b"", "abc")),  # of one completion the longest
        (["abcd", "bc"], "abcd", (b"a", "bc")),
        (["abcd", "bc"], "abxabce", (b"abxa", "bc")),  # found through the failure link of "abc"
        ([], "abc", (b"abc", None)),
        (["b", "b"], "ab", (b"a", "b")),
        (["\0"], "a\0b", (b"a", "\0")),
        (["aa"], "aaa", (b"", "aa")),
    ],
)
def test_which_stop_wins(stops: list[str], text: str, expected: tuple[bytes, str | None]) -> None:
    assert run(StopMatcher(stops), [text]) == expected
    assert run(StopMatcher(stops), list(text)) == expected


def test_a_chunk_that_begins_no_stop_leaves_at_once() -> None:
    matcher = StopMatcher(["x" * 1000])
    assert matcher.feed("hello") == Match(b"hello", False, None)
    assert matcher.feed("hello x") == Match(b"hello ", False, None)


def test_stop_cut_inside_a_character() -> None:
    matcher = StopMatcher(["🙂!"])
    assert matcher.feed(b"a\xf0\x9f") == Match(b"a", False, None)
    assert matcher.feed(b"\x99\x82") == Match(b"", False, None)
    assert matcher.feed(b"!") == Match(b"", True, "🙂!", 0, 1)


def test_a_plain_string_is_one_stop() -> None:
    assert run(StopMatcher("ab"), ["a-b-ab-"]) == (b"a-b-", "ab")


def test_nothing_after_the_end() -> None:
    stopped = StopMatcher(["b"])
    assert stopped.feed("abc") == Match(b"a", True, "b", 0, 1)
    with pytest.raises(StreamClosedError) as caught:
        stopped.feed("d")
    assert caught.value.code == "stream_closed"
    assert stopped.flush() == Match(b"", True, "b", 0, 1)
    flushed = StopMatcher(["b"])
    flushed.flush()
    with pytest.raises(StreamClosedError):
        flushed.feed("d")
