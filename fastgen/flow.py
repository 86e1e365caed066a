"""Flow control: token buckets whose rate follows the consumer, permits, water marks. None makes an engine wait."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final

from fastgen.errors import InvalidParameterError, OverloadedError

__all__ = ["AdaptiveBucket", "Permits", "TokenBucket", "WaterMarks"]

SECOND: Final = 1_000_000_000


def _count(value: int, name: str, least: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidParameterError("a count must be an integer in its range", argument=name, value=value, least=least)
    return value


class TokenBucket:
    """Lets through at most ``burst + rate * t`` tokens in any time of t seconds, exactly: all numbers are integers.

    Parameters
    ----------
    rate : int
        Tokens per second.
    burst : int
        Tokens that may go at once after a rest; it begins full.
    clock : callable, default time.monotonic_ns
        Nanoseconds that never go back; if they do, no time has passed.

    Notes
    -----
    After Turner, "New Directions in Communications", IEEE Communications Magazine 24 (10), 1986. One thread at a time.
    """

    __slots__ = ("_clock", "_level", "_rate", "_then", "burst")

    def __init__(self, rate: int, burst: int, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._rate = _count(rate, "rate")
        self.burst = _count(burst, "burst")
        self._clock = clock
        self._then = clock()
        self._level = burst * SECOND  # in tokens / 10^9, so that a nanosecond adds `rate`

    @property
    def rate(self) -> int:
        """Tokens per second."""
        return self._rate

    @rate.setter
    def rate(self, value: int) -> None:
        _count(value, "rate")
        self._fill()  # the time until now at the old rate
        self._rate = value

    def take(self, tokens: int = 1) -> bool:
        """Take tokens if there are as many; never waits."""
        self._fill()
        if self._level < tokens * SECOND:
            return False
        self._level -= tokens * SECOND
        return True

    def delay(self, tokens: int = 1) -> float:
        """Return the seconds until so many tokens can be taken; infinite if `burst` is less."""
        if tokens > self.burst:
            return float("inf")
        self._fill()
        missing = tokens * SECOND - self._level
        return max(0, -(-missing // self._rate)) / SECOND

    def _fill(self) -> None:
        now = self._clock()
        if now > self._then:
            self._level = min(self.burst * SECOND, self._level + (now - self._then) * self._rate)
            self._then = now


class AdaptiveBucket(TokenBucket):
    """A token bucket whose rate follows what the consumer takes.

    Each `follow` measures how fast the consumer has been since the last, smooths that, and sets the rate a bit above: a
    consumer that keeps up gets more and more, up to `most`; one that falls behind is given what it takes.

    Parameters
    ----------
    least, most : int
        Bounds of the rate, in tokens per second. It begins at `most`.
    burst : int
    headroom : float, default 1.25
        The rate is so many times what was measured.
    weight : float, default 0.5
        Of the newest measurement.
    """

    __slots__ = ("_since", "_speed", "_taken", "headroom", "least", "most", "weight")

    def __init__(
        self,
        least: int,
        most: int,
        burst: int,
        *,
        headroom: float = 1.25,
        weight: float = 0.5,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__(_count(most, "most", _count(least, "least")), burst, clock=clock)
        if not headroom > 1 or not 0 < weight <= 1:
            raise InvalidParameterError(
                "headroom is more than 1 and weight in (0, 1]", headroom=headroom, weight=weight
            )
        self.least, self.most = least, most
        self.headroom, self.weight = headroom, weight
        self._speed = float(most)
        self._taken = 0
        self._since = self._then

    def follow(self, taken: int) -> int:
        """Set the rate by what the consumer has taken since the beginning, and return it."""
        now = self._clock()
        if now > self._since:
            speed = (taken - self._taken) * SECOND / (now - self._since)
            self._speed += self.weight * (speed - self._speed)
            self._taken, self._since = taken, now
            self.rate = min(self.most, max(self.least, round(self._speed * self.headroom)))
        return self._rate


class WaterMarks:
    """Whether a level is high: from `high` on, until it is down to `low` again.

    Parameters
    ----------
    high, low : int
        ``0 <= low < high``.
    """

    __slots__ = ("high", "low", "paused")

    def __init__(self, high: int, low: int) -> None:
        self.low = _count(low, "low", 0)
        self.high = _count(high, "high", low + 1)
        self.paused = False

    def update(self, level: int) -> bool:
        """Say how high it is now; return whether whoever fills it should pause."""
        self.paused = level > self.low if self.paused else level >= self.high
        return self.paused


class Permits:
    """A semaphore for an engine and asyncio tasks: `take` never waits, `acquire` is awaited, in the order of arrival.

    ``with permits:`` holds one, or raises OverloadedError; ``async with permits:`` waits for one.

    Parameters
    ----------
    count : int
        How many there are.
    """

    __slots__ = ("_free", "_lock", "_waiting", "count")

    def __init__(self, count: int) -> None:
        self.count = _count(count, "count")
        self._free = count
        self._lock = threading.Lock()  # held for a few instructions, never while anything is waited for
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def free(self) -> int:
        """Permits that nobody has."""
        return self._free

    def take(self, permits: int = 1) -> bool:
        """Take permits if they are free and nobody waits for them."""
        self._check(permits)
        with self._lock:
            if self._waiting or self._free < permits:
                return False
            self._free -= permits
            return True

    async def acquire(self, permits: int = 1) -> None:
        """Wait for permits; a task that is cancelled meanwhile has none."""
        self._check(permits)
        loop = asyncio.get_running_loop()
        with self._lock:
            if not self._waiting and self._free >= permits:
                self._free -= permits
                return
            waiter = (permits, loop.create_future())
            self._waiting.append(waiter)
        try:
            await waiter[1]
        except asyncio.CancelledError:
            with self._lock:
                granted = waiter not in self._waiting
                if not granted:
                    self._waiting.remove(waiter)
            if granted:
                self.release(permits)
            raise

    def release(self, permits: int = 1) -> None:
        """Give permits back, from any thread.

        Raises
        ------
        InvalidParameterError
            More than were taken.
        """
        granted: list[asyncio.Future[None]] = []
        with self._lock:
            if not 0 <= permits <= self.count - self._free:
                raise InvalidParameterError("more permits are given back than were taken", permits=permits)
            self._free += permits
            while self._waiting and self._waiting[0][0] <= self._free:
                needed, future = self._waiting.popleft()
                self._free -= needed
                granted.append(future)
        for future in granted:
            future.get_loop().call_soon_threadsafe(_settle, future)

    def _check(self, permits: int) -> None:
        if _count(permits, "permits") > self.count:
            raise InvalidParameterError("there will never be so many permits", permits=permits, count=self.count)

    def __enter__(self) -> Permits:
        if not self.take():
            raise OverloadedError("no permit is free", hint="try again later", count=self.count)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    async def __aenter__(self) -> Permits:
        await self.acquire()
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.release()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
