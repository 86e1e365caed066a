/** UTF-8 one sequence at a time: what stands at the start of a text, and what its end leaves open.
 *
 * Well-formed is what table 3-7 of the Unicode Standard lists: no overlong form, no surrogate, nothing above U+10FFFF.
 * An ill-formed text is cut into maximal subparts (section 3.9, "U+FFFD Substitution of Maximal Subparts"), as Python's
 * decoder and WHATWG's do. */
#ifndef FG_UTF8_H
#define FG_UTF8_H

#include "base/base.h"

/** Incomplete: the text ends inside a sequence that more bytes could make well-formed. */
typedef enum fg_utf8_form { FG_UTF8_WELL_FORMED, FG_UTF8_ILL_FORMED, FG_UTF8_INCOMPLETE } fg_utf8_form;

/** A well-formed sequence of 1 to 4 bytes, or a maximal subpart of 1 to 3. */
typedef struct fg_utf8_part {
    fg_utf8_form form;
    uint32_t length;
} fg_utf8_part;

FG_INLINE int fg_utf8_is_continuation(uint8_t byte) { return (byte & 0xC0) == 0x80; }

/** What stands at the start of a text that is not empty. Only the second byte of a sequence has bounds of its own. */
FG_INLINE fg_utf8_part fg_utf8_sequence(uint8_t const *text, size_t size) {
    uint8_t const lead = text[0];
    if (lead < 0x80) return (fg_utf8_part){FG_UTF8_WELL_FORMED, 1};
    if (lead < 0xC2 || lead > 0xF4) return (fg_utf8_part){FG_UTF8_ILL_FORMED, 1};
    uint32_t const length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    uint8_t lowest = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    uint8_t highest = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    for (uint32_t i = 1; i < length; i++) {
        if (i == size) return (fg_utf8_part){FG_UTF8_INCOMPLETE, i};
        if (text[i] < lowest || text[i] > highest) return (fg_utf8_part){FG_UTF8_ILL_FORMED, i};
        lowest = 0x80, highest = 0xBF;
    }
    return (fg_utf8_part){FG_UTF8_WELL_FORMED, length};
}

/** How many bytes at the start of a text are well-formed: all, or as far as the first sequence that is not. */
FG_INLINE size_t fg_utf8_prefix(uint8_t const *text, size_t size) {
    size_t at = 0;
    while (at < size) {
        fg_utf8_part const part = fg_utf8_sequence(text + at, size - at);
        if (part.form != FG_UTF8_WELL_FORMED) break;
        at += part.length;
    }
    return at;
}

/** Where the last sequence before `at` starts, or `at`, if the bytes before `at` are well-formed but for that one. */
FG_INLINE size_t fg_utf8_boundary(uint8_t const *text, size_t at) {
    for (size_t back = 1; back <= 3 && back <= at; back++)
        if (!fg_utf8_is_continuation(text[at - back])) return at - back;
    return at; /* three continuations: the end of a whole sequence */
}

/** How many bytes at the end of a text, 0 to 3, are a sequence that more bytes could make well-formed. */
FG_INLINE size_t fg_utf8_tail(uint8_t const *text, size_t size) {
    size_t const start = fg_utf8_boundary(text, size);
    if (start == size) return 0;
    fg_utf8_part const last = fg_utf8_sequence(text + start, size - start);
    return last.form == FG_UTF8_INCOMPLETE ? last.length : 0;
}

#endif
