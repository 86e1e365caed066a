#include "kernels/logits.h"

#include "base/target.h"

#if FG_X86_AVX512

#include <math.h>

#define FG_LOGITS_REGION
FG_TARGET_BEGIN(FG_ISA_AVX512)

/* One block is 16 registers of 16 lanes; lane l of register v is score v * 16 + l. */

FG_INLINE __mmask16 leading_lanes(size_t count) { return (__mmask16)(count >= 16 ? 0xFFFFu : (1u << count) - 1u); }

FG_INLINE __m512 load_f32x16(void const *row, size_t index, fg_dtype dtype) {
    if (dtype == FG_FLOAT32) return _mm512_loadu_ps((float const *)row + index);
    __m256i const halves_u16x16 = _mm256_loadu_si256((__m256i const *)((uint16_t const *)row + index));
    if (dtype == FG_FLOAT16) return _mm512_cvtph_ps(halves_u16x16);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves_u16x16), 16));
}

/** Some lanes only; the memory of the others is not touched and they are -inf. */
FG_INLINE __m512 load_lanes_f32x16(void const *row, size_t index, __mmask16 lanes, fg_dtype dtype) {
    __m512 const nothing_f32x16 = _mm512_set1_ps(-INFINITY);
    if (dtype == FG_FLOAT32) return _mm512_mask_loadu_ps(nothing_f32x16, lanes, (float const *)row + index);
    __m256i const halves_u16x16 = _mm256_maskz_loadu_epi16(lanes, (uint16_t const *)row + index);
    if (dtype == FG_FLOAT16) return _mm512_mask_cvtph_ps(nothing_f32x16, lanes, halves_u16x16);
    return _mm512_mask_mov_ps(nothing_f32x16, lanes,
                              _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves_u16x16), 16)));
}

/** The last scores of a row. */
FG_INLINE __m512 load_tail_f32x16(void const *row, size_t index, size_t count, fg_dtype dtype) {
    return load_lanes_f32x16(row, index, leading_lanes(count - index), dtype);
}

/** Maxima of a whole block's lanes. */
FG_INLINE __m512 block_maxima(void const *row, size_t index, __mmask16 *unordered, fg_dtype dtype) {
    __m512 a_f32x16 = load_f32x16(row, index, dtype), b_f32x16 = load_f32x16(row, index + 16, dtype);
    *unordered |= _mm512_cmp_ps_mask(a_f32x16, b_f32x16, _CMP_UNORD_Q); /* one compare sees a NaN in either operand */
    for (size_t end = index + FG_BLOCK, i = index + 32; i < end; i += 32) {
        __m512 const p_f32x16 = load_f32x16(row, i, dtype), q_f32x16 = load_f32x16(row, i + 16, dtype);
        *unordered |= _mm512_cmp_ps_mask(p_f32x16, q_f32x16, _CMP_UNORD_Q);
        a_f32x16 = _mm512_max_ps(a_f32x16, p_f32x16), b_f32x16 = _mm512_max_ps(b_f32x16, q_f32x16);
    }
    return _mm512_max_ps(a_f32x16, b_f32x16);
}

/** Lane l gets lane (l + skew) % 16. */
FG_INLINE __m512 turn_back(__m512 lanes_f32x16, size_t skew) {
    __m512i const lane_u32x16 = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_permutexvar_ps(_mm512_add_epi32(lane_u32x16, _mm512_set1_epi32((int)skew)), lanes_f32x16);
}

/** The same for a row that starts `skew` scores behind a register boundary. Every load of such a row would cross a
 * cache line, which halves their rate; so registers are loaded from the boundaries, the first and the last of a block
 * in part:
 *
 *      boundaries   |               |               |       ...      |               |
 *      block           [first  skew..15][  register 1  ]              [last  0..skew-1]
 *
 * and the lanes, off by `skew`, are turned back at the end. */
