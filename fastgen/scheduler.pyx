# cython: language_level=3, cdivision=True
"""Scheduler: who is served next. Weighted fair queuing over tenants and their streams, and limits at the door."""

from collections import namedtuple
from math import ceil, isfinite
from numbers import Integral, Real

cimport cython
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_CheckExact
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastgen.errors import InvalidParameterError, OverloadedError

MAX_COST = FG_COST_MOST
"""The largest cost of one service."""

MAX_WEIGHT = 256
"""Weights are in [1 / MAX_WEIGHT, MAX_WEIGHT]."""

MAX_PRIORITY = 3
"""Priorities are in [-MAX_PRIORITY, MAX_PRIORITY]."""

cdef uint32_t ROOM = 1 << 31            # entries or tenants
cdef tuple LIMITS = ("max_queue", "max_streams", "max_prompt_tokens")
cdef tuple STATES = (None, "resting", "waiting", "serving")

Usage = namedtuple("Usage", ("queued", "prompt_tokens", "streams", "served"))
Usage.__doc__ = """What waits and runs: streams `queued`, which were never served, their `prompt_tokens`, all `streams`,
and the cost that was `served` so far."""


cdef int64_t whole_of(object value, str name, int64_t low, int64_t high) except? -1:
    if PyLong_CheckExact(value):
        if low <= value <= high:
            return value
    elif isinstance(value, Integral) and not isinstance(value, bool):
        return whole_of(int(value), name, low, high)
    raise InvalidParameterError("an argument must be an integer in its range", argument=name, value=str(value)[:40],
                                low=low, high=high)


cdef uint64_t limit_of(object value, str name) except? 0:
    return FG_UNLIMITED if value is None else whole_of(value, name, 0, <int64_t>1 << 62)


cdef double real_of(object value, str name, double low, double high) except? -1:
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            exact = float(value)
        except OverflowError:
            exact = float("inf")
        if isfinite(exact) and low <= exact <= high:
            return exact + 0.0                     # no -0.0: the bits of deadlines are compared
    raise InvalidParameterError("an argument must be a finite number in its range", argument=name,
                                type=type(value).__name__, low=low, high=high)


cdef uint64_t rate_of(object weight, int priority) except 0:
    cdef double exact = real_of(weight, "weight", 1.0 / MAX_WEIGHT, MAX_WEIGHT) * 4.0 ** priority
    return <uint64_t>(<double>FG_VIRTUAL_UNIT / exact + 0.5)


cdef uint64_t bits_of(double value) noexcept:
    cdef uint64_t bits
    memcpy(&bits, &value, sizeof(bits))
    return bits


cdef str name_of(object tenant):
    if type(tenant) is not str:                    # a subclass may hash as it likes
        raise InvalidParameterError("the name of a tenant must be a str", type=type(tenant).__name__)
    return tenant


cdef int reserve(fg_heap *heap, uint64_t count) except -1:
    """Have room for `count` nodes; a failure changes nothing."""
    if count > heap.capacity:
        heap.nodes = grown(heap.nodes, &heap.capacity, count, sizeof(fg_heap_node))
    return 0


