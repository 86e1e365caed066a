"""What StopMatcher, StopAutomaton and Match accept, refuse and promise as objects."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import subprocess
import sys
import threading
from array import array
from collections.abc import Iterator
from enum import StrEnum

import numpy as np
import pytest
from typing_extensions import Buffer

from fastgen.automaton import StopAutomaton
from fastgen.errors import FastgenError, InvalidParameterError
from fastgen.stop import Match, StopMatcher


@pytest.mark.parametrize("stops", [[""], "", ["a", ""], [b"a"], [3], [None], ["\ud83d"]])
def test_case_52_unusable_stops_are_refused(stops: list[str]) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        StopMatcher(stops)
    assert caught.value.details["place"] == max(0, len(stops) - 1)


@pytest.mark.parametrize("stops", [3, None, 2.5, object()])
def test_what_is_no_list_of_stops_is_refused(stops: object) -> None:
    with pytest.raises(InvalidParameterError, match="stops must be strings"):
        StopMatcher(stops)


def test_an_error_of_the_callers_iterable_passes_through() -> None:
    def broken() -> Iterator[str]:
        yield "a"
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        StopMatcher(broken())


@pytest.mark.parametrize(
    "text", [3, None, ["a"], "\ud83d", array("i", [97]), np.zeros(3), memoryview(b"abcd").cast("H")]
)
def test_unusable_text_is_refused_and_changes_nothing(text: str) -> None:
    matcher = StopMatcher(["ab"])
    matcher.feed("a")
    with pytest.raises(InvalidParameterError):
        matcher.feed(text)
    assert matcher.feed("b") == Match(b"", True, "ab", 0, 0)


@pytest.mark.parametrize(
    "text", [b"xab", bytearray(b"xab"), memoryview(b"xab"), memoryview(b"_x_a_b")[1::2], np.frombuffer(b"xab", "B")]
)
def test_any_bytes_like_text(text: Buffer) -> None:
    whole = bytes(memoryview(text))
    assert whole == b"xab"
    assert StopMatcher("ab").feed(text) == Match(b"x", True, "ab", 0, 1)


def test_released_memory_is_refused() -> None:
    view = memoryview(b"ab")
    view.release()
    with pytest.raises(InvalidParameterError):
        StopMatcher("ab").feed(view)


def test_which_stop_of_the_list() -> None:
    matcher = StopMatcher(["b", "é", "c", "é"])
    assert matcher.feed("🙂") == Match("🙂".encode(), False)
    assert matcher.feed("aé") == Match(b"a", True, "é", 1, 5)


def test_reset_begins_another_stream() -> None:
    matcher = StopMatcher(["ab"])
    for text in ("xab", "xa"):
        matcher.feed(text)
        matcher.flush()
        matcher.reset()
        assert matcher.held == 0
        assert matcher.feed("b") == Match(b"b", False)
        assert matcher.feed("ab") == Match(b"", True, "ab", 0, 1)
        matcher.reset()


def test_a_match_is_a_value() -> None:
    match = StopMatcher(["b"]).feed("ab")
    assert (match.text, match.stopped, match.stop, match.index, match.offset) == (b"a", True, "b", 0, 1)
    assert repr(match) == "Match(text=b'a', stopped=True, stop='b', index=0, offset=1)"
    assert hash(match) == hash(Match(b"a", True, "b", 0, 1))
    assert match != Match(b"a", True, "b", 1, 1)
    assert match != (b"a", True, "b")
    with pytest.raises(TypeError):
        match.__init__(b"other", False)  # type: ignore[misc]
    with pytest.raises(AttributeError):
        match.text = b"other"  # type: ignore[misc]


def test_a_second_thread_is_refused() -> None:
    matcher = StopMatcher("a" * 1000 + "b")
    text = b"a" * 30_000_000  # long enough for the GIL to be dropped
    codes: list[str] = []
    done = threading.Event()

    def other() -> None:
        while not done.is_set():
            try:
                matcher.feed(b"")
            except FastgenError as error:
                codes.append(error.code)
                done.set()

    thread = threading.Thread(target=other)
    thread.start()
    sent = [len(matcher.feed(text).text)]
    while not done.is_set() and len(sent) < 100:
        sent.append(len(matcher.feed(text).text))
    done.set()
    thread.join()
    assert codes == ["concurrent_use"]
    assert sent == [len(text) - 1000] + [len(text)] * (len(sent) - 1)


def test_strings_of_other_classes() -> None:
    class Marker(StrEnum):
        END = "</s>"

    class Odd(str):
        def __hash__(self) -> int:
            raise RuntimeError

        def __eq__(self, other: object) -> bool:
            raise RuntimeError

        def __str__(self) -> str:
            return "other"

    matcher = StopMatcher([Marker.END, Odd("|")])
    assert matcher.stops == ("</s>", "|")
    assert {type(stop) for stop in matcher.stops} == {str}
    assert matcher.feed(Odd("a|")) == Match(b"a", True, "|", 1, 1)


@pytest.mark.parametrize("make", [StopMatcher, StopAutomaton])
def test_there_is_no_object_without_an_automaton(make: type[StopMatcher] | type[StopAutomaton]) -> None:
    with pytest.raises(TypeError):
        make.__new__(make)  # type: ignore[call-arg]
    made = make(["a"])
    for way in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            way(made)


@pytest.mark.parametrize(("rest", "named"), [((True, False), {}), ((True,), {"include": True}), ((), {"included": 1})])
def test_other_arguments_are_refused(rest: tuple[bool, ...], named: dict[str, bool]) -> None:
    with pytest.raises(TypeError):
        StopMatcher(["a"], *rest, **named)


def test_a_match_without_arguments_is_harmless() -> None:
    empty = Match.__new__(Match)
    assert repr(empty) == "Match(text=None, stopped=False, stop=None, index=None, offset=None)"
    assert empty != Match(b"", False)


@pytest.mark.skipif(importlib.util.find_spec("_testcapi") is None, reason="this Python is built without _testcapi")
def test_without_memory_nothing_changes() -> None:
    """Each allocation of a step fails once: the same step then gives what it would have given."""
    code = """
import _testcapi
from fastgen.automaton import StopAutomaton
from fastgen.stop import Match, StopMatcher

matcher, stops, text, failures = StopMatcher(["abcd"]), ["x" * 50, "y" * 50], b"abc" + b"-" * 700, 0
expected = Match(b"abc" + text, False)
for first in range(40):
    matcher.reset()
    matcher.feed(b"abc")
    match = made = None
    _testcapi.set_nomemory(first, first + 1)
    try:
        match = matcher.feed(text)
        made = StopAutomaton(stops)
    except MemoryError:
        failures += 1
    _testcapi.remove_mem_hooks()
    assert (match or matcher.feed(text)) == expected
    assert (made or StopAutomaton(stops)).states == 101
print(failures)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 4