FG_INLINE __m512 skewed_block_maxima(void const *row, size_t index, size_t skew, __mmask16 *unordered, fg_dtype dtype) {
    void const *const boundary =
        (char const *)row + ((ptrdiff_t)index - (ptrdiff_t)skew) * (ptrdiff_t)fg_dtype_size(dtype);
    __mmask16 const first = (__mmask16)(0xFFFFu << skew);
    __m512 a_f32x16 = load_lanes_f32x16(boundary, 0, first, dtype),
           b_f32x16 = load_lanes_f32x16(boundary, FG_BLOCK, (__mmask16)~first, dtype);
    *unordered |= _mm512_cmp_ps_mask(a_f32x16, b_f32x16, _CMP_UNORD_Q);
    for (size_t i = 16; i < FG_BLOCK - 16; i += 32) {
        __m512 const p_f32x16 = load_f32x16(boundary, i, dtype), q_f32x16 = load_f32x16(boundary, i + 16, dtype);
        *unordered |= _mm512_cmp_ps_mask(p_f32x16, q_f32x16, _CMP_UNORD_Q);
        a_f32x16 = _mm512_max_ps(a_f32x16, p_f32x16), b_f32x16 = _mm512_max_ps(b_f32x16, q_f32x16);
    }
    __m512 const p_f32x16 = load_f32x16(boundary, FG_BLOCK - 16, dtype); /* 15 whole registers: the odd one */
    *unordered |= _mm512_cmp_ps_mask(p_f32x16, p_f32x16, _CMP_UNORD_Q);
    a_f32x16 = _mm512_max_ps(_mm512_max_ps(a_f32x16, p_f32x16), b_f32x16);
    return turn_back(a_f32x16, skew);
}

/** Which of 16 scores may be chosen, the first at `index`, a multiple of 16. */
FG_INLINE __mmask16 allowed_lanes(uint32_t const *mask, size_t index) {
    uint16_t lanes;
    memcpy(&lanes, (char const *)mask + index / 8,
           sizeof lanes); /* x86 is little-endian: bit i is bit i % 8 of a byte */
    return lanes;
}

/** A bit of a word for each lane: the first for lane 0, whose successors are its rotations. */
FG_INLINE __m512i bits_from(int first) {
    __m512i const lane_u32x16 = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_rolv_epi32(_mm512_set1_epi32(1), _mm512_add_epi32(lane_u32x16, _mm512_set1_epi32(first)));
}

enum { SUMS = 4 };

/** Maxima of a whole block's allowed lanes. Masks for two registers come from testing a broadcast word: on Zen 5 to
 * load them with KMOV takes twice as long.
 *
 * Faults are found by adding every score to `sums`, which start at -inf: they stay -inf until a NaN or +inf makes them
 * NaN for good. That is one operation for each register, where a compare needs a second one to collect its result. */
FG_INLINE __m512 masked_block_maxima(void const *row, size_t index, uint32_t const *mask, __m512 sums_f32x16[SUMS],
                                     fg_dtype dtype) {
    __m512i const low_bits = bits_from(0), high_bits = bits_from(16);
    __m512 a_f32x16 = _mm512_set1_ps(-INFINITY), b_f32x16 = a_f32x16;
    for (size_t i = 0; i < FG_BLOCK; i += 32) {
        __m512 const p_f32x16 = load_f32x16(row, index + i, dtype), q_f32x16 = load_f32x16(row, index + i + 16, dtype);
        __m512i const word_u32x16 = _mm512_set1_epi32((int)mask[(index + i) / 32]);
        __mmask16 const p_allowed = _mm512_test_epi32_mask(word_u32x16, low_bits);
        __mmask16 const q_allowed = _mm512_test_epi32_mask(word_u32x16, high_bits);
        a_f32x16 = _mm512_mask_max_ps(a_f32x16, p_allowed, p_f32x16, a_f32x16);
        b_f32x16 = _mm512_mask_max_ps(b_f32x16, q_allowed, q_f32x16, b_f32x16);
        sums_f32x16[i / 16 % SUMS + 0] = _mm512_add_ps(sums_f32x16[i / 16 % SUMS + 0], p_f32x16);
        sums_f32x16[i / 16 % SUMS + 1] = _mm512_add_ps(sums_f32x16[i / 16 % SUMS + 1], q_f32x16);
    }
    return _mm512_max_ps(a_f32x16, b_f32x16);
}

/** The same for a row that starts `skew` scores behind a register boundary, as in skewed_block_maxima(). The even
 * registers straddle two words: the lanes before `skew` belong to the word before. */
