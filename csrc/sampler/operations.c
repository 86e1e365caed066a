/** The samplers. */
#include "sampler/chain.h"

static void top_k(fg_chain *chain, size_t k, int keep_ties) {
    fg_list *const list = chain->list;
    if (chain->listed) {
        fg_list_order(list);
        if (k >= list->last - list->first) return;
        size_t end = list->first + k;
        float const score = list->scores[list->order[end - 1]];
        while (keep_ties && end < list->last && list->scores[list->order[end]] == score) end++;
        list->last = end;
        return;
    }
    if (k >= chain->row->count) return;
    /* A nucleus that takes higher ids first among equals does not nest with the k best, which take lower ones: all
     * equals of the k-th come along, and the list is cut to k when the nucleus has been. */
    int const mixed = !keep_ties && ((chain->pending && chain->filling.high_first) || chain->band.first_tie > 0);
    if (k <= FG_LIST_MOST && fg_list_capacity(k) <= list->capacity &&
        fg_list_top(list, &chain->view, k, keep_ties || mixed)) {
        fg_chain_become_list(chain);
        if (mixed) top_k(chain, k, 0);
        return;
    }
    fg_chain_settle(chain);
    fg_filling const first_k = {.limit = (double)k, .unit = 1};
    fg_band const before = chain->band;
    fg_band_cut(&chain->band, chain->temperature, &first_k);
    if (keep_ties) { /* all of them, but for those that were out before */
        int const raised = chain->band.floor > before.floor;
        chain->band.first_tie = raised ? 0 : before.first_tie;
        chain->band.end_tie = raised ? chain->row->count : before.end_tie;
    }
    chain->mass = -1.0;
}

static void top_p(fg_chain *chain, fg_op const *op) {
    if (op->a >= 1.0) return;
    if (!chain->listed) fg_chain_settle(chain);
    double total;
    if (op->flags & FG_OF_WHOLE && chain->whole > 0.0)
        total = chain->whole;
    else if (chain->listed)
        total = fg_chain_list_mass(chain, NULL);
    else
        total = chain->row->total > 0.0 ? chain->row->total : fg_chain_band_mass(chain);
    fg_filling const filling = {.limit = op->a * total,
                                .high_first = (op->flags & FG_HIGH_IDS_FIRST) != 0,
                                .inclusive = (op->flags & FG_INCLUSIVE) != 0};
    if (chain->listed) {
        fg_chain_fill(chain, &filling, chain->temperature);
    } else {
        chain->pending = 1, chain->filling = filling, chain->filled_at = chain->temperature;
    }
}

/** Locally typical: C. Meister, T. Pimentel, G. Wiher, R. Cotterell, "Locally typical sampling", TACL 2023. A token's
 * surprise equals the entropy where its score is max - temperature * surprisal / mass: the center. */
static void typical(fg_chain *chain, double mass) {
    if (mass >= 1.0) return;
    double surprisal, total;
    if (chain->listed) {
        fg_list_order(chain->list);
        total = fg_chain_list_mass(chain, &surprisal);
    } else {
        fg_chain_settle(chain);
        total = chain->mass = fg_band_surprisal(&chain->band, chain->temperature, &surprisal);
        surprisal *= FG_LN_2;
    }
    fg_filling const filling = {.limit = mass * total,
                                .center = (double)chain->band.max - chain->temperature * surprisal / total,
                                .nearest = 1};
    if (chain->listed) {
        fg_chain_fill_nearest(chain, &filling);
    } else {
        chain->pending = 1, chain->filling = filling, chain->filled_at = chain->temperature;
    }
}

/** Eta: J. Hewitt, C. Manning, P. Liang, "Truncation sampling as language model desmoothing", EMNLP Findings 2022. */
static void eta(fg_chain *chain, double epsilon) {
    double entropy;
    double const total = fg_chain_mass(chain, &entropy), other = sqrt(epsilon) * exp(-entropy);
    fg_chain_threshold(chain, fg_chain_score(chain, (epsilon < other ? epsilon : other) * total));
}

static void epsilon(fg_chain *chain, double probability) {
    if (!chain->listed) fg_chain_settle(chain);
    double const total = chain->listed ? fg_chain_list_mass(chain, NULL) : fg_chain_band_mass(chain);
    fg_chain_threshold(chain, fg_chain_score(chain, probability * total));
}

