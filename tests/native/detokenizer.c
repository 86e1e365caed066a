/** The detokenizer against definitions that decode a whole text at once: every cut of short byte strings, every code
 * point, tokens between guard pages, and tokens whose memory is gone once they have been pushed. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "detokenizer_cases.h"

#include <sys/mman.h>
#include <unistd.h>

/* Bounds of the ranges that UTF-8 tells apart. */
static uint8_t const telling[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xDF,
                                  0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5};
enum { TELLING = sizeof telling };

/** Decode `bytes`, cut before each byte whose bit is set, in either way of holding back. */
static void check_cut(uint8_t const *bytes, size_t count, uint32_t cuts) {
    uint32_t offsets[12] = {0};
    size_t tokens = 0;
    for (uint32_t place = 1; place < count; place++)
        if (cuts >> place & 1) offsets[++tokens] = place;
    offsets[++tokens] = (uint32_t)count;
    uint8_t expected[64], found[64];
    size_t const size = decode_whole(bytes, count, expected);
    vocabulary from = make_vocabulary(bytes, offsets, tokens);
    for (int clusters = 0; clusters < 2; clusters++) {
        fg_detokenizer one = begin(&from, clusters);
        grown all = {found, 0};
        push_all(&one, from.longest, &all, NULL);
        CHECK(all.size == size && !memcmp(found, expected, size));
        free(one.text);
    }
    free_vocabulary(&from);
}

static size_t check_short_strings(void) {
    size_t cases = 0;
    for (uint32_t a = 0; a < TELLING; a++)
        for (uint32_t b = 0; b < TELLING; b++)
            for (uint32_t c = 0; c < TELLING; c++) {
                uint8_t const bytes[5] = {telling[a], telling[b], telling[c], telling[(a + c) % TELLING], 'x'};
                for (size_t count = 1; count <= 5; count++)
                    for (uint32_t cuts = 0; cuts < 1u << count; cuts += 2) check_cut(bytes, count, cuts), cases++;
            }
    return cases;
}

/** Each code point alone: encoded, sound, read back, and of one cluster with a mark behind it. */
static void check_code_points(void) {
    for (uint32_t point = 0; point < 0x110000; point++) {
        if (point >> 11 == 0x1B) continue; /* surrogates */
        uint8_t const four[4] = {(uint8_t)(0xF0 | point >> 18), (uint8_t)(0x80 | (point >> 12 & 63)),
                                 (uint8_t)(0x80 | (point >> 6 & 63)), (uint8_t)(0x80 | (point & 63))};
        uint8_t const three[3] = {(uint8_t)(0xE0 | point >> 12), four[2], four[3]};
        uint8_t const two[2] = {(uint8_t)(0xC0 | point >> 6), four[3]};
        uint8_t const one = (uint8_t)point;
        size_t const length = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
        uint8_t const *const bytes = length == 1 ? &one : length == 2 ? two : length == 3 ? three : four;
        size_t read;
        CHECK(fg_utf8_prefix(bytes, length) == length);
        CHECK(fg_utf8_prefix(bytes, length - 1) == 0 || length == 1);
        CHECK(fg_utf8_first(bytes, &read) == point && read == length);
        fg_cluster cluster = {0};
        fg_cluster_begins(&cluster, point);
        int const control = fg_cluster_is_closed(&cluster) || point == '\r';
        CHECK(fg_cluster_begins(&cluster, 0x301) == control); /* COMBINING ACUTE ACCENT */
    }
}

/** Tokens of every length, the last byte of the padding next to a page that can't be read, the first next to another;
 * the same for the text. */