FG_INLINE __m512 skewed_masked_block_maxima(void const *row, size_t index, size_t skew, uint32_t const *mask,
                                            __m512 sums_f32x16[SUMS], fg_dtype dtype) {
    void const *const boundary =
        (char const *)row + ((ptrdiff_t)index - (ptrdiff_t)skew) * (ptrdiff_t)fg_dtype_size(dtype);
    __mmask16 const first = (__mmask16)(0xFFFFu << skew);
    __m512i const even_bits = bits_from(32 - (int)skew), odd_bits = bits_from(16 - (int)skew);
    __m512i word_u32x16 = _mm512_set1_epi32((int)mask[index / 32]);
    __m512 p_f32x16 = load_lanes_f32x16(boundary, 0, first, dtype);
    __m512 a_f32x16 = _mm512_set1_ps(-INFINITY), b_f32x16 = a_f32x16;
    for (size_t i = 0; i < FG_BLOCK; i += 32) {
        if (i) {
            __m512i const before_u32x16 = word_u32x16;
            word_u32x16 = _mm512_set1_epi32((int)mask[(index + i) / 32]);
            p_f32x16 = load_f32x16(boundary, i, dtype);
            __m512i const both_u32x16 = _mm512_mask_mov_epi32(before_u32x16, first, word_u32x16);
            a_f32x16 = _mm512_mask_max_ps(a_f32x16, _mm512_test_epi32_mask(both_u32x16, even_bits), p_f32x16, a_f32x16);
        } else {
            a_f32x16 = _mm512_mask_max_ps(a_f32x16, _mm512_test_epi32_mask(word_u32x16, even_bits), p_f32x16, a_f32x16);
        }
        __m512 const q_f32x16 = load_f32x16(boundary, i + 16, dtype);
        b_f32x16 = _mm512_mask_max_ps(b_f32x16, _mm512_test_epi32_mask(word_u32x16, odd_bits), q_f32x16, b_f32x16);
        sums_f32x16[i / 16 % SUMS + 0] = _mm512_add_ps(sums_f32x16[i / 16 % SUMS + 0], p_f32x16);
        sums_f32x16[i / 16 % SUMS + 1] = _mm512_add_ps(sums_f32x16[i / 16 % SUMS + 1], q_f32x16);
    }
    p_f32x16 = load_lanes_f32x16(boundary, FG_BLOCK, (__mmask16)~first, dtype);
    sums_f32x16[0] = _mm512_add_ps(sums_f32x16[0], p_f32x16);
    a_f32x16 = _mm512_mask_max_ps(a_f32x16, _mm512_test_epi32_mask(word_u32x16, even_bits), p_f32x16, a_f32x16);
    return turn_back(_mm512_max_ps(a_f32x16, b_f32x16), skew);
}

FG_INLINE float masked_scan_of(void const *row, size_t count, size_t skew, uint32_t const *mask, float *lane_maxima,
                               fg_dtype dtype) {
    __m512 const nothing_f32x16 = _mm512_set1_ps(-INFINITY), zero_f32x16 = _mm512_setzero_ps();
    __m512 largest_f32x16 = nothing_f32x16,
           sums_f32x16[SUMS] = {nothing_f32x16, nothing_f32x16, nothing_f32x16, nothing_f32x16};
    for (size_t index = 0; index < count; index += FG_BLOCK) {
        __m512 maxima_f32x16 = nothing_f32x16;
        if (index + FG_BLOCK > count) {
            for (size_t i = index; i < count; i += 16) {
                __m512 const scores_f32x16 = load_tail_f32x16(row, i, count, dtype);
                sums_f32x16[0] = _mm512_add_ps(sums_f32x16[0], scores_f32x16);
                maxima_f32x16 = _mm512_mask_max_ps(maxima_f32x16, allowed_lanes(mask, i), scores_f32x16, maxima_f32x16);
            }
        } else if (skew) {
            maxima_f32x16 = skewed_masked_block_maxima(row, index, skew, mask, sums_f32x16, dtype);
        } else {
            maxima_f32x16 = masked_block_maxima(row, index, mask, sums_f32x16, dtype);
        }
        maxima_f32x16 = _mm512_add_ps(maxima_f32x16, zero_f32x16);
        largest_f32x16 = _mm512_max_ps(largest_f32x16, maxima_f32x16);
        if (lane_maxima) _mm512_storeu_ps(lane_maxima + index / FG_BLOCK * FG_LANES, maxima_f32x16);
    }
    __m512 const sum_f32x16 =
        _mm512_add_ps(_mm512_add_ps(sums_f32x16[0], sums_f32x16[1]), _mm512_add_ps(sums_f32x16[2], sums_f32x16[3]));
    return _mm512_cmp_ps_mask(sum_f32x16, sum_f32x16, _CMP_UNORD_Q) ? NAN : _mm512_reduce_max_ps(largest_f32x16);
}

