#include "kernels/logits.h"

#include "base/target.h"

#if FG_X86

#include <math.h>

#define FG_LOGITS_REGION
FG_TARGET_BEGIN(FG_ISA_AVX2)

/* The 16 lanes are two registers: "low" holds lanes 0 to 7, "high" lanes 8 to 15. */

FG_INLINE __m256 load_f32x8(void const *row, size_t index, fg_dtype dtype) {
    if (dtype == FG_FLOAT32) return _mm256_loadu_ps((float const *)row + index);
    __m128i const halves_u16x8 = _mm_loadu_si128((__m128i const *)((uint16_t const *)row + index));
    if (dtype == FG_FLOAT16) return _mm256_cvtph_ps(halves_u16x8);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves_u16x8), 16));
}

/** Up to 8 scores from `index` on; lanes from `count` on are -inf. */
FG_INLINE __m256 load_tail_f32x8(void const *row, size_t index, size_t count, fg_dtype dtype) {
    if (index + 8 <= count) return load_f32x8(row, index, dtype);
    float scores[8];
    for (size_t lane = 0; lane < 8; lane++)
        scores[lane] = index + lane < count ? fg_load_score(row, index + lane, dtype) : -INFINITY;
    return _mm256_loadu_ps(scores);
}

/** Store up to 8 numbers, none at or behind `count`. */
FG_INLINE void store_f32x8(float *numbers, size_t index, size_t count, __m256 lanes_f32x8) {
    if (index + 8 <= count) {
        _mm256_storeu_ps(numbers + index, lanes_f32x8);
        return;
    }
    float tail[8];
    _mm256_storeu_ps(tail, lanes_f32x8);
    memcpy(numbers + index, tail, (count - index) * sizeof *numbers);
}

FG_INLINE float largest_lane(__m256 lanes_f32x8) {
    __m128 four_f32x4 = _mm_max_ps(_mm256_castps256_ps128(lanes_f32x8), _mm256_extractf128_ps(lanes_f32x8, 1));
    four_f32x4 = _mm_max_ps(four_f32x4, _mm_movehl_ps(four_f32x4, four_f32x4));
    return _mm_cvtss_f32(_mm_max_ss(four_f32x4, _mm_movehdup_ps(four_f32x4)));
}

/** All ones in the lanes whose score may not be chosen, lane 0 standing at `index`, a multiple of 8. */
FG_INLINE __m256 barred_f32x8(uint32_t const *mask, size_t index) {
    __m256i const bit_u32x8 = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i const bits_u8x32 = _mm256_set1_epi8(((char const *)mask)[index / 8]); /* x86 is little-endian */
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(bits_u8x32, bit_u32x8), _mm256_setzero_si256()));
}

/** The same for octet `octet` of the 32 scores whose word has been broadcast. */
FG_INLINE __m256 barred_octet_f32x8(__m256i word_u32x8, int octet) {
    __m256i const bit_u32x8 = _mm256_slli_epi32(_mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128), 8 * octet);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(word_u32x8, bit_u32x8), _mm256_setzero_si256()));
}

/** Maxima without barred lanes: these become NaN, of which MAXPS keeps its second operand. */
FG_INLINE __m256 max_f32x8(__m256 maxima_f32x8, __m256 scores_f32x8, __m256 barred) {
    return _mm256_max_ps(_mm256_or_ps(scores_f32x8, barred), maxima_f32x8);
}

/** Faults are found by adding every score to -inf: the sum stays -inf until a NaN or +inf makes it NaN for good. That
 * is one operation for each register, where a compare would need a second one to collect its result. */
