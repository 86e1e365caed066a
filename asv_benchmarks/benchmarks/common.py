"""What all benchmarks share: data sets, peers, and ratios that are measured side by side.

Data sets are append only: a published figure belongs to the data it was measured on, so what exists here never changes.
A peer that is not installed skips its benchmarks and never changes a list of parameters.
"""

from __future__ import annotations

import functools
import importlib
import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgen import cpu

VOCABULARIES = [49_152, 128_256]  # SmolLM2, Llama 3
ROWS = ["random", "flat", "peaked"]
LEVELS = ["scalar", "avx2", "avx512", "neon"]


class Bench:
    """Settings of every benchmark that is timed."""

    timer = perf_counter
    rounds = 4
    sample_time = 0.05
    version = "1"

    def teardown(self, *_: Any) -> None:
        cpu.force(cpu.detected()[-1])


@functools.cache
def logits(kind: str, vocab: int) -> NDArray[np.float32]:
    """Return a row of float32 logits.

    Parameters
    ----------
    kind : {"random", "flat", "peaked"}
        Normal with sigma 2; normal with sigma 1; like a language model's: one of fifty candidates has 0.6 of the
        probability, and the whole rest, normal with sigma 2, about 0.01.
    vocab : int
    """
    return draw_row(np.random.default_rng(vocab), kind, vocab)


@functools.cache
def logits_rows(kind: str, vocab: int, rows: int) -> NDArray[np.float32]:
    """Return different rows of one kind of `logits`."""
    return np.stack([draw_row(np.random.default_rng((vocab, row)), kind, vocab) for row in range(rows)])


def draw_row(rng: np.random.Generator, kind: str, vocab: int) -> NDArray[np.float32]:
    row = rng.normal(0, 1 if kind == "flat" else 2, vocab)
    if kind == "peaked":
        row[rng.choice(vocab, 50, replace=False)] = 18 - 2 * np.log(np.arange(1, 51))
    return row.astype(np.float32)


@functools.cache
def history(kind: str, length: int, vocab: int) -> NDArray[np.int64]:
    """Return the tokens of a text.

    Parameters
    ----------
    kind : {"random", "repetitive"}
        Any token anywhere; the same, but every 256 tokens, and at the end, come the same 32.
    length, vocab : int
    """
    rng = np.random.default_rng((length, vocab))
    tokens = rng.integers(0, vocab, length)
    if kind == "repetitive":
        again = rng.integers(0, vocab, 32)
        for end in range(length, 31, -256):
            tokens[end - 32 : end] = again
    return tokens


@functools.cache
def mostly_allowed(vocab: int) -> NDArray[np.int32]:
    """Return a mask of bits, as grammars make them, that allows about nine tokens of ten."""
    bits = np.random.default_rng(vocab).random((vocab + 31) // 32 * 32) < 0.9
    return np.packbits(bits, bitorder="little").view(np.int32)


class Peer(NamedTuple):
    """Something to measure: a call, and the SIMD level that fastgen has meanwhile."""

    call: Callable[[], Any]
    level: str


def level_of(impl: str) -> str:
    """Return the SIMD level that ``fastgen-<level>`` names; the best there is for anything else."""
    level = impl.removeprefix("fastgen-") if impl.startswith("fastgen-") else cpu.detected()[-1]
    if level not in cpu.detected():
        raise NotImplementedError(f"this machine has no {level}")
    return level


def package(name: str) -> Any:
    """Import a peer, or skip."""
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise NotImplementedError(f"{name} is not installed") from error
    if name == "torch":
        module.set_num_threads(1)
    return module


def demo_file() -> Path:
    """Return the demo model's file, or skip."""
    from fastgen import ModelNotFoundError
    from fastgen.models.checkpoint import locate

    try:
        return locate("demo")
    except ModelNotFoundError as error:
        raise NotImplementedError("the demo model is not installed") from error


def seconds_of(peer: Peer, calls: int) -> float:
    """Return the time of one call, measured over `calls` of them."""
    cpu.force(peer.level)
    call = peer.call
    began = perf_counter()
    for _ in range(calls):
        call()
    return (perf_counter() - began) / calls


def calls_for(peer: Peer, seconds: float) -> int:
    """Return how many calls last about `seconds`; warms up on the way."""
    seconds_of(peer, 1)
    return max(1, round(seconds / max(seconds_of(peer, 1), 1e-9)))


class UnsupportedError(NotImplementedError):
    """A peer that is installed has no such sampler."""


class Pair(NamedTuple):
    """Two things measured in turns."""

    ours: float  # median seconds of a call
    theirs: float
    ratio: float  # median over the pairs of theirs / ours: a disturbance hits both sides of a pair, or one pair


def paired(ours: Peer, theirs: Peer, *, pairs: int = 15, seconds: float = 0.02) -> Pair:
    """Measure two peers in one process, in turns, each turn about `seconds` long."""
    try:
        counts = [calls_for(peer, seconds) for peer in (ours, theirs)]
        times = [(seconds_of(ours, counts[0]), seconds_of(theirs, counts[1])) for _ in range(pairs)]
    finally:
        cpu.force(cpu.detected()[-1])
    first, second = zip(*times, strict=True)
    return Pair(
        statistics.median(first),
        statistics.median(second),
        statistics.median(their_time / our_time for our_time, their_time in times),
    )


class Figure(NamedTuple):
    """A row for `figures.py`: what is measured against which peer, and by what the ratio is judged."""

    what: str
    peer: str
    pair: Pair
    unit: str = "x"  # "x": how many times faster ours is; "passes" and "cost": how many of theirs ours takes
    target: float | None = None

    @property
    def value(self) -> float:
        return self.pair.ratio if self.unit == "x" else 1 / self.pair.ratio

    @property
    def missed(self) -> bool:
        """Whether there is a target that is not met."""
        return self.target is not None and (self.value < self.target if self.unit == "x" else self.value > self.target)
