"""Fair queuing: orders and shares in numbers, the bounds of the papers, and a naive scheduler on any calls."""

from __future__ import annotations

import collections
import itertools
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from oracle_scheduler import Oracle, rate_of

from fastgen.scheduler import Scheduler

SEEDS = st.integers(0, 1 << 32)


def serve(scheduler: Scheduler, services: int, cost: int = 1) -> list[int]:
    """Serve that many streams one after the other, each waiting again at once; return who was served."""
    served = []
    for _ in range(services):
        handle = scheduler.pick()
        assert handle is not None
        scheduler.charge(handle, cost, again=True)
        served.append(handle)
    return served


# Orders.


def test_equal_streams_take_turns_in_the_order_they_came() -> None:
    scheduler = Scheduler()
    a, b, c = (scheduler.add() for _ in range(3))
    assert serve(scheduler, 7) == [a, b, c, a, b, c, a]


def test_weights_order_the_services_of_streams() -> None:
    scheduler = Scheduler()
    light, heavy = scheduler.add(weight=1), scheduler.add(weight=4)
    assert serve(scheduler, 9) == [heavy, heavy, heavy, light, heavy, heavy, heavy, heavy, light]


def test_requests_that_are_served_once_leave_in_the_order_they_came() -> None:
    scheduler = Scheduler()
    requests = [scheduler.add(cost=100) for _ in range(5)]
    assert [scheduler.pick() for _ in range(6)] == [*requests, None]


def test_tenants_take_turns_whatever_they_queue() -> None:
    scheduler = Scheduler()
    a = [scheduler.add(tenant="a") for _ in range(4)]
    b = [scheduler.add(tenant="b") for _ in range(2)]
    assert scheduler.pick_many(9) == [a[0], b[0], a[1], b[1], a[2], a[3]]


def test_costs_count_not_services() -> None:
    scheduler = Scheduler()
    long, short = scheduler.add(tenant="a", cost=30), scheduler.add(tenant="b", cost=10)
    served = []
    for _ in range(8):
        handle = scheduler.pick()
        assert handle is not None
        scheduler.charge(handle, 30 if handle == long else 10, again=True)
        served.append(handle)
    assert served == [long, short, short, short, long, short, short, short]


def test_what_a_service_really_cost_takes_the_place_of_what_was_expected() -> None:
    scheduler = Scheduler()
    a, b = scheduler.add(tenant="a", cost=100), scheduler.add(tenant="b", cost=1)
    assert scheduler.pick() == a
    scheduler.charge(a, 2, again=True)  # most of the prompt was in the cache
    assert serve(scheduler, 4) == [b, b, a, b]


def test_a_charge_after_the_fact_is_paid_back() -> None:
    scheduler = Scheduler()
    a, b = scheduler.add(tenant="a"), scheduler.add(tenant="b")
    scheduler.charge(a, 3)
    assert serve(scheduler, 6) == [b, b, b, a, b, a]
    assert scheduler.usage("a") == (0, 0, 1, 5)


def test_a_service_that_did_not_happen_costs_nothing() -> None:
    scheduler = Scheduler()
    a, b = scheduler.add(weight=2, cost=50), scheduler.add(cost=50)
    assert scheduler.pick() == a
    scheduler.charge(a, 0, again=True)
    assert scheduler.usage().served == 0
    assert [scheduler.pick(), scheduler.pick()] == [a, b]


def test_peek_says_what_pick_will_do() -> None:
    scheduler = Scheduler()
    assert scheduler.peek() is None
    a, b = scheduler.add(), scheduler.add(priority=1)
    assert scheduler.peek() == scheduler.peek() == b
    assert scheduler.usage().queued == 2
    assert [scheduler.pick(), scheduler.peek(), scheduler.pick(), scheduler.peek()] == [b, a, a, None]


# Coming back.


def test_rest_earns_no_credit() -> None:
    scheduler = Scheduler()
    a, b = scheduler.add(), scheduler.add()
    scheduler.rest(b)
    assert serve(scheduler, 100) == [a] * 100
    scheduler.wake(b)
    assert serve(scheduler, 4) == [a, b, a, b]