FG_INLINE float masked_scan(void const *row, size_t count, uint32_t const *mask, float *lane_maxima, fg_dtype dtype) {
    __m256 const nothing_f32x8 = _mm256_set1_ps(-INFINITY), zero_f32x8 = _mm256_setzero_ps();
    __m256 largest_f32x8 = nothing_f32x8;
    __m256 sums_f32x8[4] = {nothing_f32x8, nothing_f32x8, nothing_f32x8, nothing_f32x8};
    for (size_t start = 0; start < count; start += FG_BLOCK) {
        __m256 low_f32x8 = nothing_f32x8, high_f32x8 = nothing_f32x8;
        if (start + FG_BLOCK <= count) {
            for (size_t i = start; i < start + FG_BLOCK; i += 32) {
                __m256 const p_f32x8 = load_f32x8(row, i, dtype), q_f32x8 = load_f32x8(row, i + 8, dtype);
                __m256 const r_f32x8 = load_f32x8(row, i + 16, dtype), s_f32x8 = load_f32x8(row, i + 24, dtype);
                __m256i const word_u32x8 = _mm256_set1_epi32((int)mask[i / 32]);
                sums_f32x8[0] = _mm256_add_ps(sums_f32x8[0], p_f32x8);
                sums_f32x8[1] = _mm256_add_ps(sums_f32x8[1], q_f32x8);
                sums_f32x8[2] = _mm256_add_ps(sums_f32x8[2], r_f32x8);
                sums_f32x8[3] = _mm256_add_ps(sums_f32x8[3], s_f32x8);
                low_f32x8 = max_f32x8(low_f32x8, p_f32x8, barred_octet_f32x8(word_u32x8, 0));
                high_f32x8 = max_f32x8(high_f32x8, q_f32x8, barred_octet_f32x8(word_u32x8, 1));
                low_f32x8 = max_f32x8(low_f32x8, r_f32x8, barred_octet_f32x8(word_u32x8, 2));
                high_f32x8 = max_f32x8(high_f32x8, s_f32x8, barred_octet_f32x8(word_u32x8, 3));
            }
        } else {
            for (size_t i = start; i < count; i += 16) { /* both bytes of the mask lie in one word */
                __m256 const p_f32x8 = load_tail_f32x8(row, i, count, dtype),
                             q_f32x8 = load_tail_f32x8(row, i + 8, count, dtype);
                sums_f32x8[0] = _mm256_add_ps(_mm256_add_ps(sums_f32x8[0], p_f32x8), q_f32x8);
                low_f32x8 = max_f32x8(low_f32x8, p_f32x8, barred_f32x8(mask, i));
                high_f32x8 = max_f32x8(high_f32x8, q_f32x8, barred_f32x8(mask, i + 8));
            }
        }
        low_f32x8 = _mm256_add_ps(low_f32x8, zero_f32x8), high_f32x8 = _mm256_add_ps(high_f32x8, zero_f32x8);
        largest_f32x8 = _mm256_max_ps(largest_f32x8, _mm256_max_ps(low_f32x8, high_f32x8));
        if (lane_maxima) {
            float *const maxima = lane_maxima + start / FG_BLOCK * FG_LANES;
            _mm256_storeu_ps(maxima, low_f32x8), _mm256_storeu_ps(maxima + 8, high_f32x8);
        }
    }
    __m256 const sum_f32x8 =
        _mm256_add_ps(_mm256_add_ps(sums_f32x8[0], sums_f32x8[1]), _mm256_add_ps(sums_f32x8[2], sums_f32x8[3]));
    int const fault = _mm256_movemask_ps(_mm256_cmp_ps(sum_f32x8, sum_f32x8, _CMP_UNORD_Q));
    return fault ? NAN : largest_lane(largest_f32x8);
}

