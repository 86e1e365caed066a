"""Limits, deadlines, handles, arguments and memory of the scheduler."""

from __future__ import annotations

import copy
import math
import numbers
import pickle
import random
from typing import Any

import numpy as np
import pytest

from fastgen.errors import InvalidParameterError, OverloadedError
from fastgen.scheduler import MAX_COST, Scheduler, Usage

# Limits.


def refused(scheduler: Scheduler, **arguments: Any) -> dict[str, Any]:
    """Return what the rejection says; nothing may have changed."""
    before = scheduler.usage(), scheduler.usage(arguments.get("tenant", "")), scheduler.peek()
    with pytest.raises(OverloadedError) as caught:
        scheduler.add(**arguments)
    assert (caught.value.code, caught.value.category, caught.value.status) == ("overloaded", "shed", 429)
    assert (scheduler.usage(), scheduler.usage(arguments.get("tenant", "")), scheduler.peek()) == before
    return caught.value.details


def test_a_full_queue_refuses_until_a_stream_is_picked_or_removed() -> None:
    scheduler = Scheduler(max_queue=2)
    first, second = scheduler.add(), scheduler.add()
    assert refused(scheduler) == {"limit": "max_queue", "most": 2, "tenant": None, "retry_after": 1}
    assert scheduler.pick() == first
    third = scheduler.add()
    refused(scheduler)
    scheduler.remove(third)
    scheduler.remove(first)  # is queued no more
    scheduler.add()
    refused(scheduler)
    assert scheduler.usage() == (2, 0, 2, 0)
    assert scheduler.state(second) == "waiting"


def test_streams_count_until_they_are_removed() -> None:
    scheduler = Scheduler(max_streams=1)
    stream = scheduler.add()
    scheduler.pick()
    assert refused(scheduler)["limit"] == "max_streams"
    scheduler.charge(stream, 5)
    assert refused(scheduler)["limit"] == "max_streams"
    scheduler.remove(stream)
    scheduler.add()


def test_prompt_tokens_count_while_they_are_queued() -> None:
    scheduler = Scheduler(max_prompt_tokens=100)
    scheduler.add(prompt_tokens=60)
    assert refused(scheduler, prompt_tokens=41)["limit"] == "max_prompt_tokens"
    scheduler.add(prompt_tokens=40)
    scheduler.add()
    assert scheduler.usage() == Usage(queued=3, prompt_tokens=100, streams=3, served=0)
    scheduler.pick()
    scheduler.add(prompt_tokens=60)


@pytest.mark.parametrize("limit", ["max_queue", "max_streams", "max_prompt_tokens"])
def test_a_tenant_at_its_limit_is_refused_alone(limit: str) -> None:
    scheduler = Scheduler()
    scheduler.set_tenant("a", **{limit: 2})
    scheduler.add(tenant="a", prompt_tokens=1)
    scheduler.add(tenant="a", prompt_tokens=1)
    assert refused(scheduler, tenant="a", prompt_tokens=1) == {
        "limit": limit,
        "most": 2,
        "tenant": "a",
        "retry_after": 1,
    }
    scheduler.add(tenant="b", prompt_tokens=1)
    scheduler.set_tenant("a", **{limit: 3})
    scheduler.add(tenant="a", prompt_tokens=1)
    refused(scheduler, tenant="a", prompt_tokens=1)


def test_a_limit_of_nothing_refuses_everything() -> None:
    assert refused(Scheduler(max_queue=0))["most"] == 0
    assert refused(Scheduler(max_streams=0))["most"] == 0
    assert refused(Scheduler(max_prompt_tokens=0), prompt_tokens=1)["most"] == 0
    Scheduler(max_prompt_tokens=0).add()


def test_when_to_try_again_follows_the_pace_of_the_queue() -> None:
    scheduler = Scheduler(max_queue=30)
    for _ in range(30):
        scheduler.add()
    scheduler.expire(100.0)
    scheduler.pick_many(10)
    scheduler.expire(102.0)  # 5 in a second
    for _ in range(10):
        scheduler.add()
    assert refused(scheduler)["retry_after"] == 6
    scheduler.expire(104.0)  # none: now 2.5
    assert refused(scheduler)["retry_after"] == 12
    for second in range(100):
        scheduler.expire(106.0 + second)
    assert refused(scheduler)["retry_after"] == 60


def test_tenants_are_forgotten_when_nothing_is_lost_with_them() -> None:
    scheduler = Scheduler(max_tenants=3)
    scheduler.set_tenant("kept", weight=2)
    for number in range(1000):
        scheduler.remove(scheduler.add(tenant=f"passing {number}"))
    assert repr(scheduler).startswith("Scheduler(")
    assert scheduler.nbytes < 5000


