/** One case for the kernels of similarity: two texts beside pages that must not be touched, every level against an
 * obvious answer. Used by the harness and by the fuzz target. */
#ifndef FG_SIMILARITY_CHECKS_H
#define FG_SIMILARITY_CHECKS_H

#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE
#endif
#include "kernels/similarity.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { PAGE = 1 << 16, ROOM = 1 << 19, MOST = 2600 };

static struct {
    fg_features features;
    char const *name;
} const levels[] = {{FG_SCALAR, "scalar"}, {FG_AVX2, "avx2"}, {FG_AVX2 | FG_AVX512, "avx512"}, {FG_NEON, "neon"}};
enum { LEVELS = sizeof levels / sizeof levels[0] };

static char const *current_level = "";

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("%s: %s: ", current_level, #condition), printf(__VA_ARGS__), printf("\n");                          \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/** Readable memory of `size` bytes, whole pages; the pages before and after it fault. */
static uint8_t *guarded(size_t size) {
    uint8_t *const pages = mmap(NULL, size + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + PAGE, size, PROT_READ | PROT_WRITE)) {
        perror("guarded");
        exit(3);
    }
    return pages + PAGE;
}

/** The table of Wagner and Fischer, a row at a time. */
static size_t edit_distance(fg_width width, void const *a, size_t a_count, void const *b, size_t b_count) {
    static size_t row[MOST + 1];
    for (size_t j = 0; j <= b_count; j++) row[j] = j;
    for (size_t i = 0; i < a_count; i++) {
        size_t corner = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < b_count; j++) {
            size_t const replace = corner + (fg_symbol_at(a, i, width) != fg_symbol_at(b, j, width));
            corner = row[j + 1];
            size_t least = row[j] < row[j + 1] ? row[j] + 1 : row[j + 1] + 1;
            row[j + 1] = replace < least ? replace : least;
        }
    }
    return row[b_count];
}

static size_t shared_symbols(fg_width width, void const *a, size_t a_count, void const *b, size_t b_count, size_t n,
                             int first_of_b_only) {
    size_t found = 0;
    for (size_t i = 0; i + n <= b_count; i++) {
        void const *const gram = fg_text_at(b, i, width);
        int before = 0, in_a = 0;
        for (size_t j = 0; j < i && !before; j++) before = !memcmp(gram, fg_text_at(b, j, width), n << width);
        for (size_t j = 0; j + n <= a_count && !in_a; j++) in_a = !memcmp(gram, fg_text_at(a, j, width), n << width);
        found += !before && (first_of_b_only || in_a);
    }
    return found;
}

typedef struct test_case {
    fg_width width;
    size_t a_count, b_count, limit, n;
    int at_end;                /* texts stand at the end of their pages, else at the start */
    uint32_t a[MOST], b[MOST]; /* symbols, as they are before they are narrowed */
} test_case;

static void *place(uint8_t *page, uint32_t const *symbols, size_t count, fg_width width, int at_end) {
    uint8_t *const text = at_end ? page + PAGE - (count << width) : page;
    for (size_t i = 0; i < count; i++) {
        if (width == FG_WIDTH8)
            text[i] = (uint8_t)symbols[i];
        else if (width == FG_WIDTH16)
            ((uint16_t *)text)[i] = (uint16_t)symbols[i];
        else
            ((uint32_t *)text)[i] = symbols[i];
    }
    return text;
}

static size_t distance(fg_similarity_kernels const *kernels, test_case const *one, void const *a, void const *b,
                       size_t limit, uint8_t *room) {
    size_t found;
    fg_edit edit = fg_edit_begin(kernels, one->width, a, one->a_count, b, one->b_count, limit);
    if (fg_edit_at_once(kernels, &edit, &found)) return found;
    CHECK(fg_edit_room(&edit) <= ROOM, "%zu bytes", fg_edit_room(&edit));
    fg_edit_lay_out(&edit, room + ROOM - fg_edit_room(&edit), 0x9E3779B97F4A7C15u);
    while (!fg_edit_step(kernels, &edit, &found)) continue;
    return found;
}

