/** Every level of the machine against scalar code, on random blocks beside pages that must not be touched. */
#define _DEFAULT_SOURCE
#include "kernels/quant.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_BLOCKS = 40, PAGE = 1 << 16 };

static struct {
    fg_features features;
    char const *name;
} const levels[] = {{FG_AVX2, "avx2"}, {FG_AVX2 | FG_AVX512, "avx512"}, {FG_NEON, "neon"}};

static struct {
    fg_quant_type type;
    char const *name;
    size_t bytes, values;
} const types[] = {
    {FG_F16, "F16", 2, 1},
    {FG_BF16, "BF16", 2, 1},
    {FG_Q4_0, "Q4_0", sizeof(fg_q4_0), FG_QUANT_BLOCK},
    {FG_Q4_1, "Q4_1", sizeof(fg_q4_1), FG_QUANT_BLOCK},
    {FG_Q5_0, "Q5_0", sizeof(fg_q5_0), FG_QUANT_BLOCK},
    {FG_Q5_1, "Q5_1", sizeof(fg_q5_1), FG_QUANT_BLOCK},
    {FG_Q8_0, "Q8_0", sizeof(fg_q8_0), FG_QUANT_BLOCK},
};

static char current[128];

static void on_fault(int signal_number) {
    (void)signal_number;
    ssize_t written = write(STDOUT_FILENO, "touches memory outside its ranges: ", 35);
    written = write(STDOUT_FILENO, current, strlen(current));
    (void)written;
    _exit(2);
}

static uint32_t state = 1;

static uint32_t next_random(void) { return state = state * 1664525u + 1013904223u, state >> 16; }

/** One readable page; the pages before and after it fault. */
static uint8_t *guarded_page(void) {
    uint8_t *const pages = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + PAGE, PAGE, PROT_READ | PROT_WRITE)) {
        perror("guarded_page");
        exit(3);
    }
    return pages + PAGE;
}

static int same(float const *expected, float const *found, size_t count) {
    for (size_t i = 0; i < count; i++) {
        int const both_nan = expected[i] != expected[i] && found[i] != found[i];
        if (!both_nan && fg_bits_from_float(expected[i]) != fg_bits_from_float(found[i])) {
            printf("value %zu is %a, expected %a: ", i, found[i], expected[i]);
            return 0;
        }
    }
    return 1;
}

int main(void) {
    uint8_t *const input_page = guarded_page(), *const output_page = guarded_page();
    static float expected[MOST_BLOCKS * FG_QUANT_BLOCK];
    fg_features const machine = fg_cpu_detect();
    fg_quant_kernels const scalar = fg_quant_select(FG_SCALAR);
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    for (size_t level = 0; level < sizeof levels / sizeof levels[0]; level++) {
        if ((levels[level].features & machine) != levels[level].features) continue;
        fg_quant_kernels const kernels = fg_quant_select(levels[level].features);
        for (size_t index = 0; index < FG_QUANT_TYPES; index++)
            for (size_t count = 0; count <= MOST_BLOCKS; count++)
                for (int at_end = 0; at_end < 2; at_end++) {
                    fg_quant_type const type = types[index].type;
                    size_t const bytes = count * types[index].bytes, values = count * types[index].values;
                    uint8_t *const blocks = at_end ? input_page + PAGE - bytes : input_page;
                    float *const found = (float *)(at_end ? output_page + PAGE - values * sizeof(float) : output_page);
                    for (size_t i = 0; i < bytes; i++) blocks[i] = (uint8_t)next_random();
                    snprintf(current, sizeof current, "%s %s, %zu blocks at the %s of a page\n", levels[level].name,
                             types[index].name, count, at_end ? "end" : "start");
                    scalar.dequantize[type](blocks, count, expected);
                    kernels.dequantize[type](blocks, count, found);
                    if (!same(expected, found, values)) {
                        fputs(current, stdout);
                        return 1;
                    }
                }
        printf("%s ok\n", levels[level].name);
    }
    return 0;
}