def test_a_tenant_in_debt_is_not_forgotten() -> None:
    scheduler = Scheduler(max_tenants=2)
    debtor, other = scheduler.add(tenant="debtor"), scheduler.add(tenant="other")
    scheduler.charge(debtor, 1000)
    scheduler.remove(debtor)
    assert refused(scheduler, tenant="third")["limit"] == "max_tenants"
    for _ in range(1001):
        assert scheduler.pick() == other
        scheduler.charge(other, 1, again=True)
    scheduler.pick()
    scheduler.add(tenant="third")
    assert scheduler.usage("debtor") == (0, 0, 0, 0)


def test_counts_are_exact_after_any_calls() -> None:
    rng = random.Random(3)
    scheduler = Scheduler(max_queue=40, max_prompt_tokens=900, max_streams=60)
    queued: dict[int, tuple[str, int]] = {}
    running: dict[int, str] = {}
    served = 0
    for time in range(20_000):
        tenant, tokens = rng.choice("abc"), rng.randint(0, 60)
        before = scheduler.usage()
        fits = before.queued < 40 and before.prompt_tokens + tokens <= 900 and before.streams < 60
        try:
            handle = scheduler.add(tenant=tenant, prompt_tokens=tokens, deadline=time + rng.randint(0, 99))
        except OverloadedError:
            assert not fits
        else:
            assert fits
            queued[handle] = tenant, tokens
        for gone in scheduler.expire(time) if time % 7 == 0 else ():
            del queued[gone]
        if rng.random() < 0.4 and (picked := scheduler.pick()) is not None:
            running[picked] = queued.pop(picked)[0]
            cost = rng.randint(0, 9)
            scheduler.charge(picked, cost)
            served += cost
        if rng.random() < 0.4 and running:
            handle = rng.choice(list(running))
            del running[handle]
            assert scheduler.remove(handle)
        tokens = sum(tokens for _, tokens in queued.values())
        assert scheduler.usage() == (len(queued), tokens, len(queued) + len(running), served)
        own = [tokens for name, tokens in queued.values() if name == "a"]
        assert scheduler.usage("a")[:2] == (len(own), sum(own))


# Deadlines.


def test_what_is_still_queued_at_its_deadline_is_gone() -> None:
    scheduler = Scheduler()
    late, early = scheduler.add(deadline=5.0), scheduler.add(deadline=3.5)
    never, picked = scheduler.add(), scheduler.add(deadline=1, priority=3)
    assert scheduler.pick() == picked
    assert scheduler.expire(3.25) == []
    assert scheduler.expire(5.0) == [early, late]
    assert scheduler.expire(5.0) == []
    assert [scheduler.state(handle) for handle in (late, early, never, picked)] == [None, None, "waiting", "serving"]
    assert scheduler.usage() == (1, 0, 2, 0)
    assert scheduler.pick() == never


def test_a_removed_stream_does_not_expire() -> None:
    scheduler = Scheduler()
    gone, left = scheduler.add(deadline=1), scheduler.add(deadline=2)
    scheduler.remove(gone)
    again = scheduler.add(deadline=1)  # the same place in memory
    assert again != gone
    assert scheduler.expire(9) == [again, left]


# Handles.


def test_handles_of_removed_streams_reach_nobody() -> None:
    scheduler = Scheduler()
    gone = scheduler.add()
    assert scheduler.remove(gone) is True
    assert scheduler.remove(gone) is False
    new = scheduler.add()
    assert scheduler.remove(gone) is False
    for call in (scheduler.wake, scheduler.rest, lambda handle: scheduler.charge(handle, 1)):
        with pytest.raises(InvalidParameterError, match="no stream has this handle"):
            call(gone)
    assert scheduler.state(new) == "waiting"


@pytest.mark.parametrize("handle", [-1, 1, 1 << 31, 1 << 32, 1 << 63, 1 << 64, 10**40, -(10**40)])
def test_other_numbers_are_no_handles(handle: int) -> None:
    scheduler = Scheduler()
    assert scheduler.add() == 0
    assert scheduler.remove(handle) is False
    assert scheduler.state(handle) is None
    with pytest.raises(InvalidParameterError):
        scheduler.charge(handle, 1)
    assert scheduler.usage() == (1, 0, 1, 0)


@pytest.mark.parametrize("handle", [None, "0", 0.0, b"", np.int64(0), True])
def test_other_things_are_no_handles(handle: Any) -> None:
    scheduler = Scheduler()
    scheduler.add()
    for call in (scheduler.remove, scheduler.state, scheduler.wake, scheduler.rest):
        with pytest.raises(InvalidParameterError):
            call(handle)


@pytest.mark.parametrize("state", ["waiting", "resting", "serving"])
def test_removal_in_any_state(state: str) -> None:
    scheduler = Scheduler()
    streams = [scheduler.add(cost=7) for _ in range(100)]
    victim = streams[37]
    if state == "resting":
        scheduler.rest(victim)
    while state == "serving" and scheduler.state(victim) != "serving":
        scheduler.pick()
    assert scheduler.state(victim) == state
    assert scheduler.remove(victim)
    left = [handle for handle in streams if scheduler.state(handle) == "waiting"]
    assert scheduler.pick_many(200) == left
    assert victim not in left


# Arguments.