FG_INLINE float scan(void const *row, size_t count, uint32_t const *mask, float *lane_maxima, fg_dtype dtype) {
    if (mask) return masked_scan(row, count, mask, lane_maxima, dtype);
    __m256 const nothing_f32x8 = _mm256_set1_ps(-INFINITY), zero_f32x8 = _mm256_setzero_ps();
    __m256 largest_f32x8 = nothing_f32x8, unordered_f32x8 = zero_f32x8;
    for (size_t start = 0; start < count; start += FG_BLOCK) {
        __m256 low_f32x8 = nothing_f32x8, high_f32x8 = nothing_f32x8;
        if (start + FG_BLOCK <= count) {
            __m256 odd_low_f32x8 = nothing_f32x8, odd_high_f32x8 = nothing_f32x8;
            for (size_t index = start; index < start + FG_BLOCK; index += 32) {
                __m256 const p_f32x8 = load_f32x8(row, index, dtype), q_f32x8 = load_f32x8(row, index + 8, dtype);
                __m256 const r_f32x8 = load_f32x8(row, index + 16, dtype), s_f32x8 = load_f32x8(row, index + 24, dtype);
                /* one compare sees a NaN in either operand */
                unordered_f32x8 = _mm256_or_ps(unordered_f32x8, _mm256_cmp_ps(p_f32x8, q_f32x8, _CMP_UNORD_Q));
                unordered_f32x8 = _mm256_or_ps(unordered_f32x8, _mm256_cmp_ps(r_f32x8, s_f32x8, _CMP_UNORD_Q));
                low_f32x8 = _mm256_max_ps(low_f32x8, p_f32x8), high_f32x8 = _mm256_max_ps(high_f32x8, q_f32x8);
                odd_low_f32x8 = _mm256_max_ps(odd_low_f32x8, r_f32x8),
                odd_high_f32x8 = _mm256_max_ps(odd_high_f32x8, s_f32x8);
            }
            low_f32x8 = _mm256_max_ps(low_f32x8, odd_low_f32x8), high_f32x8 = _mm256_max_ps(high_f32x8, odd_high_f32x8);
        } else {
            for (size_t index = start; index < count; index += 16) {
                __m256 const p_f32x8 = load_tail_f32x8(row, index, count, dtype),
                             q_f32x8 = load_tail_f32x8(row, index + 8, count, dtype);
                unordered_f32x8 = _mm256_or_ps(unordered_f32x8, _mm256_cmp_ps(p_f32x8, q_f32x8, _CMP_UNORD_Q));
                low_f32x8 = _mm256_max_ps(low_f32x8, p_f32x8), high_f32x8 = _mm256_max_ps(high_f32x8, q_f32x8);
            }
        }
        low_f32x8 = _mm256_add_ps(low_f32x8, zero_f32x8), high_f32x8 = _mm256_add_ps(high_f32x8, zero_f32x8);
        largest_f32x8 = _mm256_max_ps(largest_f32x8, _mm256_max_ps(low_f32x8, high_f32x8));
        if (lane_maxima) {
            float *const maxima = lane_maxima + start / FG_BLOCK * FG_LANES;
            _mm256_storeu_ps(maxima, low_f32x8), _mm256_storeu_ps(maxima + 8, high_f32x8);
        }
    }
    return _mm256_movemask_ps(unordered_f32x8) ? NAN : largest_lane(largest_f32x8);
}

FG_INLINE size_t find(void const *row, size_t count, float value, fg_dtype dtype) {
    __m256 const value_f32x8 = _mm256_set1_ps(value);
    for (size_t index = 0; index < count; index += 8) {
        __m256 const equal_f32x8 = _mm256_cmp_ps(load_tail_f32x8(row, index, count, dtype), value_f32x8, _CMP_EQ_OQ);
        unsigned const equal = (unsigned)_mm256_movemask_ps(equal_f32x8);
        if (equal) return index + _tzcnt_u32(equal); /* -inf is also found right behind the end: at `count` */
    }
    return count;
}

typedef struct domain_f32x8 {
    __m256 max, scale, bound;
} domain_f32x8;

FG_INLINE domain_f32x8 broadcast(fg_domain const *domain) {
    return (domain_f32x8){_mm256_set1_ps(domain->max), _mm256_set1_ps(domain->scale), _mm256_set1_ps(domain->bound)};
}

/** `equals` is all ones in the lanes in which a score equal to the bound counts; only FG_TIES_SPLIT looks at it.
 * `exponents` (may be NULL) gets distance * scale, 0 outside the domain. */
