/** The state between two samplers, and how it changes. */
#ifndef FG_SAMPLER_CHAIN_H
#define FG_SAMPLER_CHAIN_H

#include "sampler.h"

#include "base/random.h"
#include "sampler/band.h"

#include <math.h>

#define FG_LN_2 0.6931471805599453

/** The state between two samplers: the tokens that may still be chosen, as a list or as a band, and their temperature.
 */
typedef struct fg_chain {
    fg_sampler *sampler;
    fg_workspace *work;
    fg_row const *row;
    fg_view view;
    double temperature;
    int listed; /* else it is the band */
    fg_list *list;
    fg_band band; /* also says what list weights are relative to: band.max */

    /* The last nucleus, if nothing has needed its tokens yet: they are checked when one is drawn. */
    int pending;
    fg_filling filling;
    double filled_at; /* the temperature that its masses are of */

    double mass;  /* of the band at the temperature; negative: not known. block_mass holds its blocks */
    double whole; /* the mass before top-k, where top-p is measured by it */

    int replaying; /* the list has become llama.cpp's */
    fg_candidates candidates;
    int sorted; /* llama.cpp would have sorted by now */

    float raw_max;   /* of the row under the mask */
    double raw_mass; /* of the whole row as the model gave it, at temperature 1; 0 if it was not needed */

    double probability; /* of the token, once it is drawn without a pending nucleus */
} fg_chain;

FG_INLINE double fg_chain_uniform(fg_chain const *chain, uint32_t purpose, uint32_t attempt) {
    return fg_uniform(chain->sampler->seed, chain->row->choice, chain->row->position, purpose, attempt);
}

/** The score whose weight is `share` times that of the maximum. */
FG_INLINE float fg_chain_score(fg_chain const *chain, double share) {
    return fg_bound_at((double)chain->band.max + chain->temperature * log(share));
}

FG_INLINE double fg_chain_weight_at(fg_chain const *chain, size_t i) {
    return chain->list->weights[fg_list_place(chain->list, i)];
}

FG_INLINE float fg_chain_score_at(fg_chain const *chain, size_t i) {
    return chain->list->scores[fg_list_place(chain->list, i)];
}

/** The mass of the band, which the state remembers. */
double fg_chain_band_mass(fg_chain *chain);

/** Weigh the list at a temperature; weights are relative to band.max. */
void fg_chain_weigh(fg_chain *chain, double temperature);

/** The sum of the list's weights, and of weight * (max - score) / temperature (`surprisal` may be NULL). */
double fg_chain_list_mass(fg_chain *chain, double *surprisal);

/** Mass and entropy (nats) of what may still be chosen. */
double fg_chain_mass(fg_chain *chain, double *entropy);

/** Keep of the list what `filling`, in descending order, lets in. The first always stays. */
void fg_chain_fill(fg_chain *chain, fg_filling const *filling, double temperature);

/** Keep of the list the scores nearest to a center: outward from it, equally near ones together. */
void fg_chain_fill_nearest(fg_chain *chain, fg_filling const *filling);

/** Keep scores >= bound, and the largest in any case. */
void fg_chain_threshold(fg_chain *chain, float bound);

/** What has been taken out of the row becomes the state: what the band had ruled out goes, a pending nucleus is cut. */
void fg_chain_become_list(fg_chain *chain);

/** Cut a pending nucleus out, whose tokens are needed now. */
void fg_chain_settle(fg_chain *chain);

/** Hand the list over to llama.cpp's arithmetic, and take it back with scores that are tempered already. */
void fg_chain_become_candidates(fg_chain *chain);
void fg_chain_become_list_again(fg_chain *chain);

/** Carry out operation `index` of the plan. */
void fg_chain_apply(fg_chain *chain, int index);

/** Whether a later operation measures by the mass before top-k. */
int fg_chain_needs_whole(fg_plan const *plan, int from);

size_t fg_chain_draw(fg_chain *chain);

/** Mirostat steers the surprise of the tokens, in bits, towards tau. */
void fg_chain_steer(fg_chain *chain);

/** Report on a token in the distribution that the plan's mode names: the model's, or what is left when all is done. */
void fg_report_raw(fg_chain *chain, size_t token, fg_report *report);
void fg_report_processed(fg_chain *chain, size_t token, fg_report *report);

#endif