static void check_guard_pages(void) {
    size_t const page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *const map = mmap(NULL, 6 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(map != MAP_FAILED);
    CHECK(!mprotect(map, page, PROT_NONE) && !mprotect(map + 2 * page, page, PROT_NONE));
    CHECK(!mprotect(map + 5 * page, page, PROT_NONE));
    static uint8_t const fills[3][4] = {"abcd", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    for (uint32_t size = 1; size <= 257; size++)
        for (int fill = 0; fill < 3; fill++)
            for (int front = 0; front < 2; front++) {
                uint8_t *const bytes = front ? map + page : map + 2 * page - size - FG_TEXT_PADDING;
                for (size_t i = 0; i < size; i++) bytes[i] = fills[fill][i % (fill == 1 ? 3 : 4)];
                uint32_t const offsets[2] = {0, size};
                uint8_t mark, expected[3 * 257];
                size_t const whole = decode_whole(bytes, size, expected);
                vocabulary from = {bytes, &mark, (uint32_t *)offsets, 1, 0};
                from.longest = fg_mark_tokens(bytes, offsets, 1, &mark);
                for (int clusters = 0; clusters < 2; clusters++) {
                    fg_detokenizer one = begin(&from, clusters);
                    free(one.text);
                    one.text = map + 5 * page - fg_detokenizer_room(from.longest);
                    uint8_t found[3 * 257];
                    grown all = {found, 0};
                    push_all(&one, from.longest, &all, NULL);
                    CHECK(all.size == whole && !memcmp(found, expected, whole));
                }
            }
    CHECK(!munmap(map, 6 * page));
}

/** A line of 2,000 tokens without a line feed. Each lies in pages of its own, and these are gone once it has been
 * pushed: none is ever read again, so the work is that of each token's bytes once. */
static void check_no_token_is_read_twice(void) {
    enum { TOKENS = 2000 };
    static char const *const words[5] = {" word", "\xE2\x82", "\xAC", "\xF0\x9F\x87\xA9", "e\xCC\x81"};
    size_t const page = (size_t)sysconf(_SC_PAGESIZE), stride = 2 * page;
    uint8_t *const map = mmap(NULL, (TOKENS + 1) * stride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(map != MAP_FAILED);
    uint32_t *const offsets = heap((TOKENS * 2 + 2) * sizeof *offsets);
    uint8_t *const marks = heap(TOKENS * 2 + 1);
    for (uint32_t i = 0; i < TOKENS; i++) { /* token 2i has the word, the one behind it the rest of the pages */
        size_t const size = strlen(words[i % 5]);
        memcpy(map + i * stride, words[i % 5], size);
        offsets[2 * i] = (uint32_t)(i * stride), offsets[2 * i + 1] = (uint32_t)(i * stride + size);
    }
    offsets[2 * TOKENS] = (uint32_t)(TOKENS * stride);
    fg_mark_tokens(map, offsets, 2 * TOKENS, marks);
    vocabulary const from = {map, marks, offsets, 2 * TOKENS, 64};
    for (int clusters = 0; clusters < 2; clusters++) {
        if (clusters) { /* again, from the beginning */
            CHECK(!mprotect(map, TOKENS * stride, PROT_READ));
        }
        fg_detokenizer one = begin(&from, clusters);
        uint8_t const *text;
        size_t size, total = 0;
        for (uint32_t i = 0; i < TOKENS; i++) {
            CHECK(fg_detokenizer_advance(&one, (int32_t)(2 * i), &text, &size) == 0);
            total += size;
            CHECK(!mprotect(map + i * stride, stride, PROT_NONE));
        }
        fg_detokenizer_finish(&one, &text, &size);
        CHECK(total + size == TOKENS / 5 * (5 + 3 + 4 + 3));
        free(one.text);
    }
    free(offsets), free(marks);
    CHECK(!munmap(map, (TOKENS + 1) * stride));
}

static void check_ids_outside(void) {
    uint32_t const offsets[4] = {0, 1, 2, 3};
    vocabulary from = make_vocabulary((uint8_t const *)"a\xC3\xA9", offsets, 3);
    fg_detokenizer one = begin(&from, 0);
    uint8_t const *text;
    size_t size;
    CHECK(fg_detokenizer_advance(&one, 1, &text, &size) == 0 && size == 0);
    CHECK(fg_detokenizer_advance(&one, 3, &text, &size) == -1);
    CHECK(fg_detokenizer_advance(&one, -1, &text, &size) == -1);
    CHECK(fg_detokenizer_advance(&one, INT32_MIN, &text, &size) == -1 && fg_detokenizer_pending(&one) == 1);
    CHECK(fg_detokenizer_advance(&one, 2, &text, &size) == 0 && size == 2 && !memcmp(text, "\xC3\xA9", 2));
    CHECK(fg_detokenizer_advance(&one, 0, &text, &size) == 0 && size == 1 && text == from.bytes); /* not copied */
    free(one.text), free_vocabulary(&from);
}

int main(void) {
    size_t const cases = check_short_strings();
    check_code_points();
    check_guard_pages();
    check_no_token_is_read_twice();
    check_ids_outside();
    printf("detokenizer ok: %zu cuts\n", cases);
    return 0;
}
