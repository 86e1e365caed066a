/** The ground: fixed widths, inlining, branch hints, cache lines, table overlays. Includes libc only. */
#ifndef FG_BASE_H
#define FG_BASE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(_MSC_VER) && !defined(__clang__)
#define FG_INLINE static __forceinline
#define FG_LIKELY(condition) (condition)
#define FG_UNLIKELY(condition) (condition)
#define FG_ALIGNED(bytes) __declspec(align(bytes))
#else
#define FG_INLINE static inline __attribute__((always_inline))
#define FG_LIKELY(condition) __builtin_expect(!!(condition), 1)
#define FG_UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define FG_ALIGNED(bytes) __attribute__((aligned(bytes)))
#endif

/* Two lines: adjacent-line prefetchers pull pairs on x86, and Apple's lines are 128 bytes. */
#define FG_CACHE_LINE 64
#define FG_DESTRUCTIVE_INTERFERENCE 128

/** Element types of a row. The order indexes the kernel tables. */
typedef enum fg_dtype { FG_FLOAT32 = 0, FG_BFLOAT16 = 1, FG_FLOAT16 = 2 } fg_dtype;
enum { FG_DTYPES = 3 };

/** A kernel table is a struct of function pointers and nothing else; a NULL slot means "as on the level below". */
typedef void fg_slot_fn(void);

FG_INLINE void fg_overlay(void *lower, void const *upper, size_t size) {
    for (size_t offset = 0; offset < size; offset += sizeof(fg_slot_fn *)) {
        fg_slot_fn *slot;
        memcpy(&slot, (char const *)upper + offset, sizeof slot);
        if (slot) memcpy((char *)lower + offset, &slot, sizeof slot);
    }
}

#define FG_OVERLAY(lower, upper) fg_overlay(&(lower), &(upper), sizeof(lower))

FG_INLINE float fg_float_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

FG_INLINE uint32_t fg_bits_from_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

FG_INLINE float fg_float_from_bfloat16(uint16_t half) { return fg_float_from_bits((uint32_t)half << 16); }

/** Widen IEEE binary16 exactly; NaN stays NaN.  s eeeee mmmmmmmmmm -> s eeeeeeee mmmmmmmmmm0000000000000 */
FG_INLINE float fg_float_from_float16(uint16_t half) {
    uint32_t const sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t const exponent = (half >> 10) & 0x1Fu, mantissa = half & 0x3FFu;
    if (exponent == 31) return fg_float_from_bits(sign | 0x7F800000u | mantissa << 13);
    if (exponent != 0) return fg_float_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    float const magnitude = (float)mantissa * 0x1p-24f; /* subnormal or zero: an integer times 2^-24 is exact */
    return fg_float_from_bits(sign | fg_bits_from_float(magnitude));
}

#endif
