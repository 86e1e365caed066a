# UTF-8, character by character.

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from fastgen.kernels.utf8 cimport FG_UTF8_WELL_FORMED, fg_utf8_part, fg_utf8_sequence

cdef inline size_t put_char(uint8_t *to, uint32_t char) noexcept nogil:
    if char < 0x80:
        to[0] = char
        return 1
    if char < 0x800:
        to[0], to[1] = 0xC0 | char >> 6, 0x80 | char & 0x3F
        return 2
    if char < 0x10000:
        to[0], to[1], to[2] = 0xE0 | char >> 12, 0x80 | char >> 6 & 0x3F, 0x80 | char & 0x3F
        return 3
    to[0], to[1] = 0xF0 | char >> 18, 0x80 | char >> 12 & 0x3F
    to[2], to[3] = 0x80 | char >> 6 & 0x3F, 0x80 | char & 0x3F
    return 4


cdef inline uint32_t char_at(const uint8_t *at) noexcept nogil:
    """Return a character of sound UTF-8."""
    if at[0] < 0x80:
        return at[0]
    if at[0] < 0xE0:
        return (at[0] & 0x1F) << 6 | at[1] & 0x3F
    if at[0] < 0xF0:
        return (at[0] & 0x0F) << 12 | (at[1] & 0x3F) << 6 | at[2] & 0x3F
    return (at[0] & 0x07) << 18 | (at[1] & 0x3F) << 12 | (at[2] & 0x3F) << 6 | at[3] & 0x3F


ctypedef fused Char:
    uint8_t
    uint16_t
    uint32_t


cdef inline size_t put_chars(uint8_t *to, const Char *chars, size_t size, bint replace, bint *sound) noexcept nogil:
    """Write characters as UTF-8 and return the number of bytes; stops at a lone surrogate unless it is to replace."""
    cdef size_t i, written = 0
    cdef uint32_t char
    sound[0] = True
    for i in range(size):
        char = chars[i]
        if 0xD800 <= char <= 0xDFFF:
            if not replace:
                sound[0] = False
                break
            char = 0xFFFD
        written += put_char(to + written, char)
    return written


cdef inline size_t size_of_chars(const Char *chars, size_t size) noexcept nogil:
    """Return how many bytes of UTF-8 characters take; three for a lone surrogate."""
    cdef size_t i, total = size
    for i in range(size):
        total += (chars[i] >= 0x80) + (<uint32_t>chars[i] >= 0x800) + (<uint32_t>chars[i] >= 0x10000)
    return total


cdef inline size_t put_replaced(uint8_t *to, const uint8_t *bytes, size_t size) noexcept nogil:
    """Write bytes with U+FFFD for each maximal subpart of what is not UTF-8; at most three times their number."""
    cdef size_t i = 0, written = 0
    cdef fg_utf8_part part
    while i < size:
        part = fg_utf8_sequence(bytes + i, size - i)
        if part.form == FG_UTF8_WELL_FORMED:
            memcpy(to + written, bytes + i, part.length)
            written += part.length
        else:
            written += put_char(to + written, 0xFFFD)
        i += part.length
    return written