/** Top-n-sigma: C. Tang et al., "Top-n sigma: not all logits are you need", 2024. */
static void top_n_sigma(fg_chain *chain, double n) {
    fg_spread spread = {0.0, 0.0, 0.0};
    if (chain->listed) {
        double squares = 0.0;
        spread.count = (double)fg_list_size(chain->list);
        for (size_t i = 0; i < fg_list_size(chain->list); i++)
            spread.mean += fg_chain_score_at(chain, i) / spread.count;
        for (size_t i = 0; i < fg_list_size(chain->list); i++) {
            double const distance = fg_chain_score_at(chain, i) - spread.mean;
            squares += distance * distance;
        }
        spread.deviation = sqrt(squares / spread.count);
    } else {
        fg_chain_settle(chain);
        spread = fg_band_spread(&chain->band);
    }
    fg_chain_threshold(chain, fg_bound_at((double)chain->band.max - n * spread.deviation));
}

/** Exclude top choices: P. E. Weidmann, text-generation-webui pull request 6335. */
static void xtc(fg_chain *chain, fg_op const *op) {
    if (fg_chain_uniform(chain, FG_PURPOSE_XTC, 0) > op->a) return;
    int const keep_ties = op->flags & FG_KEEP_TIES;
    if (!chain->listed) fg_chain_settle(chain);
    double const total = chain->listed ? fg_chain_list_mass(chain, NULL) : fg_chain_band_mass(chain);
    double const share = op->b * total;
    float const bound = share > 0.0 ? fg_chain_score(chain, share) : -0x1.fffffep127f;
    if (chain->listed) {
        fg_list *const list = chain->list;
        fg_list_order(list);
        size_t likely = list->first;
        while (likely < list->last && list->scores[list->order[likely]] >= bound) likely++;
        if (likely < list->first + 2) return;
        size_t last = likely - 1;
        float const score = list->scores[list->order[last]];
        while (keep_ties && last > list->first && list->scores[list->order[last - 1]] == score) last--;
        list->first = last;
        chain->band.max = score;
        return;
    }
    if (bound > chain->band.max) return;
    size_t last;
    float const lowest = fg_band_lowest(&chain->band, bound, &last);
    if (lowest == chain->band.max && keep_ties) return;
    chain->view.ceiling = lowest;
    chain->view.first_top = keep_ties ? 0 : last, chain->view.end_top = chain->row->count;
    chain->band.max = lowest;
    chain->mass = -1.0;
}

/** Keep the largest only: what a temperature of 0 means. */
static void only_the_largest(fg_chain *chain) {
    chain->pending = 0;
    top_k(chain, 1, 0);
}

/** Dynamic temperature: the temperature follows the entropy, from `a` at 0 to `b` where all are equally likely. */
static void dynatemp(fg_chain *chain, fg_op const *op) {
    double entropy, count;
    fg_chain_mass(chain, &entropy);
    count = chain->listed ? (double)fg_list_size(chain->list) : fg_band_spread(&chain->band).count;
    if (count <= 1.0) return;
    double const temperature = op->a + (op->b - op->a) * pow(entropy / log(count), op->c);
    if (temperature < 1e-5) {
        only_the_largest(chain);
        return;
    }
    chain->temperature *= temperature;
    chain->mass = -1.0;
}

/** Mirostat 1: the size of the set follows from Zipf's exponent of the 100 likeliest tokens and from the surprise that
 * is still allowed. S. Basu et al., "Mirostat", ICLR 2021. */
static void mirostat_1(fg_chain *chain) {
    enum { BEST = 100 };
    if (!chain->listed && !fg_list_top(chain->list, &chain->view, BEST, 0)) return;
    fg_list *const list = chain->list;
    fg_list_order(list);
    float ratios = 0.0f, squares = 0.0f;
    for (size_t i = list->first; i + 1 < list->last && i + 1 < list->first + BEST; i++) {
        float const rank = logf((float)(i - list->first + 2) / (float)(i - list->first + 1));
        float const ratio =
            (list->scores[list->order[i]] - list->scores[list->order[i + 1]]) / (float)chain->temperature;
        ratios += rank * ratio, squares += rank * rank;
    }
    float const exponent = ratios / squares, excess = exponent - 1.0f;
    float const size =
        powf(excess * powf(2.0f, (float)chain->sampler->mu) / (1.0f - powf((float)chain->row->count, -excess)),
             1.0f / exponent);
    /* a row of one token or of equals has no exponent; what is no number keeps one token, as a cast does */
    size_t const k = size >= 1.0f ? size < (float)chain->row->count ? (size_t)size : chain->row->count : 1;
    top_k(chain, k, 0);
}

