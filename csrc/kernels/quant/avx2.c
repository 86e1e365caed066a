#include "kernels/quant.h"

#include "base/target.h"

#if FG_X86

FG_TARGET_BEGIN(FG_ISA_AVX2)

/* Eight bytes of nibbles become eight 32-bit lanes; a mask then leaves the low halves, a shift the high ones. */

FG_INLINE __m256 widen_f32x8(uint8_t const half[2]) {
    return _mm256_cvtph_ps(_mm_set1_epi16((short)fg_load_little16(half)));
}

FG_INLINE __m256i load_u32x8(uint8_t const bytes[8]) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((__m128i const *)bytes));
}

FG_INLINE __m256i low_u32x8(__m256i bytes_u32x8) { return _mm256_and_si256(bytes_u32x8, _mm256_set1_epi32(15)); }

FG_INLINE __m256i high_u32x8(__m256i bytes_u32x8) { return _mm256_srli_epi32(bytes_u32x8, 4); }

/** Bit 4 in lane i as it is in bit 4 + first + i of `bits_at_4`, all else 0. */
FG_INLINE __m256i fifth_u32x8(uint32_t bits_at_4, int first) {
    __m256i const shifts_u32x8 = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(first));
    return _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32((int)bits_at_4), shifts_u32x8), _mm256_set1_epi32(16));
}

FG_INLINE void store_scaled(float *values, __m256i quants_i32x8, __m256 scale_f32x8) {
    _mm256_storeu_ps(values, _mm256_mul_ps(scale_f32x8, _mm256_cvtepi32_ps(quants_i32x8)));
}

FG_INLINE void store_raised(float *values, __m256i quants_i32x8, __m256 scale_f32x8, __m256 minimum_f32x8) {
    __m256 const products_f32x8 = _mm256_mul_ps(scale_f32x8, _mm256_cvtepi32_ps(quants_i32x8));
    _mm256_storeu_ps(values, _mm256_add_ps(products_f32x8, minimum_f32x8));
}

static void dequantize_f16_avx2(void const *blocks, size_t count, float *values) {
    uint8_t const *bytes = blocks;
    for (; count >= 8; count -= 8, bytes += 16, values += 8)
        _mm256_storeu_ps(values, _mm256_cvtph_ps(_mm_loadu_si128((__m128i const *)bytes)));
    for (; count; count--, bytes += 2) *values++ = fg_float_from_float16(fg_load_little16(bytes));
}

static void dequantize_bf16_avx2(void const *blocks, size_t count, float *values) {
    uint8_t const *bytes = blocks;
    for (; count >= 8; count -= 8, bytes += 16, values += 8) {
        __m256i const halves_u32x8 = _mm256_cvtepu16_epi32(_mm_loadu_si128((__m128i const *)bytes));
        _mm256_storeu_ps(values, _mm256_castsi256_ps(_mm256_slli_epi32(halves_u32x8, 16)));
    }
    for (; count; count--, bytes += 2) *values++ = fg_float_from_bfloat16(fg_load_little16(bytes));
}

static void dequantize_q4_0_avx2(void const *blocks, size_t count, float *values) {
    fg_q4_0 const *block = blocks;
    __m256i const center_i32x8 = _mm256_set1_epi32(8);
    for (; count; count--, block++, values += FG_QUANT_BLOCK) {
        __m256 const scale_f32x8 = widen_f32x8(block->scale);
        for (int i = 0; i < 16; i += 8) {
            __m256i const bytes_u32x8 = load_u32x8(block->nibbles + i);
            store_scaled(values + i, _mm256_sub_epi32(low_u32x8(bytes_u32x8), center_i32x8), scale_f32x8);
            store_scaled(values + i + 16, _mm256_sub_epi32(high_u32x8(bytes_u32x8), center_i32x8), scale_f32x8);
        }
    }
}

