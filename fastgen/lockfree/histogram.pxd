from libc.stdint cimport uint64_t

from fastgen.lockfree.counter cimport Sharded, fg_atomic


cdef class Histogram(Sharded):
    cdef uint64_t *sums
    cdef size_t buckets
    cdef readonly unsigned int precision
    cdef readonly double unit
    cdef uint64_t most

    cdef uint64_t ticks_of(self, double value) noexcept nogil
    cdef void add_ticks(self, uint64_t ticks) noexcept nogil
    cdef uint64_t count_of_sums(self) noexcept nogil
    # From C, without the GIL: ticks of `unit`, at most `most`.
    cdef void record_ticks(self, fg_atomic *shard, uint64_t ticks) noexcept nogil
