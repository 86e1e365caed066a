"""Reading and publishing the latest version of an object, against a lock around a reference."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from fastgen.lockfree.snapshot import Snapshot

from ..common import Bench, Figure, Peer, level_of, paired


class Locked:
    """A reference, and a lock that whoever reads or writes it takes."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.value: object = 0

    def get(self) -> object:
        with self.lock:
            return self.value

    def publish(self, value: object) -> None:
        with self.lock:
            self.value = value


def call(impl: str, what: str) -> Callable[[], Any]:
    """Return a function that reads or publishes once."""
    thing: Any = Snapshot(0) if impl.startswith("fastgen") else Locked()
    if what == "publish":
        return lambda: thing.publish(1)
    return thing.reader().get if impl == "fastgen, kept by a reader" else thing.get


class Versions(Bench):
    param_names = ("impl", "what")
    params = (["fastgen", "fastgen, kept by a reader", "lock"], ["read", "publish"])

    def setup(self, impl: str, what: str) -> None:
        self.call = call(impl, what)

    def time_version(self, impl: str, what: str) -> None:
        self.call()


def figures() -> Iterator[Figure]:
    """Yield what is measured for the figures of the README."""
    ours, theirs = (Peer(call(impl, "read"), level_of("fastgen")) for impl in ("fastgen", "lock"))
    yield Figure("the latest version read", "a lock", paired(ours, theirs))
