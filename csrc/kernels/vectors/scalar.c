/** The definition of every kernel: what the other levels must equal bit for bit. */
#include "kernels/vectors.h"

#include <math.h>

/** Add the upper half to the lower until one is left. */
static double tree_sum(double *lanes, size_t count) {
    for (size_t half = count / 2; half; half /= 2)
        for (size_t lane = 0; lane < half; lane++) lanes[lane] += lanes[lane + half];
    return lanes[0];
}

static float tree_sum_f32(float *lanes, size_t count) {
    for (size_t half = count / 2; half; half /= 2)
        for (size_t lane = 0; lane < half; lane++) lanes[lane] += lanes[lane + half];
    return lanes[0];
}

static void dot_f32_scalar(void const *u, void const *v, size_t count, double sums[3]) {
    double lanes[3][FG_DOT_LANES] = {{0.0}};
    for (size_t i = 0; i < count; i++) {
        float pair[2];
        memcpy(&pair[0], (char const *)u + i * sizeof(float), sizeof(float)); /* vectors may be unaligned */
        memcpy(&pair[1], (char const *)v + i * sizeof(float), sizeof(float));
        double const a = (double)pair[0], b = (double)pair[1];
        size_t const lane = i % FG_DOT_LANES; /* products are exact, so that a fused multiply-add is the same */
        lanes[0][lane] += a * b, lanes[1][lane] += a * a, lanes[2][lane] += b * b;
    }
    for (int k = 0; k < 3; k++) sums[k] = tree_sum(lanes[k], FG_DOT_LANES);
}

FG_INLINE float half_at(void const *numbers, size_t index, fg_dtype dtype) {
    uint16_t half;
    memcpy(&half, (char const *)numbers + index * sizeof half, sizeof half);
    return dtype == FG_BFLOAT16 ? fg_float_from_bfloat16(half) : fg_float_from_float16(half);
}

FG_INLINE void dot_half(void const *u, void const *v, size_t count, double sums[3], fg_dtype dtype) {
    sums[0] = sums[1] = sums[2] = 0.0;
    for (size_t start = 0; start < count; start += FG_HALF_BLOCK) {
        size_t const end = start + FG_HALF_BLOCK < count ? start + FG_HALF_BLOCK : count;
        float lanes[3][FG_HALF_LANES] = {{0.0f}};
        for (size_t i = start; i < end; i++) {
            float const a = half_at(u, i, dtype), b = half_at(v, i, dtype);
            size_t const lane = i % FG_HALF_LANES;
            lanes[0][lane] = fmaf(a, b, lanes[0][lane]);
            lanes[1][lane] = fmaf(a, a, lanes[1][lane]);
            lanes[2][lane] = fmaf(b, b, lanes[2][lane]);
        }
        for (int k = 0; k < 3; k++) sums[k] += (double)tree_sum_f32(lanes[k], FG_HALF_LANES);
    }
}

static void dot_bf16_scalar(void const *u, void const *v, size_t count, double sums[3]) {
    dot_half(u, v, count, sums, FG_BFLOAT16);
}
static void dot_f16_scalar(void const *u, void const *v, size_t count, double sums[3]) {
    dot_half(u, v, count, sums, FG_FLOAT16);
}

fg_vectors_kernels const fg_vectors_scalar = {.dot = {dot_f32_scalar, dot_bf16_scalar, dot_f16_scalar}};