FG_INLINE __m256 weight_f32x8(__m256 scores_f32x8, domain_f32x8 const *domain, fg_ties ties, __m256 equals,
                              __m256 *exponents_f32x8) {
    __m256 const magic_f32x8 = _mm256_set1_ps(FG_ROUND_MAGIC);
    __m256 const distance_f32x8 = _mm256_sub_ps(scores_f32x8, domain->max);
    __m256 const shifted_f32x8 = _mm256_fmadd_ps(distance_f32x8, domain->scale, magic_f32x8);
    __m256 const exponent_f32x8 = _mm256_sub_ps(shifted_f32x8, magic_f32x8);
    __m256 const fraction_f32x8 = _mm256_fmsub_ps(distance_f32x8, domain->scale, exponent_f32x8);
    __m256 power_f32x8 = _mm256_set1_ps(FG_EXP2_C6);
    power_f32x8 = _mm256_fmadd_ps(power_f32x8, fraction_f32x8, _mm256_set1_ps(FG_EXP2_C5));
    power_f32x8 = _mm256_fmadd_ps(power_f32x8, fraction_f32x8, _mm256_set1_ps(FG_EXP2_C4));
    power_f32x8 = _mm256_fmadd_ps(power_f32x8, fraction_f32x8, _mm256_set1_ps(FG_EXP2_C3));
    power_f32x8 = _mm256_fmadd_ps(power_f32x8, fraction_f32x8, _mm256_set1_ps(FG_EXP2_C2));
    power_f32x8 = _mm256_fmadd_ps(power_f32x8, fraction_f32x8, _mm256_set1_ps(FG_EXP2_C1));
    power_f32x8 = _mm256_fmadd_ps(power_f32x8, fraction_f32x8, _mm256_set1_ps(1.0f));
    __m256i const exponent_i32x8 = _mm256_slli_epi32(_mm256_castps_si256(shifted_f32x8), 23);
    __m256 const weight_f32x8 = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(power_f32x8), exponent_i32x8));

    /* clang wants the predicate as a literal */
    __m256 inside = ties == FG_TIES_IN ? _mm256_cmp_ps(scores_f32x8, domain->bound, _CMP_GE_OQ)
                                       : _mm256_cmp_ps(scores_f32x8, domain->bound, _CMP_GT_OQ);
    if (ties == FG_TIES_SPLIT)
        inside = _mm256_or_ps(inside, _mm256_and_ps(_mm256_cmp_ps(scores_f32x8, domain->bound, _CMP_EQ_OQ), equals));
    if (exponents_f32x8) *exponents_f32x8 = _mm256_and_ps(_mm256_mul_ps(distance_f32x8, domain->scale), inside);
    return _mm256_and_ps(weight_f32x8, inside);
}

/** All ones in the lanes that stand before `end`, lane 0 standing at `index`. */
FG_INLINE __m256 lanes_before(size_t index, size_t end) {
    int const before = index >= end ? 0 : end - index >= 8 ? 8 : (int)(end - index);
    __m256i const lane_i32x8 = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(before), lane_i32x8));
}

/** Weights of one register, lane 0 standing at `index`, whatever part of its ties counts. */
FG_INLINE __m256 weigh_register(__m256 scores_f32x8, size_t index, fg_domain const *domain, domain_f32x8 const *wide,
                                __m256 *exponents_f32x8) {
    __m256 const equals =
        _mm256_andnot_ps(lanes_before(index, domain->first_tie), lanes_before(index, domain->end_tie));
    return weight_f32x8(scores_f32x8, wide, FG_TIES_SPLIT, equals, exponents_f32x8);
}

FG_INLINE void weigh(void const *block, size_t count, fg_domain const *domain, float *weights, fg_dtype dtype) {
    domain_f32x8 const wide = broadcast(domain);
    for (size_t index = 0; index < count; index += 8) {
        __m256 const scores_f32x8 = load_tail_f32x8(block, index, count, dtype);
        __m256 const weights_f32x8 = weigh_register(scores_f32x8, index, domain, &wide, NULL);
        store_f32x8(weights, index, count, weights_f32x8);
    }
}

/** Lanes are added as doubles: l + (l + 8), then + 4, + 2, + 1. */
FG_INLINE double add_lanes(__m256 low_f32x8, __m256 high_f32x8) {
    __m256d const first_f64x4 = _mm256_add_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(low_f32x8)),
                                              _mm256_cvtps_pd(_mm256_castps256_ps128(high_f32x8)));
    __m256d const second_f64x4 = _mm256_add_pd(_mm256_cvtps_pd(_mm256_extractf128_ps(low_f32x8, 1)),
                                               _mm256_cvtps_pd(_mm256_extractf128_ps(high_f32x8, 1)));
    __m256d const four_f64x4 = _mm256_add_pd(first_f64x4, second_f64x4);
    __m128d const two_f64x2 = _mm_add_pd(_mm256_castpd256_pd128(four_f64x4), _mm256_extractf128_pd(four_f64x4, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two_f64x2, _mm_unpackhi_pd(two_f64x2, two_f64x2)));
}

/** The 16 lanes of a block's sums: of weights, and of weight * (max - score) * scale. */
typedef struct lane_sums {
    __m256 low_f32x8, high_f32x8, low_products_f32x8, high_products_f32x8;
} lane_sums;

