/** The definition of every kernel: what the other levels must equal bit for bit. */
#include "kernels/logits.h"

#include <math.h>

FG_INLINE float scan(void const *row, size_t count, uint32_t const *mask, float *lane_maxima, fg_dtype dtype) {
    float largest = -INFINITY;
    int fault = 0;
    for (size_t start = 0; start < count; start += FG_BLOCK) {
        size_t const end = start + FG_BLOCK < count ? start + FG_BLOCK : count;
        float maxima[FG_LANES];
        for (int lane = 0; lane < FG_LANES; lane++) maxima[lane] = -INFINITY;
        for (size_t i = start; i < end; i++) {
            float const score = fg_load_score(row, i, dtype);
            fault |= mask ? !(score < INFINITY) : score != score;
            if (fg_allowed(mask, i) && score > maxima[i % FG_LANES]) maxima[i % FG_LANES] = score;
        }
        for (int lane = 0; lane < FG_LANES; lane++) {
            maxima[lane] += 0.0f; /* -0 to +0: which zero a maximum keeps differs between instruction sets */
            if (maxima[lane] > largest) largest = maxima[lane];
        }
        if (lane_maxima) memcpy(lane_maxima + start / FG_BLOCK * FG_LANES, maxima, sizeof maxima);
    }
    return fault ? NAN : largest;
}

FG_INLINE size_t find(void const *row, size_t count, float value, fg_dtype dtype) {
    for (size_t i = 0; i < count; i++)
        if (fg_load_score(row, i, dtype) == value) return i;
    return count;
}

static float weight(float score, fg_domain const *domain) {
    float const distance = score - domain->max;
    float const shifted = fmaf(distance, domain->scale, FG_ROUND_MAGIC);
    float const exponent = shifted - FG_ROUND_MAGIC; /* nearest integer to distance * scale */
    float const fraction = fmaf(distance, domain->scale, -exponent);
    float power = FG_EXP2_C6;
    power = fmaf(power, fraction, FG_EXP2_C5);
    power = fmaf(power, fraction, FG_EXP2_C4);
    power = fmaf(power, fraction, FG_EXP2_C3);
    power = fmaf(power, fraction, FG_EXP2_C2);
    power = fmaf(power, fraction, FG_EXP2_C1);
    power = fmaf(power, fraction, 1.0f);
    /* the integer in the low bits of `shifted` moves up into the exponent field */
    return fg_float_from_bits(fg_bits_from_float(power) + (fg_bits_from_float(shifted) << 23));
}

static int in_domain(float score, size_t index, fg_domain const *domain) {
    int const tie = index >= domain->first_tie && index < domain->end_tie;
    return tie ? score >= domain->bound : score > domain->bound;
}

FG_INLINE float weight_in_domain(float score, size_t index, fg_domain const *domain) {
    return in_domain(score, index, domain) ? weight(score, domain) : 0.0f;
}

FG_INLINE void weigh(void const *block, size_t count, fg_domain const *domain, float *weights, fg_dtype dtype) {
    for (size_t i = 0; i < count; i++) weights[i] = weight_in_domain(fg_load_score(block, i, dtype), i, domain);
}

static int any_at_least(float const *maxima, float bound) {
    int any = 0;
    for (int lane = 0; lane < FG_LANES; lane++) any |= maxima[lane] >= bound;
    return any;
}

/** Lanes are added as doubles: l + (l + 8), then + 4, + 2, + 1. */
static double add_lanes(float const sums[FG_LANES]) {
    double tree[FG_LANES];
    for (int lane = 0; lane < FG_LANES; lane++) tree[lane] = sums[lane];
    for (int half = FG_LANES / 2; half; half /= 2)
        for (int lane = 0; lane < half; lane++) tree[lane] += tree[lane + half];
    return tree[0];
}

FG_INLINE double surprisal(void const *row, size_t count, uint32_t const *mask, float const *lane_maxima,
                           fg_domain const *domain, double *block_mass, double *surprisal, fg_dtype dtype) {
    double total = 0.0;
    *surprisal = 0.0;
    for (size_t start = 0, block = 0; start < count; start += FG_BLOCK, block++) {
        block_mass[block] = 0.0;
        if (!any_at_least(lane_maxima + block * FG_LANES, domain->bound)) continue;
        size_t const end = start + FG_BLOCK < count ? start + FG_BLOCK : count;
        float sums[FG_LANES] = {0}, products[FG_LANES] = {0};
        for (size_t i = start; i < end; i++) {
            float const score = fg_load_score(row, i, dtype);
            if (!fg_allowed(mask, i) || !in_domain(score, i, domain))
                continue; /* adding 0 would be the same: sums are never -0 */
            float const share = weight(score, domain);
            sums[i % FG_LANES] += share;
            products[i % FG_LANES] = fmaf(share, (domain->max - score) * domain->scale, products[i % FG_LANES]);
        }
        block_mass[block] = add_lanes(sums);
        total += block_mass[block];
        *surprisal += add_lanes(products);
    }
    return total;
}

