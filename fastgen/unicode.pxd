# UTF-8, character by character.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef inline int sequence(const uint8_t *at, size_t left) noexcept nogil:
    """Return the length of the character at `at`, or minus the length of what is there instead.

    That is the longest part that begins a character, or one byte: a maximal subpart, as Unicode and CPython replace it.
    """
    cdef uint8_t lead = at[0], low = 0x80, high = 0xBF
    cdef int size, i
    if lead < 0x80:
        return 1
    if lead < 0xC2 or lead > 0xF4:
        return -1
    size = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if lead == 0xE0:
        low = 0xA0
    elif lead == 0xED:
        high = 0x9F
    elif lead == 0xF0:
        low = 0x90
    elif lead == 0xF4:
        high = 0x8F
    for i in range(1, size):
        if <size_t>i >= left or not low <= at[i] <= high:
            return -i
        low, high = 0x80, 0xBF
    return size


cdef inline size_t validate_utf8(const uint8_t *bytes, size_t size) noexcept nogil:
    """Return where the first sequence begins that is not UTF-8; `size` if there is none."""
    cdef size_t i = 0
    cdef uint64_t word
    cdef int step
    while i < size:
        if i + 8 <= size:
            memcpy(&word, bytes + i, 8)
            if word & <uint64_t>0x8080808080808080 == 0:
                i += 8
                continue
        step = sequence(bytes + i, size - i)
        if step < 0:
            break
        i += step
    return i


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
    cdef int step
    while i < size:
        step = sequence(bytes + i, size - i)
        if step > 0:
            memcpy(to + written, bytes + i, step)
            written, i = written + step, i + step
        else:
            written, i = written + put_char(to + written, 0xFFFD), i - step
    return written