/** A function of its own: inlined it takes registers and room for unrolled loops from scan(). */
static float masked_scan(void const *row, size_t count, size_t skew, uint32_t const *mask, float *lane_maxima,
                         fg_dtype dtype) {
    if (dtype == FG_FLOAT32) return masked_scan_of(row, count, skew, mask, lane_maxima, FG_FLOAT32);
    if (dtype == FG_FLOAT16) return masked_scan_of(row, count, skew, mask, lane_maxima, FG_FLOAT16);
    return masked_scan_of(row, count, skew, mask, lane_maxima, FG_BFLOAT16);
}

FG_INLINE float scan(void const *row, size_t count, uint32_t const *mask, float *lane_maxima, fg_dtype dtype) {
    size_t const size = fg_dtype_size(dtype), skew = (uintptr_t)row % size ? 0 : (uintptr_t)row / size % 16;
    if (mask) return masked_scan(row, count, skew, mask, lane_maxima, dtype);
    __m512 const zero_f32x16 = _mm512_setzero_ps();
    __m512 largest_f32x16 = _mm512_set1_ps(-INFINITY);
    __mmask16 unordered = 0;
    for (size_t index = 0; index < count; index += FG_BLOCK) {
        __m512 maxima_f32x16;
        if (index + FG_BLOCK > count) {
            maxima_f32x16 = _mm512_set1_ps(-INFINITY);
            for (size_t i = index; i < count; i += 16) {
                __m512 const scores_f32x16 = load_tail_f32x16(row, i, count, dtype);
                unordered |= _mm512_cmp_ps_mask(scores_f32x16, scores_f32x16, _CMP_UNORD_Q);
                maxima_f32x16 = _mm512_max_ps(maxima_f32x16, scores_f32x16);
            }
        } else if (skew) {
            maxima_f32x16 = skewed_block_maxima(row, index, skew, &unordered, dtype);
        } else {
            maxima_f32x16 = block_maxima(row, index, &unordered, dtype);
        }
        maxima_f32x16 = _mm512_add_ps(maxima_f32x16, zero_f32x16);
        largest_f32x16 = _mm512_max_ps(largest_f32x16, maxima_f32x16);
        if (lane_maxima) _mm512_storeu_ps(lane_maxima + index / FG_BLOCK * FG_LANES, maxima_f32x16);
    }
    return unordered ? NAN : _mm512_reduce_max_ps(largest_f32x16);
}

FG_INLINE size_t find(void const *row, size_t count, float value, fg_dtype dtype) {
    __m512 const value_f32x16 = _mm512_set1_ps(value);
    for (size_t index = 0; index < count; index += 16) {
        __m512 const scores_f32x16 =
            index + 16 <= count ? load_f32x16(row, index, dtype) : load_tail_f32x16(row, index, count, dtype);
        unsigned const equal = _mm512_cmp_ps_mask(scores_f32x16, value_f32x16, _CMP_EQ_OQ);
        if (equal) return index + _tzcnt_u32(equal); /* -inf is also found right behind the end: at `count` */
    }
    return count;
}

enum { UNROLL = 4 };

typedef struct domain_f32x16 {
    __m512 max, scale, bound;
} domain_f32x16;

FG_INLINE domain_f32x16 broadcast(fg_domain const *domain) {
    return (domain_f32x16){_mm512_set1_ps(domain->max), _mm512_set1_ps(domain->scale), _mm512_set1_ps(domain->bound)};
}

/** Weights of `registers` registers, in place, step by step for all of them: one register's steps wait for each other
 * (about 45 cycles), so the steps of several must stand side by side for the scheduler to find work. `equals` holds the
 * lanes in which a score equal to the bound counts, for FG_TIES_SPLIT. `exponents` (may be NULL) gets distance * scale,
 * 0 outside the domain. */
#define FG_EACH(statement)                                                                                             \
    for (int r = 0; r < registers; r++) statement
