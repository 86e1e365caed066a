"""Monitor: finds readers that do not read and producers that do not produce, and ends their streams."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass

from fastgen.errors import FastgenError, InvalidParameterError
from fastgen.hub import Hub
from fastgen.writer import StreamWriter

__all__ = ["Monitor", "StreamHealth"]


@dataclass(frozen=True, slots=True)
class StreamHealth:
    """How a stream stood at the last check.

    Attributes
    ----------
    age : float
        Seconds since it was made, by the clock of its hub.
    pending : int
        Pieces that its reader has not taken: the lag.
    reader_idle, producer_idle : float
        Seconds since a check last saw the reader take, the producer put something; no more exact than checks are
        frequent. A reader that has nothing to take is not idle.
    """

    age: float
    pending: int
    reader_idle: float
    producer_idle: float


class _Watched:
    __slots__ = ("health", "put", "put_at", "taken", "taken_at", "thread")

    def __init__(self, now: float, thread: threading.Thread | None) -> None:
        self.put = self.taken = 0
        self.put_at = self.taken_at = now
        self.thread = thread
        self.health = StreamHealth(0.0, 0, 0.0, 0.0)


class Monitor:
    """Watches streams by looking at their counts now and then, which costs the streams nothing.

    Parameters
    ----------
    stall_seconds : float, default 30
        How long a reader may leave pending pieces alone; then the stream ends with ``slow_consumer``.
    silent_seconds : float, optional
        How long the producer may put nothing into an open stream whose reader keeps up; then the stream fails. None:
        for ever. A producer whose thread is dead (see `watch`) is noticed without it.
    hub : Hub, optional
        A producer is not silent while this hub is flushed: it is busy with others.
    clock : callable, default time.monotonic
        Seconds.

    Attributes
    ----------
    checks, stalled, silent, expired : int
        Checks so far, and streams ended because of their reader, their producer, their deadline.
    """

    def __init__(
        self,
        *,
        stall_seconds: float = 30.0,
        silent_seconds: float | None = None,
        hub: Hub | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not stall_seconds > 0 or (silent_seconds is not None and not silent_seconds > 0):
            raise InvalidParameterError(
                "times must be more than 0 seconds", stall_seconds=stall_seconds, silent_seconds=silent_seconds
            )
        self.stall_seconds, self.silent_seconds = stall_seconds, silent_seconds
        self.checks = self.stalled = self.silent = self.expired = 0
        self._hub = hub
        self._clock = clock
        self._watched: weakref.WeakKeyDictionary[StreamWriter, _Watched] = weakref.WeakKeyDictionary()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, writer: StreamWriter, *, thread: threading.Thread | None = None) -> None:
        """Watch a stream until it ends; `thread` is the one that produces for it, if it has one of its own."""
        self._watched[writer] = _Watched(self._clock(), thread)

    def __len__(self) -> int:
        return len(self._watched)

    def health(self, writer: StreamWriter) -> StreamHealth | None:
        """Return how a watched stream stood at the last check."""
        watched = self._watched.get(writer)
        return watched.health if watched else None

    def check(self) -> int:
        """Look at all streams once and end those that are ill; return how many that were."""
        now = self._clock()
        self.checks += 1
        ended = 0
        for writer, watched in list(self._watched.items()):
            if writer.ended:
                del self._watched[writer]
            elif writer.poll():
                self.expired += 1
                ended += 1
            else:
                ended += self._look(writer, watched, now)
        return ended

    def _look(self, writer: StreamWriter, watched: _Watched, now: float) -> bool:
        counts = writer.counts
        if counts["taken"] != watched.taken or not counts["pending"]:
            watched.taken, watched.taken_at = counts["taken"], now
        if counts["put"] != watched.put or counts["pending"]:
            watched.put, watched.put_at = counts["put"], now
        elif self._hub is not None:
            watched.put_at = max(watched.put_at, self._hub.flushed)
        watched.health = StreamHealth(
            writer.age, counts["pending"], now - watched.taken_at, max(0.0, now - watched.put_at)
        )
        if watched.health.reader_idle >= self.stall_seconds:
            self.stalled += 1
            return writer.abort("slow_consumer")
        is_dead = watched.thread is not None and not watched.thread.is_alive()
        if is_dead or (self.silent_seconds is not None and watched.health.producer_idle >= self.silent_seconds):
            self.silent += 1
            return writer.fail(FastgenError("the producer of the stream is silent", hint="it may have died"))
        return False

    def start(self, seconds: float = 1.0) -> None:
        """Check every so many seconds in a daemon thread, until `stop`."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, args=(seconds,), name="fastgen-monitor", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            self.check()
