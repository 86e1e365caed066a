#include "kernels/logits.h"

#include "base/target.h"

#if FG_ARM

#include <math.h>

/* The 16 lanes are four registers of four: register r holds lanes 4r to 4r + 3. NEON is the baseline: no target region.
 */

enum { REGISTERS = 4 };

FG_INLINE float32x4_t load_f32x4(void const *row, size_t index, fg_dtype dtype) {
    if (dtype == FG_FLOAT32) return vld1q_f32((float const *)row + index);
    uint16x4_t const halves_u16x4 = vld1_u16((uint16_t const *)row + index);
    if (dtype == FG_FLOAT16) return vcvt_f32_f16(vreinterpret_f16_u16(halves_u16x4));
    return vreinterpretq_f32_u32(vshll_n_u16(halves_u16x4, 16));
}

/** Up to 4 scores from `index` on; lanes from `count` on are -inf. */
FG_INLINE float32x4_t load_tail_f32x4(void const *row, size_t index, size_t count, fg_dtype dtype) {
    if (index + 4 <= count) return load_f32x4(row, index, dtype);
    float scores[4];
    for (size_t lane = 0; lane < 4; lane++)
        scores[lane] = index + lane < count ? fg_load_score(row, index + lane, dtype) : -INFINITY;
    return vld1q_f32(scores);
}

/** Store up to 4 numbers, none at or behind `count`. */
FG_INLINE void store_f32x4(float *numbers, size_t index, size_t count, float32x4_t lanes_f32x4) {
    if (index + 4 <= count) {
        vst1q_f32(numbers + index, lanes_f32x4);
        return;
    }
    float tail[4];
    vst1q_f32(tail, lanes_f32x4);
    memcpy(numbers + index, tail, (count - index) * sizeof *numbers);
}

/** All ones in the lanes whose score may be chosen, lane 0 standing at `index`, a multiple of 4. */
FG_INLINE uint32x4_t allowed_lanes(uint32_t const *mask, size_t index) {
    static uint32_t const bit[4] = {1, 2, 4, 8};
    return vtstq_u32(vdupq_n_u32(mask[index / 32] >> index % 32), vld1q_u32(bit));
}

/** Faults are found by adding every score to -inf: the sum stays -inf until a NaN or +inf makes it NaN for good. */
FG_INLINE float masked_scan(void const *row, size_t count, uint32_t const *mask, float *lane_maxima, fg_dtype dtype) {
    float32x4_t const nothing_f32x4 = vdupq_n_f32(-INFINITY);
    float32x4_t largest_f32x4 = nothing_f32x4, sums_f32x4[REGISTERS];
    for (int r = 0; r < REGISTERS; r++) sums_f32x4[r] = nothing_f32x4;
    for (size_t start = 0; start < count; start += FG_BLOCK) {
        size_t const end = start + FG_BLOCK < count ? start + FG_BLOCK : count;
        float32x4_t maxima_f32x4[REGISTERS];
        for (int r = 0; r < REGISTERS; r++) maxima_f32x4[r] = nothing_f32x4;
        for (size_t index = start; index < end; index += FG_LANES) {
            for (int r = 0; r < REGISTERS; r++) { /* all in one word of the mask */
                size_t const at = index + 4 * (size_t)r;
                float32x4_t const scores_f32x4 = load_tail_f32x4(row, at, end, dtype);
                sums_f32x4[r] = vaddq_f32(sums_f32x4[r], scores_f32x4);
                maxima_f32x4[r] =
                    vmaxq_f32(maxima_f32x4[r], vbslq_f32(allowed_lanes(mask, at), scores_f32x4, nothing_f32x4));
            }
        }
        for (int r = 0; r < REGISTERS; r++) {
            maxima_f32x4[r] = vaddq_f32(maxima_f32x4[r], vdupq_n_f32(0.0f));
            largest_f32x4 = vmaxq_f32(largest_f32x4, maxima_f32x4[r]);
            if (lane_maxima) vst1q_f32(lane_maxima + start / FG_BLOCK * FG_LANES + 4 * r, maxima_f32x4[r]);
        }
    }
    for (int r = 0; r < REGISTERS; r++) largest_f32x4 = vmaxq_f32(largest_f32x4, sums_f32x4[r]); /* -inf or NaN */
    return vmaxvq_f32(largest_f32x4);
}

