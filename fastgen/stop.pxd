from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "stop.h" nogil:
    ctypedef struct fg_stops:
        uint32_t states
    ctypedef struct fg_stop_step:
        const uint8_t *head
        size_t head_size, body_size, consumed, stop_size
        int32_t stop


cdef class StopAutomaton:
    """Owns the block of memory that `csrc/stop.h` builds; never changes, so streams and threads share it.

    A stream's state is one number, 0 at its start: whoever holds more streams than matchers keeps that himself. What
    `feed` says in `step.head` lives as long as this object. After a stop or `flush` a stream is over.
    """

    cdef fg_stops *c
    cdef readonly tuple stops
    cdef readonly size_t nbytes

    cdef void feed(self, uint32_t *state, const uint8_t *text, size_t size, bint keeps_stop,
                   fg_stop_step *step) noexcept nogil
    cdef void flush(self, uint32_t *state, fg_stop_step *step) noexcept nogil
    cdef int build(self) except -1
    cdef size_t held(self, uint32_t state) noexcept nogil


cdef StopAutomaton compiled(object stops)   # from the cache, or built and kept there


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
