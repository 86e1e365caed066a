from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from fastgen.automaton cimport StopAutomaton
from fastgen.detokenizer cimport Detokenizer
from fastgen.loops cimport LoopDetector

cdef enum fg_end:
    FG_GOES_ON = 0
    FG_END_EOS
    FG_END_STOP_TOKEN
    FG_END_STOP_SEQUENCE
    FG_END_STOP_STRING
    FG_END_REPETITION
    FG_END_TOLD                         # from outside, with a detail of its own
    FG_NOT_A_TOKEN = -1
    FG_NO_MEMORY = -2


cdef class Transcript:
    """Owns the tokens of one answer, their places in its text, and the text."""

    cdef Detokenizer detokenizer
    cdef StopAutomaton stops            # None if there are none
    cdef StopAutomaton sequences        # of token ids, each spelled as eight bytes; None if there are none
    cdef LoopDetector loops             # None if loops are no end
    cdef uint32_t stop_state, sequence_state
    cdef object params
    cdef const int64_t[::1] ends        # the tokens that end the text, sorted: id << 1 | whether it is a stop token
    cdef size_t min_tokens
    cdef bint keeps_stop, busy

    cdef int32_t *ids                   # [count]
    cdef uint64_t *starts               # [count]: bytes of text before the token << 1 | whether within a character
    cdef size_t count, capacity
    cdef uint8_t *bytes                 # [size]: text that is in no stop string, room for [room]
    cdef size_t size, room
    cdef size_t taken                   # bytes of it that have been given out
    cdef size_t decoded                 # bytes of text that the tokens make, those held back or cut off included
    cdef size_t visible                 # the text comes from no token after these
    cdef fg_end end
    cdef int32_t which                  # index of the stop string or sequence that ended the text
    cdef str detail

    # The next token. Negative: nothing has changed but, without memory, the text of this token is lost.
    cdef fg_end advance(self, int32_t token) noexcept nogil
    cdef fg_end finish(self, fg_end end) noexcept nogil         # what is held back is text after all
    cdef size_t safe(self) noexcept nogil                       # bytes that may be given out

    cdef fg_end end_of(self, int32_t token) noexcept nogil
    cdef fg_end read(self, const uint8_t *text, size_t size, bint searched) noexcept nogil
    cdef fg_end release(self, const uint8_t *text, size_t size) noexcept nogil
    cdef fg_end let_go(self) noexcept nogil
    cdef fg_end end_sequence(self, const uint8_t *text, size_t size, size_t tokens) noexcept nogil
    cdef str take(self)
    cdef int look(self) except -1       # raises while another thread is inside
    cdef int enter(self) except -1
    cdef int fail(self, fg_end end, int32_t token) except -1
