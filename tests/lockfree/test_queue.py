"""Queue, bounded and not: literals, a list as the model, references, threads, and what must not crash."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgen.errors import ForkedError, InvalidParameterError, StreamClosedError
from fastgen.lockfree.queue import Queue

KINDS = pytest.mark.parametrize("capacity", [None, 8], ids=["unbounded", "bounded"])


class Thing:
    """Something to hold a weak reference to."""


@KINDS
def test_smoke(capacity: int | None) -> None:
    queue = Queue(capacity)
    assert (queue.capacity, len(queue), queue.closed) == (capacity, 0, False)
    assert queue.pop() is None
    assert queue.pop("nothing") == "nothing"
    assert queue.pop_many() == []
    assert queue.push("a")
    assert queue.push(None)
    assert queue.push_many(iter("bcd")) == 3
    assert len(queue) == 5
    assert queue.pop() == "a"
    assert queue.pop("nothing") is None
    assert queue.pop_many(2) == ["b", "c"]
    assert queue.pop_many() == ["d"]


@pytest.mark.parametrize(("asked", "room"), [(1, 1), (2, 2), (3, 4), (64, 64), (1000, 1024)])
def test_capacity(asked: int, room: int) -> None:
    queue = Queue(asked)
    assert queue.capacity == room
    assert queue.push_many(range(2 * room)) == room
    assert not queue.push(-1)
    assert len(queue) == room
    assert queue.pop_many() == list(range(room))


def test_unbounded_holds_many() -> None:
    queue = Queue()
    assert queue.push_many(range(1000)) == 1000
    assert all(queue.push(number) for number in range(1000, 10_000))
    assert len(queue) == 10_000
    assert queue.pop_many(700) == list(range(700))
    assert [queue.pop() for _ in range(300)] == list(range(700, 1000))
    assert queue.pop_many() == list(range(1000, 10_000))


@KINDS
def test_close_refuses_and_what_is_inside_comes_out(capacity: int | None) -> None:
    queue = Queue(capacity)
    queue.push_many("abc")
    assert queue.close()
    assert not queue.close()
    assert queue.closed
    with pytest.raises(StreamClosedError):
        queue.push("d")
    with pytest.raises(StreamClosedError):
        queue.push_many("de")
    assert queue.push_many([]) == 0
    assert queue.pop() == "a"
    assert queue.pop_many() == ["b", "c"]
    for pop in (queue.pop, queue.pop_many):
        with pytest.raises(StreamClosedError):
            pop()


@KINDS
def test_references(capacity: int | None) -> None:
    queue, thing = Queue(capacity), Thing()
    before = sys.getrefcount(thing)
    assert queue.push(thing)
    assert queue.push_many([thing] * 300) == (300 if capacity is None else 7)
    assert sys.getrefcount(thing) == before + len(queue)
    assert queue.pop() is thing
    assert all(one is thing for one in queue.pop_many())
    assert sys.getrefcount(thing) == before
    queue.push_many([thing] * 5)
    queue.close()
    for push in (lambda: queue.push(thing), lambda: queue.push_many([thing])):
        with pytest.raises(StreamClosedError):
            push()
    assert sys.getrefcount(thing) == before + 5
    del queue
    assert sys.getrefcount(thing) == before


@KINDS
def test_what_is_inside_lives_and_dies_with_the_queue(capacity: int | None) -> None:
    queue = Queue(capacity)
    seen = []
    for _ in range(5):
        thing = Thing()
        seen.append(weakref.ref(thing))
        queue.push(thing)
    del thing
    gc.collect()
    assert all(one() is not None for one in seen)
    del queue
    assert all(one() is None for one in seen)


def test_a_deep_nest_of_queues_can_die() -> None:
    queue = Queue()
    for _ in range(100_000):
        outer = Queue(1)
        outer.push(queue)
        queue = outer
    del queue, outer


@pytest.mark.parametrize("capacity", [0, -1, True, 1.5, "8", 2**70])
def test_capacities_that_are_refused(capacity: Any) -> None:
    with pytest.raises(InvalidParameterError):
        Queue(capacity)


def test_limits_that_are_refused() -> None:
    queue = Queue()
    queue.push(1)
    for limit in (0, -1, 1.5, "1", 2**70):
        with pytest.raises(InvalidParameterError):
            queue.pop_many(limit)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        queue.push_many(5)  # type: ignore[arg-type]
    assert queue.pop_many(2**40) == [1]


@KINDS
def test_an_iterable_that_uses_the_queue_or_fails(capacity: int | None) -> None:
    queue = Queue(capacity)

    def items(fails: bool) -> Iterator[int]:
        queue.push("first")
        yield 1
        if fails:
            raise KeyError
        yield 2

    with pytest.raises(KeyError):
        queue.push_many(items(True))
    assert queue.pop_many() == ["first"]
    assert queue.push_many(items(False)) == 2
    assert queue.pop_many() == ["first", 1, 2]


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.none(), st.integers(1, 9)),
    st.lists(
        st.one_of(
            st.tuples(st.just("push"), st.integers()),
            st.tuples(st.just("push_many"), st.lists(st.integers(), max_size=300)),
            st.tuples(st.just("pop"), st.none()),
            st.tuples(st.just("pop_many"), st.integers(1, 300)),
        ),
        max_size=40,
    ),
)
def test_behaves_like_a_list(capacity: int | None, program: list[tuple[str, Any]]) -> None:
    queue = Queue(capacity)
    model: deque[int] = deque()
    for name, argument in program:
        room = len(argument) if name == "push_many" else 1
        if queue.capacity is not None:
            room = min(room, queue.capacity - len(model))
        if name == "push":
            assert queue.push(argument) == (room > 0)
            model.extend([argument][:room])
        elif name == "push_many":
            assert queue.push_many(argument) == room
            model.extend(argument[:room])
        elif name == "pop":
            assert queue.pop() == (model.popleft() if model else None)
        else:
            assert queue.pop_many(argument) == [model.popleft() for _ in range(min(argument, len(model)))]
        assert len(queue) == len(model)


@KINDS
def test_many_threads(capacity: int | None) -> None:
    queue, producers, each = Queue(capacity), 3, 3000
    got: list[list[tuple[int, int]]] = [[], [], []]
    left = threading.Semaphore(0)

    def produce(number: int) -> None:
        sent = 0
        while sent < each:
            sent += queue.push_many((number, item) for item in range(sent, min(sent + 1 + sent % 5, each)))
        left.release()

    def consume(number: int) -> None:
        try:
            while True:
                got[number] += queue.pop_many(4)
        except StreamClosedError:
            pass

    def close() -> None:
        for _ in range(producers):
            left.acquire()
        queue.close()

    threads = [threading.Thread(target=target, args=(i,)) for target in (produce, consume) for i in range(producers)]
    threads.append(threading.Thread(target=close))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert sorted(item for items in got for item in items) == [(i, j) for i in range(producers) for j in range(each)]
    for items in got:
        for producer in range(producers):
            own = [item for number, item in items if number == producer]
            assert own == sorted(own)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
@KINDS
def test_a_forked_child_is_told(capacity: int | None) -> None:
    queue = Queue(capacity)
    queue.push("a")
    child = os.fork()
    if not child:
        calls = [queue.pop, queue.pop_many, queue.close, lambda: queue.push(1), lambda: queue.push_many([1])]
        calls += [lambda: len(queue), lambda: queue.closed]
        refused = 0
        for call in calls:
            try:
                call()
            except ForkedError:
                refused += 1
        del calls, call, queue
        fresh = Queue(capacity)
        os._exit(0 if refused == 7 and fresh.push(1) and fresh.pop() == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert queue.pop() == "a"


EXIT = """
import threading
from fastgen.lockfree.queue import Queue
from fastgen.lockfree.ring import Ring
queue, ring = Queue(), Ring(8)
def spin():
    while True:
        queue.push_many([object()] * 300), queue.pop_many(), ring.push_many([1, 2]), ring.pop_many()
threads = [threading.Thread(target=spin, daemon=True) for _ in range(3)]
for thread in threads: thread.start()
queue.push(queue)
"""


def test_the_interpreter_can_exit_while_threads_are_inside() -> None:
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", EXIT], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_memory_that_runs_out_loses_nothing() -> None:
    """Each allocation of a push and a pop fails once."""
    testcapi = pytest.importorskip("_testcapi")
    things = [Thing() for _ in range(4)]
    before = [sys.getrefcount(thing) for thing in things]
    failed = 0
    for start in range(12):
        queue = Queue()
        queue.push_many([0] * 127)
        kept = 127
        for thing in things:
            testcapi.set_nomemory(start, start + 1)
            try:
                pushed = queue.push(thing)
            except MemoryError:
                pushed = False
                failed += 1
            finally:
                testcapi.remove_mem_hooks()
            kept += pushed
        testcapi.set_nomemory(start, start + 1)
        try:
            items = queue.pop_many()
        except MemoryError:
            items = []
            failed += 1
        finally:
            testcapi.remove_mem_hooks()
        items += queue.pop_many()
        assert len(items) == kept
        del items, queue
    assert failed
    del thing
    assert [sys.getrefcount(thing) for thing in things] == before
