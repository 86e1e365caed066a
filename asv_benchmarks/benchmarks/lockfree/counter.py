"""Counting and recording from Python, against a lock around an integer and against prometheus_client."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastgen.lockfree.counter import Counter, Rate
from fastgen.lockfree.histogram import Histogram

from ..common import Bench, Figure, Peer, level_of, package, paired

VALUES = np.random.default_rng(1).lognormal(-6, 1, 1024)


def call(impl: str, what: str) -> Callable[[], Any]:
    """Return a function that counts once, records once, or reads a quantile."""
    if impl == "fastgen":
        histogram = Histogram()
        histogram.record_many(VALUES)
        counter, rate = Counter(), Rate(60, 0)
        return {
            "add": counter.add,
            "rate": rate.add,
            "record": lambda: histogram.record(0.00123),
            "record 1024": lambda: histogram.record_many(VALUES),
            "quantile": lambda: histogram.quantile(0.99),
        }[what]
    if impl == "lock":
        lock, count = threading.Lock(), [0]

        def add() -> None:
            with lock:
                count[0] += 1

        if what != "add":
            raise NotImplementedError("a lock and an integer are no histogram")
        return add
    client = package("prometheus_client")
    registry = client.CollectorRegistry()
    if what == "add":
        add_one: Callable[[], Any] = client.Counter("c", "c", registry=registry).inc
        return add_one
    if what != "record":
        raise NotImplementedError("prometheus_client has no such call")
    recorded = client.Histogram("h", "h", registry=registry)
    return lambda: recorded.observe(0.00123)


class Counting(Bench):
    param_names = ("impl", "what")
    params = (["fastgen", "lock", "prometheus_client"], ["add", "rate", "record", "record 1024", "quantile"])

    def setup(self, impl: str, what: str) -> None:
        self.call = call(impl, what)

    def time_counting(self, impl: str, what: str) -> None:
        self.call()


def figures() -> Iterator[Figure]:
    """Yield what is measured for the figures of the README."""
    ours = Peer(call("fastgen", "add"), level_of("fastgen"))
    yield Figure("counter, one added", "a lock", paired(ours, Peer(call("lock", "add"), level_of("fastgen"))))
    for what, text in (("add", "counter, one added"), ("record", "histogram, one value")):
        ours, theirs = (Peer(call(impl, what), level_of("fastgen")) for impl in ("fastgen", "prometheus_client"))
        yield Figure(text, "prometheus_client", paired(ours, theirs))
