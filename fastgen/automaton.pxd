from libc.stdint cimport int32_t, uint8_t, uint32_t

cdef extern from "automaton.h" nogil:
    ctypedef struct fg_stops:
        uint32_t states
    ctypedef struct fg_stop_step:
        const uint8_t *head
        size_t head_size, body_size, consumed, stop_size
        int32_t stop


cdef enum:
    LONG = 1 << 14      # bytes of text from which on the GIL is worth dropping


cdef class StopAutomaton:
    """Owns the block of memory that `csrc/automaton.h` builds; never changes, so streams and threads share it.

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

# The UTF-8 that a string keeps; a lone surrogate raises UnicodeEncodeError.
cdef const uint8_t *utf8_of(str text, size_t *size) except NULL
