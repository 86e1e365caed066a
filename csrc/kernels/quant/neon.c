#include "kernels/quant.h"

#include "base/target.h"

#if FG_ARM

/* Quants are bytes until the last moment: 16 of them widen to four registers of floats. */

FG_INLINE float widen(uint8_t const half[2]) {
    return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(fg_load_little16(half)))), 0);
}

FG_INLINE uint8x16_t low_u8x16(uint8x16_t bytes_u8x16) { return vandq_u8(bytes_u8x16, vdupq_n_u8(15)); }

FG_INLINE uint8x16_t high_u8x16(uint8x16_t bytes_u8x16) { return vshrq_n_u8(bytes_u8x16, 4); }

/** 16 in lane i where bit i is set, else 0. */
FG_INLINE uint8x16_t fifth_u8x16(uint32_t bits) {
    static uint8_t const masks[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t const bits_u8x16 = vcombine_u8(vdup_n_u8((uint8_t)bits), vdup_n_u8((uint8_t)(bits >> 8)));
    return vandq_u8(vtstq_u8(bits_u8x16, vld1q_u8(masks)), vdupq_n_u8(16));
}

FG_INLINE int8x16_t centered_i8x16(uint8x16_t quants_u8x16, uint8_t center) {
    return vreinterpretq_s8_u8(vsubq_u8(quants_u8x16, vdupq_n_u8(center)));
}

FG_INLINE void store_scaled_i16x8(float *values, int16x8_t quants_i16x8, float scale) {
    vst1q_f32(values, vmulq_n_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(quants_i16x8))), scale));
    vst1q_f32(values + 4, vmulq_n_f32(vcvtq_f32_s32(vmovl_high_s16(quants_i16x8)), scale));
}

FG_INLINE void store_scaled(float *values, int8x16_t quants_i8x16, float scale) {
    store_scaled_i16x8(values, vmovl_s8(vget_low_s8(quants_i8x16)), scale);
    store_scaled_i16x8(values + 8, vmovl_high_s8(quants_i8x16), scale);
}

FG_INLINE void store_raised_u16x8(float *values, uint16x8_t quants_u16x8, float scale, float minimum) {
    float32x4_t const low_f32x4 = vmulq_n_f32(vcvtq_f32_u32(vmovl_u16(vget_low_u16(quants_u16x8))), scale);
    float32x4_t const high_f32x4 = vmulq_n_f32(vcvtq_f32_u32(vmovl_high_u16(quants_u16x8)), scale);
    vst1q_f32(values, vaddq_f32(low_f32x4, vdupq_n_f32(minimum)));
    vst1q_f32(values + 4, vaddq_f32(high_f32x4, vdupq_n_f32(minimum)));
}

FG_INLINE void store_raised(float *values, uint8x16_t quants_u8x16, float scale, float minimum) {
    store_raised_u16x8(values, vmovl_u8(vget_low_u8(quants_u8x16)), scale, minimum);
    store_raised_u16x8(values + 8, vmovl_high_u8(quants_u8x16), scale, minimum);
}

static void dequantize_f16_neon(void const *blocks, size_t count, float *values) {
    uint8_t const *bytes = blocks;
    for (; count >= 8; count -= 8, bytes += 16, values += 8) {
        float16x8_t const halves_f16x8 = vreinterpretq_f16_u8(vld1q_u8(bytes));
        vst1q_f32(values, vcvt_f32_f16(vget_low_f16(halves_f16x8)));
        vst1q_f32(values + 4, vcvt_high_f32_f16(halves_f16x8));
    }
    for (; count; count--, bytes += 2) *values++ = fg_float_from_float16(fg_load_little16(bytes));
}

static void dequantize_bf16_neon(void const *blocks, size_t count, float *values) {
    uint8_t const *bytes = blocks;
    for (; count >= 8; count -= 8, bytes += 16, values += 8) {
        uint16x8_t const halves_u16x8 = vreinterpretq_u16_u8(vld1q_u8(bytes));
        vst1q_f32(values, vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(halves_u16x8), 16)));
        vst1q_f32(values + 4, vreinterpretq_f32_u32(vshll_high_n_u16(halves_u16x8, 16)));
    }
    for (; count; count--, bytes += 2) *values++ = fg_float_from_bfloat16(fg_load_little16(bytes));
}

