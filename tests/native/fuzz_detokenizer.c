/** The detokenizer under libFuzzer: bytes become a text and its tokens; every way to cut it must yield the same text,
 * that of decoding it whole, and clusters must be whole wherever a piece ends.
 *
 *     clang -std=c11 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Icsrc \
 *         tests/native/fuzz_detokenizer.c csrc/detokenizer.c csrc/detokenizer/[a-z]*.c -o fuzz_detokenizer
 *     ASAN_OPTIONS=detect_leaks=0 ./fuzz_detokenizer -max_len=128 -max_total_time=300 corpus
 *
 * With FG_FUZZ_STANDALONE it feeds itself a fixed number of pseudo-random inputs: a check that it works. */
#include "detokenizer_cases.h"

enum { MOST = 256 };

int LLVMFuzzerTestOneInput(uint8_t const *bytes, size_t count);

/** Mark where clusters of the whole text begin, those of more than FG_CLUSTER_MOST bytes cut into pieces. */
static void mark_clusters(uint8_t const *text, size_t size, uint8_t *begins) {
    fg_cluster cluster = {0};
    size_t length, start = 0;
    memset(begins, 0, size + 1);
    for (size_t place = 0; place < size; place += length) {
        uint32_t const point = fg_utf8_first(text + place, &length);
        if (fg_cluster_begins(&cluster, point) || place + length - start > FG_CLUSTER_MOST) start = place;
        begins[start] = 1;
    }
    begins[size] = 1;
}

static void check(uint8_t const *bytes, uint32_t const *offsets, size_t tokens, uint8_t const *expected, size_t size,
                  uint8_t const *begins) {
    vocabulary from = make_vocabulary(bytes, offsets, tokens);
    size_t ends[MOST + 1];
    for (int clusters = 0; clusters < 2; clusters++) {
        fg_detokenizer one = begin(&from, clusters);
        for (int again = 0; again < 2; again++) { /* as new after the end */
            uint8_t found[3 * MOST];
            grown all = {found, 0};
            push_all(&one, from.longest, &all, ends);
            CHECK(all.size == size && !memcmp(found, expected, size));
            for (size_t i = 0; clusters && i < tokens; i++) CHECK(begins[ends[i]]);
        }
        free(one.text);
    }
    free_vocabulary(&from);
}

int LLVMFuzzerTestOneInput(uint8_t const *bytes, size_t count) {
    if (count > MOST) return 0;
    uint8_t expected[3 * MOST], begins[3 * MOST + 1];
    uint32_t offsets[MOST + 2] = {0};
    size_t const size = decode_whole(bytes, count, expected);
    mark_clusters(expected, size, begins);
    offsets[1] = (uint32_t)count;
    check(bytes, offsets, 1, expected, size, begins);
    for (uint32_t cut = 0; cut <= count; cut++) { /* in two, the empty token too */
        offsets[1] = cut, offsets[2] = (uint32_t)count;
        check(bytes, offsets, 2, expected, size, begins);
    }
    for (uint32_t stride = 1; stride < 8 && stride < count; stride++) {
        size_t tokens = 0;
        for (uint32_t end = 0; end < count; end += stride) offsets[tokens++] = end;
        offsets[tokens] = (uint32_t)count;
        check(bytes, offsets, tokens, expected, size, begins);
    }
    size_t tokens = 0; /* where the bytes themselves say */
    for (uint32_t end = 0; end < count; end++)
        if (!end || bytes[end] & 1) offsets[tokens++] = end;
    offsets[tokens] = (uint32_t)count;
    if (count) check(bytes, offsets, tokens, expected, size, begins);
    return 0;
}

#ifdef FG_FUZZ_STANDALONE
#ifdef __aarch64__
enum { INPUTS = 500 }; /* emulated */
#else
enum { INPUTS = 5000 };
#endif

int main(void) {
    static char const *const parts[] = {
        "a",        "\xCC\x81",         "\xF0\x9F\x91\xA9", "\xE2\x80\x8D", "\r",
        "\n",       "\xF0\x9F\x87\xA9", "\xE1\x84\x80",     "\xE0\xA4\x95", "\xE0\xA5\x8D",
        "\xD8\x80", "\xE0\xA4\xBF",     "\xEA\xB0\x80",     "\xE1\x86\xA8", "\xF0\x9F\x8F\xBD"};
    uint64_t state = 1;
    for (int input = 0; input < INPUTS; input++) {
        uint8_t bytes[128];
        size_t size = 0;
        while (size < 96) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            uint32_t const drawn = (uint32_t)(state >> 32);
            if (drawn % 64 == 0) break;
            char const *const part = parts[drawn / 64 % 15];
            size_t const length = strlen(part) - (drawn >> 30 == 0 && strlen(part) > 1);
            if (input % 2 == 0 && drawn >> 28 & 1) bytes[size++] = (uint8_t)(drawn >> 16);
            memcpy(bytes + size, part, length), size += length;
        }
        LLVMFuzzerTestOneInput(bytes, size);
    }
    printf("fuzz_detokenizer ok: %d inputs\n", INPUTS);
    return 0;
}
#endif
