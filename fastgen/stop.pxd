from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from fastgen.automaton cimport StopAutomaton, fg_stop_step


cdef class Match:
    cdef readonly bytes text
    cdef readonly bint stopped
    cdef readonly str stop
    cdef int64_t place, start       # -1: None

    cdef tuple fields(self)


cdef class StopMatcher:
    cdef readonly StopAutomaton automaton
    cdef bint keeps_stop            # the text keeps the stop that ends it
    cdef uint32_t state
    cdef int32_t stop               # index of the stop that has completed, -1 before
    cdef uint64_t fed, stop_start   # bytes of the stream so far; those before the stop
    cdef bint flushed, busy

    # For a caller that passes text on without Python. Nothing is checked: the stream has not ended, and no other thread
    # uses the matcher. `advance` is feed(), `finish` is flush().
    cdef void advance(self, const uint8_t *text, size_t size, fg_stop_step *step) noexcept nogil
    cdef void finish(self, fg_stop_step *step) noexcept nogil

    cdef int enter(self) except -1
    cdef Match step(self, const uint8_t *data, size_t size)
    cdef Match match_of(self, const fg_stop_step *step, const uint8_t *data, int32_t stop, uint64_t stop_start)
    cdef void note(self, const fg_stop_step *step) noexcept nogil
