"""Texts: edit distance of pairs and of one against many, shingles; on each SIMD level, against rapidfuzz and Python."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from typing import Any

from fastgen import cpu
from fastgen.kernels import similarity

from ..common import LEVELS, Bench, Figure, Peer, level_of, package, paired

LETTERS = "abcdefghijklmnopqrstuvwxyz ,."
IMPLS = [f"fastgen-{level}" for level in LEVELS]


@functools.cache
def pair(kind: str, length: int) -> tuple[str, str]:
    """Return two texts: unlike each other, or the second with 5 % of the letters of the first replaced."""
    draw = random.Random(length)
    a = draw.choices(LETTERS, k=length)
    if kind == "unlike":
        return "".join(a), "".join(draw.choices(LETTERS, k=length))
    b = list(a)
    for place in draw.sample(range(length), max(1, length // 20)):
        b[place] = draw.choice(LETTERS)
    return "".join(a), "".join(b)


@functools.cache
def many(shortest: int, longest: int) -> tuple[str, list[str]]:
    """Return a text and 1,000 others, of lengths in a range."""
    draw = random.Random(longest)
    texts = ["".join(draw.choices(LETTERS, k=draw.randint(shortest, longest))) for _ in range(1000)]
    return "".join(draw.choices(LETTERS, k=(shortest + longest) // 2)), texts


def with_sets(a: str, b: str, n: int) -> float:
    """Return the Jaccard index as Python's sets give it."""
    first, second = ({text[i : i + n] for i in range(len(text) - n + 1)} for text in (a, b))
    return len(first & second) / len(first | second)


class Levenshtein(Bench):
    """Two texts of equal length."""

    param_names = ("impl", "kind", "length")
    params = (["rapidfuzz", *IMPLS], ["unlike", "alike"], [16, 64, 128, 256, 512, 1024, 4096])

    def setup(self, impl: str, kind: str, length: int) -> None:
        self.pair = pair(kind, length)
        self.distance: Callable[[str, str], int] = similarity.levenshtein
        if impl == "rapidfuzz":
            self.distance = package("rapidfuzz.distance").Levenshtein.distance
        cpu.force(level_of(impl))

    def time_distance(self, impl: str, kind: str, length: int) -> None:
        self.distance(*self.pair)


class LevenshteinMany(Bench):
    """One text against 1,000."""

    param_names = ("impl", "lengths")
    params = (["rapidfuzz", *IMPLS], ["8-16", "20-32", "40-64", "64-64", "200-256"])

    def setup(self, impl: str, lengths: str) -> None:
        text, texts = many(*map(int, lengths.split("-")))
        self.distances: Callable[[], Any] = lambda: similarity.levenshtein_many(text, texts)
        if impl == "rapidfuzz":  # its fastest form: SIMD is used across the queries
            process, scorer = package("rapidfuzz.process"), package("rapidfuzz.distance").Levenshtein.distance
            self.distances = lambda: process.cdist(texts, [text], scorer=scorer)
        cpu.force(level_of(impl))

    def time_distances(self, impl: str, lengths: str) -> None:
        self.distances()


class Jaccard(Bench):
    """Sets of trigrams, and of 9-grams."""

    param_names = ("impl", "n", "length")
    params = (["python", "fastgen"], [3, 9], [100, 1000, 10_000])

    def setup(self, impl: str, n: int, length: int) -> None:
        self.pair = pair("alike", length)
        self.index: Callable[[str, str, int], float] = with_sets if impl == "python" else similarity.jaccard

    def time_index(self, impl: str, n: int, length: int) -> None:
        self.index(*self.pair, n)


def figures() -> Iterator[Figure]:
    """Yield distances and shingles against rapidfuzz and Python, with the targets."""
    level = level_of("fastgen")
    impls = (f"fastgen-{level}", "rapidfuzz")
    for length in (64, 256, 1024, 4096):
        calls = []
        for impl in impls:
            one = Levenshtein()
            one.setup(impl, "unlike", length)
            calls.append(Peer(lambda one=one: one.distance(*one.pair), level))
        yield Figure(f"edit distance, {length:,} characters", "rapidfuzz", paired(*calls), target=1.0)
    for lengths in ("20-32", "200-256"):
        calls = []
        for impl in impls:
            one_to_many = LevenshteinMany()
            one_to_many.setup(impl, lengths)
            calls.append(Peer(one_to_many.distances, level))
        yield Figure(f"edit distance, one to 1,000 of {lengths}", "rapidfuzz", paired(*calls), target=3.0)
    for length in (100, 10_000):
        calls = []
        for impl in ("fastgen", "python"):
            sets = Jaccard()
            sets.setup(impl, 3, length)
            calls.append(Peer(lambda sets=sets: sets.index(*sets.pair, 3), level))
        yield Figure(f"trigrams in common, {length:,} characters", "Python's sets", paired(*calls), target=10.0)