def test_a_tenant_that_was_away_earned_no_credit() -> None:
    scheduler = Scheduler()
    a, b = scheduler.add(tenant="a"), scheduler.add(tenant="b")
    scheduler.rest(b)
    serve(scheduler, 100)
    scheduler.wake(b)
    assert collections.Counter(serve(scheduler, 10)) == {a: 5, b: 5}


def test_leaving_and_coming_back_forgives_no_debt() -> None:
    scheduler = Scheduler()
    a, b = scheduler.add(tenant="a"), scheduler.add(tenant="b")
    scheduler.charge(a, 5)
    scheduler.remove(a)
    a = scheduler.add(tenant="a")
    assert serve(scheduler, 7) == [b, b, b, b, b, a, b]


def test_use_while_nobody_else_wanted_any_is_no_debt() -> None:
    scheduler = Scheduler()
    a = scheduler.add(tenant="a")
    serve(scheduler, 100)
    scheduler.rest(a)
    b = scheduler.add(tenant="b")
    scheduler.wake(a)
    assert serve(scheduler, 4) == [b, a, b, a]


def test_one_stream_can_not_hoard_what_a_batch_can_not_give_it() -> None:
    """Alone in its tenant it is due half, and a batch of 8 gives it an eighth: it lags by two services, no more."""
    scheduler = Scheduler()
    for _ in range(100):
        scheduler.add(tenant="a")
    b = scheduler.add(tenant="b")
    for _ in range(500):
        batch = scheduler.pick_many(8)
        assert batch.count(b) == 1
        scheduler.charge_many(batch, 1)
    others = [scheduler.add(tenant="b") for _ in range(20)]
    served = serve(scheduler, 20)
    assert 10 <= sum(handle in (b, *others) for handle in served) <= 12


# Shares.


def test_case_46_a_thousand_streams_take_nothing_from_one() -> None:
    scheduler = Scheduler()
    for _ in range(1000):
        scheduler.add(tenant="a")
    b = scheduler.add(tenant="b")
    served = serve(scheduler, 2000)
    assert served.count(b) == 1000
    assert scheduler.usage("a").served == scheduler.usage("b").served == 1000
    scheduler.set_tenant("b", weight=3)
    assert serve(scheduler, 2000).count(b) == 1500


@pytest.mark.parametrize("batch", [1, 64, 1000])
def test_ten_thousand_streams_get_their_shares(batch: int) -> None:
    """The figures: every stream within 5 % of its share, Jain's index of service over weight at least 0.99."""
    scheduler = Scheduler()
    weights = {scheduler.add(weight=1 + place % 16): 1 + place % 16 for place in range(10_000)}
    total = 20 * sum(weights.values())
    served: collections.Counter[int] = collections.Counter()
    for _ in range(total // batch):
        picked = scheduler.pick_many(batch)
        scheduler.charge_many(picked, 1)
        served.update(picked)
    shares = [served[handle] / weight for handle, weight in weights.items()]
    assert max(abs(share / 20 - 1) for share in shares) <= 0.05
    jain = sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))
    assert jain >= 0.9999


def test_priority_orders_the_work_of_a_tenant_and_no_other() -> None:
    scheduler = Scheduler()
    low = [scheduler.add(tenant="a", cost=100, priority=-3) for _ in range(3)]
    usual = [scheduler.add(tenant="a", cost=100) for _ in range(3)]
    high = [scheduler.add(tenant="a", cost=100, priority=3) for _ in range(3)]
    other = [scheduler.add(tenant="b", cost=100, priority=-3) for _ in range(9)]
    picked = scheduler.pick_many(18)
    assert picked[0::2] == [*high, *usual, *low]
    assert picked[1::2] == other


def test_a_step_of_priority_is_four_times_the_weight() -> None:
    scheduler = Scheduler()
    usual, high = scheduler.add(), scheduler.add(priority=1)
    assert collections.Counter(serve(scheduler, 1000)) == {usual: 200, high: 800}


# Bounds: |W_f / w_f - W_m / w_m| <= l_f / w_f + l_m / w_m over any time in which f and m want service throughout.