/** Interners are the same on every level. */
static void check_shingles(test_case const *one, void const *a, void const *b, uint8_t *room) {
    size_t const shorter = one->a_count < one->b_count ? one->a_count : one->b_count, n = one->n;
    if (n < 1 || n > shorter || one->a_count + one->b_count > 1000) return;
    fg_interner interner = {.bits = 1, .multiplier = 0xD1342543DE82EF95u};
    while ((size_t)1 << interner.bits < 2 * (one->a_count + one->b_count)) interner.bits++;
    size_t const slots = (size_t)1 << interner.bits;
    uint32_t *const numbers = (uint32_t *)(room + ROOM) - one->a_count - one->b_count;
    interner.numbers = numbers - slots;
    interner.words = (uint64_t *)room;
    fg_shared const found =
        fg_shingle(one->width, a, one->a_count, b, one->b_count, n, &interner, numbers, numbers + one->a_count);
    CHECK(found.a == shared_symbols(one->width, b, one->b_count, a, one->a_count, n, 1), "n %zu", n);
    CHECK(found.b == shared_symbols(one->width, a, one->a_count, b, one->b_count, n, 1), "n %zu", n);
    CHECK(found.both == shared_symbols(one->width, a, one->a_count, b, one->b_count, n, 0), "n %zu", n);
}

/** Returns how many comparisons were made. */
static size_t check_case(test_case const *one) {
    static uint8_t *a_page, *b_page, *room;
    if (!room) a_page = guarded(PAGE), b_page = guarded(PAGE), room = guarded(ROOM);
    void const *const a = place(a_page, one->a, one->a_count, one->width, one->at_end);
    void const *const b = place(b_page, one->b, one->b_count, one->width, one->at_end);
    size_t const shorter = one->a_count < one->b_count ? one->a_count : one->b_count;
    size_t const bytes = shorter << one->width, expected = edit_distance(one->width, a, one->a_count, b, one->b_count);
    uint8_t const *const a_end = (uint8_t const *)fg_text_at(a, one->a_count, one->width) - bytes;
    uint8_t const *const b_end = (uint8_t const *)fg_text_at(b, one->b_count, one->width) - bytes;
    size_t prefix = 0, suffix = 0, checks = 0;
    while (prefix < bytes && ((uint8_t const *)a)[prefix] == ((uint8_t const *)b)[prefix]) prefix++;
    while (suffix < bytes && a_end[bytes - 1 - suffix] == b_end[bytes - 1 - suffix]) suffix++;
    for (size_t level = 0; level < LEVELS; level++) {
        if ((levels[level].features & fg_cpu_detect()) != levels[level].features) continue;
        fg_similarity_kernels const kernels = fg_similarity_select(levels[level].features);
        current_level = levels[level].name;
        CHECK(kernels.prefix(a, b, bytes) == prefix, "expected %zu of %zu", prefix, bytes);
        CHECK(kernels.suffix(a_end, b_end, bytes) == suffix, "expected %zu of %zu", suffix, bytes);
        size_t const found = distance(&kernels, one, a, b, SIZE_MAX, room);
        CHECK(found == expected, "%zu, expected %zu: lengths %zu and %zu, width %d", found, expected, one->a_count,
              one->b_count, 1 << one->width);
        size_t const limited = distance(&kernels, one, a, b, one->limit, room);
        CHECK(expected <= one->limit ? limited == expected : limited > one->limit,
              "%zu with limit %zu, expected %zu: lengths %zu and %zu", limited, one->limit, expected, one->a_count,
              one->b_count);
        checks += 4;
        static fg_needle needle;
        if (one->width == FG_WIDTH8 && one->a_count && one->a_count <= FG_NEEDLE_ROWS && one->b_count < 600) {
            enum { TEXTS = 19 }; /* beginnings of `b`: more than a batch */
            fg_text texts[TEXTS], ordered[TEXTS];
            int64_t distances[TEXTS];
            fg_needle_make(&needle, a, one->a_count);
            for (size_t i = 0; i < TEXTS; i++) {
                size_t const count = i % 3 == 0 ? one->b_count : i % 3 == 1 ? one->b_count * i / TEXTS : i;
                size_t const most = count < one->b_count ? count : one->b_count;
                texts[i] = (fg_text){(uint8_t const *)b + one->b_count - most, most, i};
            }
            fg_edit_many(&kernels, &needle, texts, TEXTS, ordered, distances);
            for (size_t i = 0; i < TEXTS; i++) {
                size_t const each = edit_distance(FG_WIDTH8, a, one->a_count, texts[i].data, texts[i].count);
                CHECK((size_t)distances[i] == each, "text %zu: %lld, expected %zu", i, (long long)distances[i], each);
            }
            checks += TEXTS;
        }
    }
    check_shingles(one, a, b, room);
    return checks + 3;
}

#endif
