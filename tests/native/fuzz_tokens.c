/** Kernels over token ids and what stands on them under libFuzzer: bytes become tokens of few kinds, a pattern, a
 * place, stop sequences; every level must do what the definitions say.
 *
 *     clang -std=c11 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Icsrc \
 *         tests/native/fuzz_tokens.c csrc/token_stops.c csrc/cpu.c csrc/kernels/tokens.c csrc/kernels/tokens/[a-z]*.c \
 *         -o fuzz_tokens
 *     ASAN_OPTIONS=detect_leaks=0 ./fuzz_tokens -max_len=512 -max_total_time=300 corpus
 *
 * With FG_FUZZ_STANDALONE it feeds itself a fixed number of pseudo-random inputs: a check that it works. */
#include "tokens_checks.h"

int LLVMFuzzerTestOneInput(uint8_t const *bytes, size_t count);

enum { HEADER = 8, STOPS = 8 };

static int in_order(int32_t const *left, size_t left_size, int32_t const *right, size_t right_size) {
    size_t i = 0;
    while (i < left_size && i < right_size && left[i] == right[i]) i++;
    return i == left_size ? i < right_size : i < right_size && left[i] < right[i];
}

/** Cut ids into up to eight sequences, keep those that come later in order than the one before, and ask. */
static void check_stops(int32_t const *ids, size_t count, int32_t const *tokens, size_t length, uint8_t lengths) {
    int32_t *const kept = tokens_of(count);
    uint32_t starts[STOPS + 1] = {0};
    fg_token_stops stops = {kept, starts, 0};
    for (size_t place = 0; stops.count < STOPS;) {
        size_t const size = 1 + ((lengths >> (place & 7)) & 3);
        if (place + size > count) break;
        size_t const before = stops.count ? starts[stops.count - 1] : 0, used = starts[stops.count];
        if (!stops.count || in_order(kept + before, used - before, ids + place, size)) {
            memcpy(kept + used, ids + place, size * sizeof *ids);
            starts[++stops.count] = (uint32_t)(used + size);
        }
        place += size;
    }
    size_t expected = stops.count, most = 0;
    for (size_t i = 0; i < stops.count; i++) {
        size_t const size = starts[i + 1] - starts[i];
        size_t agreed = 0;
        while (agreed < size && agreed < length && kept[starts[i] + agreed] == tokens[length - 1 - agreed]) agreed++;
        if (agreed == size && size > most) most = size, expected = i;
    }
    CHECK(fg_token_stops_ended(&stops, tokens, length) == expected);
    free(kept);
}

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
    check_stops(other, count, tokens, count, header[6]);
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
