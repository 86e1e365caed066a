/** Random plans over random rows, on every level of the machine: what is drawn, what could have been, what is reported.
 *
 * FASTGEN_TEST_CASES is their number. With an argument it starts at that case and says what each is. */
#include "sampler_checks.h"

#ifdef __aarch64__
enum { CASES = 1000 }; /* emulated */
#else
enum { CASES = 10000 };
#endif

static struct {
    fg_features features;
    char const *name;
} const levels[] = {{FG_AVX2, "avx2"}, {FG_AVX2 | FG_AVX512, "avx512"}, {FG_NEON, "neon"}};

enum { LEVELS = sizeof levels / sizeof levels[0] };

static fg_logits_kernels scalar, kernels[LEVELS];
static int present[LEVELS];
static size_t faults, replayed, simple, compared, drawn_by[FG_OP_MIROSTAT_2 + 1];

static void check_case(uint64_t number, int aloud) {
    uint64_t mixed = (number + 1) * 0x9E3779B97F4A7C15u; /* SplitMix64: bytes of numbers in a row say little */
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EBu;
    mixed ^= mixed >> 31;
    uint8_t bytes[sizeof mixed];
    memcpy(bytes, &mixed, sizeof mixed);
    test_case *const one = make_case(bytes, sizeof bytes, SIZE_MAX);
    if (aloud) printf("case %llu\n", (unsigned long long)number), describe(one), fflush(stdout);
    outcome expected = carry_out(one, &scalar);
    size_t const tokens = check_outcome(one, &expected);
    faults += expected.fault != FG_FAULT_NONE, replayed += (size_t)one->plan.replay;
    simple += tokens > 0, compared += tokens;
    for (int i = 0; i < one->plan.count; i++) drawn_by[one->plan.ops[i].kind]++;
    for (int level = 0; level < LEVELS; level++)
        if (present[level]) {
            outcome found = carry_out(one, &kernels[level]);
            check_same(one, &expected, &found);
            free_outcome(&found);
        }
    free_outcome(&expected), free_case(one);
}

int main(int argc, char **argv) {
    fg_features const machine = fg_cpu_detect();
    char const *const asked = getenv("FASTGEN_TEST_CASES");
    uint64_t const cases = asked ? strtoull(asked, NULL, 10) : CASES;
    scalar = fg_logits_select(FG_SCALAR);
    for (int level = 0; level < LEVELS; level++)
        if ((levels[level].features & machine) == levels[level].features)
            present[level] = 1, kernels[level] = fg_logits_select(levels[level].features);
    for (uint64_t number = argc > 1 ? strtoull(argv[1], NULL, 10) : 0; number < cases; number++) {
        check_case(number, argc > 1);
    }
    for (int kind = 0; kind <= FG_OP_MIROSTAT_2; kind++) CHECK(drawn_by[kind] > 0);
    CHECK(replayed > 0 && simple > 0 && faults > 0);
    for (int level = 0; level < LEVELS; level++)
        if (present[level]) printf("%s ok: %llu plans\n", levels[level].name, (unsigned long long)cases);
    printf("scalar ok: %llu plans, %zu replayed, %zu faults; %zu simple, %zu tokens compared with the oracle\n",
           (unsigned long long)cases, replayed, faults, simple, compared);
    return 0;
}
