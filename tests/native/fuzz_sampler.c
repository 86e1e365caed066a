/** The sampler under libFuzzer: bytes become a plan, a row, a mask, edits and a history; scalar code and the best level
 * must agree, and what holds for every plan must hold.
 *
 *     clang -std=c11 -g -O1 -ffp-contract=off -fno-math-errno -fsanitize=fuzzer,address,undefined \
 *         -fno-sanitize-recover=all -Icsrc tests/native/fuzz_sampler.c csrc/sampler.c csrc/sampler/[a-z]*.c \
 *         csrc/cpu.c csrc/kernels/logits.c csrc/kernels/logits/[a-z]*.c -lm -o fuzz_sampler
 *     ASAN_OPTIONS=detect_leaks=0 ./fuzz_sampler -max_len=512 -max_total_time=300 corpus
 *
 * With FG_FUZZ_STANDALONE it feeds itself a fixed number of pseudo-random inputs: a check that it works. */
#include "sampler_checks.h"

int LLVMFuzzerTestOneInput(uint8_t const *bytes, size_t count);

int LLVMFuzzerTestOneInput(uint8_t const *bytes, size_t count) {
    static fg_logits_kernels scalar, best;
    static int ready;
    if (!ready) scalar = fg_logits_select(FG_SCALAR), best = fg_logits_select(fg_cpu_detect()), ready = 1;
    test_case *const one = make_case(bytes, count, 4096);
    outcome expected = carry_out(one, &scalar), found = carry_out(one, &best);
    check_outcome(one, &expected);
    check_same(one, &expected, &found);
    free_outcome(&expected), free_outcome(&found), free_case(one);
    return 0;
}

#ifdef FG_FUZZ_STANDALONE
#ifdef __aarch64__
enum { INPUTS = 300 }; /* emulated */
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
    printf("fuzz_sampler ok: %d inputs\n", INPUTS);
    return 0;
}
#endif
