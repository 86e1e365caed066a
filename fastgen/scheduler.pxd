from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "scheduler.h" nogil:
    enum: FG_COST_MOST, FG_ENTRY_FREE
    const uint32_t FG_NOBODY
    const uint64_t FG_UNLIMITED, FG_NO_DEADLINE, FG_VIRTUAL_UNIT
    ctypedef struct fg_heap:
        void *nodes
        uint32_t count, capacity
    ctypedef struct fg_heap_node:
        pass
    ctypedef struct fg_flow:
        uint64_t rate
        uint32_t place
    ctypedef struct fg_fair_queue:
        fg_heap heap
        uint32_t serving
    ctypedef struct fg_entry:
        uint32_t tenant, generation
        uint8_t state
    ctypedef struct fg_counts:
        uint64_t queue, streams, tokens
    ctypedef struct fg_tenant:
        fg_flow flow
        fg_fair_queue streams
        fg_counts counts, most
        uint64_t served
    ctypedef struct fg_scheduler:
        fg_entry *entries
        fg_tenant *tenants
        fg_fair_queue root
        fg_heap deadlines
        fg_counts counts, most
        uint64_t served, started
        uint32_t entries_used, entries_capacity, free_entry, tenants_used, tenants_capacity
    void fg_scheduler_init(fg_scheduler *scheduler)
    void fg_scheduler_begin_tenant(fg_scheduler *scheduler, uint32_t tenant, uint64_t rate)
    bint fg_scheduler_is_settled(const fg_scheduler *scheduler, uint32_t tenant)
    int fg_scheduler_refusal(const fg_scheduler *scheduler, uint32_t tenant, uint32_t tokens)
    uint32_t fg_scheduler_add(fg_scheduler *scheduler, uint32_t tenant, uint64_t rate, uint32_t expected,
                              uint32_t tokens, uint64_t deadline)
    void fg_scheduler_wake(fg_scheduler *scheduler, uint32_t entry)
    void fg_scheduler_rest(fg_scheduler *scheduler, uint32_t entry)
    uint32_t fg_scheduler_peek(const fg_scheduler *scheduler)
    uint32_t fg_scheduler_pick(fg_scheduler *scheduler)
    void fg_scheduler_charge(fg_scheduler *scheduler, uint32_t entry, uint32_t cost, bint again)
    void fg_scheduler_expect(fg_scheduler *scheduler, uint32_t entry, uint32_t expected)
    void fg_scheduler_remove(fg_scheduler *scheduler, uint32_t entry)
    uint32_t fg_scheduler_expired(const fg_scheduler *scheduler, uint64_t now)


cdef class Scheduler:
    """Fair queuing in C; the names of tenants and the memory are here."""

    cdef fg_scheduler c
    cdef dict places                    # of the tenants, by name
    cdef set kept                       # names of tenants that were set up
    cdef list vacant                    # places without a tenant
    cdef size_t max_tenants
    cdef double since, pace             # when the pace was measured, and how many streams start in a second
    cdef uint64_t started

    cdef int sweep(self) except -1
    cdef uint32_t tenant_of(self, str name, uint64_t rate) except? 0xFFFFFFFF
    cdef object overloaded(self, str limit, uint64_t most, str tenant)
    cdef int refuse(self, str name, uint32_t tokens) except -1
    cdef object handle_of(self, uint32_t entry)
    cdef uint32_t find(self, object handle) except? 0xFFFFFFFF
    cdef uint32_t entry_of(self, object handle) except? 0xFFFFFFFF
