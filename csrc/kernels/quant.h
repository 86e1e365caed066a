/** Kernels over quantized weights: blocks of ggml's types in, float32 values out.
 *
 * A block holds 32 small integers, the quants q, with one scale d and, in the "_1" types, one minimum m, both float16:
 *
 *      Q4_0  x = d * (q - 8)     Q5_0  x = d * (q - 16)     Q8_0       x = d * q
 *      Q4_1  x = d * q + m       Q5_1  x = d * q + m        F16, BF16  the value itself, a block of one
 *
 * in float32, with d and m widened exactly. The product is exact (11 bits by at most 8), so only the sum rounds.
 * Every level gives the same bits, but for the sign and the payload of a NaN.
 * The structs below are the bytes of a file: no alignment, little endian. */
#ifndef FG_KERNELS_QUANT_H
#define FG_KERNELS_QUANT_H

#include "base/base.h"
#include "cpu.h"

/** Types. The order indexes the kernel table. */
typedef enum fg_quant_type { FG_F16, FG_BF16, FG_Q4_0, FG_Q4_1, FG_Q5_0, FG_Q5_1, FG_Q8_0 } fg_quant_type;
enum { FG_QUANT_TYPES = 7, FG_QUANT_BLOCK = 32 };

/* The low half of nibble byte i is quant i, its high half quant i + 16. Bit i of `fifth_bits` is bit 4 of quant i. */
typedef struct fg_q4_0 {
    uint8_t scale[2], nibbles[16];
} fg_q4_0;

typedef struct fg_q4_1 {
    uint8_t scale[2], minimum[2], nibbles[16];
} fg_q4_1;

typedef struct fg_q5_0 {
    uint8_t scale[2], fifth_bits[4], nibbles[16];
} fg_q5_0;

typedef struct fg_q5_1 {
    uint8_t scale[2], minimum[2], fifth_bits[4], nibbles[16];
} fg_q5_1;

typedef struct fg_q8_0 {
    uint8_t scale[2];
    int8_t quants[32];
} fg_q8_0;

/** Widen `count` blocks, perhaps 0, to 32 values each (one each for F16 and BF16). Reads and writes nothing else. The
 * two ranges must not overlap. */
typedef void fg_dequantize_fn(void const *blocks, size_t count, float *values);

typedef struct fg_quant_kernels {
    fg_dequantize_fn *dequantize[FG_QUANT_TYPES];
} fg_quant_kernels;

/** The best table for these features; every slot is filled. */
fg_quant_kernels fg_quant_select(fg_features features);

FG_INLINE uint16_t fg_load_little16(uint8_t const bytes[2]) { return (uint16_t)(bytes[0] | bytes[1] << 8); }

FG_INLINE uint32_t fg_load_little32(uint8_t const bytes[4]) {
    return (uint32_t)fg_load_little16(bytes) | (uint32_t)fg_load_little16(bytes + 2) << 16;
}

#endif
