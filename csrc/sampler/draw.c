#include "sampler/chain.h"

enum { CHECKED_BLOCKS = 16 }; /* of a row between two looks whether the answer is known */

static size_t draw_from_list(fg_chain *chain, double uniform) {
    fg_list *const list = chain->list;
    fg_chain_weigh(chain, chain->temperature);
    if (list->ordered) {
        for (size_t i = 0; i < list->first; i++) list->weights[list->order[i]] = 0.0f;
        for (size_t i = list->last; i < list->count; i++) list->weights[list->order[i]] = 0.0f;
    }
    double total = 0.0, passed = 0.0;
    for (size_t i = 0; i < list->count; i++) total += list->weights[i];
    double const target = uniform * total;
    size_t last = 0;
    for (size_t i = 0; i < list->count; i++)
        if (list->weights[i] > 0.0f) {
            last = i;
            passed += list->weights[i];
            if (passed > target) break;
        }
    chain->probability = list->weights[last] / total;
    return list->ids[last];
}

/** Narrow the band to the tokens that come before one in the order of the filling. */
static void narrow_to_before(fg_chain *chain, size_t token) {
    fg_filling const *const filling = &chain->filling;
    fg_band *const band = &chain->band;
    fg_view *const view = &chain->view;
    float const score = fg_view_score(view, token);
    if (!filling->nearest) {
        if (score > band->floor) band->first_tie = 0, band->end_tie = view->count;
        band->floor = score;
        if (filling->high_first)
            band->first_tie = token + 1;
        else
            band->end_tie = token;
        return;
    }
    /* the token's own side ends right before its score; the other side where it would be as far away */
    double const distance = fabs((double)score - filling->center);
    if (score >= filling->center) {
        view->ceiling = score, view->first_top = view->end_top = 0;
        double const other = filling->center - distance;
        float const floor = fg_bound_at(other);
        fg_band_raise(band, floor);
        if (floor == band->floor && (double)floor == other) band->first_tie = band->end_tie = 0;
    } else {
        band->floor = score, band->first_tie = band->end_tie = 0;
        double const other = filling->center + distance;
        float const ceiling = -fg_bound_at(-other);
        if (ceiling < view->ceiling) view->ceiling = ceiling, view->first_top = 0, view->end_top = view->count;
        if (ceiling == view->ceiling && (double)ceiling == other) view->first_top = view->end_top = 0;
    }
}

/** Whether the mass of the band, which holds the tokens before the drawn one, is below the limit.
 *
 * The draw was from blocks with the sums `drawn_from`, together `held`. What of them does not come before the token
 * adds up as the row is read: once it exceeds held - limit, the rest can't matter. So a token drawn from a nucleus of
 * 0.95 costs a fifth of a pass on average: the integral of 0.05 / q over q. If the answer is no, `held` and the band's
 * block sums are those of the tokens before the token. */
static int is_in_nucleus(fg_chain *chain, double const *drawn_from, double *held) {
    double const limit = chain->filling.limit, spare = *held - limit;
    if (spare < 0.0) return 1;
    fg_domain const domain = fg_band_domain(&chain->band, chain->temperature);
    double left = 0.0, sum = 0.0;
    for (size_t first = 0; first < chain->view.blocks; first += CHECKED_BLOCKS) {
        size_t const end = first + CHECKED_BLOCKS < chain->view.blocks ? first + CHECKED_BLOCKS : chain->view.blocks;
        double const part = fg_view_mass_of(&chain->view, &domain, first, end, chain->band.block_mass);
        sum += part;
        for (size_t block = first; block < end; block++) left += drawn_from[block];
        left -= part;
        if (left > spare) return 1;
    }
    *held = sum;
    return sum < limit || (chain->filling.inclusive && sum == limit);
}

static double weight_of(fg_chain *chain, size_t token) {
    fg_domain const domain = fg_whole_row(chain->band.max, chain->temperature, 1);
    float const score = fg_view_score(&chain->view, token);
    float weight;
    chain->view.kernels->weigh[FG_FLOAT32](&score, 1, &domain, &weight);
    return weight;
}

/** Rejection sampling from a shrinking stretch, after Z. Ye et al., "Sorting-free GPU kernels for LLM sampling",
 * FlashInfer blog, 2025: a token that is not in the nucleus shows that the nucleus lies wholly before it. */
static size_t draw_from_band(fg_chain *chain) {
    fg_band *const band = &chain->band;
    if (chain->pending && chain->filled_at != chain->temperature) fg_chain_settle(chain);
    double held = fg_chain_band_mass(chain);
    double *drawn_from = band->block_mass;
    double *other = drawn_from == chain->work->block_mass ? chain->work->other_mass : chain->work->block_mass;
    for (uint32_t attempt = 0;; attempt++) {
        fg_domain const domain = fg_band_domain(band, chain->temperature);
        double const target = held * fg_chain_uniform(chain, FG_PURPOSE_SAMPLE, attempt);
        size_t const token = fg_band_locate(&chain->view, &domain, drawn_from, target);
        if (!chain->pending) {
            chain->probability = weight_of(chain, token) / held;
            return token;
        }
        narrow_to_before(chain, token);
        band->block_mass = other;
        if (is_in_nucleus(chain, drawn_from, &held)) return token;
        other = drawn_from, drawn_from = band->block_mass;
    }
}

/** llama.cpp's draw: from candidates in their order, or from a band in the order that they would have. */
static size_t draw_replayed(fg_chain *chain, int discrete) {
    fg_mt19937 *const generator = &chain->sampler->generators->token;
    if (chain->replaying) {
        size_t const drawn = (discrete ? fg_replay_discrete : fg_replay_draw)(&chain->candidates, generator);
        chain->probability = chain->candidates.data[drawn].p;
        return chain->candidates.data[drawn].id;
    }
    fg_chain_settle(chain);
    double const mass = fg_chain_band_mass(chain), target = fg_mt19937_double(generator) * mass;
    size_t token;
    if (chain->sorted || discrete) {
        fg_band reached = chain->band;
        fg_filling const up_to = {.limit = target};
        token = fg_band_cut(&reached, chain->temperature, &up_to);
    } else {
        fg_domain const domain = fg_band_domain(&chain->band, chain->temperature);
        token = fg_band_locate(&chain->view, &domain, chain->band.block_mass, target);
    }
    chain->probability = weight_of(chain, token) / mass;
    return token;
}

void fg_chain_steer(fg_chain *chain) {
    fg_plan const *const plan = &chain->sampler->plan;
    if (!plan->count) return;
    fg_op const *const last = &plan->ops[plan->count - 1];
    if (last->kind != FG_OP_MIROSTAT_1 && last->kind != FG_OP_MIROSTAT_2) return;
    chain->sampler->mu -= last->b * (-log2(chain->probability) - last->a);
}

size_t fg_chain_draw(fg_chain *chain) {
    fg_plan const *const plan = &chain->sampler->plan;
    if (!plan->replay)
        return chain->listed ? draw_from_list(chain, fg_chain_uniform(chain, FG_PURPOSE_SAMPLE, 0))
                             : draw_from_band(chain);
    int const last = plan->count ? plan->ops[plan->count - 1].kind : FG_OP_TEMPERATURE;
    if (chain->listed && !chain->replaying) fg_chain_become_candidates(chain);
    return draw_replayed(chain, last == FG_OP_MIROSTAT_1 || last == FG_OP_MIROSTAT_2);
}
