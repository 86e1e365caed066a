from libc.stdint cimport int32_t, uint8_t, uint32_t

from fastgen.tokenizer.bytetable cimport ByteTable

cdef extern from "detokenizer.h" nogil:
    ctypedef struct fg_utf8:
        uint8_t count
    ctypedef struct fg_detokenizer:
        const uint8_t *bytes
        const uint32_t *offsets
        const uint8_t *marks
        uint32_t count
        uint8_t *text
        uint8_t skip_special, spaces, strip, clusters
        fg_utf8 decoder             # an unfinished character
        size_t held                 # bytes of an unfinished cluster before it


cdef class Marks:
    """A byte of `fg_token_mark` for each token; the same for all detokenizers of a tokenizer."""

    cdef uint8_t *c
    cdef size_t longest             # the most bytes that one token's text may have
    cdef object special_ids


cdef class Detokenizer:
    """Owns a detokenizer of `csrc/detokenizer.h`. One thread at a time."""

    cdef fg_detokenizer c
    cdef readonly size_t most       # no text of `advance` and `finish` has more bytes
    cdef bint busy
    cdef ByteTable table
    cdef Marks marks

    # Whole code points that the token completes. They lie in memory of the detokenizer, with 64 readable bytes behind
    # them, until the next call. Returns 0, or -1 if there is no such token; nothing has changed then.
    cdef int advance(self, int32_t token, const uint8_t **text, size_t *size) noexcept nogil
    # The text of what is held back, as above; then another text begins.
    cdef void finish(self, const uint8_t **text, size_t *size) noexcept nogil
    cdef int enter(self) except -1
    cdef str push_all(self, const int32_t *tokens, size_t count)
