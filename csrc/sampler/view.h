/** A row of logits as the samplers see it: scores under a bitmask, edits and a ceiling, without a copy of the row.
 *
 * Blocks of 256 scores that nothing has been done to are read where they lie. A block under a mask, an edit or the
 * ceiling is lifted into a buffer of its own size first, so kernels meet plain scores only. Lane maxima are those of
 * the row under the mask; edits that lower scores leave them as upper bounds, which is all that skipping a block needs.
 */
#ifndef FG_SAMPLER_VIEW_H
#define FG_SAMPLER_VIEW_H

#include "kernels/logits.h"
#include "history/edits.h"

/** How often a row was read, in blocks of 256 scores, by what for; a whole row is fg_block_count() blocks. */
typedef struct fg_passes {
    uint64_t scanned, weighed, filtered, lifted, visited;
} fg_passes;

typedef struct fg_view {
    fg_logits_kernels const *kernels;
    void const *row;
    fg_dtype dtype;
    size_t count, blocks;
    uint32_t const *mask; /* NULL: every token may be chosen */
    float *lane_maxima;
    fg_edits const *edits; /* NULL: none */

    /* Edited scores of the row by block, once fg_view_patch() has laid them out. */
    int patched;
    uint32_t *patch_starts; /* [blocks + 1] */
    uint32_t *patch_ids;
    float *patch_scores;              /* after the edits */
    float *patch_before;              /* as the model gave them, -inf where the mask bars them */
    float *new_weights, *old_weights; /* scratch of the sums */

    /* Scores above `ceiling` are out, and those equal to it but for the indices in [first_top, end_top). */
    float ceiling;
    size_t first_top, end_top;

    fg_passes *passes;
    FG_ALIGNED(64) float lifted[FG_BLOCK];
} fg_view;

/** One block: its scores and their dtype. The pointer may be to `lifted`: it holds until the next call. */
typedef struct fg_block {
    void const *scores;
    fg_dtype dtype;
    size_t start, count;
} fg_block;

FG_INLINE int fg_view_below_ceiling(fg_view const *view, float score, size_t index) {
    return score < view->ceiling || (score == view->ceiling && index >= view->first_top && index < view->end_top);
}

/** Whether kernels may read the row itself, from end to end. */
FG_INLINE int fg_view_is_plain(fg_view const *view) { return !view->mask && !view->edits && view->ceiling == INFINITY; }

/** Fill the lane maxima; the result is the kernel's. */
float fg_view_scan(fg_view *view);

/** A score with everything that was done to it; -inf if it can't be chosen. */
float fg_view_score(fg_view const *view, size_t index);

/** Compute all edited scores and sort them by block: needed once before blocks are lifted. */
void fg_view_patch(fg_view *view);

fg_block fg_view_block(fg_view *view, size_t block);

/** As the kernels of the same name, over the whole view. */
double fg_view_mass(fg_view *view, fg_domain const *domain, double *block_mass);
double fg_view_surprisal(fg_view *view, fg_domain const *domain, double *block_mass, double *surprisal);

/** The mass of the blocks in [first, end) alone. */
double fg_view_mass_of(fg_view *view, fg_domain const *domain, size_t first, size_t end, double *block_mass);
fg_moments fg_view_moments(fg_view *view, float shift);

/** A domain whose ties count from a block's start. */
FG_INLINE fg_domain fg_domain_from(fg_domain domain, size_t start) {
    domain.first_tie = domain.first_tie > start ? domain.first_tie - start : 0;
    domain.end_tie = domain.end_tie > start ? domain.end_tie - start : 0;
    return domain;
}

/** Whether any lane of a block reaches `bound`. */
FG_INLINE int fg_view_reaches(fg_view const *view, size_t block, float bound) {
    float const *const maxima = view->lane_maxima + block * FG_LANES;
    int any = 0;
    for (int lane = 0; lane < FG_LANES; lane++) any |= maxima[lane] >= bound;
    return any;
}

#endif