cdef void *grown(void *memory, uint32_t *capacity, uint64_t count, size_t size) except NULL:
    cdef uint64_t room = max(count, <uint64_t>capacity[0] + capacity[0] // 2, 4)
    if room > ROOM:
        raise MemoryError
    memory = PyMem_Realloc(memory, room * size)
    if memory == NULL:
        raise MemoryError
    capacity[0] = <uint32_t>room
    return memory


@cython.final
@cython.no_gc
@cython.auto_pickle(False)
cdef class Scheduler:
    """Weighted fair queuing over tenants and their streams, with admission limits.

    A tenant gets service in proportion to its weight among the tenants of which a stream waits, however many streams
    it has; a stream in proportion to its weight among those of its tenant that wait. A stream is queued (`add`), waits,
    is picked, is charged what its service really cost, waits again or rests, and is removed. All of it is O(log n).

    Parameters
    ----------
    max_queue, max_streams, max_prompt_tokens : int, optional
        The most streams that are queued (were never picked), that exist, and the most prompt tokens of queued streams.
    max_tenants : int, default 65,536
        The most tenants at a time. One that has nothing to wait for and owes nothing is forgotten when room is needed.

    Notes
    -----
    *Fairness.* While two tenants want service all the time, what they were charged, divided by their weights, differs
    over any stretch of time by at most one service of each over its weight; the same holds for two streams of a tenant
    (of a service the cost that was expected or the real one, the larger). In batches of n it is n + 1 services of each
    tenant. So those that all want service get their share of any total to within a service of their own and their share
    of one service of every other, and within that bound everyone's turn comes, whatever the others do.

    *Priority* multiplies the weight of a stream among the streams of its tenant by 4. It orders a tenant's own work and
    takes nothing from other tenants; it starves nothing, since the smallest weight keeps its share.

    *No hoarding.* Who comes, or comes back from rest, starts at the present virtual time: it is owed nothing for the
    time when it wanted nothing, and what it was charged too much or too little stays with it.

    *Many at a time.* `pick_many` gives a stream one service at most, so one stream of a batch of n never gets more than
    1/n of the services, whatever its weight; what it lacks then is made good within limits, twice the largest service.

    The algorithms are start-time fair queuing among tenants (Goyal, Vin, Cheng, SIGCOMM 1996) and self-clocked fair
    queuing among streams (Golestani, INFOCOM 1994). Virtual time is in integers: equal calls have equal answers. No
    clock is read, and nothing is kept of the caller's. One thread, the engine's, may be inside at a time, or the GIL
    must be held; other threads hand their requests over through a queue. An entry takes 64 bytes, and 16 in its
    tenant's heap.

    Examples
    --------
    >>> scheduler = Scheduler()
    >>> a = [scheduler.add(tenant="a") for _ in range(2)]
    >>> b = [scheduler.add(tenant="b") for _ in range(2)]
    >>> [scheduler.pick() for _ in range(4)] == [a[0], b[0], a[1], b[1]]
    True
    """

    def __cinit__(self, *, max_queue=None, max_streams=None, max_prompt_tokens=None, max_tenants=65536):
        fg_scheduler_init(&self.c)
        self.c.most.queue = limit_of(max_queue, "max_queue")
        self.c.most.streams = limit_of(max_streams, "max_streams")
        self.c.most.tokens = limit_of(max_prompt_tokens, "max_prompt_tokens")
        self.max_tenants = whole_of(max_tenants, "max_tenants", 1, ROOM)
        self.places, self.kept, self.vacant = {}, set(), []
        self.since = self.pace = -1

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.c.tenants_used):
            PyMem_Free(self.c.tenants[i].streams.heap.nodes)
        PyMem_Free(self.c.tenants)
        PyMem_Free(self.c.entries)
        PyMem_Free(self.c.root.heap.nodes)
        PyMem_Free(self.c.deadlines.nodes)

    def __len__(self):
        return self.c.counts.streams

    def __repr__(self):
        return (f"Scheduler({len(self.places)} tenants, {self.c.counts.streams} streams, "
                f"{self.c.counts.queue} queued, {self.c.root.serving} being served)")

    @property
    def nbytes(self):
        """Bytes of memory for entries, tenants and heaps."""
        cdef size_t nodes = self.c.root.heap.capacity + self.c.deadlines.capacity
        cdef uint32_t i
        for i in range(self.c.tenants_used):
            nodes += self.c.tenants[i].streams.heap.capacity
        return (nodes * sizeof(fg_heap_node) + self.c.entries_capacity * sizeof(fg_entry)
                + self.c.tenants_capacity * sizeof(fg_tenant))

    # Tenants.

    cdef int sweep(self) except -1:
        """Forget tenants of which nothing need be known."""
        cdef uint32_t place
        for name, place in list(self.places.items()):
            if name not in self.kept and fg_scheduler_is_settled(&self.c, place):
                PyMem_Free(self.c.tenants[place].streams.heap.nodes)
                memset(&self.c.tenants[place], 0, sizeof(fg_tenant))
                del self.places[name]
                self.vacant.append(place)
        return 0

    cdef uint32_t tenant_of(self, str name, uint64_t rate) except? 0xFFFFFFFF:
        """Return the place of a tenant, a new one if it has none."""
        cdef uint32_t place
        found = self.places.get(name)
        if found is not None:
            return found
        if (not self.vacant and self.c.tenants_used == self.c.tenants_capacity) or len(self.places) == self.max_tenants:
            self.sweep()
            if 2 * len(self.places) >= self.c.tenants_capacity:         # the next sweep is far
                self.c.tenants = <fg_tenant *>grown(self.c.tenants, &self.c.tenants_capacity,
                                                    <uint64_t>self.c.tenants_capacity + 1, sizeof(fg_tenant))
        if len(self.places) == self.max_tenants:
            raise self.overloaded("max_tenants", self.max_tenants, None)
        if not self.vacant:
            memset(&self.c.tenants[self.c.tenants_used], 0, sizeof(fg_tenant))
            self.vacant.append(self.c.tenants_used)
            self.c.tenants_used += 1
        reserve(&self.c.root.heap, self.c.tenants_used)
        place = self.vacant[-1]
        self.places[name] = place
        self.vacant.pop()
        fg_scheduler_begin_tenant(&self.c, place, rate)
        return place

    def set_tenant(self, tenant, *, weight=1.0, max_queue=None, max_streams=None, max_prompt_tokens=None):
        """Set a tenant's weight and limits; without it a tenant has weight 1 and the limits of all.

        What it was charged stays, so that a change earns nothing; streams beyond a new limit stay too.

        Parameters
        ----------
        tenant : str
            Its name.
        weight : float, default 1.0
            Its share beside those of the others, in [1 / 256, 256].
        max_queue, max_streams, max_prompt_tokens : int, optional
            As for the scheduler, of this tenant alone.

        Raises
        ------
        InvalidParameterError
            A value is out of its range; nothing has changed.
        OverloadedError
            There are `max_tenants` already.
        """
        cdef str name = name_of(tenant)
        cdef uint64_t rate = rate_of(weight, 0)
        cdef fg_counts most
        most.queue = limit_of(max_queue, "max_queue")
        most.streams = limit_of(max_streams, "max_streams")
        most.tokens = limit_of(max_prompt_tokens, "max_prompt_tokens")
        cdef uint32_t place = self.tenant_of(name, rate)
        self.c.tenants[place].flow.rate = rate
        self.c.tenants[place].most = most
        self.kept.add(name)

    def usage(self, tenant=None):
        """Return the `Usage` of a tenant, or of all of them together; zeros for one that is not known."""
        cdef fg_tenant *asked
        if tenant is None:
            return Usage(self.c.counts.queue, self.c.counts.tokens, self.c.counts.streams, self.c.served)
        place = self.places.get(name_of(tenant))
        if place is None:
            return Usage(0, 0, 0, 0)
        asked = &self.c.tenants[<uint32_t>place]
        return Usage(asked.counts.queue, asked.counts.tokens, asked.counts.streams, asked.served)

    # Streams.

    cdef object overloaded(self, str limit, uint64_t most, str tenant):
        wait = 1 if self.pace < 0 else 60 if self.pace == 0 else ceil(min(self.c.counts.queue / self.pace, 60.0))
        return OverloadedError("more work than is admitted", hint="try again after `retry_after` seconds", limit=limit,
                               most=most, tenant=tenant, retry_after=max(wait, 1))

    cdef int refuse(self, str name, uint32_t tokens) except -1:
        found = self.places.get(name)
        cdef uint32_t place = FG_NOBODY if found is None else found
        cdef int refusal = fg_scheduler_refusal(&self.c, place, tokens)
        if refusal == 0:
            return 0
        cdef fg_counts *most = &self.c.most if refusal <= 3 else &self.c.tenants[place].most
        cdef int which = (refusal - 1) % 3
        raise self.overloaded(LIMITS[which], (most.queue, most.streams, most.tokens)[which],
                              None if refusal <= 3 else name)

    def add(self, *, tenant="", cost=1, weight=1.0, priority=0, prompt_tokens=0, deadline=None):
        """Queue a stream.

        Parameters
        ----------
        tenant : str, default ""
            Whose it is.
        cost : int, default 1
            What its next service is expected to cost, in [1, 16,777,215]: the tokens of the prompt, say.
        weight : float, default 1.0
            Its share beside those of the tenant's other streams, in [1 / 256, 256].
        priority : int, default 0
            In [-3, 3]; each step multiplies the weight by 4.
        prompt_tokens : int, default 0
            What it adds to the prompt tokens that are queued, until it is picked.
        deadline : float, optional
            When it expires if it is still queued, in seconds of the clock that `expire` is told, at least 0.

        Returns
        -------
        int
            Its handle, never used again for another stream.

        Raises
        ------
        InvalidParameterError
            An argument is of a wrong type or out of its range.
        OverloadedError
            A limit is reached; the details name it and say after how many seconds to try again. Nothing has changed.
        """
        cdef str name = name_of(tenant)
        cdef int rank = whole_of(priority, "priority", -MAX_PRIORITY, MAX_PRIORITY)
        cdef uint64_t rate = rate_of(weight, rank)
        cdef uint32_t expected = whole_of(cost, "cost", 1, FG_COST_MOST)
        cdef uint32_t tokens = whole_of(prompt_tokens, "prompt_tokens", 0, FG_COST_MOST)
        cdef uint64_t expiry = FG_NO_DEADLINE
        if deadline is not None:
            expiry = bits_of(real_of(deadline, "deadline", 0, 1e300))
        self.refuse(name, tokens)
        if self.c.free_entry == FG_NOBODY and self.c.entries_used == self.c.entries_capacity:
            self.c.entries = <fg_entry *>grown(self.c.entries, &self.c.entries_capacity,
                                               <uint64_t>self.c.entries_used + 1, sizeof(fg_entry))
        if expiry != FG_NO_DEADLINE:
            reserve(&self.c.deadlines, <uint64_t>self.c.deadlines.count + 1)
        cdef uint32_t place = self.tenant_of(name, FG_VIRTUAL_UNIT)
        reserve(&self.c.tenants[place].streams.heap, self.c.tenants[place].counts.streams + 1)
        return self.handle_of(fg_scheduler_add(&self.c, place, rate, expected, tokens, expiry))

    cdef object handle_of(self, uint32_t entry):
        return <uint64_t>self.c.entries[entry].generation << 32 | entry

    cdef uint32_t find(self, object handle) except? 0xFFFFFFFF:
        """Return the entry of a handle, FG_NOBODY (without an error) if it was removed."""
        cdef int overflow = 0
        cdef int64_t exact
        if not PyLong_CheckExact(handle):
            raise InvalidParameterError("a handle is the int that add() returned", type=type(handle).__name__)
        exact = PyLong_AsLongLongAndOverflow(handle, &overflow)
        if overflow or exact < 0 or <uint32_t>exact >= self.c.entries_used:
            return FG_NOBODY
        if self.c.entries[<uint32_t>exact].generation != <uint32_t>(exact >> 32):
            return FG_NOBODY
        return FG_NOBODY if self.c.entries[<uint32_t>exact].state == FG_ENTRY_FREE else <uint32_t>exact

    cdef uint32_t entry_of(self, object handle) except? 0xFFFFFFFF:
        cdef uint32_t entry = self.find(handle)
        if entry == FG_NOBODY:
            raise InvalidParameterError("no stream has this handle", hint="it was removed, or is of another scheduler")
        return entry

    def state(self, handle):
        """Return "waiting", "serving" (picked and not charged yet) or "resting"; None for a stream that was removed."""
        cdef uint32_t entry = self.find(handle)
        return None if entry == FG_NOBODY else STATES[self.c.entries[entry].state]

    def wake(self, handle):
        """Let a resting stream wait for service. One that waits or is being served stays as it is."""
        fg_scheduler_wake(&self.c, self.entry_of(handle))

    def rest(self, handle):
        """Let a waiting stream rest until `wake`: its consumer is behind, say. Others stay as they are."""
        fg_scheduler_rest(&self.c, self.entry_of(handle))

    def expect(self, handle, cost):
        """Set what the next service of a stream is expected to cost, as in `add`."""
        cdef uint32_t expected = whole_of(cost, "cost", 1, FG_COST_MOST)
        fg_scheduler_expect(&self.c, self.entry_of(handle), expected)

    def remove(self, handle):
        """Forget a stream, in whatever state. A service that was not charged yet counts as expected.

        Returns
        -------
        bool
            False if it was removed before.
        """
        cdef uint32_t entry = self.find(handle)
        if entry == FG_NOBODY:
            return False
        fg_scheduler_remove(&self.c, entry)
        return True

    # Service.

    def peek(self):
        """Return the handle that `pick` would return, and change nothing."""
        cdef uint32_t entry = fg_scheduler_peek(&self.c)
        return None if entry == FG_NOBODY else self.handle_of(entry)

    def pick(self):
        """Begin a service: return the handle of the stream that is next, or None if none waits.

        It is charged what it expected, so that the next pick knows, until `charge` says what the service really cost.
        """
        cdef uint32_t entry = fg_scheduler_pick(&self.c)
        return None if entry == FG_NOBODY else self.handle_of(entry)

    def pick_many(self, count):
        """Return up to `count` handles, as that many calls of `pick` would."""
        cdef uint32_t most = whole_of(count, "count", 0, ROOM), entry
        cdef list picked = []
        while most and (entry := fg_scheduler_pick(&self.c)) != FG_NOBODY:
            picked.append(self.handle_of(entry))
            most -= 1
        return picked

    def charge(self, handle, cost, *, bint again=False):
        """Charge a stream for what it really cost.

        Parameters
        ----------
        handle : int
            In any state. If it is being served, the service ends: the cost takes the place of what was expected, and 0
            says that it was not served after all. Otherwise it is charged on top.
        cost : int
            In [0, 16,777,215].
        again : bool, default False
            Whether it waits for service again at once. Unlike one that rests until `wake`, it loses nothing of what
            others got while it was served.

        Raises
        ------
        InvalidParameterError
            The stream was removed, or the cost is out of its range; nothing has changed.
        """
        cdef uint32_t amount = whole_of(cost, "cost", 0, FG_COST_MOST)
        fg_scheduler_charge(&self.c, self.entry_of(handle), amount, again)

    def charge_many(self, handles, costs, *, bint again=True):
        """Charge streams in turn, each as `charge` does; nothing has changed if anything is wrong.

        Parameters
        ----------
        handles : iterable of int
            Streams.
        costs : int or iterable of int
            What all of them cost, or each.
        again : bool, default True
            As for `charge`.
        """
        cdef list streams = list(handles)
        cdef list amounts = [costs] * len(streams) if isinstance(costs, int) else list(costs)
        cdef size_t count = len(streams), i
        if len(amounts) != count:
            raise InvalidParameterError("there must be one cost for each stream", streams=count, costs=len(amounts))
        cdef uint32_t *plan = <uint32_t *>PyMem_Malloc(2 * count * sizeof(uint32_t))
        if plan == NULL:
            raise MemoryError
        try:
            for i in range(count):
                plan[count + i] = whole_of(amounts[i], "cost", 0, FG_COST_MOST)
            for i in range(count):
                plan[i] = self.entry_of(streams[i])
            for i in range(count):
                fg_scheduler_charge(&self.c, plan[i], plan[count + i], again)
        finally:
            PyMem_Free(plan)

    def expire(self, now):
        """Remove the streams that are still queued at their deadline; call it before picking, once a step.

        Parameters
        ----------
        now : float
            Seconds of any clock that never goes back, at least 0. It also tells how fast the queue moves, from which
            rejections work out when to try again.

        Returns
        -------
        list of int
            The handles that are gone, the earliest deadline first.
        """
        cdef double time = real_of(now, "now", 0, 1e300)
        cdef uint32_t entry
        cdef list gone = []
        if self.since < 0:
            self.since, self.started = time, self.c.started
        elif time - self.since >= 1:
            pace = (self.c.started - self.started) / (time - self.since)
            self.pace = pace if self.pace < 0 else (self.pace + pace) / 2
            self.since, self.started = time, self.c.started
        while (entry := fg_scheduler_expired(&self.c, bits_of(time))) != FG_NOBODY:
            handle = self.handle_of(entry)
            fg_scheduler_remove(&self.c, entry)
            gone.append(handle)
        return gone