FG_INLINE void weigh_registers(__m512 *f32x16, int registers, domain_f32x16 const *domain, fg_ties ties,
                               __mmask16 equals, __m512 *exponents_f32x16) {
    __m512 const magic_f32x16 = _mm512_set1_ps(FG_ROUND_MAGIC);
    __m512 shifted_f32x16[UNROLL], fraction_f32x16[UNROLL];
    __mmask16 inside[UNROLL];
    /* clang wants the predicate as a literal */
    FG_EACH(inside[r] = ties == FG_TIES_IN ? _mm512_cmp_ps_mask(f32x16[r], domain->bound, _CMP_GE_OQ)
                                           : _mm512_cmp_ps_mask(f32x16[r], domain->bound, _CMP_GT_OQ));
    if (ties == FG_TIES_SPLIT) FG_EACH(inside[r] |= _mm512_cmp_ps_mask(f32x16[r], domain->bound, _CMP_EQ_OQ) & equals);
    FG_EACH(f32x16[r] = _mm512_sub_ps(f32x16[r], domain->max)); /* distance from the maximum */
    if (exponents_f32x16) FG_EACH(exponents_f32x16[r] = _mm512_maskz_mul_ps(inside[r], f32x16[r], domain->scale));
    FG_EACH(shifted_f32x16[r] = _mm512_fmadd_ps(f32x16[r], domain->scale, magic_f32x16));
    FG_EACH(fraction_f32x16[r] =
                _mm512_sub_ps(shifted_f32x16[r], magic_f32x16)); /* the exponent: the nearest integer */
    FG_EACH(fraction_f32x16[r] = _mm512_fmsub_ps(f32x16[r], domain->scale, fraction_f32x16[r]));
    FG_EACH(f32x16[r] = _mm512_fmadd_ps(_mm512_set1_ps(FG_EXP2_C6), fraction_f32x16[r], _mm512_set1_ps(FG_EXP2_C5)));
    FG_EACH(f32x16[r] = _mm512_fmadd_ps(f32x16[r], fraction_f32x16[r], _mm512_set1_ps(FG_EXP2_C4)));
    FG_EACH(f32x16[r] = _mm512_fmadd_ps(f32x16[r], fraction_f32x16[r], _mm512_set1_ps(FG_EXP2_C3)));
    FG_EACH(f32x16[r] = _mm512_fmadd_ps(f32x16[r], fraction_f32x16[r], _mm512_set1_ps(FG_EXP2_C2)));
    FG_EACH(f32x16[r] = _mm512_fmadd_ps(f32x16[r], fraction_f32x16[r], _mm512_set1_ps(FG_EXP2_C1)));
    FG_EACH(f32x16[r] = _mm512_fmadd_ps(f32x16[r], fraction_f32x16[r], _mm512_set1_ps(1.0f)));
    /* the integer in the low bits of `shifted` moves up into the exponent field */
    FG_EACH(shifted_f32x16[r] = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(shifted_f32x16[r]), 23)));
    FG_EACH(f32x16[r] = _mm512_castsi512_ps(_mm512_maskz_add_epi32(inside[r], _mm512_castps_si512(f32x16[r]),
                                                                   _mm512_castps_si512(shifted_f32x16[r]))));
}
#undef FG_EACH

/** The lanes that stand before `end`, lane 0 standing at `index`. */
FG_INLINE __mmask16 lanes_before(size_t index, size_t end) { return index < end ? leading_lanes(end - index) : 0; }

/** Weights of one register, lane 0 standing at `index`, whatever part of its ties counts. */
FG_INLINE __m512 weigh_register(__m512 scores_f32x16, size_t index, fg_domain const *domain, domain_f32x16 const *wide,
                                __m512 *exponents_f32x16) {
    __mmask16 const equals = lanes_before(index, domain->end_tie) & (__mmask16)~lanes_before(index, domain->first_tie);
    weigh_registers(&scores_f32x16, 1, wide, FG_TIES_SPLIT, equals, exponents_f32x16);
    return scores_f32x16;
}

FG_INLINE void weigh(void const *block, size_t count, fg_domain const *domain, float *weights, fg_dtype dtype) {
    domain_f32x16 const wide = broadcast(domain);
    for (size_t index = 0; index < count; index += 16) {
        __m512 const scores_f32x16 =
            index + 16 <= count ? load_f32x16(block, index, dtype) : load_tail_f32x16(block, index, count, dtype);
        __m512 const weights_f32x16 = weigh_register(scores_f32x16, index, domain, &wide, NULL);
        _mm512_mask_storeu_ps(weights + index, leading_lanes(count - index), weights_f32x16);
    }
}