FG_INLINE double mass(void const *row, size_t count, uint32_t const *mask, float const *lane_maxima,
                      fg_domain const *domain, double *block_mass, fg_dtype dtype) {
    double total = 0.0;
    for (size_t start = 0, block = 0; start < count; start += FG_BLOCK, block++) {
        block_mass[block] = 0.0;
        if (!any_at_least(lane_maxima + block * FG_LANES, domain->bound)) continue;
        size_t const end = start + FG_BLOCK < count ? start + FG_BLOCK : count;
        float sums[FG_LANES] = {0};
        for (size_t i = start; i < end; i++)
            if (fg_allowed(mask, i)) sums[i % FG_LANES] += weight_in_domain(fg_load_score(row, i, dtype), i, domain);
        block_mass[block] = add_lanes(sums);
        total += block_mass[block];
    }
    return total;
}

FG_INLINE size_t filter(void const *row, size_t count, float const *lane_maxima, float threshold, float *scores,
                        uint32_t *indices, size_t capacity, fg_dtype dtype) {
    size_t stored = 0;
    for (size_t start = 0, block = 0; start < count; start += FG_BLOCK, block++) {
        if (lane_maxima && !any_at_least(lane_maxima + block * FG_LANES, threshold)) continue;
        size_t const end = start + FG_BLOCK < count ? start + FG_BLOCK : count;
        for (size_t i = start; i < end; i++) {
            float const score = fg_load_score(row, i, dtype);
            if (!(score >= threshold)) continue;
            if (stored == capacity) return stored;
            scores[stored] = score, indices[stored] = (uint32_t)i;
            stored++;
        }
    }
    return stored;
}

FG_INLINE fg_moments moments(void const *row, size_t count, float shift, fg_dtype dtype) {
    fg_moments all = {0.0, 0.0, 0.0};
    for (size_t start = 0; start < count; start += FG_BLOCK) {
        size_t const end = start + FG_BLOCK < count ? start + FG_BLOCK : count;
        float sums[FG_LANES] = {0}, squares[FG_LANES] = {0};
        for (size_t i = start; i < end; i++) {
            float const score = fg_load_score(row, i, dtype);
            if (!(score > -INFINITY)) continue;
            float const distance = score - shift;
            sums[i % FG_LANES] += distance;
            squares[i % FG_LANES] = fmaf(distance, distance, squares[i % FG_LANES]);
            all.count += 1.0;
        }
        all.sum += add_lanes(sums);
        all.squares += add_lanes(squares);
    }
    return all;
}

FG_INLINE void lift(void const *block, size_t count, uint32_t const *mask, float ceiling, float *scores,
                    fg_dtype dtype) {
    for (size_t i = 0; i < count; i++) {
        float const score = fg_load_score(block, i, dtype);
        scores[i] = fg_allowed(mask, i) && score <= ceiling ? score : -INFINITY;
    }
}

static size_t fold(float const *lane_maxima, size_t blocks, size_t span, float *groups, float range[2]) {
    size_t count = 0;
    range[0] = 0x1.fffffep127f, range[1] = -INFINITY;
    for (size_t block = 0; block < blocks; block += span)
        for (int lane = 0; lane < FG_LANES; lane++) {
            float largest = -INFINITY;
            for (size_t b = block; b < block + span && b < blocks; b++) {
                float const maximum = lane_maxima[b * FG_LANES + (size_t)lane];
                if (maximum > largest) largest = maximum;
            }
            groups[count++] = largest;
            if (largest > -INFINITY && largest < range[0]) range[0] = largest;
            if (largest > range[1]) range[1] = largest;
        }
    return count;
}

static size_t reach(float const *values, size_t count, float bound) {
    size_t reached = 0;
    for (size_t i = 0; i < count; i++) reached += values[i] >= bound;
    return reached;
}

#define FG_LOGITS_LEVEL scalar
#include "kernels/logits/dtypes.h"
