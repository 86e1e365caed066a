#include "kernels/logits.h"

#include "base/target.h"

#include <math.h>

extern fg_logits_kernels const fg_logits_scalar, fg_logits_avx2, fg_logits_avx512, fg_logits_neon;

fg_logits_kernels fg_logits_select(fg_features features) {
    fg_logits_kernels best = fg_logits_scalar;
#if FG_X86
    if (features & FG_AVX2) FG_OVERLAY(best, fg_logits_avx2);
#endif
#if FG_X86_AVX512
    if (features & FG_AVX512) FG_OVERLAY(best, fg_logits_avx512);
#endif
#if FG_ARM
    if (features & FG_NEON) FG_OVERLAY(best, fg_logits_neon);
#endif
    (void)features;
    return best;
}

size_t fg_logits_argmax(fg_logits_kernels const *kernels, fg_dtype dtype, void const *row, size_t count,
                        float *largest) {
    enum { CHUNK = 64 * FG_BLOCK };
    size_t best = 0;
    *largest = -INFINITY;
    for (size_t start = 0; start < count; start += CHUNK) {
        size_t const length = count - start < CHUNK ? count - start : CHUNK;
        float const chunk_largest = kernels->scan[dtype](fg_row_at(row, start, dtype), length, NULL);
        if (!(chunk_largest < INFINITY)) { /* +inf or NaN: NaN fails every compare */
            *largest = chunk_largest;
            return count;
        }
        if (chunk_largest > *largest) *largest = chunk_largest, best = start;
    }
    return best + kernels->find[dtype](fg_row_at(row, best, dtype), count - best, *largest);
}

/** The `rank`-th largest value (rank 0 is the largest). Reorders `values`.
 *
 * Quickselect with three-way partition, so equal values cost one round, and pivots from a fixed sequence that no input
 * can foresee by accident: expected time is linear in `count`. The result does not depend on the pivots. */
static float select_descending(float *values, size_t count, size_t rank) {
    uint64_t state = 0x9E3779B97F4A7C15u;
    for (;;) {
        if (count == 1) return values[0];
        state = state * 6364136223846793005u + 1442695040888963407u;
        float const pivot = values[(size_t)((state >> 32) * (uint64_t)count >> 32)];
        size_t above = 0, equal = 0;
        for (size_t i = 0; i < count; i++) { /* without branches: `above` and `equal` advance by 0 or 1 */
            float const value = values[i];
            values[i] = values[above], values[above] = value;
            above += value > pivot;
            equal += value == pivot;
        }
        if (rank < above) {
            count = above;
        } else if (rank < above + equal) {
            return pivot;
        } else {
            rank -= above + equal;
            size_t below = 0;
            for (size_t i = above; i < count; i++) {
                float const value = values[i];
                values[below] = value;
                below += value < pivot;
            }
            count = below;
        }
    }
}

/* The k-th largest of the maxima of disjoint groups is a lower bound of the k-th largest score, since k groups reach
 * it; and at most k - 1 groups hold a score above it. Groups are blocks while there are k of them, else lanes of
 * blocks. */
enum { LANE_GROUP = FG_BLOCK / FG_LANES };

size_t fg_logits_cut_capacity(size_t count, size_t k) {
    size_t const blocks = fg_block_count(count), lanes = blocks * FG_LANES;
    if (k > lanes) return count;
    size_t const group = k <= blocks ? FG_BLOCK : LANE_GROUP, groups = k <= blocks ? blocks : lanes;
    size_t const candidates = (k - 1) * group < count ? (k - 1) * group : count;
    return candidates > groups ? candidates : groups;
}

void fg_logits_cut(fg_logits_kernels const *kernels, fg_dtype dtype, void const *row, size_t count,
                   float const *lane_maxima, size_t k, fg_cut_room *room, fg_domain *domain) {
    size_t const blocks = fg_block_count(count);
    float floor = -INFINITY;
    if (k <= blocks) {
        for (size_t block = 0; block < blocks; block++) {
            float const *maxima = lane_maxima + block * FG_LANES;
            float largest = maxima[0];
            for (int lane = 1; lane < FG_LANES; lane++) largest = maxima[lane] > largest ? maxima[lane] : largest;
            room->copy[block] = largest;
        }
        floor = select_descending(room->copy, blocks, k - 1);
    } else if (k <= blocks * FG_LANES) {
        memcpy(room->copy, lane_maxima, blocks * FG_LANES * sizeof *lane_maxima);
        floor = select_descending(room->copy, blocks * FG_LANES, k - 1);
    }

    size_t const above = kernels->filter[dtype](row, count, lane_maxima, fg_next_above(floor), room->scores,
                                                room->indices, room->capacity);
    if (above < k) { /* the k-th is one of the scores equal to `floor` */
        if (floor < domain->bound) return;
        size_t end = 0;
        for (size_t rank = above; rank < k; rank++)
            end += kernels->find[dtype](fg_row_at(row, end, dtype), count - end, floor) + 1;
        domain->bound = floor, domain->ties = end;
        return;
    }
    memcpy(room->copy, room->scores, above * sizeof *room->scores);
    float const bound = select_descending(room->copy, above, k - 1);
    if (bound < domain->bound) return;
    size_t rank = k; /* of the last tie that is let in, counted from 1 */
    for (size_t i = 0; i < above; i++) rank -= room->scores[i] > bound;
    size_t last = 0;
    for (;; last++)
        if (room->scores[last] == bound && --rank == 0) break;
    domain->bound = bound, domain->ties = (size_t)room->indices[last] + 1;
}
