"""Numbers of blocks from Python: taken and given back, against queues that hold the free ones."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from fastgen.lockfree.pool import BlockPool

from ..common import Bench, Figure, Peer, level_of, paired

BLOCKS = 1024
IMPLS = ["fastgen", "SimpleQueue", "Queue", "deque"]


def call(impl: str) -> Callable[[], Any]:
    """Return a function that takes a block and gives it back."""
    if impl == "fastgen":
        handle = BlockPool(BLOCKS).handle()
        acquire, release = handle.acquire, handle.release
        return lambda: release(acquire())  # type: ignore[arg-type]
    if impl == "deque":  # safe under the GIL only, and without a bound that is checked
        free = deque(range(BLOCKS))
        return lambda: free.append(free.pop())
    waiting: Any = getattr(queue, impl)()
    for block in range(BLOCKS):
        waiting.put(block)
    get, put = waiting.get_nowait, waiting.put
    return lambda: put(get())


class Blocks(Bench):
    param_names = ("impl",)
    params = (IMPLS,)

    def setup(self, impl: str) -> None:
        self.call = call(impl)

    def time_block(self, impl: str) -> None:
        self.call()


def figures() -> Iterator[Figure]:
    """Yield what is measured for the figures of the README."""
    for impl in ("Queue", "SimpleQueue"):
        pair = paired(*(Peer(call(one), level_of("fastgen")) for one in ("fastgen", impl)))
        yield Figure("a block number taken and given back", f"queue.{impl}", pair)
