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

FG_INLINE float largest_lane(__m256 lanes_f32x8) {
    __m128 four_f32x4 = _mm_max_ps(_mm256_castps256_ps128(lanes_f32x8), _mm256_extractf128_ps(lanes_f32x8, 1));
    four_f32x4 = _mm_max_ps(four_f32x4, _mm_movehl_ps(four_f32x4, four_f32x4));
    return _mm_cvtss_f32(_mm_max_ss(four_f32x4, _mm_movehdup_ps(four_f32x4)));
}

FG_INLINE float scan(void const *row, size_t count, float *lane_maxima, fg_dtype dtype) {
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

/** `leading` is all ones in the lanes whose ties count; only FG_TIES_SPLIT looks at it. */
FG_INLINE __m256 weight_f32x8(__m256 scores_f32x8, domain_f32x8 const *domain, fg_ties ties, __m256 leading) {
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

    __m256 inside = _mm256_cmp_ps(scores_f32x8, domain->bound, ties == FG_TIES_IN ? _CMP_GE_OQ : _CMP_GT_OQ);
    if (ties == FG_TIES_SPLIT)
        inside = _mm256_or_ps(inside, _mm256_and_ps(_mm256_cmp_ps(scores_f32x8, domain->bound, _CMP_EQ_OQ), leading));
    return _mm256_and_ps(weight_f32x8, inside);
}

/** All ones in the lanes that stand before `ties`, lane 0 standing at `index`. */
FG_INLINE __m256 leading_ties(size_t index, size_t ties) {
    int const leading = index >= ties ? 0 : ties - index >= 8 ? 8 : (int)(ties - index);
    __m256i const lane_i32x8 = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(leading), lane_i32x8));
}

FG_INLINE void weigh(void const *block, size_t count, fg_domain const *domain, float *weights, fg_dtype dtype) {
    domain_f32x8 const wide = broadcast(domain);
    for (size_t index = 0; index < count; index += 8) {
        __m256 const scores_f32x8 = load_tail_f32x8(block, index, count, dtype);
        __m256 const weights_f32x8 =
            weight_f32x8(scores_f32x8, &wide, FG_TIES_SPLIT, leading_ties(index, domain->ties));
        if (index + 8 <= count) {
            _mm256_storeu_ps(weights + index, weights_f32x8);
        } else {
            float tail[8];
            _mm256_storeu_ps(tail, weights_f32x8);
            memcpy(weights + index, tail, (count - index) * sizeof *weights);
        }
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

FG_INLINE double block_sum(void const *row, size_t index, domain_f32x8 const *wide, fg_ties ties, fg_dtype dtype) {
    __m256 low_f32x8 = _mm256_setzero_ps(), high_f32x8 = _mm256_setzero_ps();
    for (size_t end = index + FG_BLOCK; index < end; index += 16) {
        low_f32x8 = _mm256_add_ps(low_f32x8, weight_f32x8(load_f32x8(row, index, dtype), wide, ties, low_f32x8));
        high_f32x8 = _mm256_add_ps(high_f32x8, weight_f32x8(load_f32x8(row, index + 8, dtype), wide, ties, high_f32x8));
    }
    return add_lanes(low_f32x8, high_f32x8);
}

FG_INLINE int any_at_least(float const *maxima, __m256 bound_f32x8) {
    __m256 const low = _mm256_cmp_ps(_mm256_loadu_ps(maxima), bound_f32x8, _CMP_GE_OQ);
    return _mm256_movemask_ps(_mm256_or_ps(low, _mm256_cmp_ps(_mm256_loadu_ps(maxima + 8), bound_f32x8, _CMP_GE_OQ)));
}

FG_INLINE double mass(void const *row, size_t count, float const *lane_maxima, fg_domain const *domain,
                      double *block_mass, fg_dtype dtype) {
    domain_f32x8 const wide = broadcast(domain);
    double total = 0.0;
    for (size_t start = 0, block = 0; start < count; start += FG_BLOCK, block++) {
        block_mass[block] = 0.0;
        if (!any_at_least(lane_maxima + block * FG_LANES, wide.bound)) continue;
        size_t const end = start + FG_BLOCK < count ? start + FG_BLOCK : count;
        fg_ties const ties = fg_ties_of(start, end, domain->ties);
        double sum;
        if (end - start == FG_BLOCK && ties != FG_TIES_SPLIT) {
            sum = ties == FG_TIES_IN ? block_sum(row, start, &wide, FG_TIES_IN, dtype)
                                     : block_sum(row, start, &wide, FG_TIES_OUT, dtype);
        } else {
            __m256 low_f32x8 = _mm256_setzero_ps(), high_f32x8 = _mm256_setzero_ps();
            for (size_t index = start; index < end; index += 16) {
                __m256 const p_f32x8 = load_tail_f32x8(row, index, end, dtype),
                             q_f32x8 = load_tail_f32x8(row, index + 8, end, dtype);
                low_f32x8 = _mm256_add_ps(
                    low_f32x8, weight_f32x8(p_f32x8, &wide, FG_TIES_SPLIT, leading_ties(index, domain->ties)));
                high_f32x8 = _mm256_add_ps(
                    high_f32x8, weight_f32x8(q_f32x8, &wide, FG_TIES_SPLIT, leading_ties(index + 8, domain->ties)));
            }
            sum = add_lanes(low_f32x8, high_f32x8);
        }
        block_mass[block] = sum;
        total += sum;
    }
    return total;
}

/** Byte j of the result is the index of the j-th set bit of an 8-bit mask: AVX2 has no compress, PEXT makes its
 * permutation. */
FG_INLINE __m256i compress_permutation(unsigned mask) {
    uint64_t const bytes = _pdep_u64(mask, 0x0101010101010101u) * 0xFFu;
    return _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)_pext_u64(0x0706050403020100u, bytes)));
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

#define FG_LOGITS_LEVEL avx2
#include "kernels/logits/dtypes.h"

#endif
