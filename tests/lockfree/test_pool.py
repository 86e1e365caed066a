"""BlockPool: every block once, from any thread, and back when a thread ends."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import random
import sys
import threading
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgen.errors import InvalidParameterError
from fastgen.lockfree.pool import BlockHandle, BlockPool


def drained(pool: BlockPool) -> list[int]:
    """Return all blocks that can be taken now, and give them back."""
    with pool.handle() as handle:
        found: list[int] = []
        while (block := handle.acquire()) is not None:
            found.append(block)
        for block in found:
            handle.release(block)
    return found


class TestBlocks:
    def test_the_one_given_last_comes_first(self) -> None:
        pool = BlockPool(5, cache=4)
        taken = [pool.acquire() for _ in range(5)]
        assert taken == [1, 0, 3, 2, 4]
        assert pool.acquire() is None
        assert pool.lent == 5
        pool.release(3)
        pool.release(0)
        assert [pool.acquire(), pool.acquire(), pool.acquire()] == [0, 3, None]

    @pytest.mark.parametrize(
        "arguments",
        [
            {"capacity": 0},
            {"capacity": -1},
            {"capacity": (1 << 31) + 1},
            {"capacity": 1 << 200},
            {"capacity": "8"},
            {"capacity": True},
            {"capacity": 8, "cache": 3},
            {"capacity": 8, "cache": 0},
            {"capacity": 8, "handles": 0},
        ],
    )
    def test_arguments(self, arguments: dict[str, int]) -> None:
        with pytest.raises(InvalidParameterError):
            BlockPool(**arguments)

    @pytest.mark.parametrize("block", [-1, 4, 1 << 70, "0", None, 0.0, True])
    def test_what_is_no_block(self, block: int) -> None:
        pool = BlockPool(4)
        with pytest.raises(InvalidParameterError):
            pool.release(block)

    def test_a_block_is_given_once(self) -> None:
        pool = BlockPool(4)
        block = pool.acquire()
        assert block is not None
        pool.release(block)
        with pytest.raises(InvalidParameterError, match="given back already"):
            pool.release(block)
        assert sorted(drained(BlockPool(4))) == [0, 1, 2, 3]

    @given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=200), st.sampled_from([2, 4, 64]))
    def test_it_is_a_set(self, steps: list[tuple[int, bool]], cache: int) -> None:
        pool = BlockPool(9, cache=cache, handles=2)
        handles = [pool.handle() for _ in range(4)]  # two of them without a cache
        taken: list[int] = []
        for number, take in steps:
            if take:
                block = handles[number].acquire()
                if block is not None:
                    assert block not in taken
                    taken.append(block)
            elif taken:
                handles[number].release(taken.pop(0))
            assert pool.lent == len(taken)
        for block in taken:
            handles[0].release(block)
        del handles
        assert sorted(drained(pool)) == list(range(9))


class TestHandles:
    def test_what_a_cache_holds_comes_back(self) -> None:
        pool = BlockPool(8, cache=8, handles=2)
        first, second = pool.handle(), pool.handle()
        block = first.acquire()
        assert block is not None
        assert len([second.acquire() for _ in range(5)]) == 5
        assert second.acquire() is None  # three idle ones are in the other cache
        first.close()
        assert second.acquire() is not None
        first.release(block)  # works without a cache
        assert second.acquire() is not None

    def test_recall(self) -> None:
        pool = BlockPool(4, cache=4, handles=2)
        first, second = pool.handle(), pool.handle()
        held = first.acquire()
        assert held is not None
        pool.recall()
        first.release(held)
        assert len([block for _ in range(4) if (block := second.acquire()) is not None]) >= 3

    def test_more_handles_than_there_are(self) -> None:
        pool = BlockPool(64, handles=1)
        handles = [pool.handle() for _ in range(5)]
        blocks = [handle.acquire() for handle in handles for _ in range(4)]
        assert len(set(blocks)) == 20
        assert None not in blocks

    def test_the_pool_goes_although_a_thread_has_a_handle(self) -> None:
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(20):
                BlockPool(1 << 16).acquire()
            assert tracemalloc.get_traced_memory()[0] - before < 1 << 18  # one has 9 bytes for each block
        finally:
            tracemalloc.stop()

    def test_made_without_a_pool(self) -> None:
        with pytest.raises(TypeError):
            BlockHandle(None)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            BlockHandle.__new__(BlockHandle)

    @pytest.mark.parametrize("make", [lambda: BlockPool(4), lambda: BlockPool(4).handle()])
    def test_no_copies(self, make: object) -> None:
        for act in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError):
                act(make())  # type: ignore[operator]


class TestThreads:
    @pytest.mark.parametrize("cache", [2, 64])
    def test_each_block_has_one_owner(self, cache: int) -> None:
        pool = BlockPool(100, cache=cache, handles=3)
        owners: list[object] = [None] * 100
        faults: list[str] = []
        barrier = threading.Barrier(6)

        def work(number: int) -> None:
            rng = random.Random(number)
            held: list[int] = []
            barrier.wait()
            for _ in range(2000):
                if rng.random() < 0.5 and len(held) < 15:
                    block = pool.acquire()
                    if block is None:
                        continue
                    if owners[block] is not None:
                        faults.append(f"{block} has two owners")
                    owners[block] = number
                    held.append(block)
                elif held:
                    block = held.pop(rng.randrange(len(held)))
                    owners[block] = None
                    pool.release(block)
            for block in held:
                owners[block] = None
                pool.release(block)

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
        assert faults == []
        assert pool.lent == 0
        assert sorted(drained(pool)) == list(range(100))  # the caches of the dead threads are empty

    def test_many_short_threads(self) -> None:
        pool = BlockPool(10, cache=4, handles=2)
        for _ in range(500):
            thread = threading.Thread(target=lambda: pool.release(pool.acquire() or 0))
            thread.start()
            thread.join()
        gc.collect()
        assert pool.lent == 0
        assert sorted(drained(pool)) == list(range(10))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_a_child_goes_on(self) -> None:
        pool = BlockPool(10, cache=4)
        block = pool.acquire()
        assert block is not None
        child = os.fork()
        if child == 0:
            pool.release(block)
            os._exit(0 if sorted(drained(pool)) != [] and pool.lent == 0 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert pool.lent == 1
