from libc.stdint cimport int32_t

cdef class PromptLookup:
    """Owns a growing sequence of tokens."""

    cdef int32_t *tokens
    cdef size_t length, capacity, max_ngram, min_ngram

    cdef int reserve(self, size_t more) except -1
    cdef size_t propose_into(self, int32_t *out, size_t k, size_t least) noexcept nogil       # k or 0
