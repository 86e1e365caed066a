from libc.stdint cimport uint64_t

cdef extern from "lockfree/counter.h" nogil:
    ctypedef struct fg_atomic:
        pass
    ctypedef struct fg_counters:
        pass
    ctypedef struct fg_rate:
        pass
    # Inline, so they may be called anywhere. `shard` comes from Sharded.join.
    void fg_count(fg_atomic *shard, size_t counter, uint64_t amount)
    void fg_count_shared(fg_atomic *shard, size_t counter, uint64_t amount)
    size_t fg_histogram_bucket(unsigned int precision, uint64_t value)


cdef class Sharded:
    """Counters of which each thread that writes from C may have a copy."""

    cdef fg_counters c
    cdef void *cells
    cdef fg_atomic *everybodys      # shard 0, for fg_count_shared
    cdef size_t counters

    cdef int make(self, size_t counters, object shards) except -1
    cdef fg_atomic *join(self) noexcept nogil               # NULL: no shard is free; for one thread until `leave`
    cdef void leave(self, fg_atomic *shard) noexcept nogil


cdef class Counter(Sharded):
    pass


cdef class Counters(Sharded):
    cdef uint64_t *sums


cdef class Histogram(Sharded):
    cdef uint64_t *sums
    cdef size_t buckets
    cdef readonly unsigned int precision
    cdef readonly double unit
    cdef uint64_t most

    cdef bint read_sums(self) noexcept nogil
    cdef uint64_t ticks_of(self, double value) noexcept nogil
    cdef void add_ticks(self, uint64_t ticks) noexcept nogil
    cdef uint64_t count_of_sums(self) noexcept nogil
    # From C, without the GIL: ticks of `unit`, at most `most`.
    cdef void record_ticks(self, fg_atomic *shard, uint64_t ticks) noexcept nogil


cdef class Rate(Sharded):
    cdef fg_rate rate