/** Lanes are added as doubles: l + (l + 8), then + 4, + 2, + 1. */
FG_INLINE double add_lanes(__m512 sums_f32x16) {
    __m512d const low_f64x8 = _mm512_cvtps_pd(_mm512_castps512_ps256(sums_f32x16));
    __m512d const high_f64x8 = _mm512_cvtps_pd(_mm512_extractf32x8_ps(sums_f32x16, 1));
    __m512d const eight_f64x8 = _mm512_add_pd(low_f64x8, high_f64x8);
    __m256d const four_f64x4 =
        _mm256_add_pd(_mm512_castpd512_pd256(eight_f64x8), _mm512_extractf64x4_pd(eight_f64x8, 1));
    __m128d const two_f64x2 = _mm_add_pd(_mm256_castpd256_pd128(four_f64x4), _mm256_extractf128_pd(four_f64x4, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two_f64x2, _mm_unpackhi_pd(two_f64x2, two_f64x2)));
}

/** Lanes of a whole block: sums of weights, and where `products_f32x16` is not NULL, of weight * (max - score) * scale.
 */
/** Scores that may not be chosen become -inf. */
FG_INLINE __m512 allowed_f32x16(__m512 scores_f32x16, uint32_t const *mask, size_t index) {
    __m512i const word_u32x16 = _mm512_set1_epi32((int)mask[index / 32]);
    __mmask16 const allowed = _mm512_test_epi32_mask(word_u32x16, bits_from((int)(index % 32)));
    return _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), allowed, scores_f32x16);
}

FG_INLINE __m512 block_sums(void const *row, size_t index, uint32_t const *mask, domain_f32x16 const *wide,
                            fg_ties ties, __m512 *products_f32x16, fg_dtype dtype) {
    __m512 sums_f32x16 = _mm512_setzero_ps();
    for (size_t end = index + FG_BLOCK; index < end; index += UNROLL * 16) {
        __m512 weights_f32x16[UNROLL], exponents_f32x16[UNROLL];
        for (int r = 0; r < UNROLL; r++) weights_f32x16[r] = load_f32x16(row, index + (size_t)r * 16, dtype);
        if (mask)
            for (int r = 0; r < UNROLL; r++)
                weights_f32x16[r] = allowed_f32x16(weights_f32x16[r], mask, index + (size_t)r * 16);
        weigh_registers(weights_f32x16, UNROLL, wide, ties, 0, products_f32x16 ? exponents_f32x16 : NULL);
        for (int r = 0; r < UNROLL; r++) sums_f32x16 = _mm512_add_ps(sums_f32x16, weights_f32x16[r]);
        if (products_f32x16)
            for (int r = 0; r < UNROLL; r++)
                *products_f32x16 = _mm512_fnmadd_ps(weights_f32x16[r], exponents_f32x16[r], *products_f32x16);
    }
    return sums_f32x16;
}

/** The mass; and the surprisal, where that is not NULL. */
FG_INLINE double sum_weights(void const *row, size_t count, uint32_t const *mask, float const *lane_maxima,
                             fg_domain const *domain, double *block_mass, double *surprisal, fg_dtype dtype) {
    domain_f32x16 const wide = broadcast(domain);
    double total = 0.0, product_total = 0.0;
    for (size_t start = 0, block = 0; start < count; start += FG_BLOCK, block++) {
        block_mass[block] = 0.0;
        if (!_mm512_cmp_ps_mask(_mm512_loadu_ps(lane_maxima + block * FG_LANES), wide.bound, _CMP_GE_OQ)) continue;
        size_t const end = start + FG_BLOCK < count ? start + FG_BLOCK : count;
        fg_ties const ties = fg_ties_of(start, end, domain);
        __m512 sums_f32x16 = _mm512_setzero_ps(), products_f32x16 = _mm512_setzero_ps();
        __m512 *const products = surprisal ? &products_f32x16 : NULL;
        if (end - start == FG_BLOCK && ties == FG_TIES_IN) {
            sums_f32x16 = mask ? block_sums(row, start, mask, &wide, FG_TIES_IN, products, dtype)
                               : block_sums(row, start, NULL, &wide, FG_TIES_IN, products, dtype);
        } else if (end - start == FG_BLOCK && ties == FG_TIES_OUT) {
            sums_f32x16 = mask ? block_sums(row, start, mask, &wide, FG_TIES_OUT, products, dtype)
                               : block_sums(row, start, NULL, &wide, FG_TIES_OUT, products, dtype);
        } else {
            for (size_t index = start; index < end; index += 16) {
                __m512 scores_f32x16 = load_tail_f32x16(row, index, end, dtype);
                if (mask) scores_f32x16 = allowed_f32x16(scores_f32x16, mask, index);
                __m512 exponents_f32x16;
                __m512 const weights_f32x16 =
                    weigh_register(scores_f32x16, index, domain, &wide, surprisal ? &exponents_f32x16 : NULL);
                sums_f32x16 = _mm512_add_ps(sums_f32x16, weights_f32x16);
                if (surprisal) products_f32x16 = _mm512_fnmadd_ps(weights_f32x16, exponents_f32x16, products_f32x16);
            }
        }
        block_mass[block] = add_lanes(sums_f32x16);
        total += block_mass[block];
        if (surprisal) product_total += add_lanes(products_f32x16);
    }
    if (surprisal) *surprisal = product_total;
    return total;
}

