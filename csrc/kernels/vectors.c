#include "kernels/vectors.h"

#include "base/target.h"

#include <math.h>

extern fg_vectors_kernels const fg_vectors_scalar, fg_vectors_avx2, fg_vectors_avx512, fg_vectors_neon;

fg_vectors_kernels fg_vectors_select(fg_features features) {
    fg_vectors_kernels best = fg_vectors_scalar;
#if FG_X86
    if (features & FG_AVX2) FG_OVERLAY(best, fg_vectors_avx2);
#endif
#if FG_X86_AVX512
    if (features & FG_AVX512) FG_OVERLAY(best, fg_vectors_avx512);
#endif
#if FG_ARM
    if (features & FG_NEON) FG_OVERLAY(best, fg_vectors_neon);
#endif
    (void)features;
    return best;
}

static double bfloat16_at(void const *numbers, size_t index) {
    uint16_t half;
    memcpy(&half, (char const *)numbers + index * sizeof half, sizeof half);
    return (double)fg_float_from_bfloat16(half);
}

double fg_cosine(fg_vectors_kernels const *kernels, fg_dtype dtype, void const *u, void const *v, size_t count) {
    double sums[3];
    kernels->dot[dtype](u, v, count, sums);
    /* squares of bfloat16 numbers may leave the range of float32, which the kernel sums in */
    int const in_range = sums[1] > 0x1p-60 && sums[1] < 0x1p120 && sums[2] > 0x1p-60 && sums[2] < 0x1p120;
    if (dtype == FG_BFLOAT16 && !in_range) {
        sums[0] = sums[1] = sums[2] = 0.0;
        for (size_t i = 0; i < count; i++) {
            double const a = bfloat16_at(u, i), b = bfloat16_at(v, i);
            sums[0] += a * b, sums[1] += a * a, sums[2] += b * b;
        }
    }
    double const product = sums[1] * sums[2];
    /* it can't leave the range of float64: numbers from 2^-149 to 2^128 have squares from 2^-298 to 2^256 */
    if (product != product || product == (double)INFINITY)
        return (double)NAN; /* a NaN or an infinity among the numbers */
    if (product == 0.0) return 0.0;
    double const cosine = sums[0] / sqrt(product);
    return cosine > 1.0 ? 1.0 : cosine < -1.0 ? -1.0 : cosine;
}
