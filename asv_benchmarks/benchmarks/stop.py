"""Stop strings: streams of short pieces, a whole megabyte, and compiling; against what engines do.

Peers: ``str.find`` searches each stop in the new end of the text, as vLLM does; ``re`` looks for all of them there;
``pyahocorasick`` is an automaton in C that finds matches in a stream but does not say what must be held back.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastgen import cpu
from fastgen.automaton import StopAutomaton
from fastgen.stop import StopMatcher

from .common import LEVELS, Bench, Figure, Peer, level_of, package, paired

CHAT = ["</s>", "<|im_end|>", "\n\nUser:", "\n\n"]
STOPS = ["one", "chat", "thousand-alike", "thousand-words"]
PEERS = ["str.find", "re", "pyahocorasick"]
MEGABYTE = 1_000_000
WORDS = [
    "the",
    "of",
    "and",
    "it",
    "was",
    "in",
    "best",
    "worst",
    "wisdom,",
    "season",
    "light",
    "before",
    "everything",
    "direct",
    "period.",
    "We",
]


@functools.cache
def stops_of(kind: str) -> list[str]:
    """Return stops.

    Parameters
    ----------
    kind : {"one", "chat", "thousand-alike", "thousand-words"}
        ``</s>``; four that chats use; a thousand with a beginning in common that the text has nowhere; a thousand of
        ten random letters, so that a stop may begin at every letter of the text.
    """
    letters = np.random.default_rng(1).integers(ord("a"), ord("z") + 1, (1000, 10))
    return {
        "one": ["</s>"],
        "chat": CHAT,
        "thousand-alike": [f"<stop {number}>" for number in range(1000)],
        "thousand-words": ["".join(map(chr, word)) for word in letters],
    }[kind]


@functools.cache
def prose(size: int) -> str:
    """Return random words that none of the stops occurs in."""
    chosen = np.random.default_rng(2).choice(WORDS, size // 4 + 1)
    return " ".join(chosen)[:size]


@functools.cache
def pieces(size: int, each: int) -> list[str]:
    text = prose(size)
    return [text[start : start + each] for start in range(0, size, each)]


def stream(impl: str, stops: list[str], texts: list[str]) -> Callable[[], object]:
    """Return a call that searches a stream of texts."""
    if impl == "str.find":
        return lambda: find_each(stops, texts)
    if impl == "re":
        pattern = re.compile("|".join(re.escape(stop) for stop in sorted(stops, key=len, reverse=True)))
        return lambda: find_pattern(pattern, max(map(len, stops)), texts)
    if impl == "pyahocorasick":
        return functools.partial(iterate, automaton_of_pyahocorasick(stops), texts)
    cpu.force(level_of(impl))
    return functools.partial(feed, StopAutomaton(stops), texts)


def feed(automaton: StopAutomaton, texts: list[str]) -> None:
    matcher = StopMatcher(automaton)
    for text in texts:
        if matcher.feed(text).stopped:
            raise AssertionError


def find_each(stops: list[str], texts: list[str]) -> None:
    seen = ""
    for text in texts:
        seen += text
        for stop in stops:
            if seen.find(stop, max(0, 1 + len(seen) - len(text) - len(stop))) >= 0:
                raise AssertionError


def find_pattern(pattern: re.Pattern[str], longest: int, texts: list[str]) -> None:
    end = ""
    for text in texts:
        end = end[1 - longest :] + text if longest > 1 else text
        if pattern.search(end):
            raise AssertionError


def automaton_of_pyahocorasick(stops: list[str]) -> Any:
    automaton = package("ahocorasick").Automaton()
    for place, stop in enumerate(stops):
        automaton.add_word(stop, place)
    automaton.make_automaton()
    return automaton


def iterate(automaton: Any, texts: list[str]) -> None:
    matches = automaton.iter("")
    for text in texts:
        matches.set(text)
        for _ in matches:
            raise AssertionError


class Stream(Bench):
    """Two thousand pieces of four characters, the size of a token."""

    param_names = ("impl", "stops")
    params = ([*PEERS, *(f"fastgen-{level}" for level in LEVELS)], STOPS)

    def setup(self, impl: str, kind: str) -> None:
        if impl == "str.find" and kind.startswith("thousand"):
            raise NotImplementedError("takes seconds")
        self.call = stream(impl, stops_of(kind), pieces(8000, 4))

    def time_stream(self, impl: str, kind: str) -> None:
        self.call()


class Megabyte(Bench):
    """A text of a megabyte in one piece."""

    param_names = ("impl", "stops")
    params = Stream.params

    def setup(self, impl: str, kind: str) -> None:
        if impl == "re" and kind.startswith("thousand"):
            raise NotImplementedError("takes seconds")
        self.call = stream(impl, stops_of(kind), pieces(MEGABYTE, MEGABYTE))

    def time_megabyte(self, impl: str, kind: str) -> None:
        self.call()


class Compile(Bench):
    """Stops that were not compiled before, and those that were."""

    param_names = ("impl", "stops")
    params = (["re", "pyahocorasick", "fastgen", "fastgen, cached"], STOPS)

    def setup(self, impl: str, kind: str) -> None:
        stops = stops_of(kind)
        if impl == "re":
            self.call: Callable[[], object] = lambda: (re.purge(), re.compile("|".join(map(re.escape, stops))))
        elif impl == "pyahocorasick":
            package("ahocorasick")
            self.call = lambda: automaton_of_pyahocorasick(stops)
        else:
            self.call = (lambda: StopAutomaton(stops)) if impl == "fastgen" else (lambda: StopMatcher(stops))

    def time_compile(self, impl: str, kind: str) -> None:
        self.call()


def figures() -> Iterator[Figure]:
    """Yield streams of pieces against what engines do, a thousand stops against one, and compiling."""
    level = level_of("fastgen")

    def searching(impl: str, kind: str, size: int, each: int) -> Peer:
        return Peer(stream(impl, stops_of(kind), pieces(size, each)), level)

    for peer in ("str.find", "re"):
        pair = paired(searching("fastgen", "chat", 8000, 4), searching(peer, "chat", 8000, 4))
        yield Figure("2,000 pieces of 4 characters, 4 stop strings", peer, pair)
    for what, size, each in (("2,000 pieces of 4 characters", 8000, 4), ("1 MB in one piece", MEGABYTE, MEGABYTE)):
        for kind, name in (("thousand-alike", "alike"), ("thousand-words", "random words")):
            pair = paired(searching("fastgen", kind, size, each), searching("fastgen", "one", size, each))
            yield Figure(f"{what}, 1,000 stop strings, {name}", "one stop string", pair, "cost", 2.0)
    stops = stops_of("thousand-words")
    pattern = "|".join(map(re.escape, stops))
    compiling = Peer(lambda: StopAutomaton(stops), level)
    yield Figure(
        "compiling 1,000 stop strings", "re", paired(compiling, Peer(lambda: (re.purge(), re.compile(pattern)), level))
    )