FG_INLINE double mass(void const *row, size_t count, uint32_t const *mask, float const *lane_maxima,
                      fg_domain const *domain, double *block_mass, fg_dtype dtype) {
    return sum_weights(row, count, mask, lane_maxima, domain, block_mass, NULL, dtype);
}

FG_INLINE double surprisal(void const *row, size_t count, uint32_t const *mask, float const *lane_maxima,
                           fg_domain const *domain, double *block_mass, double *surprisal, fg_dtype dtype) {
    return sum_weights(row, count, mask, lane_maxima, domain, block_mass, surprisal, dtype);
}

/** Whether any of 64 scores reaches the threshold: hits are rare, and four registers share a branch. */
FG_INLINE int any_of_four(void const *row, size_t index, __m512 threshold_f32x16, fg_dtype dtype) {
    __mmask16 reached = 0;
    for (size_t i = index; i < index + 64; i += 16)
        reached |= _mm512_cmp_ps_mask(load_f32x16(row, i, dtype), threshold_f32x16, _CMP_GE_OQ);
    return reached != 0;
}

FG_INLINE size_t filter(void const *row, size_t count, float const *lane_maxima, float threshold, float *scores,
                        uint32_t *indices, size_t capacity, fg_dtype dtype) {
    __m512 const threshold_f32x16 = _mm512_set1_ps(threshold);
    __m512i const lane_u32x16 = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    size_t stored = 0;
    for (size_t start = 0, block = 0; start < count; start += FG_BLOCK, block++) {
        if (lane_maxima &&
            !_mm512_cmp_ps_mask(_mm512_loadu_ps(lane_maxima + block * FG_LANES), threshold_f32x16, _CMP_GE_OQ))
            continue;
        size_t const end = start + FG_BLOCK < count ? start + FG_BLOCK : count;
        for (size_t index = start; index < end; index += 16) {
            if (index % 64 == 0 && index + 64 <= end && !any_of_four(row, index, threshold_f32x16, dtype)) {
                index += 48;
                continue;
            }
            __m512 const scores_f32x16 =
                index + 16 <= end ? load_f32x16(row, index, dtype) : load_tail_f32x16(row, index, end, dtype);
            __mmask16 const keep =
                _mm512_cmp_ps_mask(scores_f32x16, threshold_f32x16, _CMP_GE_OQ) & leading_lanes(end - index);
            if (!keep) continue;
            /* compress in the register: a compressing store is microcoded on Zen 4 */
            _mm512_storeu_ps(scores + stored, _mm512_maskz_compress_ps(keep, scores_f32x16));
            __m512i const indices_u32x16 = _mm512_add_epi32(lane_u32x16, _mm512_set1_epi32((int)index));
            _mm512_storeu_si512(indices + stored, _mm512_maskz_compress_epi32(keep, indices_u32x16));
            stored += (size_t)_mm_popcnt_u32(keep);
            if (stored >= capacity) return capacity;
        }
    }
    return stored;
}

