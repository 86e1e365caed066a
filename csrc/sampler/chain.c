#include "sampler/chain.h"

double fg_chain_band_mass(fg_chain *chain) {
    if (chain->mass < 0.0) {
        chain->mass = fg_band_mass(&chain->band, chain->temperature);
        if (fg_view_is_plain(&chain->view) && chain->temperature == 1.0 && chain->band.floor == -0x1.fffffep127f)
            chain->raw_mass = chain->mass;
    }
    return chain->mass;
}

/* Lists. */

void fg_chain_weigh(fg_chain *chain, double temperature) {
    fg_list_weigh(chain->list, chain->view.kernels, chain->band.max, temperature);
}

double fg_chain_list_mass(fg_chain *chain, double *surprisal) {
    double total = 0.0, weighted = 0.0;
    fg_chain_weigh(chain, chain->temperature);
    for (size_t i = 0; i < fg_list_size(chain->list); i++) {
        double const weight = fg_chain_weight_at(chain, i);
        total += weight;
        weighted += weight * ((double)chain->band.max - (double)fg_chain_score_at(chain, i));
    }
    if (surprisal) *surprisal = weighted / chain->temperature;
    return total;
}

void fg_chain_fill(fg_chain *chain, fg_filling const *filling, double temperature) {
    fg_list *const list = chain->list;
    fg_list_order(list);
    fg_chain_weigh(chain, temperature);
    double before = 0.0;
    size_t end = list->first;
    for (; end < list->last; end++) {
        if (end > list->first && !(before < filling->limit || (filling->inclusive && before == filling->limit))) break;
        before += list->weights[list->order[end]];
    }
    int const turn =
        filling->high_first && end < list->last; /* the equals that are cut through: the highest ids stay */
    if (turn) fg_list_turn_ties(list, end - 1);
    list->last = end;
    if (turn) fg_list_turn_ties(list, end - 1); /* those that stay are in order again */
}

void fg_chain_fill_nearest(fg_chain *chain, fg_filling const *filling) {
    fg_list *const list = chain->list;
    size_t below = list->first; /* the first that is not above the center; [above, below) is in */
    while (below < list->last && (double)list->scores[list->order[below]] > filling->center) below++;
    size_t above = below;
    double mass = 0.0;
    while (above > list->first || below < list->last) {
        if (below > above && !(mass < filling->limit)) break;
        double const up = above > list->first ? list->scores[list->order[above - 1]] - filling->center : INFINITY;
        double const down = below < list->last ? filling->center - list->scores[list->order[below]] : INFINITY;
        double const distance = up < down ? up : down;
        while (above > list->first && list->scores[list->order[above - 1]] - filling->center <= distance)
            mass += list->weights[list->order[--above]];
        while (below < list->last && filling->center - list->scores[list->order[below]] <= distance)
            mass += list->weights[list->order[below++]];
    }
    list->first = above, list->last = below;
    chain->band.max = list->scores[list->order[above]];
}

/** Keep scores >= bound; the largest always stays. */
static void drop_below(fg_chain *chain, float bound) {
    fg_list *const list = chain->list;
    if (bound > chain->band.max) bound = chain->band.max;
    if (list->ordered) {
        while (list->last > list->first + 1 && list->scores[list->order[list->last - 1]] < bound) list->last--;
        return;
    }
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++)
        if (list->scores[i] >= bound) list->scores[kept] = list->scores[i], list->ids[kept] = list->ids[i], kept++;
    list->count = kept;
}

/** Drop what the band had ruled out before the list was taken; the list is in id order then. */
static void clip(fg_chain *chain) {
    fg_list *const list = chain->list;
    for (size_t i = 0; i < list->count; i++) list->weights[i] = 0.0f; /* marks what is in */
    for (size_t i = 0; i < fg_list_size(list); i++) list->weights[fg_list_place(list, i)] = 1.0f;
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++)
        if (list->weights[i] > 0.0f && fg_band_holds(&chain->band, list->scores[i], list->ids[i]))
            list->scores[kept] = list->scores[i], list->ids[kept] = list->ids[i], kept++;
    list->count = kept, list->ordered = 0;
}

void fg_chain_become_list(fg_chain *chain) {
    if (chain->band.floor > -0x1.fffffep127f) clip(chain);
    chain->listed = 1;
    if (chain->pending) {
        chain->pending = 0;
        fg_chain_fill(chain, &chain->filling, chain->filled_at);
    }
}

/* Bands. */

void fg_chain_settle(fg_chain *chain) {
    if (!chain->pending) return;
    chain->pending = 0;
    fg_band_cut(&chain->band, chain->filled_at, &chain->filling);
    chain->mass = -1.0;
}

/** Few candidates make a list; of many only the bound is kept. */
static void raise_floor(fg_chain *chain, float bound) {
    if (bound > chain->band.max) bound = chain->band.max;
    if (bound <= chain->band.floor) return;
    if (fg_list_above(chain->list, &chain->view, bound)) {
        fg_chain_become_list(chain);
        return;
    }
    fg_band_raise(&chain->band, bound);
    chain->mass = -1.0;
}

void fg_chain_threshold(fg_chain *chain, float bound) {
    if (chain->listed)
        drop_below(chain, bound);
    else
        raise_floor(chain, bound);
}

double fg_chain_mass(fg_chain *chain, double *entropy) {
    double total, surprisal;
    if (chain->listed) {
        total = fg_chain_list_mass(chain, &surprisal);
    } else {
        fg_chain_settle(chain);
        total = chain->mass = fg_band_surprisal(&chain->band, chain->temperature, &surprisal);
        surprisal *= FG_LN_2; /* bits to nats */
    }
    *entropy = log(total) + surprisal / total;
    return total;
}

/* llama.cpp's candidates. */

void fg_chain_become_candidates(fg_chain *chain) {
    fg_list *const list = chain->list;
    size_t const count = fg_list_size(list);
    chain->candidates = (fg_candidates){chain->work->candidates, count, list->ordered};
    for (size_t i = 0; i < count; i++) {
        size_t const place = fg_list_place(list, i);
        chain->candidates.data[i] = (fg_candidate){.id = list->ids[place], .logit = list->scores[place]};
    }
    if (chain->temperature != 1.0) fg_replay_temperature(&chain->candidates, (float)chain->temperature);
    chain->replaying = 1;
}

void fg_chain_become_list_again(fg_chain *chain) {
    fg_list *const list = chain->list;
    list->count = chain->candidates.count, list->ordered = 0;
    float largest = -INFINITY;
    for (size_t i = 0; i < list->count; i++) {
        fg_candidate const *const one = &chain->candidates.data[i];
        list->scores[i] = one->logit + 0.0f, list->ids[i] = one->id;
        largest = one->logit > largest ? one->logit : largest;
    }
    chain->band.max = largest, chain->temperature = 1.0;
    chain->replaying = 0, chain->listed = 1;
}
