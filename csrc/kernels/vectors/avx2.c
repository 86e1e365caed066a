#include "kernels/vectors.h"

#include "base/target.h"

#if FG_X86

FG_TARGET_BEGIN(FG_ISA_AVX2)

enum { REGISTERS = 4 }; /* of 4 float64 or 8 float32: the lanes of a sum */

FG_INLINE double tree_f64(__m256d const sums[REGISTERS]) {
    __m256d const low = _mm256_add_pd(sums[0], sums[2]), high = _mm256_add_pd(sums[1], sums[3]);
    __m256d const four = _mm256_add_pd(low, high);
    __m128d const two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

FG_INLINE double tree_f32(__m256 const sums[REGISTERS]) {
    __m256 const low = _mm256_add_ps(sums[0], sums[2]), high = _mm256_add_ps(sums[1], sums[3]);
    __m256 const eight = _mm256_add_ps(low, high);
    __m128 const four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 const two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return (double)_mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

FG_INLINE void add_f64(float const *u, float const *v, __m256d uv[REGISTERS], __m256d uu[REGISTERS],
                       __m256d vv[REGISTERS]) {
    for (int r = 0; r < REGISTERS; r++) {
        __m256d const p = _mm256_cvtps_pd(_mm_loadu_ps(u + 4 * r)), q = _mm256_cvtps_pd(_mm_loadu_ps(v + 4 * r));
        uv[r] = _mm256_fmadd_pd(p, q, uv[r]);
        uu[r] = _mm256_fmadd_pd(p, p, uu[r]);
        vv[r] = _mm256_fmadd_pd(q, q, vv[r]);
    }
}

static void dot_f32_avx2(void const *u, void const *v, size_t count, double sums[3]) {
    __m256d uv[REGISTERS], uu[REGISTERS], vv[REGISTERS];
    for (int r = 0; r < REGISTERS; r++) uv[r] = uu[r] = vv[r] = _mm256_setzero_pd();
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

FG_INLINE __m256 widen_f32x8(uint16_t const *numbers, fg_dtype dtype) {
    __m128i const halves_u16x8 = _mm_loadu_si128((__m128i const *)numbers);
    if (dtype == FG_FLOAT16) return _mm256_cvtph_ps(halves_u16x8);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves_u16x8), 16));
}

FG_INLINE void add_halves(uint16_t const *u, uint16_t const *v, __m256 uv[REGISTERS], __m256 uu[REGISTERS],
                          __m256 vv[REGISTERS], fg_dtype dtype) {
    for (int r = 0; r < REGISTERS; r++) {
        __m256 const p = widen_f32x8(u + 8 * r, dtype), q = widen_f32x8(v + 8 * r, dtype);
        uv[r] = _mm256_fmadd_ps(p, q, uv[r]);
        uu[r] = _mm256_fmadd_ps(p, p, uu[r]);
        vv[r] = _mm256_fmadd_ps(q, q, vv[r]);
    }
}

FG_INLINE void dot_half(void const *u, void const *v, size_t count, double sums[3], fg_dtype dtype) {
    uint16_t const *a = u, *b = v;
    sums[0] = sums[1] = sums[2] = 0.0;
    while (count) {
        size_t left = count < FG_HALF_BLOCK ? count : FG_HALF_BLOCK;
        count -= left;
        __m256 uv[REGISTERS], uu[REGISTERS], vv[REGISTERS];
        for (int r = 0; r < REGISTERS; r++) uv[r] = uu[r] = vv[r] = _mm256_setzero_ps();
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

static void dot_bf16_avx2(void const *u, void const *v, size_t count, double sums[3]) {
    dot_half(u, v, count, sums, FG_BFLOAT16);
}
static void dot_f16_avx2(void const *u, void const *v, size_t count, double sums[3]) {
    dot_half(u, v, count, sums, FG_FLOAT16);
}

FG_TARGET_END

fg_vectors_kernels const fg_vectors_avx2 = {.dot = {dot_f32_avx2, dot_bf16_avx2, dot_f16_avx2}};

#endif
