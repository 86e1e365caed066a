/** Bytes in any pieces to well-formed UTF-8. */
#ifndef FG_DETOKENIZER_UTF8_H
#define FG_DETOKENIZER_UTF8_H

#include "base/utf8.h"

enum { FG_UTF8_HELD = 3 }; /* most bytes of an unfinished character */

/** The beginning of a character whose other bytes may still come. */
typedef struct fg_utf8 {
    uint8_t bytes[FG_UTF8_HELD], count;
} fg_utf8;

/** Add bytes and write the characters that they complete: at most 3 * (FG_UTF8_HELD + count) bytes.
 *
 * What is not UTF-8 becomes one U+FFFD for each maximal subpart: the longest beginning of a character, or else one byte
 * (The Unicode Standard, 3.9, "U+FFFD Substitution of Maximal Subparts"; the same as Python's errors="replace"). How
 * the bytes are cut into pieces makes no difference. Returns the number of bytes written. */
size_t fg_utf8_decode(fg_utf8 *decoder, uint8_t const *bytes, size_t count, uint8_t *text);

/** End the text: write U+FFFD for an unfinished character. Returns the number of bytes written, 0 or 3. */
size_t fg_utf8_finish(fg_utf8 *decoder, uint8_t *text);

/** The code point at the beginning of well-formed UTF-8; `*length` is its number of bytes. */
FG_INLINE uint32_t fg_utf8_first(uint8_t const *text, size_t *length) {
    uint32_t const lead = text[0];
    if (lead < 0x80) return *length = 1, lead;
    if (lead < 0xE0) return *length = 2, (lead & 0x1F) << 6 | (text[1] & 0x3Fu);
    if (lead < 0xF0) return *length = 3, (lead & 0xF) << 12 | (text[1] & 0x3Fu) << 6 | (text[2] & 0x3Fu);
    return *length = 4, (lead & 7) << 18 | (text[1] & 0x3Fu) << 12 | (text[2] & 0x3Fu) << 6 | (text[3] & 0x3Fu);
}

#endif