/** Mirostat 2: tokens more surprising than allowed are out. */
static void mirostat_2(fg_chain *chain) {
    double const total = chain->listed ? fg_chain_list_mass(chain, NULL) : fg_chain_band_mass(chain);
    fg_chain_threshold(chain, fg_chain_score(chain, exp2(-chain->sampler->mu) * total));
}

int fg_chain_needs_whole(fg_plan const *plan, int from) {
    for (int i = from; i < plan->count; i++)
        if (plan->ops[i].flags & FG_OF_WHOLE && plan->ops[i].kind == FG_OP_TOP_P) return 1;
    return 0;
}

static void replay(fg_chain *chain, fg_op const *op) {
    fg_candidates *const all = &chain->candidates;
    switch (op->kind) {
    case FG_OP_TEMPERATURE:
        fg_replay_temperature(all, (float)op->a);
        break;
    case FG_OP_DYNATEMP:
        fg_replay_dynatemp(all, (float)op->a, (float)op->b, (float)op->c);
        break;
    case FG_OP_TOP_K:
        fg_replay_top_k(all, (size_t)op->a);
        break;
    case FG_OP_TOP_P:
        fg_replay_top_p(all, (float)op->a, 0.0);
        break;
    case FG_OP_MIN_P:
        fg_replay_min_p(all, (float)op->a);
        break;
    case FG_OP_TYPICAL:
        fg_replay_typical(all, (float)op->a);
        break;
    case FG_OP_TOP_N_SIGMA:
        fg_replay_top_n_sigma(all, (float)op->a);
        break;
    case FG_OP_XTC:
        fg_replay_xtc(all, (float)op->a, (float)op->b, &chain->sampler->generators->xtc);
        break;
    case FG_OP_EPSILON:
    case FG_OP_ETA: { /* llama.cpp has neither: as everywhere else, and the candidates stay in their order */
        int const sorted = all->sorted;
        fg_chain_become_list_again(chain);
        (op->kind == FG_OP_EPSILON ? epsilon : eta)(chain, op->a);
        fg_chain_become_candidates(chain);
        all->sorted = sorted;
        break;
    }
    default:
        break;
    }
}

void fg_chain_apply(fg_chain *chain, int index) {
    fg_op const *const op = &chain->sampler->plan.ops[index];
    if (chain->replaying) {
        replay(chain, op);
        return;
    }
    /* a nucleus around a center takes its maximum from its tokens, and nests with nothing */
    if (chain->pending && chain->filling.nearest && op->kind != FG_OP_TEMPERATURE) fg_chain_settle(chain);
    switch (op->kind) {
    case FG_OP_TEMPERATURE:
        chain->temperature *= op->a, chain->mass = -1.0;
        chain->whole = 0.0; /* it was of another temperature */
        break;
    case FG_OP_DYNATEMP:
        dynatemp(chain, op);
        chain->sorted = 1;
        break;
    case FG_OP_TOP_K:
        if (!chain->listed && fg_chain_needs_whole(&chain->sampler->plan, index))
            chain->whole = chain->row->total > 0.0 ? chain->row->total : fg_chain_band_mass(chain);
        top_k(chain, (size_t)op->a, op->flags & FG_KEEP_TIES);
        break;
    case FG_OP_TOP_P:
        top_p(chain, op);
        chain->sorted = 1;
        break;
    case FG_OP_MIN_P:
        fg_chain_threshold(chain, fg_chain_score(chain, op->a));
        break;
    case FG_OP_TYPICAL:
        typical(chain, op->a);
        break;
    case FG_OP_EPSILON:
        epsilon(chain, op->a);
        break;
    case FG_OP_ETA:
        eta(chain, op->a);
        break;
    case FG_OP_TOP_N_SIGMA:
        top_n_sigma(chain, op->a);
        break;
    case FG_OP_XTC:
        if (!chain->sampler->plan.replay) {
            xtc(chain, op);
        } else if (fg_mt19937_float(&chain->sampler->generators->xtc) <= (float)op->a) {
            fg_op const certain = {op->kind, op->flags, 1.0, op->b, 0.0};
            xtc(chain, &certain);
            chain->sorted = 1;
        }
        break;
    case FG_OP_MIROSTAT_1:
        mirostat_1(chain);
        break;
    case FG_OP_MIROSTAT_2:
        mirostat_2(chain);
        break;
    default:
        break;
    }
    if (chain->listed && chain->sampler->plan.replay) {
        if (chain->sorted) fg_list_order(chain->list);
        if (op->kind == FG_OP_TOP_K) fg_list_order(chain->list);
        fg_chain_become_candidates(chain);
    }
}