class Window:
    """What two flows got since both want service: the range of the difference of service over weight."""

    def __init__(self) -> None:
        self.since: dict[tuple[int, int], list[Fraction]] = {}

    def observe(self, wanting: set[int], got: dict[int, Fraction]) -> None:
        for pair in list(self.since):
            if not set(pair) <= wanting:
                del self.since[pair]
        for pair in itertools.combinations(sorted(wanting), 2):
            self.since.setdefault(pair, []).append(got[pair[0]] - got[pair[1]])

    def check(self, bounds: dict[int, Fraction]) -> None:
        for (left, right), differences in self.since.items():
            # rates are rounded to one part in 2^20 for these weights
            slack = Fraction(len(differences), 1000)
            assert max(differences) - min(differences) <= bounds[left] + bounds[right] + slack


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.booleans())
def test_streams_that_want_service_get_it_by_weight_whatever_others_do(seed: int, foresees: bool) -> None:
    """Golestani's bound, with expectations that are wrong: l is the largest expected cost and the largest surprise."""
    rng = random.Random(seed)
    scheduler, window = Scheduler(), Window()
    handles, weights, expected, largest = [], {}, {}, {}
    for _ in range(rng.randint(2, 6)):
        weight, cost = rng.choice([1, 2, 4, 8, 16]), rng.randint(1, 50)
        handle = scheduler.add(weight=weight, cost=cost)
        handles.append(handle)
        weights[handle], expected[handle], largest[handle] = weight, cost, rng.randint(1, 100)
    wanting, got = set(handles), dict.fromkeys(handles, Fraction(0))
    bounds = {
        handle: Fraction(expected[handle] + (0 if foresees else max(0, largest[handle] - expected[handle])), weight)
        for handle, weight in weights.items()
    }
    for _ in range(120):
        window.observe(wanting, got)
        window.check(bounds)
        if rng.random() < 0.15:
            handle = rng.choice(handles)
            (scheduler.rest if handle in wanting else scheduler.wake)(handle)
            wanting ^= {handle}
            continue
        picked = scheduler.pick()
        if picked is None:
            assert not wanting
            continue
        cost = expected[picked] if foresees else rng.randint(1, largest[picked])
        got[picked] += Fraction(cost, weights[picked])
        scheduler.charge(picked, cost, again=True)


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_tenants_that_want_service_get_it_by_weight_whatever_others_do(seed: int) -> None:
    """Goyal, Vin and Cheng's bound: costs are known only afterwards, streams come and go."""
    rng = random.Random(seed)
    scheduler, window = Scheduler(), Window()
    names = range(rng.randint(2, 5))
    weights = {name: rng.choice([1, 2, 4, 8, 16]) for name in names}
    largest = {name: rng.randint(1, 100) for name in names}
    for name in names:
        scheduler.set_tenant(str(name), weight=weights[name])
    owner: dict[int, int] = {}
    got = dict.fromkeys(names, Fraction(0))
    bounds = {name: Fraction(largest[name], weights[name]) for name in names}
    for _ in range(150):
        window.observe(set(owner.values()), got)
        window.check(bounds)
        if rng.random() < 0.3 or not owner:
            name = rng.choice(names)
            owner[scheduler.add(tenant=str(name), cost=rng.randint(1, 100), weight=rng.randint(1, 9))] = name
            continue
        picked = scheduler.pick()
        assert picked is not None
        name, cost = owner[picked], rng.randint(1, largest[owner[picked]])
        got[name] += Fraction(cost, weights[name])
        stays = rng.random() < 0.8
        scheduler.charge(picked, cost, again=stays)
        if not stays:
            scheduler.remove(picked)
            del owner[picked]


