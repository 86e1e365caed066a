"""Ring: integers pushed and popped in turns by one thread, against SimpleQueue and deque.

The C functions without Python are timed by tests/native/lockfree_ring.c.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import numpy as np

from fastgen.lockfree.ring import Ring

from ..common import Bench, Figure, Peer, level_of, paired

BATCHES = [1, 16, 256]
TURNS = 4096  # items that a call of a benchmark moves
IMPLS = ["SimpleQueue", "deque", "fastgen, one by one", "fastgen", "fastgen, buffers"]


def mover(impl: str, batch: int) -> Callable[[], Any]:
    """Return a call that moves `TURNS` integers, `batch` in, then `batch` out."""
    turns, values = range(TURNS // batch), list(range(1000, 1000 + batch))
    if impl in ("SimpleQueue", "deque", "fastgen, one by one"):
        put, get = {
            "SimpleQueue": lambda queue: (queue.put, queue.get),
            "deque": lambda queue: (queue.append, queue.popleft),
            "fastgen, one by one": lambda queue: (queue.push, queue.pop),
        }[impl](SimpleQueue() if impl == "SimpleQueue" else deque() if impl == "deque" else Ring(256))

        def one_by_one() -> None:
            for _ in turns:
                for value in values:
                    put(value)
                [get() for _ in values]

        return one_by_one
    ring = Ring(256)
    push, pop, pop_into = ring.push_many, ring.pop_many, ring.pop_into
    if impl == "fastgen":

        def many() -> None:
            for _ in turns:
                push(values)
                pop()

        return many
    array, target = np.array(values, np.int64), np.zeros(batch, np.int64)

    def buffers() -> None:
        for _ in turns:
            push(array)
            pop_into(target)

    return buffers


class Move(Bench):
    """4,096 integers in and out of a queue, so many at a time."""

    param_names = ("impl", "batch")
    params = (IMPLS, BATCHES)

    def setup(self, impl: str, batch: int) -> None:
        self.call = mover(impl, batch)

    def time_move(self, impl: str, batch: int) -> None:
        self.call()


def figures() -> Iterator[Figure]:
    """Yield the time of 4,096 integers, one by one and in batches."""
    level = level_of("fastgen")
    for batch, impl, target in (
        (1, "fastgen, one by one", None),
        (16, "fastgen", None),
        (256, "fastgen", None),  # half of it is what making 256 integers costs, as ndarray.tolist shows
        (256, "fastgen, buffers", 5.0),
    ):
        for other in ("SimpleQueue", "deque"):
            pair = paired(Peer(mover(impl, batch), level), Peer(mover(other, batch), level))
            how = "one by one" if batch == 1 else f"{batch} at a time{', int64 buffers' if 'buffers' in impl else ''}"
            yield Figure(
                f"4,096 integers through a ring, {how}", other, pair, target=target if other == "SimpleQueue" else None
            )
