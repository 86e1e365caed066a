/** libFuzzer target: on any bytes every level must say what the definition by arithmetic says, and the parts that a
 * text is cut into must fit together.
 *
 *     clang -std=c11 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Icsrc \
 *         tests/native/fuzz_utf8.c csrc/cpu.c csrc/kernels/utf8.c csrc/kernels/utf8/[a-z]*.c -o fuzz_utf8
 *     ASAN_OPTIONS=detect_leaks=0 ./fuzz_utf8 -max_len=1500 -max_total_time=300 corpus
 *
 * With FG_FUZZ_STANDALONE it feeds itself a fixed number of pseudo-random inputs: a check that it works. */
#include "utf8_oracle.h"

int LLVMFuzzerTestOneInput(uint8_t const *bytes, size_t count);

int LLVMFuzzerTestOneInput(uint8_t const *bytes, size_t count) {
    if (count == 0) return 0;
    size_t const skew = bytes[0] % 64, size = count - 1; /* the first byte says how the text is aligned */
    uint8_t *const room = malloc(skew + size + !size), *const text = room + skew;
    CHECK(room);
    memcpy(text, bytes + 1, size);
    size_t const prefix = oracle_validate(text, size), starts = oracle_count(text, size);
    static level levels[MOST_LEVELS];
    static size_t level_count;
    if (!level_count) level_count = find_levels(levels);
    for (size_t i = 0; i < level_count; i++) {
        CHECK(levels[i].kernels.validate(text, size) == prefix);
        CHECK(levels[i].kernels.validate(text, prefix) == prefix);
        CHECK(levels[i].kernels.count(text, size) == starts);
    }
    check_parts(text, size);
    free(room);
    return 0;
}

#ifdef FG_FUZZ_STANDALONE
enum { INPUTS = 20000 };

/** Mostly sequences and starts of them; else chance would hardly ever make a long text. */
int main(void) {
    static char const *const pieces[] = {"a",
                                         "plain text",
                                         "\xC3\xA9",
                                         "\xE4\xBD\xA0\xE5\xA5\xBD",
                                         "\xED\x9F\xBF",
                                         "\xEE\x80\x80",
                                         "\xF0\x9F\x98\x80",
                                         "\xF4\x8F\xBF\xBF"};
    uint64_t state = 1;
    for (int input = 0; input < INPUTS; input++) {
        uint8_t bytes[1500];
        size_t count = 1 + (size_t)(state >> 33) % (sizeof bytes - 1), at = 0;
        while (at < count) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            char const *const piece = pieces[state >> 61];
            for (size_t i = 0; piece[i] && at < count; i++) bytes[at++] = (uint8_t)piece[i];
            if ((state >> 40) % 300 == 0) bytes[at - 1] = (uint8_t)(state >> 52);
        }
        bytes[0] = (uint8_t)(state >> 50);
        LLVMFuzzerTestOneInput(bytes, count);
    }
    printf("fuzz_utf8 ok: %d inputs\n", INPUTS);
    return 0;
}
#endif