@settings(max_examples=80, deadline=None)
@given(SEEDS, st.integers(2, 8))
def test_batches_widen_the_bound_by_what_is_served_at_once(seed: int, batch: int) -> None:
    """Jin, Chase and Kaur's bound for n services at a time: n + 1 services of each tenant."""
    rng = random.Random(seed)
    scheduler, window = Scheduler(), Window()
    weights = {name: rng.choice([1, 2, 4, 8]) for name in range(rng.randint(2, 5))}
    largest = {name: rng.randint(1, 100) for name in weights}
    owner: dict[int, int] = {}
    for name, weight in weights.items():
        scheduler.set_tenant(str(name), weight=weight)
        for _ in range(batch):
            owner[scheduler.add(tenant=str(name), cost=rng.randint(1, largest[name]))] = name
    got = dict.fromkeys(weights, Fraction(0))
    bounds = {name: (batch + 1) * Fraction(largest[name], weight) for name, weight in weights.items()}
    for _ in range(60):
        picked = scheduler.pick_many(batch)
        assert len(picked) == batch
        for handle in picked:
            cost = rng.randint(1, largest[owner[handle]])
            got[owner[handle]] += Fraction(cost, weights[owner[handle]])
            scheduler.charge(handle, cost, again=True)
        window.observe(set(weights), got)
    window.check(bounds)


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_shares_stay_near_those_of_a_fluid(seed: int) -> None:
    """|W_f - phi_f T| <= (1 - phi_f) l_f + phi_f (the sum of the others' l), from the pairs' bound, at every moment."""
    rng = random.Random(seed)
    scheduler = Scheduler()
    weights = {scheduler.add(weight=weight, cost=cost): (weight, cost) for weight, cost in draws(rng)}
    whole = sum(weight for weight, _ in weights.values())
    costs = sum(cost for _, cost in weights.values())
    got, total = dict.fromkeys(weights, 0), 0
    for _ in range(300):
        picked = scheduler.pick()
        assert picked is not None
        cost = weights[picked][1]
        scheduler.charge(picked, cost, again=True)
        got[picked] += cost
        total += cost
        for handle, (weight, own) in weights.items():
            share = Fraction(weight, whole)
            bound = (1 - share) * own + share * (costs - own) + 1  # for rounded rates
            assert abs(got[handle] - share * total) <= bound


def draws(rng: random.Random) -> list[tuple[int, int]]:
    return [(rng.randint(1, 16), rng.randint(1, 60)) for _ in range(rng.randint(1, 8))]


@pytest.mark.parametrize("newcomers", [0, 1, 5])
def test_nobody_is_passed_for_ever_by_newcomers(newcomers: int) -> None:
    """With q streams queued at most, a turn comes within 2 (q + 1) services, however fast others arrive."""
    scheduler = Scheduler(max_queue=50)
    old = scheduler.add()
    waited, longest = 0, 0
    for _ in range(5000):
        for _ in range(min(newcomers, 50 - scheduler.usage().queued)):
            scheduler.add()
        picked = scheduler.pick()
        assert picked is not None
        waited = 0 if picked == old else waited + 1
        longest = max(longest, waited)
        scheduler.charge(picked, 1, again=picked == old)
        if picked != old:
            scheduler.remove(picked)
    assert longest <= 102


def test_the_lowest_priority_keeps_its_share() -> None:
    """A round: 100 streams of weight 64, one of 1/64. Its share of services is 1 in 100 * 64 * 64 + 1."""
    scheduler = Scheduler()
    low = scheduler.add(priority=-3)
    for _ in range(100):
        scheduler.add(priority=3)
    services = []
    for service in range(2 * 100 * 64 * 64 + 102):
        picked = scheduler.pick()
        assert picked is not None
        if picked == low:
            services.append(service)
        scheduler.charge(picked, 1, again=True)
    assert len(services) == 2


# Any calls whatever.


