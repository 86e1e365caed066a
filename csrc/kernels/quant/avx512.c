#include "kernels/quant.h"

#include "base/target.h"

#if FG_X86_AVX512

FG_TARGET_BEGIN(FG_ISA_AVX512)

/* A block of nibbles has only 16 values (32 with a fifth bit): they are computed once, in one register (two), and every
 * nibble becomes a look-up. It heeds only the low four bits of a lane, so the low halves need no mask. Types without
 * nibbles have nothing to look up, and wider registers alone gain them too little (README.md). */

FG_INLINE __m512 widen_f32x16(uint8_t const half[2]) {
    return _mm512_cvtph_ps(_mm256_set1_epi16((short)fg_load_little16(half)));
}

FG_INLINE __m512i load_u32x16(uint8_t const bytes[16]) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((__m128i const *)bytes));
}

/** first, first + 1, ... first + 15 */
FG_INLINE __m512 quants_from(int first) {
    __m512i const lanes_i32x16 = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_cvtepi32_ps(_mm512_add_epi32(lanes_i32x16, _mm512_set1_epi32(first)));
}

FG_INLINE void store_nibbles(float *values, uint8_t const nibbles[16], __m512 table_f32x16) {
    __m512i const bytes_u32x16 = load_u32x16(nibbles);
    _mm512_storeu_ps(values, _mm512_permutexvar_ps(bytes_u32x16, table_f32x16));
    _mm512_storeu_ps(values + 16, _mm512_permutexvar_ps(_mm512_srli_epi32(bytes_u32x16, 4), table_f32x16));
}

FG_INLINE __m512 look_up(__m512i nibbles_u32x16, __mmask16 fifth_bits, __m512 lower_f32x16, __m512 upper_f32x16) {
    __m512 const values_f32x16 = _mm512_permutexvar_ps(nibbles_u32x16, lower_f32x16);
    return _mm512_mask_permutexvar_ps(values_f32x16, fifth_bits, nibbles_u32x16, upper_f32x16);
}

FG_INLINE void store_fives(float *values, uint8_t const nibbles[16], uint32_t fifth_bits, __m512 lower_f32x16,
                           __m512 upper_f32x16) {
    __m512i const low_u32x16 = load_u32x16(nibbles), high_u32x16 = _mm512_srli_epi32(low_u32x16, 4);
    __mmask16 const low_bits = (__mmask16)fifth_bits, high_bits = (__mmask16)(fifth_bits >> 16);
    _mm512_storeu_ps(values, look_up(low_u32x16, low_bits, lower_f32x16, upper_f32x16));
    _mm512_storeu_ps(values + 16, look_up(high_u32x16, high_bits, lower_f32x16, upper_f32x16));
}

static void dequantize_q4_0_avx512(void const *blocks, size_t count, float *values) {
    fg_q4_0 const *block = blocks;
    __m512 const quants_f32x16 = quants_from(-8);
    for (; count; count--, block++, values += FG_QUANT_BLOCK)
        store_nibbles(values, block->nibbles, _mm512_mul_ps(widen_f32x16(block->scale), quants_f32x16));
}

static void dequantize_q4_1_avx512(void const *blocks, size_t count, float *values) {
    fg_q4_1 const *block = blocks;
    __m512 const quants_f32x16 = quants_from(0);
    for (; count; count--, block++, values += FG_QUANT_BLOCK) {
        __m512 const products_f32x16 = _mm512_mul_ps(widen_f32x16(block->scale), quants_f32x16);
        store_nibbles(values, block->nibbles, _mm512_add_ps(products_f32x16, widen_f32x16(block->minimum)));
    }
}

static void dequantize_q5_0_avx512(void const *blocks, size_t count, float *values) {
    fg_q5_0 const *block = blocks;
    __m512 const lower_f32x16 = quants_from(-16), upper_f32x16 = quants_from(0);
    for (; count; count--, block++, values += FG_QUANT_BLOCK) {
        __m512 const scale_f32x16 = widen_f32x16(block->scale);
        store_fives(values, block->nibbles, fg_load_little32(block->fifth_bits),
                    _mm512_mul_ps(scale_f32x16, lower_f32x16), _mm512_mul_ps(scale_f32x16, upper_f32x16));
    }
}

static void dequantize_q5_1_avx512(void const *blocks, size_t count, float *values) {
    fg_q5_1 const *block = blocks;
    __m512 const lower_f32x16 = quants_from(0), upper_f32x16 = quants_from(16);
    for (; count; count--, block++, values += FG_QUANT_BLOCK) {
        __m512 const scale_f32x16 = widen_f32x16(block->scale), minimum_f32x16 = widen_f32x16(block->minimum);
        store_fives(values, block->nibbles, fg_load_little32(block->fifth_bits),
                    _mm512_add_ps(_mm512_mul_ps(scale_f32x16, lower_f32x16), minimum_f32x16),
                    _mm512_add_ps(_mm512_mul_ps(scale_f32x16, upper_f32x16), minimum_f32x16));
    }
}

FG_TARGET_END

fg_quant_kernels const fg_quant_avx512 = {
    .dequantize[FG_Q4_0] = dequantize_q4_0_avx512,
    .dequantize[FG_Q4_1] = dequantize_q4_1_avx512,
    .dequantize[FG_Q5_0] = dequantize_q5_0_avx512,
    .dequantize[FG_Q5_1] = dequantize_q5_1_avx512,
};

#endif
