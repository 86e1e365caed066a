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

/** Log-probabilities, or logits, of the token and of the best ones. `offset` and `scale` turn a score into the value.
 */
static void report_best(fg_chain *chain, fg_view *view, fg_band const *band, double scale, double offset,
                        fg_report *report) {
    int const wanted = chain->sampler->plan.logprobs;
    report->count = 0;
    if (wanted == FG_LOGPROBS_ALL) {
        for (size_t id = 0; id < view->count; id++) {
            float const score = fg_view_score(view, id);
            report->ids[id] = (uint32_t)id;
            report->values[id] = fg_band_holds(band, score, id) ? (float)((double)score * scale + offset) : -INFINITY;
        }
        report->count = view->count;
        return;
    }
    if (wanted <= 0 || !fg_list_top(chain->list, view, (size_t)wanted, 0)) return;
    fg_list_order(chain->list);
    for (size_t i = chain->list->first; i < chain->list->last; i++) {
        size_t const place = chain->list->order[i];
        if (!fg_band_holds(band, chain->list->scores[place], chain->list->ids[place])) break;
        report->ids[report->count] = chain->list->ids[place];
        report->values[report->count++] = (float)((double)chain->list->scores[place] * scale + offset);
    }
}

void fg_report_raw(fg_chain *chain, size_t token, fg_report *report) {
    fg_plan const *const plan = &chain->sampler->plan;
    float largest;
    fg_view raw = raw_view(chain, &largest);
    fg_band const band = fg_band_of(&raw, largest, chain->work->other_mass);
    double offset = 0.0;
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
        if (plan->mode == FG_RAW_LOGPROBS) offset = -(double)largest - log(total);
    }
    report->token = (double)fg_view_score(&raw, token) + offset;
    report_best(chain, &raw, &band, 1.0, offset, report);
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
    double const scale = 1.0 / chain->temperature;
    double const offset = logits ? 0.0 : -(double)chain->band.max * scale - log(total);
    if (!chain->listed) {
        double const score = fg_view_score(&chain->view, token);
        report->token = score * scale + offset;
        report->probability = exp((score - chain->band.max) * scale) / total;
        fg_band const band = chain->band;
        report_best(chain, &chain->view, &band, scale, offset, report);
        return;
    }
    fg_list const *const list = chain->list;
    report->count = 0;
    for (size_t i = list->first; i < list->last; i++) {
        size_t const place = list->order[i];
        double const value = (double)list->scores[place] * scale + offset;
        if (list->ids[place] == token) {
            report->token = value;
            report->probability = list->weights[place] / total;
        }
        if (plan->logprobs == FG_LOGPROBS_ALL || (int)(i - list->first) < plan->logprobs)
            report->ids[report->count] = list->ids[place], report->values[report->count++] = (float)value;
    }
}