/** Add the 16 lanes from `index` on: `p` and `q` with weights and exponents. */
FG_INLINE void add_to(lane_sums *sums, __m256 p_f32x8, __m256 q_f32x8, __m256 const *exponents_f32x8) {
    sums->low_f32x8 = _mm256_add_ps(sums->low_f32x8, p_f32x8);
    sums->high_f32x8 = _mm256_add_ps(sums->high_f32x8, q_f32x8);
    if (!exponents_f32x8) return;
    sums->low_products_f32x8 = _mm256_fnmadd_ps(p_f32x8, exponents_f32x8[0], sums->low_products_f32x8);
    sums->high_products_f32x8 = _mm256_fnmadd_ps(q_f32x8, exponents_f32x8[1], sums->high_products_f32x8);
}

/** A whole block; `exponents`: room for two, NULL where no products are wanted. */
/** Scores that may not be chosen become NaN, which no domain holds. */
FG_INLINE __m256 allowed_f32x8(__m256 scores_f32x8, uint32_t const *mask, size_t index) {
    return mask ? _mm256_or_ps(scores_f32x8, barred_f32x8(mask, index)) : scores_f32x8;
}

FG_INLINE void add_block(lane_sums *sums, void const *row, size_t index, uint32_t const *mask, domain_f32x8 const *wide,
                         fg_ties ties, __m256 *exponents_f32x8, fg_dtype dtype) {
    __m256 const unused = _mm256_setzero_ps();
    __m256 *const high_exponents_f32x8 = exponents_f32x8 ? exponents_f32x8 + 1 : NULL;
    for (size_t end = index + FG_BLOCK; index < end; index += 16) {
        __m256 const p_f32x8 = allowed_f32x8(load_f32x8(row, index, dtype), mask, index),
                     q_f32x8 = allowed_f32x8(load_f32x8(row, index + 8, dtype), mask, index + 8);
        __m256 const low_f32x8 = weight_f32x8(p_f32x8, wide, ties, unused, exponents_f32x8);
        add_to(sums, low_f32x8, weight_f32x8(q_f32x8, wide, ties, unused, high_exponents_f32x8), exponents_f32x8);
    }
}

FG_INLINE int any_at_least(float const *maxima, __m256 bound_f32x8) {
    __m256 const low = _mm256_cmp_ps(_mm256_loadu_ps(maxima), bound_f32x8, _CMP_GE_OQ);
    return _mm256_movemask_ps(_mm256_or_ps(low, _mm256_cmp_ps(_mm256_loadu_ps(maxima + 8), bound_f32x8, _CMP_GE_OQ)));
}

/** The mass; and the surprisal, where that is not NULL. */
FG_INLINE double sum_weights(void const *row, size_t count, uint32_t const *mask, float const *lane_maxima,
                             fg_domain const *domain, double *block_mass, double *surprisal, fg_dtype dtype) {
    domain_f32x8 const wide = broadcast(domain);
    __m256 const zero_f32x8 = _mm256_setzero_ps();
    __m256 exponents_f32x8[2];
    __m256 *const exponents = surprisal ? exponents_f32x8 : NULL;
    double total = 0.0, product_total = 0.0;
    for (size_t start = 0, block = 0; start < count; start += FG_BLOCK, block++) {
        block_mass[block] = 0.0;
        if (!any_at_least(lane_maxima + block * FG_LANES, wide.bound)) continue;
        size_t const end = start + FG_BLOCK < count ? start + FG_BLOCK : count;
        fg_ties const ties = fg_ties_of(start, end, domain);
        lane_sums sums = {zero_f32x8, zero_f32x8, zero_f32x8, zero_f32x8};
        if (end - start == FG_BLOCK && ties == FG_TIES_IN) {
            if (mask)
                add_block(&sums, row, start, mask, &wide, FG_TIES_IN, exponents, dtype);
            else
                add_block(&sums, row, start, NULL, &wide, FG_TIES_IN, exponents, dtype);
        } else if (end - start == FG_BLOCK && ties == FG_TIES_OUT) {
            if (mask)
                add_block(&sums, row, start, mask, &wide, FG_TIES_OUT, exponents, dtype);
            else
                add_block(&sums, row, start, NULL, &wide, FG_TIES_OUT, exponents, dtype);
        } else {
            for (size_t index = start; index < end; index += 16) {
                __m256 const p_f32x8 = allowed_f32x8(load_tail_f32x8(row, index, end, dtype), mask, index),
                             q_f32x8 = allowed_f32x8(load_tail_f32x8(row, index + 8, end, dtype), mask, index + 8);
                __m256 const low_f32x8 = weigh_register(p_f32x8, index, domain, &wide, exponents);
                __m256 const high_f32x8 =
                    weigh_register(q_f32x8, index + 8, domain, &wide, exponents ? exponents + 1 : NULL);
                add_to(&sums, low_f32x8, high_f32x8, exponents);
            }
        }
        block_mass[block] = add_lanes(sums.low_f32x8, sums.high_f32x8);
        total += block_mass[block];
        if (surprisal) product_total += add_lanes(sums.low_products_f32x8, sums.high_products_f32x8);
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

/** Byte j of the result is the index of the j-th set bit of an 8-bit mask: AVX2 has no compress, PEXT makes its
 * permutation. */
FG_INLINE __m256i compress_permutation(unsigned mask) {
    uint64_t const bytes = _pdep_u64(mask, 0x0101010101010101u) * 0xFFu;
    return _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)_pext_u64(0x0706050403020100u, bytes)));
}

