"""Cancellation tokens: once, downward, observed, and by the clock."""

from __future__ import annotations

import gc
import math
import threading

import pytest

from fastgen.cancellation import CancellationToken
from fastgen.errors import CancelledError, GenerationTimeout, InvalidParameterError


def test_cancel_is_once_and_spreads_downward() -> None:
    root = CancellationToken()
    left, right = root.child(), root.child()
    leaf = left.child()
    assert left.cancel("shutdown")
    assert not left.cancel("again")
    assert (root.cancelled, left.cancelled, leaf.cancelled, right.cancelled) == (False, True, True, False)
    assert left.reason == leaf.reason == "shutdown"
    assert root.reason is None
    assert root.cancel()
    assert right.reason == "cancelled"
    assert leaf.reason == "shutdown"
    assert root.child().cancelled


def test_observers_are_called_once() -> None:
    token = CancellationToken()
    seen: list[str] = []
    token.observe(seen.append)
    removed = token.observe(lambda reason: seen.append("removed"))
    token.remove(removed)
    token.remove(object())
    token.cancel("cancelled")
    token.cancel("cancelled")
    token.observe(lambda reason: seen.append(f"late {reason}"))
    assert seen == ["cancelled", "late cancelled"]


def test_a_failing_observer_stops_no_other() -> None:
    token = CancellationToken()
    seen: list[str] = []

    def broken(reason: str) -> None:
        raise ValueError(reason)

    token.observe(broken)
    token.observe(seen.append)
    with pytest.raises(ValueError, match="cancelled"):
        token.cancel()
    assert seen == ["cancelled"]
    assert token.cancelled


def test_deadlines() -> None:
    now = [10.0]
    token = CancellationToken(timeout=5, clock=lambda: now[0])
    child, sooner = token.child(), token.child(timeout=1)
    seen: list[str] = []
    child.observe(seen.append)
    assert token.remaining() == 5.0
    assert child.remaining() == 5.0
    assert sooner.remaining() == 1.0
    assert CancellationToken().remaining() == math.inf
    now[0] = 11.0
    assert sooner.poll()
    assert not token.poll()
    assert sooner.reason == "timeout"
    now[0] = 15.0
    assert token.cancelled
    assert child.cancelled
    assert seen == ["timeout"]
    assert token.remaining() == 0.0
    with pytest.raises(GenerationTimeout):
        token.check()


def test_check() -> None:
    token = CancellationToken()
    token.check()
    token.cancel("shutdown")
    with pytest.raises(CancelledError) as caught:
        token.check()
    assert caught.value.details == {"reason": "shutdown"}


@pytest.mark.parametrize("timeout", [-1, math.nan, "1", True])
def test_bad_timeouts(timeout: object) -> None:
    with pytest.raises(InvalidParameterError):
        CancellationToken(timeout=timeout)  # type: ignore[arg-type]


def test_children_are_not_kept() -> None:
    import weakref

    root = CancellationToken()
    gone = weakref.ref(root.child())
    gc.collect()
    assert gone() is None
    assert root.cancel()


def test_one_of_many_threads_cancels() -> None:
    token = CancellationToken()
    barrier = threading.Barrier(8)
    results: list[bool] = []

    def cancel() -> None:
        barrier.wait()
        results.append(token.cancel())

    threads = [threading.Thread(target=cancel) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count(True) == 1
    assert len(results) == 8
