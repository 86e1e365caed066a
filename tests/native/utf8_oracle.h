/** UTF-8 by arithmetic: a code point is put together from its bits and then judged. Shares nothing with the tables of
 * csrc; and what is incomplete or a maximal subpart is found by trying what could follow. */
#include "base/utf8.h"
#include "kernels/utf8.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("line %d: %s\n", __LINE__, #condition);                                                             \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/** The levels of this machine, scalar first. */
typedef struct level {
    char const *name;
    fg_utf8_kernels kernels;
} level;
enum { MOST_LEVELS = 4 };

static size_t find_levels(level found[MOST_LEVELS]) {
    static struct {
        fg_features features;
        char const *name;
    } const every[MOST_LEVELS] = {
        {FG_SCALAR, "scalar"}, {FG_AVX2, "avx2"}, {FG_AVX2 | FG_AVX512, "avx512"}, {FG_NEON, "neon"}};
    size_t count = 0;
    for (size_t i = 0; i < MOST_LEVELS; i++)
        if ((every[i].features & fg_cpu_detect()) == every[i].features)
            found[count++] = (level){every[i].name, fg_utf8_select(every[i].features)};
    return count;
}

/** Length of the well-formed sequence at the start, or 0. */
static size_t oracle_sequence(uint8_t const *text, size_t size) {
    static uint32_t const smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t ones = 0;
    while (ones < 8 && text[0] >> (7 - ones) & 1) ones++;
    size_t const length = ones ? ones : 1;
    if (ones == 1 || ones > 4 || length > size) return 0;
    uint32_t code_point = text[0] & (0xFFu >> (ones + 1));
    for (size_t i = 1; i < length; i++) {
        if (text[i] >> 6 != 2) return 0;
        code_point = code_point << 6 | (text[i] & 0x3Fu);
    }
    int const surrogate = code_point >= 0xD800 && code_point <= 0xDFFF;
    return code_point >= smallest[length] && code_point <= 0x10FFFF && !surrogate ? length : 0;
}

static size_t oracle_validate(uint8_t const *text, size_t size) {
    size_t at = 0;
    while (at < size) {
        size_t const length = oracle_sequence(text + at, size - at);
        if (!length) break;
        at += length;
    }
    return at;
}

static size_t oracle_count(uint8_t const *text, size_t size) {
    size_t count = 0;
    for (size_t i = 0; i < size; i++) count += text[i] >> 6 != 2;
    return count;
}

/** Whether some bytes behind a few make them one sequence. The bounds of a byte are all at a quarter of 80 to BF. */
static int oracle_is_incomplete(uint8_t const *text, size_t size) {
    for (size_t length = size + 1; text[0] >= 0xC0 && length <= 4; length++)
        for (unsigned choice = 0; choice < 1u << 2 * (length - size); choice++) {
            uint8_t sequence[4];
            memcpy(sequence, text, size);
            for (size_t i = size; i < length; i++) sequence[i] = (uint8_t)(0x80 | (choice >> 2 * (i - size) & 3) << 4);
            if (oracle_sequence(sequence, length) == length) return 1;
        }
    return 0;
}

static size_t oracle_tail(uint8_t const *text, size_t size) {
    for (size_t length = 1; length <= 3 && length <= size; length++)
        if (oracle_is_incomplete(text + size - length, length)) return length;
    return 0;
}

/** The part at the start: a sequence, what could become one at the text's end, or the longest start of one, or a byte.
 */
static fg_utf8_part oracle_part(uint8_t const *text, size_t size) {
    uint32_t length = (uint32_t)oracle_sequence(text, size);
    if (length) return (fg_utf8_part){FG_UTF8_WELL_FORMED, length};
    for (length = size < 3 ? (uint32_t)size : 3; length > 1; length--)
        if (oracle_is_incomplete(text, length)) break;
    int const incomplete = length == size && oracle_is_incomplete(text, length);
    return (fg_utf8_part){incomplete ? FG_UTF8_INCOMPLETE : FG_UTF8_ILL_FORMED, length};
}

static void check_parts(uint8_t const *text, size_t size) {
    for (size_t at = 0; at < size;) {
        fg_utf8_part const expected = oracle_part(text + at, size - at), found = fg_utf8_sequence(text + at, size - at);
        CHECK(found.form == expected.form && found.length == expected.length);
        at += found.length;
    }
    CHECK(fg_utf8_tail(text, size) == oracle_tail(text, size));
}
