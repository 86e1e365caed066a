#include "sampler.h"

#include "sampler/chain.h"

/** The lowest id of the largest score of a plain row: the lane maxima tell the block. */
static size_t first_of(fg_view const *view, float score) {
    size_t const lane = view->kernels->find[FG_FLOAT32](view->lane_maxima, view->blocks * FG_LANES, score);
    size_t const start = lane / FG_LANES * FG_BLOCK;
    return start +
           view->kernels->find[view->dtype](fg_row_at(view->row, start, view->dtype), view->count - start, score);
}

static size_t cleanse(fg_row const *row, float *scores) {
    size_t masked = 0;
    for (size_t i = 0; i < row->count; i++) {
        float const score = fg_load_score(row->data, i, row->dtype);
        int const finite = score < INFINITY;
        scores[i] = finite ? score : -INFINITY;
        masked += (size_t)!finite;
    }
    return masked;
}

static uint32_t const *combined_mask(fg_sampler const *sampler, fg_workspace *work, fg_row const *row) {
    if (!sampler->allowed || !row->mask) return row->mask ? row->mask : sampler->allowed;
    for (size_t word = 0; word < (row->count + 31) / 32; word++)
        work->mask[word] = sampler->allowed[word] & row->mask[word];
    return work->mask;
}

/** Look at the row for the first time. */
static fg_fault begin(fg_chain *chain, fg_sampler *sampler, fg_workspace *work, fg_row const *row) {
    memset(&sampler->passes, 0, sizeof sampler->passes);
    sampler->masked = 0;
    chain->sampler = sampler, chain->work = work, chain->row = row;
    chain->list = &work->list;
    chain->temperature = 1.0, chain->mass = -1.0, chain->whole = chain->probability = 0.0;
    chain->listed = chain->pending = chain->replaying = chain->sorted = 0;
    fg_view *const view = &chain->view;
    view->kernels = row->kernels, view->row = row->data, view->dtype = row->dtype, view->count = row->count;
    view->blocks = fg_block_count(row->count);
    view->mask = combined_mask(sampler, work, row);
    view->lane_maxima = work->lane_maxima;
    view->edits = sampler->edits && sampler->edits->used ? sampler->edits : NULL;
    view->patched = 0;
    view->patch_starts = work->patch_starts;
    if (view->edits) {
        size_t const room = view->edits->capacity / 2;
        view->patch_ids = view->edits->patch_ids, view->patch_scores = view->edits->patch_floats;
        view->patch_before = view->patch_scores + room;
        view->new_weights = view->patch_before + room, view->old_weights = view->new_weights + room;
    }
    view->ceiling = INFINITY, view->first_top = 0, view->end_top = row->count;
    view->passes = &sampler->passes;
    float largest = fg_view_scan(view);
    if (!(largest < INFINITY)) {
        if (!sampler->plan.mask_nan) return FG_FAULT_NONFINITE;
        sampler->masked = cleanse(row, work->cleansed);
        view->row = work->cleansed, view->dtype = FG_FLOAT32;
        largest = fg_view_scan(view);
    }
    if (largest == -INFINITY) return FG_FAULT_NO_CANDIDATES;
    chain->band = fg_band_of(view, largest, work->block_mass);
    chain->raw_max = largest, chain->raw_mass = 0.0;
    return FG_FAULT_NONE;
}

/** Carry out the plan up to the draw. */
static fg_fault run(fg_chain *chain) {
    fg_plan const *const plan = &chain->sampler->plan;
    int first = 0;
    while (first < plan->count && plan->ops[first].kind == FG_OP_TEMPERATURE) first++;
    if (chain->view.edits) {
        /* The maximum is that after the edits. In the most usual plan the k best are taken out first, and it is among
         * them; else the best one is taken out for it. */
        fg_op const *const op = &plan->ops[first];
        int const usual = first < plan->count && op->kind == FG_OP_TOP_K && op->a <= FG_LIST_MOST &&
                          op->a < (double)chain->row->count && !fg_chain_needs_whole(plan, first);
        size_t const best = usual ? (size_t)op->a : 1;
        if (!fg_list_top(chain->list, &chain->view, best, usual && op->flags & FG_KEEP_TIES)) {
            if (!fg_list_top(chain->list, &chain->view, 1, 0)) return FG_FAULT_NO_CANDIDATES;
        } else if (usual) {
            chain->listed = 1;
        }
        fg_list const *const list = chain->list;
        if (!list->count) return FG_FAULT_NO_CANDIDATES;
        chain->band.max = fg_list_largest(list);
    }
    int next = 0;
    if (chain->listed) {
        for (; next < first; next++) chain->temperature *= plan->ops[next].a;
        next++;
        if (plan->replay) {
            fg_list_order(chain->list);
            fg_chain_become_candidates(chain);
        }
    }
    for (; next < plan->count; next++) fg_chain_apply(chain, next);
    return FG_FAULT_NONE;
}