class AnyCalls(RuleBasedStateMachine):
    """The scheduler and the naive one must agree on every answer."""

    handles: Bundle[int] = Bundle("handles")

    def __init__(self) -> None:
        super().__init__()
        self.scheduler, self.oracle, self.time = Scheduler(), Oracle(), 0.0

    @rule(
        target=handles,
        tenant=st.sampled_from("abc"),
        weight=st.sampled_from([1, 2, 0.3, 16, 1 / 256, 256]),
        priority=st.integers(-3, 3),
        cost=st.integers(1, 500),
        tokens=st.integers(0, 50),
        deadline=st.none() | st.integers(0, 20),
    )
    def add(self, tenant: str, weight: float, priority: int, cost: int, tokens: int, deadline: int | None) -> int:
        when = None if deadline is None else self.time + deadline
        handle = self.scheduler.add(
            tenant=tenant, weight=weight, priority=priority, cost=cost, prompt_tokens=tokens, deadline=when
        )
        self.oracle.add(handle, tenant, cost, rate_of(weight, priority), tokens, when)
        return handle

    @rule(tenant=st.sampled_from("abc"), weight=st.sampled_from([1, 0.1, 7, 200]))
    def set_tenant(self, tenant: str, weight: float) -> None:
        self.scheduler.set_tenant(tenant, weight=weight)
        self.oracle.set_tenant(tenant, weight)

    @rule(count=st.integers(1, 5))
    def pick(self, count: int) -> None:
        expected = [handle for _ in range(count) if (handle := self.oracle.pick()) is not None]
        assert self.scheduler.pick_many(count) == expected

    @rule(cost=st.integers(0, 500), again=st.booleans())
    def finish(self, cost: int, again: bool) -> None:
        serving = [handle for handle, stream in self.oracle.streams.items() if stream.state == "serving"]
        self.scheduler.charge_many(serving, cost, again=again)
        for handle in serving:
            self.oracle.charge(handle, cost, again)

    @rule(handle=handles, cost=st.integers(0, 500), again=st.booleans())
    def charge(self, handle: int, cost: int, again: bool) -> None:
        if handle in self.oracle.streams:
            self.scheduler.charge(handle, cost, again=again)
            self.oracle.charge(handle, cost, again)

    @rule(handle=handles, name=st.sampled_from(["wake", "rest"]))
    def wake_or_rest(self, handle: int, name: str) -> None:
        if handle in self.oracle.streams:
            getattr(self.scheduler, name)(handle)
            getattr(self.oracle, name)(handle)

    @rule(handle=handles, cost=st.integers(1, 500))
    def expect(self, handle: int, cost: int) -> None:
        if handle in self.oracle.streams:
            self.scheduler.expect(handle, cost)
            self.oracle.streams[handle].flow.expected = cost

    @rule(handle=consumes(handles))
    def remove(self, handle: int) -> None:
        assert self.scheduler.remove(handle) is (handle in self.oracle.streams)
        if handle in self.oracle.streams:
            self.oracle.remove(handle)
        assert self.scheduler.remove(handle) is False

    @rule(seconds=st.integers(0, 10))
    def expire(self, seconds: int) -> None:
        self.time += seconds
        assert self.scheduler.expire(self.time) == self.oracle.expire(self.time)

    @invariant()
    def agree(self) -> None:
        assert self.scheduler.peek() == self.oracle.peek()
        for tenant in (None, "a", "b", "c"):
            assert self.scheduler.usage(tenant) == self.oracle.usage(tenant)
        for handle, stream in self.oracle.streams.items():
            assert self.scheduler.state(handle) == stream.state


TestAnyCalls = AnyCalls.TestCase
TestAnyCalls.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_virtual_time_is_set_back_unnoticed(seed: int) -> None:
    """Services of 2^57: the virtual time is set back every few dozen of them, the naive one's has no bound."""
    rng = random.Random(seed)
    scheduler, oracle = Scheduler(), Oracle()
    for tenant in "ab":
        scheduler.set_tenant(tenant, weight=1 / 256)
        oracle.set_tenant(tenant, 1 / 256)
    for place in range(6):
        weight, tenant, cost = rng.choice([1, 2, 3]) / 256, "ab"[place % 2], rng.randint(1 << 19, 1 << 20)
        handle = scheduler.add(tenant=tenant, weight=weight, priority=-3, cost=cost)
        oracle.add(handle, tenant, cost, rate_of(weight, -3), 0, None)
    for _ in range(400):
        handles = scheduler.pick_many(rng.randint(1, 4))
        assert handles == [oracle.pick() for _ in handles]
        for handle in handles:
            cost = rng.randint(1 << 19, 1 << 20)
            scheduler.charge(handle, cost, again=True)
            oracle.charge(handle, cost, again=True)
    assert max(tenant.queue.now for tenant in oracle.tenants.values()) > 1 << 63


def test_equal_calls_have_equal_answers() -> None:
    def run() -> list[int]:
        rng = random.Random(7)
        scheduler = Scheduler()
        for _ in range(500):
            scheduler.add(tenant=rng.choice("abcd"), weight=rng.uniform(0.1, 9), cost=rng.randint(1, 99))
        return serve(scheduler, 3000, cost=5)

    assert run() == run()
