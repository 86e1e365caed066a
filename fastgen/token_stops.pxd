from libc.stdint cimport int32_t, uint32_t

cdef extern from "token_stops.h" nogil:
    ctypedef struct fg_token_stops:
        const int32_t *ids
        const uint32_t *starts
        size_t count

cdef class TokenStops:
    """Stop sequences; nothing changes after they are made, so any number of threads may ask."""

    cdef fg_token_stops c
    cdef readonly size_t longest    # tokens of the longest sequence: no more of the last ones matter
    cdef int32_t *ids
    cdef uint32_t *starts
    cdef int32_t *places            # where in the caller's list a sequence stood

    cdef int32_t match(self, const int32_t *tokens, size_t count) noexcept nogil     # a place in the list, or -1
