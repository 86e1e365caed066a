"""Queue: objects pushed and popped in turns by one thread, against the standard library's queues.

The C functions without Python are timed by tests/native/lockfree_queue.c.
"""

from __future__ import annotations

import queue as standard
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from fastgen.lockfree.queue import Queue

from ..common import Bench, Figure, Peer, level_of, paired

BATCHES = [1, 16, 256]
TURNS = 4096
IMPLS = ["queue.Queue", "SimpleQueue", "deque", "unbounded, one by one", "bounded, one by one", "unbounded", "bounded"]


def mover(impl: str, batch: int) -> Callable[[], Any]:
    """Return a call that moves `TURNS` objects, `batch` in, then `batch` out."""
    turns, items = range(TURNS // batch), [object() for _ in range(batch)]
    if impl in ("unbounded", "bounded"):
        ours = Queue(None if impl == "unbounded" else 256)
        push, pop = ours.push_many, ours.pop_many

        def many() -> None:
            for _ in turns:
                push(items)
                pop()

        return many
    put: Callable[[Any], Any]
    get: Callable[[], Any]
    if impl == "deque":
        plain: deque[Any] = deque()
        put, get = plain.append, plain.popleft
    elif impl in ("queue.Queue", "SimpleQueue"):
        theirs = standard.Queue[Any]() if impl == "queue.Queue" else standard.SimpleQueue[Any]()
        put, get = theirs.put, theirs.get
    else:
        ours = Queue(None if impl.startswith("unbounded") else 256)
        put, get = ours.push, ours.pop

    def one_by_one() -> None:
        for _ in turns:
            for item in items:
                put(item)
            [get() for _ in items]

    return one_by_one


class Move(Bench):
    """4,096 objects in and out of a queue, so many at a time."""

    param_names = ("impl", "batch")
    params = (IMPLS, BATCHES)

    def setup(self, impl: str, batch: int) -> None:
        self.call = mover(impl, batch)

    def time_move(self, impl: str, batch: int) -> None:
        self.call()


def figures() -> Iterator[Figure]:
    """Yield the time of 4,096 objects, one by one and in batches."""
    level = level_of("fastgen")
    for kind in ("unbounded", "bounded"):
        for batch in (1, 16, 256):
            impl = f"{kind}, one by one" if batch == 1 else kind
            how = "one by one" if batch == 1 else f"{batch} at a time"
            for other in ("SimpleQueue", "queue.Queue"):
                pair = paired(Peer(mover(impl, batch), level), Peer(mover(other, batch), level))
                yield Figure(f"4,096 objects through a queue, {kind}, {how}", other, pair)
