/** The scheduler under libFuzzer: bytes become calls; a naive scheduler must agree after each.
 *
 *     clang -std=c11 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Icsrc \
 *         tests/native/fuzz_scheduler.c csrc/scheduler.c -o fuzz_scheduler
 *     ASAN_OPTIONS=detect_leaks=0 ./fuzz_scheduler -max_len=2048 -max_total_time=300 corpus
 *
 * With FG_FUZZ_STANDALONE it feeds itself a fixed number of pseudo-random inputs: a check that it works. */
#include "scheduler_checks.h"

int LLVMFuzzerTestOneInput(uint8_t const *bytes, size_t count);

int LLVMFuzzerTestOneInput(uint8_t const *bytes, size_t count) {
    check_calls(bytes, count);
    return 0;
}

#ifdef FG_FUZZ_STANDALONE
#ifdef __aarch64__
enum { INPUTS = 100 }; /* emulated */
#else
enum { INPUTS = 1000 };
#endif

int main(void) {
    uint64_t state = 1;
    for (int input = 0; input < INPUTS; input++) {
        uint8_t bytes[1600];
        for (size_t i = 0; i < sizeof bytes; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            bytes[i] = (uint8_t)(state >> 56);
        }
        LLVMFuzzerTestOneInput(bytes, (size_t)(state >> 33) % (sizeof bytes + 1));
    }
    printf("fuzz_scheduler ok: %d inputs\n", INPUTS);
    return 0;
}
#endif
