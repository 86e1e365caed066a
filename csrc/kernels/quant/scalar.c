/** The definition of every type: what the other levels must equal bit for bit. */
#include "kernels/quant.h"

static float widen(uint8_t const half[2]) { return fg_float_from_float16(fg_load_little16(half)); }

static void dequantize_f16(void const *blocks, size_t count, float *values) {
    uint8_t const *bytes = blocks;
    for (size_t i = 0; i < count; i++) values[i] = widen(bytes + 2 * i);
}

static void dequantize_bf16(void const *blocks, size_t count, float *values) {
    uint8_t const *bytes = blocks;
    for (size_t i = 0; i < count; i++) values[i] = fg_float_from_bfloat16(fg_load_little16(bytes + 2 * i));
}

static void dequantize_q4_0(void const *blocks, size_t count, float *values) {
    fg_q4_0 const *block = blocks;
    for (; count; count--, block++, values += FG_QUANT_BLOCK) {
        float const scale = widen(block->scale);
        for (int i = 0; i < 16; i++) {
            values[i] = scale * (float)((block->nibbles[i] & 15) - 8);
            values[i + 16] = scale * (float)((block->nibbles[i] >> 4) - 8);
        }
    }
}

static void dequantize_q4_1(void const *blocks, size_t count, float *values) {
    fg_q4_1 const *block = blocks;
    for (; count; count--, block++, values += FG_QUANT_BLOCK) {
        float const scale = widen(block->scale), minimum = widen(block->minimum);
        for (int i = 0; i < 16; i++) {
            values[i] = scale * (float)(block->nibbles[i] & 15) + minimum;
            values[i + 16] = scale * (float)(block->nibbles[i] >> 4) + minimum;
        }
    }
}

static void dequantize_q5_0(void const *blocks, size_t count, float *values) {
    fg_q5_0 const *block = blocks;
    for (; count; count--, block++, values += FG_QUANT_BLOCK) {
        float const scale = widen(block->scale);
        uint32_t const fifth_bits = fg_load_little32(block->fifth_bits);
        for (int i = 0; i < 16; i++) {
            int const low = (block->nibbles[i] & 15) | (fifth_bits >> i & 1) << 4;
            int const high = block->nibbles[i] >> 4 | (fifth_bits >> (i + 16) & 1) << 4;
            values[i] = scale * (float)(low - 16);
            values[i + 16] = scale * (float)(high - 16);
        }
    }
}

static void dequantize_q5_1(void const *blocks, size_t count, float *values) {
    fg_q5_1 const *block = blocks;
    for (; count; count--, block++, values += FG_QUANT_BLOCK) {
        float const scale = widen(block->scale), minimum = widen(block->minimum);
        uint32_t const fifth_bits = fg_load_little32(block->fifth_bits);
        for (int i = 0; i < 16; i++) {
            int const low = (block->nibbles[i] & 15) | (fifth_bits >> i & 1) << 4;
            int const high = block->nibbles[i] >> 4 | (fifth_bits >> (i + 16) & 1) << 4;
            values[i] = scale * (float)low + minimum;
            values[i + 16] = scale * (float)high + minimum;
        }
    }
}

static void dequantize_q8_0(void const *blocks, size_t count, float *values) {
    fg_q8_0 const *block = blocks;
    for (; count; count--, block++, values += FG_QUANT_BLOCK) {
        float const scale = widen(block->scale);
        for (int i = 0; i < FG_QUANT_BLOCK; i++) values[i] = scale * (float)block->quants[i];
    }
}

fg_quant_kernels const fg_quant_scalar = {
    .dequantize[FG_F16] = dequantize_f16,
    .dequantize[FG_BF16] = dequantize_bf16,
    .dequantize[FG_Q4_0] = dequantize_q4_0,
    .dequantize[FG_Q4_1] = dequantize_q4_1,
    .dequantize[FG_Q5_0] = dequantize_q5_0,
    .dequantize[FG_Q5_1] = dequantize_q5_1,
    .dequantize[FG_Q8_0] = dequantize_q8_0,
};