static void dequantize_q4_0_neon(void const *blocks, size_t count, float *values) {
    fg_q4_0 const *block = blocks;
    for (; count; count--, block++, values += FG_QUANT_BLOCK) {
        float const scale = widen(block->scale);
        uint8x16_t const bytes_u8x16 = vld1q_u8(block->nibbles);
        store_scaled(values, centered_i8x16(low_u8x16(bytes_u8x16), 8), scale);
        store_scaled(values + 16, centered_i8x16(high_u8x16(bytes_u8x16), 8), scale);
    }
}

static void dequantize_q4_1_neon(void const *blocks, size_t count, float *values) {
    fg_q4_1 const *block = blocks;
    for (; count; count--, block++, values += FG_QUANT_BLOCK) {
        float const scale = widen(block->scale), minimum = widen(block->minimum);
        uint8x16_t const bytes_u8x16 = vld1q_u8(block->nibbles);
        store_raised(values, low_u8x16(bytes_u8x16), scale, minimum);
        store_raised(values + 16, high_u8x16(bytes_u8x16), scale, minimum);
    }
}

static void dequantize_q5_0_neon(void const *blocks, size_t count, float *values) {
    fg_q5_0 const *block = blocks;
    for (; count; count--, block++, values += FG_QUANT_BLOCK) {
        float const scale = widen(block->scale);
        uint32_t const fifth_bits = fg_load_little32(block->fifth_bits);
        uint8x16_t const bytes_u8x16 = vld1q_u8(block->nibbles);
        uint8x16_t const first_u8x16 = vorrq_u8(low_u8x16(bytes_u8x16), fifth_u8x16(fifth_bits));
        uint8x16_t const second_u8x16 = vorrq_u8(high_u8x16(bytes_u8x16), fifth_u8x16(fifth_bits >> 16));
        store_scaled(values, centered_i8x16(first_u8x16, 16), scale);
        store_scaled(values + 16, centered_i8x16(second_u8x16, 16), scale);
    }
}

static void dequantize_q5_1_neon(void const *blocks, size_t count, float *values) {
    fg_q5_1 const *block = blocks;
    for (; count; count--, block++, values += FG_QUANT_BLOCK) {
        float const scale = widen(block->scale), minimum = widen(block->minimum);
        uint32_t const fifth_bits = fg_load_little32(block->fifth_bits);
        uint8x16_t const bytes_u8x16 = vld1q_u8(block->nibbles);
        uint8x16_t const first_u8x16 = vorrq_u8(low_u8x16(bytes_u8x16), fifth_u8x16(fifth_bits));
        uint8x16_t const second_u8x16 = vorrq_u8(high_u8x16(bytes_u8x16), fifth_u8x16(fifth_bits >> 16));
        store_raised(values, first_u8x16, scale, minimum);
        store_raised(values + 16, second_u8x16, scale, minimum);
    }
}

static void dequantize_q8_0_neon(void const *blocks, size_t count, float *values) {
    fg_q8_0 const *block = blocks;
    for (; count; count--, block++, values += FG_QUANT_BLOCK) {
        float const scale = widen(block->scale);
        store_scaled(values, vld1q_s8(block->quants), scale);
        store_scaled(values + 16, vld1q_s8(block->quants + 16), scale);
    }
}

fg_quant_kernels const fg_quant_neon = {
    .dequantize[FG_F16] = dequantize_f16_neon,
    .dequantize[FG_BF16] = dequantize_bf16_neon,
    .dequantize[FG_Q4_0] = dequantize_q4_0_neon,
    .dequantize[FG_Q4_1] = dequantize_q4_1_neon,
    .dequantize[FG_Q5_0] = dequantize_q5_0_neon,
    .dequantize[FG_Q5_1] = dequantize_q5_1_neon,
    .dequantize[FG_Q8_0] = dequantize_q8_0_neon,
};

#endif
