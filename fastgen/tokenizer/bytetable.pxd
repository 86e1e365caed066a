from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    BYTES_PADDING = 64      # zero bytes behind those of the last token


cdef class ByteTable:
    """Owns the bytes of the tokens, on a boundary of 64 and padded, and where each begins. Never changes."""

    cdef const uint8_t *data
    cdef const uint32_t *begins     # count + 1 of them
    cdef readonly uint32_t count
    cdef object marks               # what the detokenizers of this table share
    cdef void *memory

    cdef uint8_t *reserve(self, size_t count, size_t size) except NULL
