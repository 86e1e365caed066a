/** Kernels over one row of logits: the passes that sampling is made of.
 *
 * A row is `count` scores of one dtype, unaligned, read only. -inf is a legal score ("never this token"); NaN and +inf
 * are faults, which the first pass reports. A float16 or bfloat16 score is widened exactly, so all arithmetic is
 * float32.
 *
 * Blocks and lanes. A row is cut into blocks of 256 scores, a block into 16 lanes (score i belongs to lane i % 16): one
 * AVX-512 register, two AVX2, four NEON, an array in scalar code. Sums run lane by lane, then lanes are added in one
 * fixed tree. Every level does the same operations in the same order, so results have the same bits everywhere.
 *
 * Weights. The weight of a score z is 2^((z - max) * scale), with scale = log2(e) / temperature: the softmax numerator,
 * 1 for the largest score. Fused multiply-adds stand at the same places on every level. Weights under 2^-125 are never
 * computed: no domain reaches down to them. */
#ifndef FG_KERNELS_LOGITS_H
#define FG_KERNELS_LOGITS_H

#include "base/base.h"
#include "cpu.h"

enum { FG_LANES = 16, FG_BLOCK = 256 };

FG_INLINE size_t fg_block_count(size_t count) { return (count + FG_BLOCK - 1) / FG_BLOCK; }

/** Part of a row in descending order: scores above `bound`, and those equal to it whose index lies in
 * [first_tie, end_tie). Where lower indices come first among equals, `first_tie` is 0; where higher ones do, `end_tie`
 * is the row's length. */
typedef struct fg_domain {
    float max;   /* at least the largest score of the row, finite */
    float scale; /* log2(e) / temperature, positive and finite */
    float bound; /* at least what fg_whole_row() sets: that keeps every weight a normal number, and -inf outside */
    size_t first_tie, end_tie;
} fg_domain;

/** The next float above a finite value or -inf. */
FG_INLINE float fg_next_above(float value) {
    if (value == 0.0f) return 0x1p-149f;
    uint32_t const bits = fg_bits_from_float(value);
    return fg_float_from_bits(value > 0.0f ? bits + 1 : bits - 1);
}

/** The lowest finite float that is at least `value`. Rounding down would let a score in that lies below, and among
 * large scores far below. */
FG_INLINE float fg_bound_at(double value) {
    if (!(value > -0x1.fffffep127)) return -0x1.fffffep127f;
    float const nearest = (float)value;
    return nearest < value ? fg_next_above(nearest) : nearest;
}

/** Every score whose weight is at least 2^-125. */
FG_INLINE fg_domain fg_whole_row(float max, double temperature, size_t count) {
    float const scale = (float)(1.4426950408889634 / temperature); /* log2(e) */
    return (fg_domain){max, scale, fg_bound_at((double)max - 125.0 / (double)scale), 0, count};
}

/** Bit i % 32 of word i / 32 of a bitmask says whether score i may be chosen. NULL: every one may. */
FG_INLINE int fg_allowed(uint32_t const *mask, size_t index) { return !mask || (mask[index / 32] >> index % 32 & 1); }

/** Largest score, NaN if there is any NaN; -0 counts as +0. `lane_maxima` (may be NULL) gets 16 floats a block, -inf
 * where the last block has no score. `count` must be positive, as everywhere below.
 *
 * Scores that `mask` does not allow count as -inf for all maxima; among them a NaN or +inf is a fault all the same:
 * with a mask the result is NaN if any score is NaN or +inf. */
typedef float fg_scan_fn(void const *row, size_t count, uint32_t const *mask, float *lane_maxima);

/** Lowest index whose score equals `value`, or `count`. */
typedef size_t fg_find_fn(void const *row, size_t count, float value);

/** Sum of the weights in the domain of scores that `mask` allows; `block_mass` gets the sum of each block. Blocks
 * without a score in the domain are not read. */
typedef double fg_mass_fn(void const *row, size_t count, uint32_t const *mask, float const *lane_maxima,
                          fg_domain const *domain, double *block_mass);

/** The same sum and block sums with the same bits, and in `surprisal` the sum of weight * (max - score) * scale: the
 * entropy in bits is log2(mass) + surprisal / mass. */
typedef double fg_surprisal_fn(void const *row, size_t count, uint32_t const *mask, float const *lane_maxima,
                               fg_domain const *domain, double *block_mass, double *surprisal);

/** Weights of one block (`count` <= 256 scores; the ties count from the block's start); 0 outside the domain. */
typedef void fg_weigh_fn(void const *block, size_t count, fg_domain const *domain, float *weights);

/** Threshold filter with compaction: scores >= threshold and their indices, in index order. Stores at most `capacity`,
 * and may scribble over the 16 elements behind them; returns the number stored. `lane_maxima` may be NULL. */
typedef size_t fg_filter_fn(void const *row, size_t count, float const *lane_maxima, float threshold, float *scores,
                            uint32_t *indices, size_t capacity);

