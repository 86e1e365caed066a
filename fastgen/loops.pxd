from libc.stdint cimport int32_t

cdef class LoopDetector:
    """Counts for each period how often it must still hold."""

    cdef int32_t *window            # the last `longest` tokens end before `end`; -1 before the first token
    cdef int32_t *missing           # of the periods from `longest` down to `shortest`
    cdef size_t longest, shortest, room, end
    cdef int32_t again              # repetitions after the first

    cdef size_t feed(self, int32_t token) noexcept nogil        # the period that is complete, or 0