FG_INLINE float scan(void const *row, size_t count, uint32_t const *mask, float *lane_maxima, fg_dtype dtype) {
    if (mask) return masked_scan(row, count, mask, lane_maxima, dtype);
    /* FMAX keeps a NaN from either side, so the check costs nothing: a NaN is still there at the end */
    float32x4_t largest_f32x4 = vdupq_n_f32(-INFINITY);
    for (size_t start = 0; start < count; start += FG_BLOCK) {
        size_t const end = start + FG_BLOCK < count ? start + FG_BLOCK : count;
        float32x4_t maxima_f32x4[REGISTERS];
        for (int r = 0; r < REGISTERS; r++) maxima_f32x4[r] = vdupq_n_f32(-INFINITY);
        size_t index = start;
        for (; index + FG_LANES <= end; index += FG_LANES)
            for (int r = 0; r < REGISTERS; r++)
                maxima_f32x4[r] = vmaxq_f32(maxima_f32x4[r], load_f32x4(row, index + 4 * r, dtype));
        if (index < end)
            for (int r = 0; r < REGISTERS; r++)
                maxima_f32x4[r] = vmaxq_f32(maxima_f32x4[r], load_tail_f32x4(row, index + 4 * r, end, dtype));
        for (int r = 0; r < REGISTERS; r++) {
            maxima_f32x4[r] = vaddq_f32(maxima_f32x4[r], vdupq_n_f32(0.0f));
            largest_f32x4 = vmaxq_f32(largest_f32x4, maxima_f32x4[r]);
            if (lane_maxima) vst1q_f32(lane_maxima + start / FG_BLOCK * FG_LANES + 4 * r, maxima_f32x4[r]);
        }
    }
    return vmaxvq_f32(largest_f32x4);
}

FG_INLINE size_t find(void const *row, size_t count, float value, fg_dtype dtype) {
    float32x4_t const value_f32x4 = vdupq_n_f32(value);
    for (size_t index = 0; index < count; index += 4) {
        if (!vmaxvq_u32(vceqq_f32(load_tail_f32x4(row, index, count, dtype), value_f32x4))) continue;
        for (size_t i = index; i < index + 4 && i < count; i++)
            if (fg_load_score(row, i, dtype) == value) return i;
    }
    return count;
}

/** `equals` is all ones in the lanes in which a score equal to the bound counts; only FG_TIES_SPLIT looks at it.
 * `exponents` (may be NULL) gets distance * scale, 0 outside the domain. */
FG_INLINE float32x4_t weight_f32x4(float32x4_t scores_f32x4, fg_domain const *domain, fg_ties ties, uint32x4_t equals,
                                   float32x4_t *exponents_f32x4) {
    float32x4_t const magic_f32x4 = vdupq_n_f32(FG_ROUND_MAGIC), bound_f32x4 = vdupq_n_f32(domain->bound);
    float32x4_t const scale_f32x4 = vdupq_n_f32(domain->scale);
    float32x4_t const distance_f32x4 = vsubq_f32(scores_f32x4, vdupq_n_f32(domain->max));
    float32x4_t const shifted_f32x4 = vfmaq_f32(magic_f32x4, distance_f32x4, scale_f32x4);
    float32x4_t const exponent_f32x4 = vsubq_f32(shifted_f32x4, magic_f32x4);
    float32x4_t const fraction_f32x4 = vfmaq_f32(vnegq_f32(exponent_f32x4), distance_f32x4, scale_f32x4);
    float32x4_t power_f32x4 = vdupq_n_f32(FG_EXP2_C6);
    power_f32x4 = vfmaq_f32(vdupq_n_f32(FG_EXP2_C5), power_f32x4, fraction_f32x4);
    power_f32x4 = vfmaq_f32(vdupq_n_f32(FG_EXP2_C4), power_f32x4, fraction_f32x4);
    power_f32x4 = vfmaq_f32(vdupq_n_f32(FG_EXP2_C3), power_f32x4, fraction_f32x4);
    power_f32x4 = vfmaq_f32(vdupq_n_f32(FG_EXP2_C2), power_f32x4, fraction_f32x4);
    power_f32x4 = vfmaq_f32(vdupq_n_f32(FG_EXP2_C1), power_f32x4, fraction_f32x4);
    power_f32x4 = vfmaq_f32(vdupq_n_f32(1.0f), power_f32x4, fraction_f32x4);
    uint32x4_t const exponent_u32x4 = vshlq_n_u32(vreinterpretq_u32_f32(shifted_f32x4), 23);
    uint32x4_t const weight_u32x4 = vaddq_u32(vreinterpretq_u32_f32(power_f32x4), exponent_u32x4);

    uint32x4_t inside =
        ties == FG_TIES_IN ? vcgeq_f32(scores_f32x4, bound_f32x4) : vcgtq_f32(scores_f32x4, bound_f32x4);
    if (ties == FG_TIES_SPLIT) inside = vorrq_u32(inside, vandq_u32(vceqq_f32(scores_f32x4, bound_f32x4), equals));
    if (exponents_f32x4) {
        uint32x4_t const scaled_u32x4 = vreinterpretq_u32_f32(vmulq_f32(distance_f32x4, scale_f32x4));
        *exponents_f32x4 = vreinterpretq_f32_u32(vandq_u32(scaled_u32x4, inside));
    }
    return vreinterpretq_f32_u32(vandq_u32(weight_u32x4, inside));
}

