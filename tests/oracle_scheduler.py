"""What the scheduler must decide, written to be read: lists instead of heaps, integers without bounds."""

from __future__ import annotations

from dataclasses import dataclass, field

UNIT = 1 << 24
LEAD = 1 << 62


def rate_of(weight: float, priority: int = 0) -> int:
    return int(UNIT / (weight * 4.0**priority) + 0.5)


@dataclass
class Flow:
    """A tenant in the root's queue, or a stream in its tenant's."""

    rate: int
    expected: int = 0
    tag: int = 0

    @property
    def key(self) -> int:
        return self.tag + self.expected * self.rate


@dataclass
class Queue:
    """One fair queue: whoever waits, with the ticket it drew."""

    now: int = 0
    latest: int = 0
    span: int = 0
    serving: int = 0
    tickets: int = 0
    waiting: list[tuple[int, Flow]] = field(default_factory=list)

    def draw(self, flow: Flow) -> None:
        self.tickets += 1
        self.waiting.append((self.tickets, flow))

    def enter(self, flow: Flow, again: bool) -> None:
        if again:
            flow.tag = max(flow.tag, self.now - 2 * self.span)
        else:
            if not self.waiting and not self.serving:
                self.now, self.span = max(self.now, self.latest), 0
            flow.tag = max(flow.tag, self.now)
        self.draw(flow)

    def leave(self, flow: Flow) -> None:
        self.waiting = [(ticket, one) for ticket, one in self.waiting if one is not flow]

    def holds(self, flow: Flow) -> bool:
        return any(one is flow for _, one in self.waiting)

    def first(self) -> Flow:
        return min(self.waiting, key=lambda pair: (pair[1].key, pair[0]))[1]

    def begin(self, flow: Flow, key: int, cost: int) -> int:
        self.now = max(self.now, key)
        self.serving += 1
        lent = max(0, min(cost * flow.rate, self.now + LEAD - flow.tag))
        self.span = max(self.span, lent)
        flow.tag += lent
        return lent

    def settle(self, flow: Flow, lent: int, cost: int) -> None:
        before, taken = flow.tag - lent, cost * flow.rate
        flow.tag = max(before, min(before + taken, self.now + LEAD))
        self.latest, self.span = max(self.latest, flow.tag), max(self.span, taken)


@dataclass
class Tenant:
    flow: Flow
    queue: Queue = field(default_factory=Queue)
    served: int = 0


@dataclass
class Stream:
    tenant: str
    flow: Flow
    prompt_tokens: int = 0
    deadline: float | None = None
    queued: bool = True
    state: str = "resting"
    lent: tuple[int, int] = (0, 0)


class Oracle:
    """The scheduler's calls, on handles that the caller makes up."""

    def __init__(self) -> None:
        self.root = Queue()
        self.tenants: dict[str, Tenant] = {}
        self.streams: dict[int, Stream] = {}

    def set_tenant(self, name: str, weight: float) -> None:
        self.tenants.setdefault(name, Tenant(Flow(UNIT))).flow.rate = rate_of(weight)

    def add(self, handle: int, tenant: str, cost: int, rate: int, prompt_tokens: int, deadline: float | None) -> None:
        self.tenants.setdefault(tenant, Tenant(Flow(UNIT)))
        self.streams[handle] = Stream(tenant, Flow(rate, cost), prompt_tokens, deadline)
        self.wait(handle, again=False)

    def wait(self, handle: int, again: bool) -> None:
        stream = self.streams[handle]
        tenant = self.tenants[stream.tenant]
        stream.state = "waiting"
        tenant.queue.enter(stream.flow, again)
        if not self.root.holds(tenant.flow):
            self.root.enter(tenant.flow, again)

    def wake(self, handle: int) -> None:
        if self.streams[handle].state == "resting":
            self.wait(handle, again=False)

    def rest(self, handle: int) -> None:
        stream = self.streams[handle]
        if stream.state == "waiting":
            tenant = self.tenants[stream.tenant]
            stream.state = "resting"
            tenant.queue.leave(stream.flow)
            if not tenant.queue.waiting:
                self.root.leave(tenant.flow)

    def peek(self) -> int | None:
        if not self.root.waiting:
            return None
        flow = self.root.first()
        tenant = next(one for one in self.tenants.values() if one.flow is flow)
        first = tenant.queue.first()
        return next(handle for handle, stream in self.streams.items() if stream.flow is first)

    def pick(self) -> int | None:
        handle = self.peek()
        if handle is None:
            return None
        stream = self.streams[handle]
        tenant, cost = self.tenants[stream.tenant], stream.flow.expected
        stream.lent = (
            tenant.queue.begin(stream.flow, stream.flow.key, cost),
            self.root.begin(tenant.flow, tenant.flow.key, cost),
        )
        stream.state, stream.queued = "serving", False
        tenant.queue.leave(stream.flow)
        self.root.leave(tenant.flow)
        if tenant.queue.waiting:
            self.root.draw(tenant.flow)
        return handle

    def charge(self, handle: int, cost: int, again: bool) -> None:
        stream = self.streams[handle]
        tenant = self.tenants[stream.tenant]
        tenant.queue.settle(stream.flow, stream.lent[0], cost)
        self.root.settle(tenant.flow, stream.lent[1], cost)
        stream.lent = (0, 0)
        tenant.served += cost
        if stream.state == "serving":
            stream.state = "resting"
            tenant.queue.serving -= 1
            self.root.serving -= 1
        if again and stream.state == "resting":
            self.wait(handle, again=True)

    def remove(self, handle: int) -> None:
        self.rest(handle)
        stream = self.streams.pop(handle)
        if stream.state == "serving":
            tenant = self.tenants[stream.tenant]
            tenant.queue.serving -= 1
            self.root.serving -= 1
            self.root.latest = max(self.root.latest, tenant.flow.tag)

    def expire(self, now: float) -> list[int]:
        late = [
            (stream.deadline, place, handle)
            for place, (handle, stream) in enumerate(self.streams.items())
            if stream.queued and stream.deadline is not None and stream.deadline <= now
        ]
        for _, _, handle in sorted(late):
            self.remove(handle)
        return [handle for _, _, handle in sorted(late)]

    def usage(self, tenant: str | None) -> tuple[int, int, int, int]:
        streams = [stream for stream in self.streams.values() if tenant in (None, stream.tenant)]
        queued = [stream for stream in streams if stream.queued]
        served = sum(one.served for name, one in self.tenants.items() if tenant in (None, name))
        return len(queued), sum(stream.prompt_tokens for stream in queued), len(streams), served
