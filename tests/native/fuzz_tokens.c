/** Kernels over token ids under libFuzzer: bytes become tokens of few kinds, a pattern and a place; every level must do
 * what the definitions say.
 *
 *     clang -std=c11 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Icsrc \
 *         tests/native/fuzz_tokens.c csrc/cpu.c csrc/kernels/tokens.c csrc/kernels/tokens/[a-z]*.c -o fuzz_tokens
 *     ASAN_OPTIONS=detect_leaks=0 ./fuzz_tokens -max_len=512 -max_total_time=300 corpus
 *
 * With FG_FUZZ_STANDALONE it feeds itself a fixed number of pseudo-random inputs: a check that it works. */
#include "tokens_checks.h"

int LLVMFuzzerTestOneInput(uint8_t const *bytes, size_t count);

enum { HEADER = 8 };

int LLVMFuzzerTestOneInput(uint8_t const *bytes, size_t count) {
    static fg_features const levels[] = {FG_SCALAR, FG_AVX2, FG_AVX2 | FG_AVX512, FG_NEON};
    if (count < HEADER) return 0;
    fg_features const machine = fg_cpu_detect();
    fg_tokens_kernels const scalar = fg_tokens_select(FG_SCALAR);
    uint8_t const *const header = bytes;
    bytes += HEADER, count -= HEADER;
    size_t const size = header[0] % (count + 1), longest = 1 + header[2] % 80, repeats = 2 + header[3] % 4;
    int32_t *const tokens = tokens_of(count), *const needle = tokens_of(size), *const other = tokens_of(count);
    for (size_t i = 0; i < count; i++) {
        tokens[i] = header[4] & 1 ? (int32_t)bytes[i] << (header[4] & 16) : bytes[i] & 3;
        other[i] = i == header[5] ? (int32_t)header[6] : tokens[i];
    }
    size_t const from = count > size ? header[1] % (count - size + 1) : 0;
    memcpy(needle, tokens + from, size * sizeof *tokens);
    if (size && header[4] & 2) needle[header[7] % size] ^= 1;
    for (size_t level = 0; level < sizeof levels / sizeof levels[0]; level++) {
        if ((levels[level] & machine) != levels[level]) continue;
        fg_tokens_kernels const kernels = fg_tokens_select(levels[level]);
        check_find(&kernels, tokens, count, needle, size);
        if (size) check_recall(&kernels, tokens, count, needle, size, 1 + header[7] % size);
        if (count > 1) { /* as a prompt is looked up: the pattern is the end of the tokens */
            size_t const most = size > 0 && size < count ? size : count - 1;
            check_recall(&kernels, tokens, count - 1, tokens + count - most, most, 1);
        }
        check_agree(&kernels, tokens, other, count);
        check_loops(&scalar, &kernels, tokens, count, longest, repeats);
    }
    free(tokens), free(needle), free(other);
    return 0;
}

#ifdef FG_FUZZ_STANDALONE
#ifdef __aarch64__
enum { INPUTS = 500 }; /* emulated */
#else
enum { INPUTS = 3000 };
#endif

int main(void) {
    uint64_t state = 1;
    for (int input = 0; input < INPUTS; input++) {
        uint8_t bytes[256];
        for (size_t i = 0; i < sizeof bytes; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            bytes[i] = (uint8_t)(state >> 56);
        }
        LLVMFuzzerTestOneInput(bytes, (size_t)(state >> 33) % (sizeof bytes + 1));
    }
    printf("fuzz_tokens ok: %d inputs\n", INPUTS);
    return 0;
}
#endif