/** All ones in the lanes that stand before `end`, lane 0 standing at `index`. */
FG_INLINE uint32x4_t lanes_before(size_t index, size_t end) {
    static uint32_t const lanes[4] = {0, 1, 2, 3};
    uint32_t const before = index >= end ? 0 : end - index >= 4 ? 4 : (uint32_t)(end - index);
    return vcgtq_u32(vdupq_n_u32(before), vld1q_u32(lanes));
}

/** All ones in the lanes that stand between `first_tie` and `end_tie`. */
FG_INLINE uint32x4_t lanes_of_ties(size_t index, fg_domain const *domain) {
    return vbicq_u32(lanes_before(index, domain->end_tie), lanes_before(index, domain->first_tie));
}

FG_INLINE void weigh(void const *block, size_t count, fg_domain const *domain, float *weights, fg_dtype dtype) {
    for (size_t index = 0; index < count; index += 4) {
        float32x4_t const scores_f32x4 = load_tail_f32x4(block, index, count, dtype);
        float32x4_t const weights_f32x4 =
            weight_f32x4(scores_f32x4, domain, FG_TIES_SPLIT, lanes_of_ties(index, domain), NULL);
        store_f32x4(weights, index, count, weights_f32x4);
    }
}

/** Lanes are added as doubles: l + (l + 8), then + 4, + 2, + 1. */
FG_INLINE double add_lanes(float32x4_t const sums_f32x4[REGISTERS]) {
    float64x2_t eight_f64x2[4]; /* lanes 0 1, 2 3, 4 5, 6 7 of the eight sums */
    for (int r = 0; r < 2; r++) {
        eight_f64x2[2 * r] =
            vaddq_f64(vcvt_f64_f32(vget_low_f32(sums_f32x4[r])), vcvt_f64_f32(vget_low_f32(sums_f32x4[r + 2])));
        eight_f64x2[2 * r + 1] = vaddq_f64(vcvt_high_f64_f32(sums_f32x4[r]), vcvt_high_f64_f32(sums_f32x4[r + 2]));
    }
    float64x2_t const four01_f64x2 = vaddq_f64(eight_f64x2[0], eight_f64x2[2]),
                      four23_f64x2 = vaddq_f64(eight_f64x2[1], eight_f64x2[3]);
    return vaddvq_f64(vaddq_f64(four01_f64x2, four23_f64x2));
}

