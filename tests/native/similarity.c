/** Every level against obvious answers: lengths around registers and stripes, texts beside pages that must not be
 * touched. */
#include "similarity_checks.h"

#ifdef __aarch64__
enum { RANDOM_CASES = 300 }; /* emulated */
#else
enum { RANDOM_CASES = 1000 };
#endif

static uint32_t state = 1;

static uint32_t below(uint32_t bound) {
    return (uint32_t)((uint64_t)(state = state * 1664525u + 1013904223u) * bound >> 32);
}

/** Random texts; often one is the other, edited. */
static void fill(test_case *one, uint32_t alphabet) {
    uint32_t const stretch = below(2) ? 1 : 257; /* symbols of one byte, or beyond it */
    for (size_t i = 0; i < one->a_count; i++) one->a[i] = below(alphabet) * stretch;
    for (size_t i = 0; i < one->b_count; i++) one->b[i] = below(alphabet) * stretch;
    if (below(2)) {
        size_t const shorter = one->a_count < one->b_count ? one->a_count : one->b_count;
        memcpy(one->b, one->a, shorter * sizeof *one->b);
        for (uint32_t edits = shorter ? below(12) : 0; edits; edits--)
            one->b[below((uint32_t)shorter)] = below(alphabet) * stretch;
    }
    one->width = (fg_width)below(3), one->at_end = (int)below(2), one->n = 1 + below(20);
    one->limit = below(4) ? below(40) : below((uint32_t)(one->a_count + one->b_count + 1));
}

int main(void) {
    static size_t const lengths[] = {0,   1,   2,   15,  16,   17,   31,   32,   33,   62,   63,  64,
                                     65,  66,  127, 128, 129,  191,  192,  193,  255,  256,  257, 511,
                                     512, 513, 576, 577, 1023, 1024, 1025, 1100, 2047, 2048, 2049};
    enum { LENGTHS = sizeof lengths / sizeof lengths[0] };
    static test_case one;
    char const *const wanted = getenv("FASTGEN_TEST_CASES");
    long const random_cases = wanted ? atol(wanted) : RANDOM_CASES;
    size_t checks = 0;
    for (size_t i = 0; i < LENGTHS; i++)
        for (size_t j = 0; j < LENGTHS; j++) {
            one.a_count = lengths[i], one.b_count = lengths[j];
            if (one.a_count + one.b_count > 1500 && below(8)) continue;
            fill(&one, 1 + below(30));
            checks += check_case(&one);
        }
    for (long i = 0; i < random_cases; i++) {
        int const is_long = i % 100 == 0;
        one.a_count = below(is_long ? MOST : 180), one.b_count = below(is_long ? MOST : 180);
        fill(&one, 1 + below(i % 7 ? 40 : 250));
        checks += check_case(&one);
    }
    printf("similarity ok: %zu comparisons\n", checks);
    return 0;
}
