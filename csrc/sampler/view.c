#include "sampler/view.h"

float fg_view_scan(fg_view *view) {
    view->passes->scanned += view->blocks;
    return view->kernels->scan[view->dtype](view->row, view->count, view->mask, view->lane_maxima);
}

float fg_view_score(fg_view const *view, size_t index) {
    if (!fg_allowed(view->mask, index)) return -INFINITY;
    float score = fg_load_score(view->row, index, view->dtype) + 0.0f;
    if (view->edits) {
        fg_edit const *const edit = fg_edits_find(view->edits, (int32_t)index);
        if (edit) score = fg_edits_apply(view->edits, edit, score);
    }
    return fg_view_below_ceiling(view, score, index) ? score : -INFINITY;
}

void fg_view_patch(fg_view *view) {
    if (view->patched || !view->edits) return;
    view->patched = 1;
    fg_edits const *const edits = view->edits;
    /* counting sort by block: sizes, then ends, then fill from behind, which leaves the starts */
    uint32_t *const starts = view->patch_starts;
    memset(starts, 0, (view->blocks + 1) * sizeof *starts);
    for (size_t i = 0; i < edits->capacity; i++) {
        int32_t const id = edits->slots[i].id;
        if (id >= 0 && (size_t)id < view->count) starts[(size_t)id / FG_BLOCK]++;
    }
    uint32_t end = 0;
    for (size_t block = 0; block <= view->blocks; block++) starts[block] = end += starts[block];
    for (size_t i = 0; i < edits->capacity; i++) {
        fg_edit const *const edit = &edits->slots[i];
        size_t const id = (size_t)edit->id;
        if (edit->id < 0 || id >= view->count) continue;
        float score = -INFINITY, before = -INFINITY;
        if (fg_allowed(view->mask, id)) {
            before = fg_load_score(view->row, id, view->dtype);
            score = fg_edits_apply(edits, edit, before);
            float *const maximum = view->lane_maxima + id / FG_BLOCK * FG_LANES + id % FG_LANES;
            if (score > *maximum) *maximum = score;
        }
        uint32_t const place = --starts[id / FG_BLOCK];
        view->patch_ids[place] = (uint32_t)id;
        view->patch_scores[place] = score, view->patch_before[place] = before;
    }
}

static int is_changed(fg_view const *view, size_t block) {
    return (view->edits && view->patch_starts[block] < view->patch_starts[block + 1]) || view->ceiling < INFINITY;
}

fg_block fg_view_block(fg_view *view, size_t block) {
    size_t const start = block * FG_BLOCK;
    size_t const count = view->count - start < FG_BLOCK ? view->count - start : FG_BLOCK;
    void const *const scores = fg_row_at(view->row, start, view->dtype);
    if (!view->mask && !is_changed(view, block)) return (fg_block){scores, view->dtype, start, count};
    uint32_t const *const mask = view->mask ? view->mask + start / 32 : NULL;
    view->kernels->lift[view->dtype](scores, count, mask, view->ceiling, view->lifted);
    view->passes->lifted++;
    if (view->edits)
        for (uint32_t i = view->patch_starts[block]; i < view->patch_starts[block + 1]; i++) {
            float const score = view->patch_scores[i];
            view->lifted[view->patch_ids[i] - start] = score <= view->ceiling ? score : -INFINITY;
        }
    if (view->ceiling < INFINITY && (view->first_top > start || view->end_top < start + count) &&
        fg_view_reaches(view, block, view->ceiling))
        for (size_t i = 0; i < count; i++)
            if (!fg_view_below_ceiling(view, view->lifted[i], start + i)) view->lifted[i] = -INFINITY;
    return (fg_block){view->lifted, FG_FLOAT32, start, count};
}

/** Runs of blocks without edits and above no ceiling go to the kernel in one call, with the mask. */
static size_t end_of_run(fg_view const *view, size_t block, size_t end) {
    if (!view->edits && view->ceiling == INFINITY) return end;
    while (block < end && !is_changed(view, block)) block++;
    return block;
}

