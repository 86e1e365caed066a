/** A stretch of a row in descending order that is never taken out: scores between a floor and the view's ceiling. */
#ifndef FG_SAMPLER_BAND_H
#define FG_SAMPLER_BAND_H

#include "sampler/view.h"

typedef struct fg_band {
    fg_view *view;
    double *block_mass; /* of the last fg_band_mass() or fg_band_surprisal() */
    float max;          /* the largest score in the band */
    float floor;        /* scores below it are out, and those equal to it but for [first_tie, end_tie) */
    size_t first_tie, end_tie;
} fg_band;

/** The order in which a set is filled up until it has its mass. */
typedef struct fg_filling {
    double limit;   /* a token is in the set if less than this comes before it */
    double center;  /* nearest first, if `nearest`; else in descending order */
    int nearest;    /* equally near tokens come together */
    int high_first; /* of equals the highest id comes first, else the lowest */
    int inclusive;  /* also in if exactly `limit` comes before it */
    int unit;       /* count tokens, not their weights */
} fg_filling;

FG_INLINE fg_band fg_band_of(fg_view *view, float max, double *block_mass) {
    return (fg_band){view, block_mass, max, -0x1.fffffep127f, 0, view->count};
}

/** The kernels' description of a band at a temperature. */
fg_domain fg_band_domain(fg_band const *band, double temperature);

FG_INLINE int fg_band_holds(fg_band const *band, float score, size_t id) {
    return score > band->floor || (score == band->floor && id >= band->first_tie && id < band->end_tie);
}

/** Drop scores below `floor`, which is at most the band's maximum. */
void fg_band_raise(fg_band *band, float floor);

double fg_band_mass(fg_band *band, double temperature);
double fg_band_surprisal(fg_band *band, double temperature, double *surprisal);

/** How many scores the band holds, their mean and their (population) standard deviation. */
typedef struct fg_spread {
    double count, mean, deviation;
} fg_spread;
fg_spread fg_band_spread(fg_band *band);

/** The token at `target` on the line of a domain's weights in id order, where `block_mass` has the sums of its blocks.
 */
size_t fg_band_locate(fg_view *view, fg_domain const *domain, double const *block_mass, double target);

/** Narrow the band to the set; return the last token that is in. Reads the row a few times, without SIMD: for sets that
 * are too large for a list and that something else depends on. */
size_t fg_band_cut(fg_band *band, double temperature, fg_filling const *filling);

/** The lowest score of the band that is at least `bound`, and the highest id that has it. */
float fg_band_lowest(fg_band const *band, float bound, size_t *id);

#endif