/** Whether any of 32 scores reaches the threshold: hits are rare, and four registers share a branch. */
FG_INLINE int any_of_four(void const *row, size_t index, __m256 threshold_f32x8, fg_dtype dtype) {
    __m256 reached_f32x8 = _mm256_setzero_ps();
    for (size_t i = index; i < index + 32; i += 8)
        reached_f32x8 =
            _mm256_or_ps(reached_f32x8, _mm256_cmp_ps(load_f32x8(row, i, dtype), threshold_f32x8, _CMP_GE_OQ));
    return _mm256_movemask_ps(reached_f32x8);
}

FG_INLINE size_t filter(void const *row, size_t count, float const *lane_maxima, float threshold, float *scores,
                        uint32_t *indices, size_t capacity, fg_dtype dtype) {
    __m256 const threshold_f32x8 = _mm256_set1_ps(threshold);
    __m256i const lane_u32x8 = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    size_t stored = 0;
    for (size_t start = 0, block = 0; start < count; start += FG_BLOCK, block++) {
        if (lane_maxima && !any_at_least(lane_maxima + block * FG_LANES, threshold_f32x8)) continue;
        size_t const end = start + FG_BLOCK < count ? start + FG_BLOCK : count;
        for (size_t index = start; index < end; index += 8) {
            if (index % 32 == 0 && index + 32 <= end && !any_of_four(row, index, threshold_f32x8, dtype)) {
                index += 24;
                continue;
            }
            __m256 const scores_f32x8 = load_tail_f32x8(row, index, end, dtype);
            unsigned keep = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(scores_f32x8, threshold_f32x8, _CMP_GE_OQ));
            if (end - index < 8) keep &= (1u << (end - index)) - 1u;
            if (!keep) continue;
            __m256i const order_u32x8 = compress_permutation(keep);
            _mm256_storeu_ps(scores + stored, _mm256_permutevar8x32_ps(scores_f32x8, order_u32x8));
            __m256i const indices_u32x8 = _mm256_add_epi32(lane_u32x8, _mm256_set1_epi32((int)index));
            _mm256_storeu_si256((__m256i *)(indices + stored), _mm256_permutevar8x32_epi32(indices_u32x8, order_u32x8));
            stored += (size_t)_mm_popcnt_u32(keep);
            if (stored >= capacity) return capacity;
        }
    }
    return stored;
}

