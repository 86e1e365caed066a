from libc.stdint cimport uint8_t, uint32_t

cdef extern from "base/utf8.h" nogil:
    ctypedef enum fg_utf8_form:
        FG_UTF8_WELL_FORMED, FG_UTF8_ILL_FORMED, FG_UTF8_INCOMPLETE
    ctypedef struct fg_utf8_part:
        fg_utf8_form form
        uint32_t length
    fg_utf8_part fg_utf8_sequence(const uint8_t *text, size_t size)
    size_t fg_utf8_tail(const uint8_t *text, size_t size)

# On the level in use. `text` may be NULL if `size` is 0.
cdef size_t validate_utf8(const uint8_t *text, size_t size) noexcept nogil     # length of the well-formed prefix
cdef size_t count_utf8(const uint8_t *text, size_t size) noexcept nogil
