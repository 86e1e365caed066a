"""Queue, bounded and not: literals, a list as the model, references, and what must not crash."""

from __future__ import annotations

import gc
import sys
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgen.errors import InvalidParameterError, StreamClosedError
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
    with pytest.raises(StreamClosedError):
        queue.push(thing)
    with pytest.raises(StreamClosedError):
        queue.push_many([thing])
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
