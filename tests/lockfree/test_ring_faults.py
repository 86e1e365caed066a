"""Ring after a fork and without memory."""

from __future__ import annotations

import os

import numpy as np
import pytest

from fastgen.errors import ForkedError
from fastgen.lockfree.ring import Ring


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_child_is_told() -> None:
    ring = Ring(4)
    ring.push(1)
    child = os.fork()
    if not child:
        calls = [ring.pop, ring.pop_many, ring.close, lambda: ring.push(1), lambda: ring.push_many([1])]
        calls += [lambda: len(ring), lambda: ring.closed, lambda: ring.pop_into(np.zeros(1, np.int64))]
        refused = 0
        for call in calls:
            try:
                call()
            except ForkedError:
                refused += 1
        fresh = Ring(2)
        os._exit(0 if refused == len(calls) and fresh.push(1) and fresh.pop() == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ring.pop() == 1


def test_memory_that_runs_out_loses_nothing() -> None:
    """Each allocation of a push of many, and of pops, fails once."""
    testcapi = pytest.importorskip("_testcapi")
    values, failed, partial = list(range(10_000, 10_100)), 0, 0
    for start in range(110):
        ring = Ring(128)
        ring.push_many(values)
        ring.pop_many()  # the next values lie at both ends of the memory
        pushed, popped = 0, []
        for call in (lambda: ring.push_many(values), ring.pop_many, ring.pop):  # noqa: B023
            testcapi.set_nomemory(start, start + 1)
            try:
                result = call()
            except MemoryError:
                failed += 1
                continue
            finally:
                testcapi.remove_mem_hooks()
            if isinstance(result, list):
                popped += result
                partial += len(result) < len(values)
            elif result == len(values):
                pushed = result
            elif result is not None:
                popped.append(result)
        if not pushed:
            assert len(ring) == 0
            continue
        assert popped + ring.pop_many() == values
    assert failed >= 3
    assert partial > 90
