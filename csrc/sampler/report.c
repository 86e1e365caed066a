#include "sampler/chain.h"

/** The view of the row as the model gave it. */
static fg_view raw_view(fg_chain const *chain, float *largest) {
    fg_view raw = chain->view;
    int const masked = raw.mask != NULL;
    raw.mask = NULL, raw.edits = NULL, raw.patched = 0;
    raw.ceiling = INFINITY, raw.first_top = 0, raw.end_top = raw.count;
    *largest = masked ? fg_view_scan(&raw) : chain->raw_max;
    return raw;
}

/** How a score becomes a log-probability or a logit. The largest is taken off first: added to the logarithm of the
 * mass, a large one would swallow it. */
typedef struct scaling {
    double largest, scale, offset;
} scaling;

static double scaled(scaling const *scaling, float score) {
    return ((double)score - scaling->largest) * scaling->scale + scaling->offset;
}

/** The best tokens of a view that a band holds. */
static void report_best(fg_chain *chain, fg_view *view, fg_band const *band, scaling const *scaling,
                        fg_report *report) {
    int const wanted = chain->sampler->plan.logprobs;
    report->count = 0;
    if (wanted == FG_LOGPROBS_ALL) {
        for (size_t id = 0; id < view->count; id++) {
            float const score = fg_view_score(view, id);
            report->ids[id] = (uint32_t)id;
            report->values[id] = fg_band_holds(band, score, id) ? (float)scaled(scaling, score) : -INFINITY;
        }
        report->count = view->count;
        return;
    }
    fg_list *const list = chain->list;
    if (wanted <= 0 || !fg_list_top(list, view, (size_t)wanted, 0)) return;
    fg_list_order(list);
    size_t next = list->first;
    for (; next < list->last; next++) {
        size_t const place = list->order[next];
        if (!fg_band_holds(band, list->scores[place], list->ids[place])) break;
        report->ids[report->count] = list->ids[place];
        report->values[report->count++] = (float)scaled(scaling, list->scores[place]);
    }
    /* of the equals at the floor the list has the lowest ids, the band perhaps the highest */
    if (next == list->last || list->scores[list->order[next]] < band->floor) return;
    if (list->ids[list->order[next]] >= band->first_tie) return;
    for (size_t id = band->first_tie; id < band->end_tie && report->count < (size_t)wanted; id++)
        if (fg_view_score(view, id) == band->floor) {
            report->ids[report->count] = (uint32_t)id;
            report->values[report->count++] = (float)scaled(scaling, band->floor);
        }
}

void fg_report_raw(fg_chain *chain, size_t token, fg_report *report) {
    fg_plan const *const plan = &chain->sampler->plan;
    float largest;
    fg_view raw = raw_view(chain, &largest);
    fg_band const band = fg_band_of(&raw, largest, chain->work->other_mass);
    scaling scaling = {0.0, 1.0, 0.0};
    if (plan->mode == FG_RAW_LOGPROBS || plan->entropy) {
        double total, surprisal = 0.0;
        fg_domain const domain = fg_band_domain(&band, 1.0);
        if (plan->entropy)
            total = fg_view_surprisal(&raw, &domain, chain->work->other_mass, &surprisal);
        else if (chain->raw_mass > 0.0)
            total = chain->raw_mass;
        else
            total = fg_view_mass(&raw, &domain, chain->work->other_mass);
        report->entropy = log(total) + surprisal * FG_LN_2 / total;
        report->probability = exp((double)fg_view_score(&raw, token) - largest) / total;
        if (plan->mode == FG_RAW_LOGPROBS) scaling.largest = largest, scaling.offset = -log(total);
    }
    report->token = scaled(&scaling, fg_view_score(&raw, token));
    report_best(chain, &raw, &band, &scaling, report);
}

/** What is left when all samplers are done. */
void fg_report_processed(fg_chain *chain, size_t token, fg_report *report) {
    fg_plan const *const plan = &chain->sampler->plan;
    int const logits = plan->mode == FG_PROCESSED_LOGITS;
    double surprisal, total;
    if (chain->replaying) fg_chain_become_list_again(chain);
    if (chain->listed) {
        fg_list_order(chain->list);
        total = fg_chain_list_mass(chain, &surprisal);
    } else {
        total = fg_band_surprisal(&chain->band, chain->temperature, &surprisal);
        surprisal *= FG_LN_2;
    }
    report->entropy = log(total) + surprisal / total;
    scaling const scaling = {logits ? 0.0 : chain->band.max, 1.0 / chain->temperature, logits ? 0.0 : -log(total)};
    if (!chain->listed) {
        float const score = fg_view_score(&chain->view, token);
        report->token = scaled(&scaling, score);
        report->probability = exp(((double)score - chain->band.max) * scaling.scale) / total;
        fg_band const band = chain->band;
        report_best(chain, &chain->view, &band, &scaling, report);
        return;
    }
    fg_list const *const list = chain->list;
    report->count = 0;
    for (size_t i = list->first; i < list->last; i++) {
        size_t const place = list->order[i];
        double const value = scaled(&scaling, list->scores[place]);
        if (list->ids[place] == token) {
            report->token = value;
            report->probability = list->weights[place] / total;
        }
        if (plan->logprobs == FG_LOGPROBS_ALL || (int)(i - list->first) < plan->logprobs)
            report->ids[report->count] = list->ids[place], report->values[report->count++] = (float)value;
    }
}
