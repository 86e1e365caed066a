#include "kernels/vectors.h"

#include "base/target.h"

#if FG_X86_AVX512

FG_TARGET_BEGIN(FG_ISA_AVX512)

FG_INLINE double tree_f64(__m512d const pair[2]) {
    __m512d const sixteen = _mm512_add_pd(pair[0], pair[1]);
    __m256d const eight = _mm256_add_pd(_mm512_castpd512_pd256(sixteen), _mm512_extractf64x4_pd(sixteen, 1));
    __m128d const four = _mm_add_pd(_mm256_castpd256_pd128(eight), _mm256_extractf128_pd(eight, 1));
    return _mm_cvtsd_f64(_mm_add_sd(four, _mm_unpackhi_pd(four, four)));
}

FG_INLINE float tree_f32(__m512 sixteen) {
    __m256 const eight = _mm256_add_ps(_mm512_castps512_ps256(sixteen), _mm512_extractf32x8_ps(sixteen, 1));
    __m128 const four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 const two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

FG_INLINE __m512d load_f64x8(float const *numbers, size_t left) {
    if (left >= 8) return _mm512_cvtps_pd(_mm256_loadu_ps(numbers));
    return _mm512_cvtps_pd(_mm256_maskz_loadu_ps((__mmask8)((1u << left) - 1u), numbers));
}

static void dot_f32_avx512(void const *u, void const *v, size_t count, double sums[3]) {
    float const *const a = u, *const b = v;
    __m512d uv[2], uu[2], vv[2];
    for (int r = 0; r < 2; r++) uv[r] = uu[r] = vv[r] = _mm512_setzero_pd();
    for (size_t i = 0; i < count; i += FG_DOT_LANES) {
        int const whole = count - i >= FG_DOT_LANES;
        for (size_t r = 0; r < 2; r++) {
            size_t const at = i + 8 * r, left = whole ? 8 : count > at ? count - at : 0;
            __m512d const p = load_f64x8(a + at, left), q = load_f64x8(b + at, left);
            uv[r] = _mm512_fmadd_pd(p, q, uv[r]);
            uu[r] = _mm512_fmadd_pd(p, p, uu[r]);
            vv[r] = _mm512_fmadd_pd(q, q, vv[r]);
        }
    }
    sums[0] = tree_f64(uv), sums[1] = tree_f64(uu), sums[2] = tree_f64(vv);
}

/** 32 numbers, as two registers: those of even and those of odd place for bfloat16, which are halves of a word; the
 * first and the second 16 for float16. */
FG_INLINE void load_halves(uint16_t const *numbers, size_t left, __m512 pair[2], fg_dtype dtype) {
    __mmask32 const lanes = left >= FG_HALF_LANES ? ~(__mmask32)0 : ((__mmask32)1 << left) - 1;
    __m512i const halves_u16x32 =
        left >= FG_HALF_LANES ? _mm512_loadu_si512(numbers) : _mm512_maskz_loadu_epi16(lanes, numbers);
    if (dtype == FG_FLOAT16) {
        pair[0] = _mm512_cvtph_ps(_mm512_castsi512_si256(halves_u16x32));
        pair[1] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves_u16x32, 1));
        return;
    }
    pair[0] = _mm512_castsi512_ps(_mm512_slli_epi32(halves_u16x32, 16));
    pair[1] = _mm512_castsi512_ps(_mm512_and_si512(halves_u16x32, _mm512_set1_epi32((int)0xFFFF0000u)));
}

FG_INLINE double tree_halves(__m512 const pair[2], fg_dtype dtype) {
    if (dtype == FG_FLOAT16) return (double)tree_f32(_mm512_add_ps(pair[0], pair[1]));
    return (double)(tree_f32(pair[0]) + tree_f32(pair[1])); /* the last two of the tree are lanes 0 and 1 */
}

FG_INLINE void dot_half(uint16_t const *u, uint16_t const *v, size_t count, double sums[3], fg_dtype dtype) {
    sums[0] = sums[1] = sums[2] = 0.0;
    for (size_t start = 0; start < count; start += FG_HALF_BLOCK) {
        size_t const end = start + FG_HALF_BLOCK < count ? start + FG_HALF_BLOCK : count;
        __m512 uv[2], uu[2], vv[2], p[2], q[2];
        for (int r = 0; r < 2; r++) uv[r] = uu[r] = vv[r] = _mm512_setzero_ps();
        for (size_t i = start; i < end; i += FG_HALF_LANES) {
            load_halves(u + i, end - i, p, dtype), load_halves(v + i, end - i, q, dtype);
            for (int r = 0; r < 2; r++) {
                uv[r] = _mm512_fmadd_ps(p[r], q[r], uv[r]);
                uu[r] = _mm512_fmadd_ps(p[r], p[r], uu[r]);
                vv[r] = _mm512_fmadd_ps(q[r], q[r], vv[r]);
            }
        }
        sums[0] += tree_halves(uv, dtype), sums[1] += tree_halves(uu, dtype), sums[2] += tree_halves(vv, dtype);
    }
}

static void dot_bf16_avx512(void const *u, void const *v, size_t count, double sums[3]) {
    dot_half(u, v, count, sums, FG_BFLOAT16);
}
static void dot_f16_avx512(void const *u, void const *v, size_t count, double sums[3]) {
    dot_half(u, v, count, sums, FG_FLOAT16);
}

FG_TARGET_END

fg_vectors_kernels const fg_vectors_avx512 = {.dot = {dot_f32_avx512, dot_bf16_avx512, dot_f16_avx512}};

#endif