static void dequantize_q4_1_avx2(void const *blocks, size_t count, float *values) {
    fg_q4_1 const *block = blocks;
    for (; count; count--, block++, values += FG_QUANT_BLOCK) {
        __m256 const scale_f32x8 = widen_f32x8(block->scale), minimum_f32x8 = widen_f32x8(block->minimum);
        for (int i = 0; i < 16; i += 8) {
            __m256i const bytes_u32x8 = load_u32x8(block->nibbles + i);
            store_raised(values + i, low_u32x8(bytes_u32x8), scale_f32x8, minimum_f32x8);
            store_raised(values + i + 16, high_u32x8(bytes_u32x8), scale_f32x8, minimum_f32x8);
        }
    }
}

static void dequantize_q5_0_avx2(void const *blocks, size_t count, float *values) {
    fg_q5_0 const *block = blocks;
    __m256i const center_i32x8 = _mm256_set1_epi32(16);
    for (; count; count--, block++, values += FG_QUANT_BLOCK) {
        __m256 const scale_f32x8 = widen_f32x8(block->scale);
        uint32_t const fifth_bits = fg_load_little32(block->fifth_bits);
        for (int i = 0; i < 16; i += 8) {
            __m256i const bytes_u32x8 = load_u32x8(block->nibbles + i);
            __m256i const low_i32x8 = _mm256_or_si256(low_u32x8(bytes_u32x8), fifth_u32x8(fifth_bits << 4, i));
            __m256i const high_i32x8 = _mm256_or_si256(high_u32x8(bytes_u32x8), fifth_u32x8(fifth_bits >> 12, i));
            store_scaled(values + i, _mm256_sub_epi32(low_i32x8, center_i32x8), scale_f32x8);
            store_scaled(values + i + 16, _mm256_sub_epi32(high_i32x8, center_i32x8), scale_f32x8);
        }
    }
}

static void dequantize_q5_1_avx2(void const *blocks, size_t count, float *values) {
    fg_q5_1 const *block = blocks;
    for (; count; count--, block++, values += FG_QUANT_BLOCK) {
        __m256 const scale_f32x8 = widen_f32x8(block->scale), minimum_f32x8 = widen_f32x8(block->minimum);
        uint32_t const fifth_bits = fg_load_little32(block->fifth_bits);
        for (int i = 0; i < 16; i += 8) {
            __m256i const bytes_u32x8 = load_u32x8(block->nibbles + i);
            __m256i const low_i32x8 = _mm256_or_si256(low_u32x8(bytes_u32x8), fifth_u32x8(fifth_bits << 4, i));
            __m256i const high_i32x8 = _mm256_or_si256(high_u32x8(bytes_u32x8), fifth_u32x8(fifth_bits >> 12, i));
            store_raised(values + i, low_i32x8, scale_f32x8, minimum_f32x8);
            store_raised(values + i + 16, high_i32x8, scale_f32x8, minimum_f32x8);
        }
    }
}

static void dequantize_q8_0_avx2(void const *blocks, size_t count, float *values) {
    fg_q8_0 const *block = blocks;
    for (; count; count--, block++, values += FG_QUANT_BLOCK) {
        __m256 const scale_f32x8 = widen_f32x8(block->scale);
        for (int i = 0; i < FG_QUANT_BLOCK; i += 8) {
            __m128i const quants_i8x8 = _mm_loadl_epi64((__m128i const *)(block->quants + i));
            store_scaled(values + i, _mm256_cvtepi8_epi32(quants_i8x8), scale_f32x8);
        }
    }
}

FG_TARGET_END

fg_quant_kernels const fg_quant_avx2 = {
    .dequantize[FG_F16] = dequantize_f16_avx2,
    .dequantize[FG_BF16] = dequantize_bf16_avx2,
    .dequantize[FG_Q4_0] = dequantize_q4_0_avx2,
    .dequantize[FG_Q4_1] = dequantize_q4_1_avx2,
    .dequantize[FG_Q5_0] = dequantize_q5_0_avx2,
    .dequantize[FG_Q5_1] = dequantize_q5_1_avx2,
    .dequantize[FG_Q8_0] = dequantize_q8_0_avx2,
};

#endif