/** Sum of a block's weights; and in `surprisal`, where that is not NULL, of weight * (max - score) * scale. */
FG_INLINE double block_sum(void const *row, size_t index, size_t end, uint32_t const *mask, fg_domain const *domain,
                           fg_ties ties, double *surprisal, fg_dtype dtype) {
    float32x4_t sums_f32x4[REGISTERS], products_f32x4[REGISTERS], exponents_f32x4;
    for (int r = 0; r < REGISTERS; r++) sums_f32x4[r] = products_f32x4[r] = vdupq_n_f32(0.0f);
    for (; index < end; index += FG_LANES) {
        for (int r = 0; r < REGISTERS; r++) {
            size_t const at = index + 4 * (size_t)r;
            int const split = ties == FG_TIES_SPLIT;
            float32x4_t scores_f32x4 = split ? load_tail_f32x4(row, at, end, dtype) : load_f32x4(row, at, dtype);
            if (mask && at < end)
                scores_f32x4 = vbslq_f32(allowed_lanes(mask, at), scores_f32x4, vdupq_n_f32(-INFINITY));
            uint32x4_t const equals = split ? lanes_of_ties(at, domain) : vdupq_n_u32(0);
            float32x4_t const weights_f32x4 =
                weight_f32x4(scores_f32x4, domain, ties, equals, surprisal ? &exponents_f32x4 : NULL);
            sums_f32x4[r] = vaddq_f32(sums_f32x4[r], weights_f32x4);
            if (surprisal) products_f32x4[r] = vfmsq_f32(products_f32x4[r], weights_f32x4, exponents_f32x4);
        }
    }
    if (surprisal) *surprisal = add_lanes(products_f32x4);
    return add_lanes(sums_f32x4);
}

FG_INLINE int any_at_least(float const *maxima, float32x4_t bound_f32x4) {
    float32x4_t const low_f32x4 = vmaxq_f32(vld1q_f32(maxima), vld1q_f32(maxima + 4));
    float32x4_t const high_f32x4 = vmaxq_f32(vld1q_f32(maxima + 8), vld1q_f32(maxima + 12));
    return vmaxvq_u32(vcgeq_f32(vmaxq_f32(low_f32x4, high_f32x4), bound_f32x4)) != 0;
}

