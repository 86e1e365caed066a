"""Flow control: what a bucket lets through, what follows the consumer, permits that nobody loses."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgen.errors import InvalidParameterError, OverloadedError
from fastgen.flow import AdaptiveBucket, Permits, TokenBucket, WaterMarks

SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 5 * SECOND

    def __call__(self) -> int:
        return self.now


def test_a_bucket_lets_its_burst_and_its_rate_through() -> None:
    clock = Clock()
    bucket = TokenBucket(10, 3, clock=clock)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    assert bucket.delay() == 0.1
    assert bucket.delay(3) == 0.3
    assert bucket.delay(4) == float("inf")
    clock.now += SECOND // 10 - 1
    assert not bucket.take()
    clock.now += 1
    assert bucket.take()
    assert not bucket.take()
    clock.now += 100 * SECOND
    assert bucket.take(3)
    assert not bucket.take()
    clock.now -= 50 * SECOND  # goes back: no time has passed
    assert not bucket.take()


def test_a_new_rate_holds_from_now_on() -> None:
    clock = Clock()
    bucket = TokenBucket(10, 100, clock=clock)
    bucket.take(100)
    clock.now += SECOND
    bucket.rate = 1000
    assert bucket.take(10)
    assert not bucket.take(1)
    clock.now += SECOND // 100
    assert bucket.take(10)
    assert not bucket.take(1)


@given(
    st.integers(1, 10_000),
    st.integers(1, 1000),
    st.lists(st.tuples(st.integers(0, SECOND), st.integers(1, 50)), max_size=60),
)
def test_never_more_than_burst_and_rate(rate: int, burst: int, events: list[tuple[int, int]]) -> None:
    clock = Clock()
    bucket = TokenBucket(rate, burst, clock=clock)
    taken: list[tuple[int, int]] = []
    for pause, tokens in events:
        clock.now += pause
        if bucket.take(tokens):
            taken.append((clock.now, tokens))
    for first in range(len(taken)):
        total = 0
        for when, tokens in taken[first:]:
            total += tokens
            assert total * SECOND <= burst * SECOND + rate * (when - taken[first][0])


def test_the_rate_follows_the_consumer() -> None:
    clock = Clock()
    bucket = AdaptiveBucket(10, 1000, 10, clock=clock)
    taken = 0
    for _ in range(40):  # one that takes 100 a second
        clock.now += SECOND
        taken += 100
        bucket.follow(taken)
    assert bucket.rate == 125
    for _ in range(40):
        clock.now += SECOND
        bucket.follow(taken)
    assert bucket.rate == 10
    for _ in range(60):  # takes all that it may
        clock.now += SECOND
        taken += bucket.rate
        bucket.follow(taken)
    assert bucket.rate == 1000


def test_water_marks_have_a_hysteresis() -> None:
    marks = WaterMarks(8, 2)
    assert [marks.update(level) for level in (7, 8, 5, 3, 2, 7, 9, 0)] == [
        False,
        True,
        True,
        True,
        False,
        False,
        True,
        False,
    ]


def test_permits_without_waiting() -> None:
    permits = Permits(2)
    assert permits.take()
    assert permits.take()
    assert not permits.take()
    assert permits.free == 0
    permits.release()
    with permits, pytest.raises(OverloadedError):
        permits.__enter__()
    permits.release()
    assert permits.free == 2
    with pytest.raises(InvalidParameterError):
        permits.release()
    with pytest.raises(InvalidParameterError):
        permits.take(3)


def test_permits_are_given_in_order_and_never_lost() -> None:
    async def main() -> None:
        permits = Permits(3)
        order: list[int] = []

        async def hold(place: int, count: int) -> None:
            await permits.acquire(count)
            order.append(place)
            await asyncio.sleep(0)
            permits.release(count)

        assert permits.take(3)
        tasks = [asyncio.create_task(hold(place, 1 + place % 3)) for place in range(9)]
        await asyncio.sleep(0)
        assert order == []
        assert not permits.take()
        tasks[0].cancel()
        tasks[4].cancel()
        threading.Thread(target=permits.release, args=(3,)).start()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert order == [1, 2, 3, 5, 6, 7, 8]
        assert permits.free == 3
        async with permits:
            assert permits.free == 2

    asyncio.run(main())


def test_a_permit_granted_to_a_cancelled_task_comes_back() -> None:
    async def main() -> None:
        permits = Permits(1)
        permits.take()
        task = asyncio.create_task(permits.acquire())
        await asyncio.sleep(0)
        permits.release()  # granted, but the task has not run yet
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert permits.take()

    asyncio.run(main())


@pytest.mark.parametrize(
    "make",
    [
        lambda: TokenBucket(0, 1),
        lambda: TokenBucket(1, 0),
        lambda: TokenBucket(1.5, 1),  # type: ignore[arg-type]
        lambda: AdaptiveBucket(5, 4, 1),
        lambda: AdaptiveBucket(1, 4, 1, headroom=1.0),
        lambda: AdaptiveBucket(1, 4, 1, weight=0.0),
        lambda: WaterMarks(3, 3),
        lambda: WaterMarks(3, -1),
        lambda: Permits(0),
        lambda: Permits(True),
    ],
)
def test_bad_arguments(make: object) -> None:
    with pytest.raises(InvalidParameterError):
        make()  # type: ignore[operator]