/** `surprisal` may be NULL. */
static double add_up(fg_view *view, fg_domain const *domain, size_t first, size_t end, double *block_mass,
                     double *surprisal) {
    double total = 0.0;
    fg_view_patch(view);
    view->passes->weighed += end - first;
    for (size_t block = first; block < end;) {
        size_t const run = end_of_run(view, block, end), next = run > block ? run : block + 1;
        if (run == block && !fg_view_reaches(view, block, domain->bound)) {
            block_mass[block++] = 0.0;
            continue;
        }
        size_t const start = block * FG_BLOCK, stop = next * FG_BLOCK < view->count ? next * FG_BLOCK : view->count;
        fg_block const part =
            run > block ? (fg_block){fg_row_at(view->row, start, view->dtype), view->dtype, start, stop - start}
                        : fg_view_block(view, block);
        fg_domain const local = fg_domain_from(*domain, start);
        float const *const maxima = view->lane_maxima + block * FG_LANES;
        uint32_t const *const mask = view->mask && run > block ? view->mask + start / 32 : NULL;
        if (surprisal) {
            double sum = 0.0;
            total += view->kernels->surprisal[part.dtype](part.scores, part.count, mask, maxima, &local,
                                                          block_mass + block, &sum);
            *surprisal += sum;
        } else {
            total += view->kernels->mass[part.dtype](part.scores, part.count, mask, maxima, &local, block_mass + block);
        }
        block = next;
    }
    return total;
}

/** Weights of the edited scores in [first, end), which need not lie side by side in the row. */
static void weigh_edits(fg_view const *view, fg_domain const *domain, uint32_t first, uint32_t end, float const *scores,
                        float *weights) {
    for (uint32_t start = first; start < end; start += FG_BLOCK) {
        uint32_t const count = end - start < FG_BLOCK ? end - start : FG_BLOCK;
        fg_domain all = *domain;
        all.first_tie = 0, all.end_tie = count;
        view->kernels->weigh[FG_FLOAT32](scores + start, count, &all, weights + start);
        for (uint32_t i = start; i < start + count; i++) {
            uint32_t const id = view->patch_ids[i];
            if (scores[i] == domain->bound && (id < domain->first_tie || id >= domain->end_tie)) weights[i] = 0.0f;
        }
    }
}

/** The sums of the row without its edits, in one call, and what the edits add and take away. Taking away most of a
 * block would leave little more than the rounding of its sum: such a block is lifted and added up anew. */
static double add_up_edited(fg_view *view, fg_domain const *domain, size_t first, size_t end, double *block_mass) {
    fg_view_patch(view);
    view->passes->weighed += end - first;
    size_t const start = first * FG_BLOCK, stop = end * FG_BLOCK < view->count ? end * FG_BLOCK : view->count;
    fg_domain const local = fg_domain_from(*domain, start);
    view->kernels->mass[view->dtype](fg_row_at(view->row, start, view->dtype), stop - start,
                                     view->mask ? view->mask + start / 32 : NULL, view->lane_maxima + first * FG_LANES,
                                     &local, block_mass + first);
    uint32_t const *const starts = view->patch_starts;
    weigh_edits(view, domain, starts[first], starts[end], view->patch_scores, view->new_weights);
    weigh_edits(view, domain, starts[first], starts[end], view->patch_before, view->old_weights);
    double total = 0.0;
    for (size_t block = first; block < end; block++) {
        double added = 0.0, taken = 0.0;
        int above = 0; /* a score that was above the maximum has no weight, and its block no sum */
        for (uint32_t i = starts[block]; i < starts[block + 1]; i++) {
            added += view->new_weights[i], taken += view->old_weights[i];
            above |= view->patch_before[i] > domain->max;
        }
        if (above || taken > 0.5 * block_mass[block]) {
            fg_block const part = fg_view_block(view, block);
            fg_domain const own = fg_domain_from(*domain, part.start);
            view->kernels->mass[part.dtype](part.scores, part.count, NULL, view->lane_maxima + block * FG_LANES, &own,
                                            block_mass + block);
        } else {
            block_mass[block] += added - taken;
        }
        total += block_mass[block];
    }
    return total;
}

double fg_view_mass_of(fg_view *view, fg_domain const *domain, size_t first, size_t end, double *block_mass) {
    if (view->edits && view->ceiling == INFINITY) return add_up_edited(view, domain, first, end, block_mass);
    return add_up(view, domain, first, end, block_mass, NULL);
}

double fg_view_mass(fg_view *view, fg_domain const *domain, double *block_mass) {
    return fg_view_mass_of(view, domain, 0, view->blocks, block_mass);
}

double fg_view_surprisal(fg_view *view, fg_domain const *domain, double *block_mass, double *surprisal) {
    *surprisal = 0.0;
    return add_up(view, domain, 0, view->blocks, block_mass, surprisal);
}

fg_moments fg_view_moments(fg_view *view, float shift) {
    view->passes->visited += view->blocks;
    if (fg_view_is_plain(view)) return view->kernels->moments[view->dtype](view->row, view->count, shift);
    fg_view_patch(view);
    fg_moments all = {0.0, 0.0, 0.0};
    for (size_t block = 0; block < view->blocks; block++) {
        fg_block const part = fg_view_block(view, block);
        fg_moments const some = view->kernels->moments[part.dtype](part.scores, part.count, shift);
        all.count += some.count, all.sum += some.sum, all.squares += some.squares;
    }
    return all;
}
