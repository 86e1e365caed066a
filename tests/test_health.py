"""The monitor: stalled readers, silent and dead producers, deadlines, by a clock that the tests turn."""

from __future__ import annotations

import threading
import time

import pytest

from fastgen.cancellation import CancellationToken
from fastgen.errors import FastgenError, InvalidParameterError, StreamClosedError
from fastgen.health import Monitor
from fastgen.hub import Hub
from fastgen.streams import TokenStream


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_stalled_reader_is_ended_and_a_slow_one_is_not() -> None:
    clock = Clock()
    monitor = Monitor(stall_seconds=10, clock=clock)
    streams = [TokenStream(hub=Hub(clock=clock)) for _ in range(3)]  # stalled, slow, with nothing to read
    writers = [stream.writer() for stream in streams]
    for writer in writers:
        monitor.watch(writer)
    for token in range(8):
        writers[0].put(token)
        writers[1].put(token)
    for _ in range(6):
        clock.now += 5
        streams[1].read()
        monitor.check()
    assert [writer.finish_detail for writer in writers] == ["slow_consumer", None, None]
    assert monitor.stalled == 1
    assert monitor.checks == 6
    assert len(monitor) == 2
    with pytest.raises(StreamClosedError):
        streams[0].read()
    health = monitor.health(writers[1])
    assert health is not None
    assert (health.age, health.pending, health.reader_idle) == (30.0, 2, 0.0)


def test_a_silent_producer_fails_its_streams_unless_it_is_busy() -> None:
    clock = Clock()
    hub = Hub(clock=clock)
    monitor = Monitor(silent_seconds=10, hub=hub, clock=clock)
    stream = TokenStream(hub=hub)
    writer = stream.writer()
    monitor.watch(writer)
    for _ in range(5):
        clock.now += 6
        hub.flush()
        assert monitor.check() == 0
    clock.now += 6
    assert monitor.check() == 0
    clock.now += 6
    assert monitor.check() == 1
    assert monitor.silent == 1
    with pytest.raises(FastgenError, match="silent"):
        stream.read()


def test_a_dead_thread_is_noticed() -> None:
    stream = TokenStream()
    writer = stream.writer()
    monitor = Monitor()
    thread = threading.Thread(target=writer.put, args=(1, "a"))
    thread.start()
    thread.join()
    monitor.watch(writer, thread=thread)
    assert monitor.check() == 1
    assert stream.read().text == "a"
    with pytest.raises(FastgenError):
        stream.read()


def test_deadlines_are_looked_at_and_dropped_writers_forgotten() -> None:
    now = [0.0]
    token = CancellationToken(timeout=5, clock=lambda: now[0])
    stream, other = TokenStream(token=token), TokenStream()
    writer, gone = stream.writer(), other.writer()
    monitor = Monitor()
    monitor.watch(writer)
    monitor.watch(gone)
    del gone
    assert monitor.check() == 0
    assert len(monitor) == 1
    now[0] = 6.0
    assert monitor.check() == 1
    assert monitor.expired == 1
    assert writer.finish_detail == "timeout"
    assert monitor.check() == 0
    assert len(monitor) == 0


def test_its_thread() -> None:
    stream = TokenStream()
    writer = stream.writer()
    writer.put(1)
    monitor = Monitor(stall_seconds=0.01)
    monitor.watch(writer)
    monitor.start(0.005)
    monitor.start()
    while not writer.cancelled:
        time.sleep(0.005)
    monitor.stop()
    monitor.stop()
    assert monitor.stalled == 1


def test_bad_arguments() -> None:
    for arguments in ({"stall_seconds": 0}, {"silent_seconds": -1}):
        with pytest.raises(InvalidParameterError):
            Monitor(**arguments)
