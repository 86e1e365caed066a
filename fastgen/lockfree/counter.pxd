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
    size_t fg_histogram_buckets(unsigned int precision, unsigned int bits)
    size_t fg_histogram_bucket(unsigned int precision, uint64_t value)
    uint64_t fg_histogram_high(unsigned int precision, size_t bucket)

cdef double number_of(object value, str name) except? -1        # finite and not negative
cdef uint64_t quantile_of(unsigned int precision, const uint64_t *counts, size_t buckets,
                          double quantile) noexcept nogil


cdef class Sharded:
    """Counters of which each thread that writes from C may have a copy."""

    cdef fg_counters c
    cdef void *cells
    cdef fg_atomic *everybodys      # shard 0, for fg_count_shared
    cdef size_t counters

    cdef int make(self, size_t counters, object shards) except -1
    cdef uint64_t value_of(self, size_t counter) noexcept nogil
    cdef bint read_all(self, uint64_t *sums) noexcept nogil     # whether all are of one instant
    cdef fg_atomic *join(self) noexcept nogil               # NULL: no shard is free; for one thread until `leave`
    cdef void leave(self, fg_atomic *shard) noexcept nogil


cdef class Counter(Sharded):
    pass


cdef class Counters(Sharded):
    cdef uint64_t *sums


cdef class Rate(Sharded):
    cdef fg_rate rate
