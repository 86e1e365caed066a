from libc.stdint cimport int64_t, uint64_t

cdef extern from "lockfree/ring.h" nogil:
    ctypedef struct fg_ring:
        pass
    size_t fg_ring_bytes(size_t capacity, size_t words)
    void fg_ring_init(fg_ring *ring, size_t capacity, size_t words, void *memory)
    size_t fg_ring_push(fg_ring *ring, const uint64_t *items, size_t count)
    size_t fg_ring_offer(fg_ring *ring, const uint64_t *items, size_t count)
    size_t fg_ring_pop(fg_ring *ring, uint64_t *items, size_t count)
    size_t fg_ring_peek(fg_ring *ring, const uint64_t **items, size_t count)
    void fg_ring_skip(fg_ring *ring, size_t count)
    size_t fg_ring_count(const fg_ring *ring)
    bint fg_ring_close(fg_ring *ring)
    bint fg_ring_is_closed(const fg_ring *ring)
    bint fg_ring_is_drained(const fg_ring *ring)


cdef size_t capacity_of(object capacity, size_t least) except 0     # rounded up to a power of two
cdef void *aligned(void *memory) noexcept nogil     # the first multiple of FG_DESTRUCTIVE_INTERFERENCE at or after it

cdef class Ring:
    """Integers from one thread to another."""

    cdef fg_ring *c                 # inside `memory`, aligned, the items behind it
    cdef void *memory
    cdef size_t room
    cdef size_t born                # forks() when it was made

    # One producer and one consumer at a time; nothing is checked.
    cdef size_t put(self, const int64_t *values, size_t count) noexcept nogil
    cdef size_t take(self, int64_t *values, size_t count) noexcept nogil
    cdef int enter(self) except -1
    cdef int refuse_if_closed(self) except -1
    cdef int refuse_if_drained(self) except -1
    cdef size_t push_items(self, object values) except? 0
