/** The stop matcher under libFuzzer: bytes become stops, a text and its pieces; every level must do what the definition
 * says.
 *
 *     clang -std=c11 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Icsrc -Itests/native \
 *         tests/native/fuzz_stop.c csrc/automaton.c csrc/automaton/[a-z]*.c csrc/cpu.c -o fuzz_stop
 *     ASAN_OPTIONS=detect_leaks=0 ./fuzz_stop -max_len=512 -max_total_time=300 corpus
 *
 * With FG_FUZZ_STANDALONE it feeds itself a fixed number of pseudo-random inputs: a check that it works. */
#include "stop_checks.h"

enum { STOPS_MOST = 15 };

int LLVMFuzzerTestOneInput(uint8_t const *bytes, size_t count);

/* The first byte says how many stops, whether they stay in the text and whether the alphabet is small; then come a
 * length and the bytes of each stop, one byte of cuts for eight of the text, and the text. */
int LLVMFuzzerTestOneInput(uint8_t const *bytes, size_t count) {
    static fg_features const levels[] = {FG_SCALAR, FG_AVX2, FG_AVX2 | FG_AVX512, FG_NEON};
    if (!count) return 0;
    uint8_t const first = bytes[0], *const end = bytes + count;
    uint8_t *const copy = memory_of(count), *letters = copy;
    for (size_t i = 0; i < count; i++) copy[i] = first & 32 ? bytes[i] & 3 : bytes[i];
    letters++, bytes++;
    text_of stops[STOPS_MOST];
    size_t stop_count = 0;
    for (size_t most = first & STOPS_MOST; stop_count < most && bytes < end; stop_count++) {
        size_t const left = (size_t)(end - bytes) - 1, size = *bytes % 40u + 1;
        if (left < size) break;
        stops[stop_count] = (text_of){letters + 1, size};
        bytes += size + 1, letters += size + 1;
    }
    size_t const cut_bytes = ((size_t)(end - bytes) + 8) / 9;
    text_of const text = {letters + cut_bytes, (size_t)(end - bytes) - cut_bytes};
    int const include = first >> 4 & 1;
    size_t *const holds = memory_of(text.size * sizeof *holds);
    for (size_t i = 0; i < text.size; i++) holds[i] = held_of(stops, stop_count, text.bytes, i + 1);

    fg_stops *const automaton = built(stops, stop_count);
    expectation const wanted = expected(stops, stop_count, text, include);
    for (size_t level = 0; level < sizeof levels / sizeof levels[0]; level++) {
        if ((levels[level] & fg_cpu_detect()) != levels[level]) continue;
        fg_stop_kernels const kernels = fg_stop_select(levels[level]);
        check_pieces(automaton, &kernels, stops, text, bytes, include, wanted, holds);
    }
    free(automaton), free(holds), free(copy);
    return 0;
}

#ifdef FG_FUZZ_STANDALONE
#ifdef __aarch64__
enum { INPUTS = 2000 }; /* emulated */
#else
enum { INPUTS = 20000 };
#endif

int main(void) {
    uint64_t state = 1;
    for (int input = 0; input < INPUTS; input++) {
        uint8_t bytes[400];
        for (size_t i = 0; i < sizeof bytes; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            bytes[i] = (uint8_t)(state >> 56);
        }
        LLVMFuzzerTestOneInput(bytes, (size_t)(state >> 33) % (sizeof bytes + 1));
    }
    printf("fuzz_stop ok: %d inputs\n", INPUTS);
    return 0;
}
#endif
