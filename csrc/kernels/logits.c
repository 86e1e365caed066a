#include "kernels/logits.h"

#include "base/select.h"
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
        float const chunk_largest = kernels->scan[dtype](fg_row_at(row, start, dtype), length, NULL, NULL);
        if (!(chunk_largest < INFINITY)) { /* +inf or NaN: NaN fails every compare */
            *largest = chunk_largest;
            return count;
        }
        if (chunk_largest > *largest) *largest = chunk_largest, best = start;
    }
    return best + kernels->find[dtype](fg_row_at(row, best, dtype), count - best, *largest);
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
        floor = fg_select_descending(room->copy, blocks, k - 1);
    } else if (k <= blocks * FG_LANES) {
        memcpy(room->copy, lane_maxima, blocks * FG_LANES * sizeof *lane_maxima);
        floor = fg_select_descending(room->copy, blocks * FG_LANES, k - 1);
    }

    size_t const above = kernels->filter[dtype](row, count, lane_maxima, fg_next_above(floor), room->scores,
                                                room->indices, room->capacity);
    if (above < k) { /* the k-th is one of the scores equal to `floor` */
        if (floor < domain->bound) return;
        size_t end = 0;
        for (size_t rank = above; rank < k; rank++)
            end += kernels->find[dtype](fg_row_at(row, end, dtype), count - end, floor) + 1;
        domain->bound = floor, domain->first_tie = 0, domain->end_tie = end;
        return;
    }
    memcpy(room->copy, room->scores, above * sizeof *room->scores);
    float const bound = fg_select_descending(room->copy, above, k - 1);
    if (bound < domain->bound) return;
    size_t rank = k; /* of the last tie that is let in, counted from 1 */
    for (size_t i = 0; i < above; i++) rank -= room->scores[i] > bound;
    size_t last = 0;
    for (;; last++)
        if (room->scores[last] == bound && --rank == 0) break;
    domain->bound = bound, domain->first_tie = 0, domain->end_tie = (size_t)room->indices[last] + 1;
}