/** The mass; and the surprisal, where that is not NULL. */
FG_INLINE double sum_weights(void const *row, size_t count, uint32_t const *mask, float const *lane_maxima,
                             fg_domain const *domain, double *block_mass, double *surprisal, fg_dtype dtype) {
    float32x4_t const bound_f32x4 = vdupq_n_f32(domain->bound);
    double total = 0.0, product_total = 0.0, product_sum = 0.0;
    double *const products = surprisal ? &product_sum : NULL;
    for (size_t start = 0, block = 0; start < count; start += FG_BLOCK, block++) {
        block_mass[block] = 0.0;
        if (!any_at_least(lane_maxima + block * FG_LANES, bound_f32x4)) continue;
        size_t const end = start + FG_BLOCK < count ? start + FG_BLOCK : count;
        fg_ties const ties = fg_ties_of(start, end, domain);
        double sum;
        if (end - start < FG_BLOCK || ties == FG_TIES_SPLIT)
            sum = block_sum(row, start, end, mask, domain, FG_TIES_SPLIT, products, dtype);
        else if (ties == FG_TIES_IN)
            sum = block_sum(row, start, end, mask, domain, FG_TIES_IN, products, dtype);
        else
            sum = block_sum(row, start, end, mask, domain, FG_TIES_OUT, products, dtype);
        block_mass[block] = sum;
        total += sum;
        product_total += product_sum;
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

FG_INLINE size_t filter(void const *row, size_t count, float const *lane_maxima, float threshold, float *scores,
                        uint32_t *indices, size_t capacity, fg_dtype dtype) {
    float32x4_t const threshold_f32x4 = vdupq_n_f32(threshold);
    size_t stored = 0;
    for (size_t start = 0, block = 0; start < count; start += FG_BLOCK, block++) {
        if (lane_maxima && !any_at_least(lane_maxima + block * FG_LANES, threshold_f32x4)) continue;
        size_t const end = start + FG_BLOCK < count ? start + FG_BLOCK : count;
        for (size_t index = start; index < end; index += 4) {
            float32x4_t const scores_f32x4 = load_tail_f32x4(row, index, end, dtype);
            if (!vmaxvq_u32(vcgeq_f32(scores_f32x4, threshold_f32x4))) continue;
            for (size_t i = index; i < index + 4 && i < end; i++) {
                float const score = fg_load_score(row, i, dtype);
                if (!(score >= threshold)) continue;
                if (stored == capacity) return stored;
                scores[stored] = score, indices[stored] = (uint32_t)i;
                stored++;
            }
        }
    }
    return stored;
}

FG_INLINE fg_moments moments(void const *row, size_t count, float shift, fg_dtype dtype) {
    float32x4_t const nothing_f32x4 = vdupq_n_f32(-INFINITY), shift_f32x4 = vdupq_n_f32(shift);
    fg_moments all = {0.0, 0.0, 0.0};
    for (size_t start = 0; start < count; start += FG_BLOCK) {
        size_t const end = start + FG_BLOCK < count ? start + FG_BLOCK : count;
        float32x4_t sums_f32x4[REGISTERS], squares_f32x4[REGISTERS];
        uint32x4_t above_u32x4 = vdupq_n_u32(0);
        for (int r = 0; r < REGISTERS; r++) sums_f32x4[r] = squares_f32x4[r] = vdupq_n_f32(0.0f);
        for (size_t index = start; index < end; index += FG_LANES) {
            for (int r = 0; r < REGISTERS; r++) {
                float32x4_t const scores_f32x4 = load_tail_f32x4(row, index + 4 * (size_t)r, end, dtype);
                uint32x4_t const counted = vcgtq_f32(scores_f32x4, nothing_f32x4);
                float32x4_t const distance_f32x4 = vreinterpretq_f32_u32(
                    vandq_u32(vreinterpretq_u32_f32(vsubq_f32(scores_f32x4, shift_f32x4)), counted));
                sums_f32x4[r] = vaddq_f32(sums_f32x4[r], distance_f32x4);
                squares_f32x4[r] = vfmaq_f32(squares_f32x4[r], distance_f32x4, distance_f32x4);
                above_u32x4 = vsubq_u32(above_u32x4, counted); /* all ones is -1 */
            }
        }
        all.count += (double)vaddvq_u32(above_u32x4);
        all.sum += add_lanes(sums_f32x4);
        all.squares += add_lanes(squares_f32x4);
    }
    return all;
}

FG_INLINE void lift(void const *block, size_t count, uint32_t const *mask, float ceiling, float *scores,
                    fg_dtype dtype) {
    float32x4_t const nothing_f32x4 = vdupq_n_f32(-INFINITY), ceiling_f32x4 = vdupq_n_f32(ceiling);
    for (size_t index = 0; index < count; index += 4) {
        float32x4_t const scores_f32x4 = load_tail_f32x4(block, index, count, dtype);
        uint32x4_t kept = vcleq_f32(scores_f32x4, ceiling_f32x4);
        if (mask) kept = vandq_u32(kept, allowed_lanes(mask, index));
        store_f32x4(scores, index, count, vbslq_f32(kept, scores_f32x4, nothing_f32x4));
    }
}

static size_t fold(float const *lane_maxima, size_t blocks, size_t span, float *groups, float range[2]) {
    float32x4_t const nothing_f32x4 = vdupq_n_f32(-INFINITY), most_f32x4 = vdupq_n_f32(0x1.fffffep127f);
    float32x4_t low_f32x4 = most_f32x4, high_f32x4 = nothing_f32x4;
    size_t count = 0;
    for (size_t block = 0; block < blocks; block += span)
        for (int quarter = 0; quarter < FG_LANES; quarter += 4, count += 4) {
            float32x4_t largest_f32x4 = nothing_f32x4;
            for (size_t b = block; b < block + span && b < blocks; b++)
                largest_f32x4 = vmaxq_f32(largest_f32x4, vld1q_f32(lane_maxima + b * FG_LANES + quarter));
            vst1q_f32(groups + count, largest_f32x4);
            uint32x4_t const some = vcgtq_f32(largest_f32x4, nothing_f32x4);
            low_f32x4 = vminq_f32(low_f32x4, vbslq_f32(some, largest_f32x4, most_f32x4));
            high_f32x4 = vmaxq_f32(high_f32x4, largest_f32x4);
        }
    range[0] = vminvq_f32(low_f32x4), range[1] = vmaxvq_f32(high_f32x4);
    return count;
}

static size_t reach(float const *values, size_t count, float bound) {
    uint32x4_t reached_u32x4 = vdupq_n_u32(0); /* a compare that holds is -1 */
    for (size_t i = 0; i < count; i += 4)
        reached_u32x4 = vsubq_u32(reached_u32x4, vcgeq_f32(vld1q_f32(values + i), vdupq_n_f32(bound)));
    return vaddvq_u32(reached_u32x4);
}

#define FG_LOGITS_LEVEL neon
#include "kernels/logits/dtypes.h"

#endif
