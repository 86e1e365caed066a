/** The kernels of similarity under libFuzzer: bytes become two texts, and every level must find the obvious answers.
 *
 *     clang -std=c11 -g -O1 -ffp-contract=off -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Icsrc \
 *         tests/native/fuzz_similarity.c csrc/cpu.c csrc/kernels/similarity.c csrc/kernels/similarity/[a-z]*.c \
 *         -o fuzz_similarity
 *     ASAN_OPTIONS=detect_leaks=0 ./fuzz_similarity -max_len=2048 -max_total_time=300 corpus
 *
 * With FG_FUZZ_STANDALONE it feeds itself a fixed number of pseudo-random inputs: a check that it works. */
#include "similarity_checks.h"

int LLVMFuzzerTestOneInput(uint8_t const *bytes, size_t count);

int LLVMFuzzerTestOneInput(uint8_t const *bytes, size_t count) {
    static test_case one;
    if (count < 6) return 0;
    one.width = (fg_width)(bytes[0] % 3), one.at_end = bytes[0] >> 2 & 1, one.n = 1 + bytes[1] % 24;
    one.limit = (size_t)bytes[2] << (bytes[0] >> 5);
    size_t const repeat = 1 + (bytes[0] >> 3 & 3); /* longer texts than there are bytes */
    size_t const split = (bytes[3] | (size_t)bytes[4] << 8) % (count - 4);
    uint32_t const mask = bytes[5] & 1 ? 0xFF : 0x03, stretch = bytes[5] & 2 ? 0x10101 : 1;
    one.a_count = one.b_count = 0;
    for (size_t turn = 0; turn < repeat; turn++)
        for (size_t i = 5; i < count; i++) {
            uint32_t const symbol = (bytes[i] & mask) * stretch;
            if (i - 5 < split && one.a_count < MOST) one.a[one.a_count++] = symbol;
            if (i - 5 >= split && one.b_count < MOST) one.b[one.b_count++] = symbol;
        }
    check_case(&one);
    return 0;
}

#ifdef FG_FUZZ_STANDALONE
#ifdef __aarch64__
enum { INPUTS = 200 }; /* emulated */
#else
enum { INPUTS = 1000 };
#endif

int main(void) {
    uint64_t state = 1;
    for (int input = 0; input < INPUTS; input++) {
        uint8_t bytes[300];
        for (size_t i = 0; i < sizeof bytes; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            bytes[i] = (uint8_t)(state >> 56);
        }
        LLVMFuzzerTestOneInput(bytes, (size_t)(state >> 33) % (sizeof bytes + 1));
    }
    printf("fuzz_similarity ok: %d inputs\n", INPUTS);
    return 0;
}
#endif