static fg_fault largest_only(fg_chain *chain) {
    if (!fg_list_top(chain->list, &chain->view, 1, 0) || !chain->list->count) return FG_FAULT_NO_CANDIDATES;
    chain->listed = 1, chain->band.max = fg_list_largest(chain->list);
    return FG_FAULT_NONE;
}

fg_fault fg_sampler_choose(fg_sampler *sampler, fg_workspace *work, fg_row const *row, size_t *token,
                           fg_report *report) {
    fg_chain chain;
    fg_plan const *const plan = &sampler->plan;
    int const processed = plan->mode == FG_PROCESSED_LOGPROBS || plan->mode == FG_PROCESSED_LOGITS;
    int const wanted = report && (plan->logprobs != FG_LOGPROBS_NONE || plan->entropy);
    fg_fault fault = begin(&chain, sampler, work, row);
    if (fault != FG_FAULT_NONE) return fault;
    if (plan->greedy && fg_view_is_plain(&chain.view) && !(wanted && processed)) {
        *token = first_of(&chain.view, chain.raw_max);
    } else {
        fault = plan->greedy ? largest_only(&chain) : run(&chain);
        if (fault != FG_FAULT_NONE) return fault;
        if (wanted && processed && !chain.listed) fg_chain_settle(&chain);
        *token = plan->greedy ? chain.list->ids[fg_list_place(chain.list, 0)] : fg_chain_draw(&chain);
        fg_chain_steer(&chain);
    }
    if (wanted) {
        report->failed = 0, report->id = (uint32_t)*token;
        (processed ? fg_report_processed : fg_report_raw)(&chain, *token, report);
    }
    return FG_FAULT_NONE;
}

fg_fault fg_sampler_distribution(fg_sampler *sampler, fg_workspace *work, fg_row const *row, double *probabilities) {
    fg_chain chain;
    fg_sampler copy = *sampler; /* XTC may draw, mirostat may not learn */
    fg_replay generators;
    if (copy.generators) generators = *copy.generators, copy.generators = &generators;
    for (size_t id = 0; id < row->count; id++) probabilities[id] = 0.0;
    fg_fault fault = begin(&chain, &copy, work, row);
    if (fault == FG_FAULT_NONE) fault = copy.plan.greedy ? largest_only(&chain) : run(&chain);
    if (fault != FG_FAULT_NONE) return fault;
    if (chain.replaying) fg_chain_become_list_again(&chain);
    if (chain.listed) {
        double const total = fg_chain_list_mass(&chain, NULL);
        for (size_t i = 0; i < fg_list_size(chain.list); i++)
            probabilities[chain.list->ids[fg_list_place(chain.list, i)]] = fg_chain_weight_at(&chain, i) / total;
        return FG_FAULT_NONE;
    }
    fg_chain_settle(&chain);
    double const total = fg_chain_band_mass(&chain);
    fg_domain const domain = fg_band_domain(&chain.band, chain.temperature);
    for (size_t block = 0; block < chain.view.blocks; block++) {
        float weights[FG_BLOCK];
        fg_block const part = fg_view_block(&chain.view, block);
        fg_domain const local = fg_domain_from(domain, part.start);
        row->kernels->weigh[part.dtype](part.scores, part.count, &local, weights);
        for (size_t i = 0; i < part.count; i++) probabilities[part.start + i] = weights[i] / total;
    }
    return FG_FAULT_NONE;
}