FG_INLINE fg_moments moments(void const *row, size_t count, float shift, fg_dtype dtype) {
    __m256 const nothing_f32x8 = _mm256_set1_ps(-INFINITY), shift_f32x8 = _mm256_set1_ps(shift);
    fg_moments all = {0.0, 0.0, 0.0};
    size_t above = 0;
    for (size_t start = 0; start < count; start += FG_BLOCK) {
        size_t const end = start + FG_BLOCK < count ? start + FG_BLOCK : count;
        __m256 sums_f32x8[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
        __m256 squares_f32x8[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
        for (size_t index = start; index < end; index += 16) {
            for (int half = 0; half < 2; half++) {
                __m256 const scores_f32x8 = load_tail_f32x8(row, index + 8 * (size_t)half, end, dtype);
                __m256 const counted = _mm256_cmp_ps(scores_f32x8, nothing_f32x8, _CMP_GT_OQ);
                __m256 const distance_f32x8 = _mm256_and_ps(_mm256_sub_ps(scores_f32x8, shift_f32x8), counted);
                sums_f32x8[half] = _mm256_add_ps(sums_f32x8[half], distance_f32x8);
                squares_f32x8[half] = _mm256_fmadd_ps(distance_f32x8, distance_f32x8, squares_f32x8[half]);
                above += (size_t)_mm_popcnt_u32((unsigned)_mm256_movemask_ps(counted));
            }
        }
        all.sum += add_lanes(sums_f32x8[0], sums_f32x8[1]);
        all.squares += add_lanes(squares_f32x8[0], squares_f32x8[1]);
    }
    all.count = (double)above;
    return all;
}

FG_INLINE void lift(void const *block, size_t count, uint32_t const *mask, float ceiling, float *scores,
                    fg_dtype dtype) {
    __m256 const nothing_f32x8 = _mm256_set1_ps(-INFINITY), ceiling_f32x8 = _mm256_set1_ps(ceiling);
    for (size_t index = 0; index < count; index += 8) {
        __m256 const scores_f32x8 = load_tail_f32x8(block, index, count, dtype);
        /* barred lanes are NaN here, which is not at most anything */
        __m256 const allowed_f32x8 = mask ? _mm256_or_ps(scores_f32x8, barred_f32x8(mask, index)) : scores_f32x8;
        __m256 const kept = _mm256_cmp_ps(allowed_f32x8, ceiling_f32x8, _CMP_LE_OQ);
        store_f32x8(scores, index, count, _mm256_blendv_ps(nothing_f32x8, scores_f32x8, kept));
    }
}

static size_t fold(float const *lane_maxima, size_t blocks, size_t span, float *groups, float range[2]) {
    __m256 const nothing_f32x8 = _mm256_set1_ps(-INFINITY), most_f32x8 = _mm256_set1_ps(0x1.fffffep127f);
    __m256 low_f32x8 = most_f32x8, high_f32x8 = nothing_f32x8;
    size_t count = 0;
    for (size_t block = 0; block < blocks; block += span)
        for (int half = 0; half < FG_LANES; half += 8, count += 8) {
            size_t const end = block + span < blocks ? block + span : blocks;
            __m256 largest_f32x8 = _mm256_loadu_ps(lane_maxima + block * FG_LANES + half);
            for (size_t b = block + 1; b < end; b++)
                largest_f32x8 = _mm256_max_ps(largest_f32x8, _mm256_loadu_ps(lane_maxima + b * FG_LANES + half));
            _mm256_storeu_ps(groups + count, largest_f32x8);
            __m256 const some = _mm256_cmp_ps(largest_f32x8, nothing_f32x8, _CMP_GT_OQ);
            low_f32x8 = _mm256_min_ps(low_f32x8, _mm256_blendv_ps(most_f32x8, largest_f32x8, some));
            high_f32x8 = _mm256_max_ps(high_f32x8, largest_f32x8);
        }
    float lows[8];
    _mm256_storeu_ps(lows, low_f32x8);
    range[0] = lows[0], range[1] = largest_lane(high_f32x8);
    for (int lane = 1; lane < 8; lane++) range[0] = lows[lane] < range[0] ? lows[lane] : range[0];
    return count;
}

static size_t reach(float const *values, size_t count, float bound) {
    __m256 const bound_f32x8 = _mm256_set1_ps(bound);
    __m256i reached_i32x8 = _mm256_setzero_si256(); /* a compare that holds is -1 */
    for (size_t i = 0; i < count; i += 8)
        reached_i32x8 = _mm256_sub_epi32(
            reached_i32x8, _mm256_castps_si256(_mm256_cmp_ps(_mm256_loadu_ps(values + i), bound_f32x8, _CMP_GE_OQ)));
    int32_t reached[8];
    _mm256_storeu_si256((__m256i *)reached, reached_i32x8);
    size_t sum = 0;
    for (int lane = 0; lane < 8; lane++) sum += (size_t)reached[lane];
    return sum;
}

#define FG_LOGITS_LEVEL avx2
#include "kernels/logits/dtypes.h"

#endif