/** What a row's mean and deviation are made of: how many scores are above -inf, and the sums of score - shift and of
 * its square over those. */
typedef struct fg_moments {
    double count, sum, squares;
} fg_moments;
typedef fg_moments fg_moments_fn(void const *row, size_t count, float shift);

/** Widen one block (`count` <= 256 scores) to float32; what `mask` (which starts at the block, may be NULL) does not
 * allow, and what is above `ceiling`, becomes -inf. */
typedef void fg_lift_fn(void const *block, size_t count, uint32_t const *mask, float ceiling, float *scores);

/** Maxima of wider groups: one lane of `span` blocks in turn. `groups` gets 16 floats for each span; `range` the lowest
 * of them that is above -inf (the largest float if none is) and the highest. Returns how many groups there are. */
typedef size_t fg_fold_fn(float const *lane_maxima, size_t blocks, size_t span, float *groups, float range[2]);

/** How many of `count` values, a multiple of 16, are at least `bound`. */
typedef size_t fg_reach_fn(float const *values, size_t count, float bound);

typedef struct fg_logits_kernels {
    fg_scan_fn *scan[FG_DTYPES];
    fg_find_fn *find[FG_DTYPES];
    fg_mass_fn *mass[FG_DTYPES];
    fg_surprisal_fn *surprisal[FG_DTYPES];
    fg_weigh_fn *weigh[FG_DTYPES];
    fg_filter_fn *filter[FG_DTYPES];
    fg_moments_fn *moments[FG_DTYPES];
    fg_lift_fn *lift[FG_DTYPES];
    fg_fold_fn *fold;
    fg_reach_fn *reach;
} fg_logits_kernels;

/** The best table for these features; every slot is filled. */
fg_logits_kernels fg_logits_select(fg_features features);

/** Lowest index of the largest score. `largest` gets what the scan found; where that is NaN or +inf the index means
 * nothing. */
size_t fg_logits_argmax(fg_logits_kernels const *kernels, fg_dtype dtype, void const *row, size_t count,
                        float *largest);

/** Room for fg_logits_cut: `scores`, `copy` and `indices` hold `capacity` + FG_LANES elements each. */
typedef struct fg_cut_room {
    float *scores, *copy;
    uint32_t *indices;
    size_t capacity;
} fg_cut_room;

/** The capacity that the `k` largest of `count` scores need at worst: below 256 k, and never over `count`. */
size_t fg_logits_cut_capacity(size_t count, size_t k);

/** Narrow `domain`, a whole row, to the k largest scores (1 <= k <= count), equal scores by lowest index. */
void fg_logits_cut(fg_logits_kernels const *kernels, fg_dtype dtype, void const *row, size_t count,
                   float const *lane_maxima, size_t k, fg_cut_room *room, fg_domain *domain);

/* 2^f = 1 + f * q(f) on [-1/2, 1/2], minimax in relative error (2.6e-9, under a twentieth of a float32 ulp). */
#define FG_EXP2_C1 0x1.62e432p-1f
#define FG_EXP2_C2 0x1.ebfbe2p-3f
#define FG_EXP2_C3 0x1.c6ae72p-5f
#define FG_EXP2_C4 0x1.3b270ep-7f
#define FG_EXP2_C5 0x1.5f7276p-10f
#define FG_EXP2_C6 0x1.470b4ap-13f
/* 1.5 * 2^23: adding it rounds to an integer, which then stands in the low mantissa bits. */
#define FG_ROUND_MAGIC 12582912.0f

FG_INLINE size_t fg_dtype_size(fg_dtype dtype) { return dtype == FG_FLOAT32 ? 4 : 2; }

FG_INLINE void const *fg_row_at(void const *row, size_t index, fg_dtype dtype) {
    return (char const *)row + index * fg_dtype_size(dtype);
}

FG_INLINE float fg_load_score(void const *row, size_t index, fg_dtype dtype) {
    if (dtype == FG_FLOAT32) { /* by memcpy: rows may be unaligned */
        float score;
        memcpy(&score, fg_row_at(row, index, dtype), sizeof score);
        return score;
    }
    uint16_t half;
    memcpy(&half, fg_row_at(row, index, dtype), sizeof half);
    return dtype == FG_BFLOAT16 ? fg_float_from_bfloat16(half) : fg_float_from_float16(half);
}

/** Which scores of a block the domain holds: those >= bound, those > bound, or it depends on the index. */
typedef enum fg_ties { FG_TIES_IN, FG_TIES_OUT, FG_TIES_SPLIT } fg_ties;

FG_INLINE fg_ties fg_ties_of(size_t start, size_t end, fg_domain const *domain) {
    if (start >= domain->first_tie && end <= domain->end_tie) return FG_TIES_IN;
    return start >= domain->end_tie || end <= domain->first_tie ? FG_TIES_OUT : FG_TIES_SPLIT;
}

#endif
