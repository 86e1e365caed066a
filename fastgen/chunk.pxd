from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint64_t

cdef extern from "pipe/records.h" nogil:
    enum:
        FG_PIECE_TOKENS_MOST
        FG_PIECE_BYTES_MOST
    ctypedef struct fg_piece:
        const int32_t *tokens
        const uint64_t *payloads
        const uint8_t *text
        size_t token_count, payload_count, size
    void fg_records_measure(const uint64_t *words, size_t count, fg_piece *sizes)
    void fg_records_join(const uint64_t *words, size_t count, int32_t *tokens, uint64_t *payloads, uint8_t *text)

cdef enum:
    SCRATCH = 128           # words on the stack: more than what is usually taken at a time


cdef class Chunk:
    """What a reader gets at a time: one piece, or several one after the other."""
    cdef readonly str text
    cdef bint over
    cdef int32_t token      # the only one, if `ids` is None
    cdef tuple ids
    cdef readonly tuple payloads


cdef Chunk ending()                                         # says no more than that this is the end
cdef Chunk chunk_of(const uint64_t *words, size_t count)    # of records, whose payloads it owns from then on
cdef void forget(const uint64_t *words, size_t count) noexcept      # lets go of the payloads of records