FG_INLINE fg_moments moments(void const *row, size_t count, float shift, fg_dtype dtype) {
    __m512 const nothing_f32x16 = _mm512_set1_ps(-INFINITY), shift_f32x16 = _mm512_set1_ps(shift);
    fg_moments all = {0.0, 0.0, 0.0};
    size_t above = 0;
    for (size_t start = 0; start < count; start += FG_BLOCK) {
        size_t const end = start + FG_BLOCK < count ? start + FG_BLOCK : count;
        __m512 sums_f32x16 = _mm512_setzero_ps(), squares_f32x16 = _mm512_setzero_ps();
        for (size_t index = start; index < end; index += 16) {
            __m512 const scores_f32x16 =
                index + 16 <= end ? load_f32x16(row, index, dtype) : load_tail_f32x16(row, index, end, dtype);
            __mmask16 const counted = _mm512_cmp_ps_mask(scores_f32x16, nothing_f32x16, _CMP_GT_OQ);
            __m512 const distance_f32x16 = _mm512_maskz_sub_ps(counted, scores_f32x16, shift_f32x16);
            sums_f32x16 = _mm512_add_ps(sums_f32x16, distance_f32x16);
            squares_f32x16 = _mm512_fmadd_ps(distance_f32x16, distance_f32x16, squares_f32x16);
            above += (size_t)_mm_popcnt_u32(counted);
        }
        all.sum += add_lanes(sums_f32x16);
        all.squares += add_lanes(squares_f32x16);
    }
    all.count = (double)above;
    return all;
}

FG_INLINE void lift(void const *block, size_t count, uint32_t const *mask, float ceiling, float *scores,
                    fg_dtype dtype) {
    __m512 const nothing_f32x16 = _mm512_set1_ps(-INFINITY), ceiling_f32x16 = _mm512_set1_ps(ceiling);
    for (size_t index = 0; index < count; index += 16) {
        __m512 const scores_f32x16 =
            index + 16 <= count ? load_f32x16(block, index, dtype) : load_tail_f32x16(block, index, count, dtype);
        __mmask16 const allowed = mask ? allowed_lanes(mask, index) : 0xFFFFu;
        __mmask16 const kept = _mm512_mask_cmp_ps_mask(allowed, scores_f32x16, ceiling_f32x16, _CMP_LE_OQ);
        __m512 const lifted_f32x16 = _mm512_mask_mov_ps(nothing_f32x16, kept, scores_f32x16);
        if (index + 16 <= count)
            _mm512_storeu_ps(scores + index, lifted_f32x16);
        else
            _mm512_mask_storeu_ps(scores + index, leading_lanes(count - index), lifted_f32x16);
    }
}

static size_t fold(float const *lane_maxima, size_t blocks, size_t span, float *groups, float range[2]) {
    __m512 const nothing_f32x16 = _mm512_set1_ps(-INFINITY);
    __m512 low_f32x16 = _mm512_set1_ps(0x1.fffffep127f), high_f32x16 = nothing_f32x16;
    size_t count = 0;
    for (size_t block = 0; block < blocks; block += span, count += FG_LANES) {
        size_t const end = block + span < blocks ? block + span : blocks;
        __m512 largest_f32x16 = _mm512_loadu_ps(lane_maxima + block * FG_LANES);
        for (size_t b = block + 1; b < end; b++)
            largest_f32x16 = _mm512_max_ps(largest_f32x16, _mm512_loadu_ps(lane_maxima + b * FG_LANES));
        _mm512_storeu_ps(groups + count, largest_f32x16);
        __mmask16 const some = _mm512_cmp_ps_mask(largest_f32x16, nothing_f32x16, _CMP_GT_OQ);
        low_f32x16 = _mm512_mask_min_ps(low_f32x16, some, low_f32x16, largest_f32x16);
        high_f32x16 = _mm512_max_ps(high_f32x16, largest_f32x16);
    }
    range[0] = _mm512_reduce_min_ps(low_f32x16), range[1] = _mm512_reduce_max_ps(high_f32x16);
    return count;
}

static size_t reach(float const *values, size_t count, float bound) {
    __m512 const bound_f32x16 = _mm512_set1_ps(bound);
    size_t reached = 0;
    for (size_t i = 0; i < count; i += 16)
        reached += (size_t)_mm_popcnt_u32(_mm512_cmp_ps_mask(_mm512_loadu_ps(values + i), bound_f32x16, _CMP_GE_OQ));
    return reached;
}

#define FG_LOGITS_LEVEL avx512
#include "kernels/logits/dtypes.h"

#endif