@pytest.mark.parametrize(
    "arguments",
    [
        {"tenant": None},
        {"tenant": b"a"},
        {"tenant": 3},
        {"cost": 0},
        {"cost": -1},
        {"cost": MAX_COST + 1},
        {"cost": 1.0},
        {"cost": True},
        {"cost": "1"},
        {"cost": 10**40},
        {"weight": 0},
        {"weight": -1},
        {"weight": 0.0039},
        {"weight": 256.1},
        {"weight": 1e9},
        {"weight": 10**400},
        {"weight": math.inf},
        {"weight": math.nan},
        {"weight": "1"},
        {"weight": None},
        {"weight": True},
        {"priority": 4},
        {"priority": -4},
        {"priority": 0.5},
        {"priority": None},
        {"priority": 10**40},
        {"prompt_tokens": -1},
        {"prompt_tokens": MAX_COST + 1},
        {"prompt_tokens": None},
        {"deadline": -1},
        {"deadline": math.nan},
        {"deadline": math.inf},
        {"deadline": "1"},
    ],
)
def test_unusable_arguments_are_refused_and_change_nothing(arguments: dict[str, Any]) -> None:
    scheduler = Scheduler()
    with pytest.raises(InvalidParameterError):
        scheduler.add(**arguments)
    assert (len(scheduler), scheduler.nbytes) == (0, 0)


def test_other_calls_refuse_too() -> None:
    scheduler = Scheduler()
    stream = scheduler.add()
    for call in (
        lambda: Scheduler(max_queue=-1),
        lambda: Scheduler(max_tenants=0),
        lambda: Scheduler(max_streams=1.5),  # type: ignore[arg-type]
        lambda: scheduler.set_tenant("a", weight=0),
        lambda: scheduler.set_tenant("a", max_queue=-1),
        lambda: scheduler.set_tenant(3),  # type: ignore[arg-type]
        lambda: scheduler.usage(3),  # type: ignore[arg-type]
        lambda: scheduler.charge(stream, -1),
        lambda: scheduler.charge(stream, MAX_COST + 1),
        lambda: scheduler.expect(stream, 0),
        lambda: scheduler.pick_many(-1),
        lambda: scheduler.expire(math.nan),
        lambda: scheduler.expire(-1),
        lambda: scheduler.charge_many([stream], [1, 2]),
        lambda: scheduler.charge_many([stream, stream], [1, -2]),
        lambda: scheduler.charge_many([stream, 99], 1),
        lambda: scheduler.charge_many([stream, "a"], 1),  # type: ignore[list-item]
    ):
        with pytest.raises(InvalidParameterError):
            call()
    assert scheduler.usage() == (1, 0, 1, 0)
    assert scheduler.usage("a") == (0, 0, 0, 0)


def test_integers_of_other_kinds_are_numbers() -> None:
    scheduler = Scheduler(max_queue=np.int64(5))
    stream = scheduler.add(cost=np.int32(3), weight=np.float32(2), priority=np.int8(-1), deadline=np.float64(2))
    scheduler.charge_many([stream], np.array([4]))
    assert scheduler.usage().served == 4


def test_a_number_that_runs_code_can_not_act_on_a_stream_that_is_gone() -> None:
    scheduler = Scheduler()
    stream = scheduler.add()

    class Sly:
        def __int__(self) -> int:
            scheduler.remove(stream)
            return 1

        __index__ = __int__

    numbers.Integral.register(Sly)
    with pytest.raises(InvalidParameterError):
        scheduler.charge(stream, Sly())  # type: ignore[arg-type]
    assert scheduler.usage() == (0, 0, 0, 0)


def test_the_largest_costs_at_the_least_weights_keep_the_order() -> None:
    scheduler = Scheduler()
    scheduler.set_tenant("", weight=1 / 256)
    small = [scheduler.add(weight=1 / 256, priority=-3, cost=MAX_COST) for _ in range(3)]
    for _ in range(200):
        assert scheduler.pick_many(3) == small
        scheduler.charge_many(small, MAX_COST)
    for _ in range(50):  # nothing is served: only debts, as large as they get
        for handle in small:
            scheduler.charge(handle, MAX_COST)
            scheduler.rest(handle)
        for handle in small:
            scheduler.wake(handle)
    assert sorted(scheduler.pick_many(9)) == small
    assert scheduler.usage().served == MAX_COST * 3 * 250


def test_objects_are_not_copied() -> None:
    for make in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError):
            make(Scheduler())


# Memory.


def test_a_million_streams() -> None:
    scheduler = Scheduler()
    handles = [scheduler.add(deadline=number) for number in range(1_000_000)]
    assert scheduler.nbytes <= 150 * 1_000_000
    used = scheduler.nbytes
    rng = random.Random(1)
    for handle in rng.sample(handles, 300_000):
        scheduler.remove(handle)
    for _ in range(300_000):
        scheduler.add()
    assert scheduler.nbytes == used
    assert len(scheduler) == 1_000_000
    picked = scheduler.pick_many(700_000)
    assert picked == sorted(picked)  # those that were never removed, in the order they came
