/** Every level against scalar code, bit for bit, on random vectors beside pages that must not be touched. */
#define _DEFAULT_SOURCE
#include "kernels/vectors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { PAGE = 1 << 16, MOST = 9000 };

static struct {
    fg_features features;
    char const *name;
} const levels[] = {{FG_AVX2, "avx2"}, {FG_AVX2 | FG_AVX512, "avx512"}, {FG_NEON, "neon"}};

static uint32_t state = 1;

static uint32_t next_random(void) { return state = state * 1664525u + 1013904223u, state >> 8; }

static uint8_t *guarded_page(void) {
    uint8_t *const pages = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + PAGE, PAGE, PROT_READ | PROT_WRITE)) {
        perror("guarded_page");
        exit(3);
    }
    return pages + PAGE;
}

static void fill(uint8_t *numbers, size_t count, fg_dtype dtype) {
    for (size_t i = 0; i < count; i++) {
        float const value = ((float)next_random() / 8388608.0f - 1.0f) * ldexpf(1.0f, (int)(next_random() % 16) - 8);
        uint32_t const bits = fg_bits_from_float(value);
        uint16_t const half = dtype == FG_BFLOAT16 ? (uint16_t)(bits >> 16) : (uint16_t)(next_random() % 0x7C00u);
        if (dtype == FG_FLOAT32)
            memcpy(numbers + 4 * i, &value, 4);
        else
            memcpy(numbers + 2 * i, &half, 2);
    }
}

int main(void) {
    uint8_t *const u_page = guarded_page(), *const v_page = guarded_page();
    fg_features const machine = fg_cpu_detect();
    fg_vectors_kernels const scalar = fg_vectors_select(FG_SCALAR);
    for (size_t level = 0; level < sizeof levels / sizeof levels[0]; level++) {
        if ((levels[level].features & machine) != levels[level].features) continue;
        fg_vectors_kernels const kernels = fg_vectors_select(levels[level].features);
        for (int dtype = 0; dtype < FG_DTYPES; dtype++)
            for (size_t count = 1; count <= MOST; count += count < 200 ? 1 : 367) {
                size_t const size = dtype == FG_FLOAT32 ? 4 : 2, offset = count % 5;
                uint8_t *const u = count % 2 ? u_page + PAGE - count * size : u_page + offset;
                uint8_t *const v = count % 3 ? v_page + PAGE - count * size : v_page + offset;
                fill(u, count, (fg_dtype)dtype), fill(v, count, (fg_dtype)dtype);
                for (int nan = 0; nan < 2; nan++) {
                    double expected[3], found[3];
                    if (nan) memset(u + count / 2 * size, 0xFF, size); /* in each lane in turn, as `count` grows */
                    scalar.dot[dtype](u, v, count, expected);
                    kernels.dot[dtype](u, v, count, found);
                    for (int k = 0; k < 3; k++)
                        if (nan && k < 2 ? found[k] == found[k]
                                         : memcmp(&expected[k], &found[k], sizeof(double)) != 0) {
                            printf("%s, dtype %d, %zu numbers, sum %d: %a, expected %a\n", levels[level].name, dtype,
                                   count, k, found[k], expected[k]);
                            return 1;
                        }
                }
            }
        printf("%s ok\n", levels[level].name);
    }
    return 0;
}
