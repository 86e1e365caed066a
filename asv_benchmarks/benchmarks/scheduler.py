"""Fair queuing: a service and its charge among few and many streams, and how fair the services are.

Peer: ``heapq``, the same two levels of virtual time in Python, without corrections, removal or limits.
vLLM's pull request 31909, closed, reports 80 to 150 µs for a queue operation.
"""

from __future__ import annotations

import collections
import heapq
from collections.abc import Callable, Iterator

from fastgen.scheduler import Scheduler

from .common import Bench, Figure, Peer, level_of, paired

SIZES = [10, 1_000, 100_000]
TENANTS = 4
SERVICES = 1000
BATCH = 64


class Heaps:
    """Weighted fair queuing over tenants and their streams as a page of Python has it."""

    def __init__(self, streams: int) -> None:
        each = range(streams // TENANTS + (streams % TENANTS > 0))
        self.streams = [[(1 / (1 + place % 16), place, 1 / (1 + place % 16)) for place in each] for _ in range(TENANTS)]
        for heap in self.streams:
            heapq.heapify(heap)
        self.tenants = [(0.0, tenant) for tenant in range(TENANTS)]
        self.picks = streams

    def serve(self) -> None:
        tag, tenant = self.tenants[0]
        heap = self.streams[tenant]
        key, _, rate = heap[0]
        self.picks += 1
        heapq.heapreplace(heap, (key + rate, self.picks, rate))
        heapq.heapreplace(self.tenants, (tag + 1.0, tenant))


def filled(streams: int) -> Scheduler:
    scheduler = Scheduler()
    for place in range(streams):
        scheduler.add(tenant=str(place % TENANTS), weight=1 + place // TENANTS % 16)
    return scheduler


def services(impl: str, streams: int) -> Callable[[], object]:
    """Return a call that makes `SERVICES` services, each charged, the stream waiting again."""
    if impl == "heapq":
        heaps = Heaps(streams)
        return lambda: [heaps.serve() for _ in range(SERVICES)]
    scheduler = filled(streams)
    return (lambda: in_batches(scheduler)) if impl == "fastgen, batches" else (lambda: one_by_one(scheduler))


def one_by_one(scheduler: Scheduler) -> None:
    pick, charge = scheduler.pick, scheduler.charge
    for _ in range(SERVICES):
        handle = pick()
        assert handle is not None
        charge(handle, 1, again=True)


def in_batches(scheduler: Scheduler) -> None:
    left = SERVICES
    while left:
        batch = scheduler.pick_many(min(BATCH, left))
        scheduler.charge_many(batch, 1)
        left -= len(batch)


class Service(Bench):
    """A thousand services."""

    param_names = ("impl", "streams")
    params = (["heapq", "fastgen", "fastgen, batches"], SIZES)

    def setup(self, impl: str, streams: int) -> None:
        self.call = services(impl, streams)

    def time_services(self, impl: str, streams: int) -> None:
        self.call()


class Queue(Bench):
    """A thousand requests queued and removed again, among others."""

    param_names = ("streams",)
    params = (SIZES,)

    def setup(self, streams: int) -> None:
        self.scheduler = filled(streams)

    def time_add_and_remove(self, streams: int) -> None:
        handles = [self.scheduler.add(tenant="0", cost=100, prompt_tokens=100) for _ in range(SERVICES)]
        for handle in handles:
            self.scheduler.remove(handle)


class Fairness(Bench):
    """10,000 streams of weights 1 to 16, 20 rounds, in batches: the largest error of a share, and Jain's index."""

    def setup(self) -> None:
        scheduler = Scheduler()
        weights = {scheduler.add(weight=1 + place % 16): 1 + place % 16 for place in range(10_000)}
        served: collections.Counter[int] = collections.Counter()
        for _ in range(20 * sum(weights.values()) // BATCH):
            batch = scheduler.pick_many(BATCH)
            scheduler.charge_many(batch, 1)
            served.update(batch)
        self.shares = [served[handle] / weight / 20 for handle, weight in weights.items()]

    def track_error_percent(self) -> float:
        return 100 * max(abs(share - 1) for share in self.shares)

    def track_jain_index(self) -> float:
        return sum(self.shares) ** 2 / (len(self.shares) * sum(share * share for share in self.shares))


def figures() -> Iterator[Figure]:
    """Yield a thousand services against Python's heaps, and among 100,000 streams against among 10."""
    level = level_of("fastgen")

    def serving(impl: str, streams: int) -> Peer:
        return Peer(services(impl, streams), level)

    for streams in SIZES:
        pair = paired(serving("fastgen, batches", streams), serving("heapq", streams))
        yield Figure(f"1,000 fair services among {streams:,} streams, batches of {BATCH}", "heapq", pair)
    for streams in SIZES[:0:-1]:
        pair = paired(serving("fastgen, batches", streams), serving("fastgen, batches", SIZES[0]))
        yield Figure(f"1,000 fair services among {streams:,} streams", f"among {SIZES[0]}", pair, "cost")
