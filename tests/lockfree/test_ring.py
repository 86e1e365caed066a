"""Ring: literals, a list as the model, threads, and what must not crash."""

from __future__ import annotations

import array
import sys
import threading
import time
from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgen.errors import InvalidParameterError, StreamClosedError
from fastgen.lockfree.ring import MAX_CAPACITY, Ring


def test_smoke() -> None:
    ring = Ring(3)
    assert (ring.capacity, len(ring), ring.closed) == (4, 0, False)
    assert ring.pop() is None
    assert ring.pop_many() == []
    assert ring.push(-1)
    assert ring.push_many([2, 3, 4, 5, 6]) == 3
    assert not ring.push(7)
    assert ring.push_many((8,)) == 0
    assert len(ring) == 4
    assert ring.pop() == -1
    assert ring.pop_many(2) == [2, 3]
    assert ring.push_many(range(10, 12)) == 2
    assert ring.pop_many() == [4, 10, 11]


@pytest.mark.parametrize(("asked", "room"), [(1, 1), (2, 2), (3, 4), (64, 64), (65, 128), (1000, 1024)])
def test_capacity_is_a_power_of_two(asked: int, room: int) -> None:
    ring = Ring(asked)
    assert ring.capacity == room
    assert ring.push_many(list(range(room + 1))) == room
    assert ring.pop_many() == list(range(room))


@pytest.mark.parametrize("value", [-(2**63), -1, 0, 1, 2**31, 2**63 - 1])
def test_all_of_64_bits(value: int) -> None:
    ring = Ring(1)
    assert ring.push(value)
    assert ring.pop() == value
    assert ring.push_many([value]) == 1
    assert ring.pop_many() == [value]


def test_close_refuses_and_what_is_inside_comes_out() -> None:
    ring = Ring(4)
    ring.push_many([1, 2])
    assert ring.close()
    assert not ring.close()
    assert ring.closed
    for push in (lambda: ring.push(3), lambda: ring.push_many([3]), lambda: ring.push_many(np.array([3]))):
        with pytest.raises(StreamClosedError):
            push()
    assert ring.pop() == 1
    assert ring.pop_many() == [2]
    for pop in (ring.pop, ring.pop_many, lambda: ring.pop_into(np.zeros(1, np.int64))):
        with pytest.raises(StreamClosedError):
            pop()


def test_buffers_go_in_and_out() -> None:
    ring = Ring(8)
    assert ring.push_many(np.arange(5)) == 5
    assert ring.push_many(array.array("q", [7, -8])) == 2
    target = np.zeros(4, np.int64)
    assert ring.pop_into(target) == 4
    assert target.tolist() == [0, 1, 2, 3]
    assert ring.pop_many() == [4, 7, -8]
    assert ring.push_many(np.array([1, 2], np.int32)) == 2  # element by element
    assert ring.push_many(np.arange(6)[::-1][:0]) == 0
    assert ring.pop_many() == [1, 2]
    assert ring.pop_into(target[:0]) == 0


def test_a_bad_value_pushes_nothing() -> None:
    ring = Ring(8)
    for values in ([1, "2"], [1, 2.0], [1, None], [1, True], [1, 2**63], [1, -(2**63) - 1]):
        with pytest.raises(InvalidParameterError):
            ring.push_many(values)
        with pytest.raises(InvalidParameterError):
            ring.push(values[1])
    assert len(ring) == 0
    with pytest.raises(TypeError):
        ring.push_many(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("capacity", [0, -1, True, 1.5, "8", None, MAX_CAPACITY + 1, 2**70])
def test_capacities_that_are_refused(capacity: Any) -> None:
    with pytest.raises(InvalidParameterError):
        Ring(capacity)


def test_targets_and_limits_that_are_refused() -> None:
    ring = Ring(8)
    ring.push_many([1, 2])
    for limit in (0, -1, 1.5, "1", 2**70):
        with pytest.raises(InvalidParameterError):
            ring.pop_many(limit)  # type: ignore[arg-type]
    for target in (np.zeros(2, np.int32), np.zeros(2), bytearray(16)):
        with pytest.raises(InvalidParameterError):
            ring.pop_into(target)
    frozen = np.zeros(2, np.int64)
    frozen.flags.writeable = False
    for target in (bytes(8), frozen, np.zeros(4, np.int64)[::2]):
        with pytest.raises((BufferError, ValueError)):
            ring.pop_into(target)
    assert ring.pop_many() == [1, 2]


def test_an_object_without_init_does_not_exist() -> None:
    with pytest.raises(TypeError):
        Ring.__new__(Ring)  # type: ignore[call-arg]


class Sneaky(int):
    """An integer that uses the ring when it is asked for its value."""

    def __int__(self) -> int:
        RINGS[0].push(99)
        VALUES.clear()
        return 5


RINGS: list[Ring] = []
VALUES: list[Any] = []


def test_values_that_run_code() -> None:
    RINGS[:] = [Ring(4)]
    VALUES[:] = [1, Sneaky(2), 3]
    with pytest.raises(IndexError):  # the list became shorter
        RINGS[0].push_many(VALUES)
    assert RINGS[0].pop_many() == [99]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 9),
    st.lists(
        st.one_of(
            st.tuples(st.just("push"), st.integers(-(2**63), 2**63 - 1)),
            st.tuples(st.just("push_many"), st.lists(st.integers(-5, 5), max_size=12)),
            st.tuples(st.just("pop"), st.none()),
            st.tuples(st.just("pop_many"), st.integers(1, 12)),
            st.tuples(st.just("pop_into"), st.integers(0, 12)),
        ),
        max_size=60,
    ),
)
def test_behaves_like_a_bounded_list(capacity: int, program: list[tuple[str, Any]]) -> None:
    ring = Ring(capacity)
    model: deque[int] = deque()
    for name, argument in program:
        room = ring.capacity - len(model)
        if name == "push":
            assert ring.push(argument) == (room > 0)
            model.extend([argument][:room])
        elif name == "push_many":
            assert ring.push_many(argument) == min(room, len(argument))
            model.extend(argument[:room])
        elif name == "pop":
            assert ring.pop() == (model.popleft() if model else None)
        elif name == "pop_many":
            assert ring.pop_many(argument) == [model.popleft() for _ in range(min(argument, len(model)))]
        else:
            target = np.zeros(argument, np.int64)
            expected = [model.popleft() for _ in range(min(argument, len(model)))]
            assert ring.pop_into(target) == len(expected)
            assert target[: len(expected)].tolist() == expected
        assert len(ring) == len(model)


def test_two_threads() -> None:
    ring, count, got = Ring(16), 3000, []

    def produce() -> None:
        sent = 0
        while sent < count:
            pushed = ring.push_many(range(sent, min(sent + 7, count)))
            sent += pushed
            time.sleep(0 if pushed else 1e-5)
        ring.close()

    def consume() -> None:
        try:
            while True:
                popped = ring.pop_many(5)
                got.extend(popped)
                time.sleep(0 if popped else 1e-5)
        except StreamClosedError:
            pass

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=target) for target in (produce, consume)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert got == list(range(count))
