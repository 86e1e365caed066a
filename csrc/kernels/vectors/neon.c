#include "kernels/vectors.h"

#include "base/target.h"

#if FG_ARM

enum { REGISTERS = 8 }; /* of 2 float64 or 4 float32: the lanes of a sum */

FG_INLINE double tree_f64(float64x2_t const sums[REGISTERS]) {
    float64x2_t four[4];
    for (int r = 0; r < 4; r++) four[r] = vaddq_f64(sums[r], sums[r + 4]);
    float64x2_t const two = vaddq_f64(vaddq_f64(four[0], four[2]), vaddq_f64(four[1], four[3]));
    return vgetq_lane_f64(two, 0) + vgetq_lane_f64(two, 1);
}

FG_INLINE double tree_f32(float32x4_t const sums[REGISTERS]) {
    float32x4_t four[4];
    for (int r = 0; r < 4; r++) four[r] = vaddq_f32(sums[r], sums[r + 4]);
    float32x4_t const one = vaddq_f32(vaddq_f32(four[0], four[2]), vaddq_f32(four[1], four[3]));
    float32x2_t const two = vadd_f32(vget_low_f32(one), vget_high_f32(one));
    return (double)(vget_lane_f32(two, 0) + vget_lane_f32(two, 1));
}

FG_INLINE void add_f64(float const *u, float const *v, float64x2_t uv[REGISTERS], float64x2_t uu[REGISTERS],
                       float64x2_t vv[REGISTERS]) {
    for (int r = 0; r < REGISTERS; r++) {
        float64x2_t const p = vcvt_f64_f32(vld1_f32(u + 2 * r)), q = vcvt_f64_f32(vld1_f32(v + 2 * r));
        uv[r] = vfmaq_f64(uv[r], p, q);
        uu[r] = vfmaq_f64(uu[r], p, p);
        vv[r] = vfmaq_f64(vv[r], q, q);
    }
}

static void dot_f32_neon(void const *u, void const *v, size_t count, double sums[3]) {
    float64x2_t uv[REGISTERS], uu[REGISTERS], vv[REGISTERS];
    for (int r = 0; r < REGISTERS; r++) uv[r] = uu[r] = vv[r] = vdupq_n_f64(0.0);
    float const *a = u, *b = v;
    for (; count >= FG_DOT_LANES; count -= FG_DOT_LANES, a += FG_DOT_LANES, b += FG_DOT_LANES)
        add_f64(a, b, uv, uu, vv);
    if (count) {
        float tails[2][FG_DOT_LANES] = {{0.0f}};
        memcpy(tails[0], a, count * sizeof *a), memcpy(tails[1], b, count * sizeof *b);
        add_f64(tails[0], tails[1], uv, uu, vv);
    }
    sums[0] = tree_f64(uv), sums[1] = tree_f64(uu), sums[2] = tree_f64(vv);
}

FG_INLINE float32x4_t widen_f32x4(uint16_t const *numbers, fg_dtype dtype) {
    uint16x4_t const halves_u16x4 = vld1_u16(numbers);
    if (dtype == FG_FLOAT16) return vcvt_f32_f16(vreinterpret_f16_u16(halves_u16x4));
    return vreinterpretq_f32_u32(vshll_n_u16(halves_u16x4, 16));
}

FG_INLINE void add_halves(uint16_t const *u, uint16_t const *v, float32x4_t uv[REGISTERS], float32x4_t uu[REGISTERS],
                          float32x4_t vv[REGISTERS], fg_dtype dtype) {
    for (int r = 0; r < REGISTERS; r++) {
        float32x4_t const p = widen_f32x4(u + 4 * r, dtype), q = widen_f32x4(v + 4 * r, dtype);
        uv[r] = vfmaq_f32(uv[r], p, q);
        uu[r] = vfmaq_f32(uu[r], p, p);
        vv[r] = vfmaq_f32(vv[r], q, q);
    }
}

FG_INLINE void dot_half(void const *u, void const *v, size_t count, double sums[3], fg_dtype dtype) {
    uint16_t const *a = u, *b = v;
    sums[0] = sums[1] = sums[2] = 0.0;
    while (count) {
        size_t left = count < FG_HALF_BLOCK ? count : FG_HALF_BLOCK;
        count -= left;
        float32x4_t uv[REGISTERS], uu[REGISTERS], vv[REGISTERS];
        for (int r = 0; r < REGISTERS; r++) uv[r] = uu[r] = vv[r] = vdupq_n_f32(0.0f);
        for (; left >= FG_HALF_LANES; left -= FG_HALF_LANES, a += FG_HALF_LANES, b += FG_HALF_LANES)
            add_halves(a, b, uv, uu, vv, dtype);
        if (left) { /* the last of all */
            uint16_t tails[2][FG_HALF_LANES] = {{0}};
            memcpy(tails[0], a, left * sizeof *a), memcpy(tails[1], b, left * sizeof *b);
            add_halves(tails[0], tails[1], uv, uu, vv, dtype);
        }
        sums[0] += tree_f32(uv), sums[1] += tree_f32(uu), sums[2] += tree_f32(vv);
    }
}

static void dot_bf16_neon(void const *u, void const *v, size_t count, double sums[3]) {
    dot_half(u, v, count, sums, FG_BFLOAT16);
}
static void dot_f16_neon(void const *u, void const *v, size_t count, double sums[3]) {
    dot_half(u, v, count, sums, FG_FLOAT16);
}

fg_vectors_kernels const fg_vectors_neon = {.dot = {dot_f32_neon, dot_bf16_neon, dot_f16_neon}};

#endif
