#include "sampler/band.h"

fg_domain fg_band_domain(fg_band const *band, double temperature) {
    fg_domain domain = fg_whole_row(band->max, temperature, band->view->count);
    if (band->floor >= domain.bound)
        domain.bound = band->floor, domain.first_tie = band->first_tie, domain.end_tie = band->end_tie;
    return domain;
}

void fg_band_raise(fg_band *band, float floor) {
    if (floor <= band->floor) return;
    band->floor = floor < band->max ? floor : band->max;
    band->first_tie = 0, band->end_tie = band->view->count;
}

double fg_band_mass(fg_band *band, double temperature) {
    fg_domain const domain = fg_band_domain(band, temperature);
    return fg_view_mass(band->view, &domain, band->block_mass);
}

double fg_band_surprisal(fg_band *band, double temperature, double *surprisal) {
    fg_domain const domain = fg_band_domain(band, temperature);
    return fg_view_surprisal(band->view, &domain, band->block_mass, surprisal);
}

/** Walks over the scores of a band: `while (next(&walk))`. */
typedef struct walk {
    fg_band const *band;
    size_t block, index;
    fg_block part;
    float score;
    size_t id;
} walk;

static walk walk_over(fg_band const *band) {
    fg_view_patch(band->view);
    return (walk){.band = band};
}

static int next(walk *walk) {
    fg_view *const view = walk->band->view;
    for (;;) {
        while (walk->index == walk->part.count) {
            while (walk->block < view->blocks && !fg_view_reaches(view, walk->block, walk->band->floor)) walk->block++;
            if (walk->block == view->blocks) return 0;
            walk->part = fg_view_block(view, walk->block++);
            walk->index = 0;
            view->passes->visited++;
        }
        walk->score = fg_load_score(walk->part.scores, walk->index, walk->part.dtype) + 0.0f;
        walk->id = walk->part.start + walk->index++;
        if (fg_band_holds(walk->band, walk->score, walk->id)) return 1;
    }
}

fg_spread fg_band_spread(fg_band *band) {
    fg_moments all = {0.0, 0.0, 0.0};
    if (band->floor == -0x1.fffffep127f) {
        all = fg_view_moments(band->view, band->max);
    } else {
        for (walk walk = walk_over(band); next(&walk);) {
            double const distance = (double)walk.score - band->max;
            all.count += 1.0, all.sum += distance, all.squares += distance * distance;
        }
    }
    double const mean = all.sum / all.count, variance = all.squares / all.count - mean * mean;
    return (fg_spread){all.count, band->max + mean, variance > 0.0 ? sqrt(variance) : 0.0};
}

float fg_band_lowest(fg_band const *band, float bound, size_t *last) {
    float lowest = band->max;
    *last = 0;
    for (walk walk = walk_over(band); next(&walk);)
        if (walk.score >= bound && walk.score <= lowest) lowest = walk.score, *last = walk.id;
    return lowest;
}

/** The block that holds `target` on the line of the blocks' sums, and in `passed` the sum of those before it. Steps of
 * eight blocks first: their sums do not wait for each other. Rounding may put the target behind the end: it is in the
 * last block with a sum then. */
static size_t block_of(double const *block_mass, size_t blocks, double target, double *passed) {
    enum { STEP = 8 };
    size_t first = 0;
    double reached = 0.0;
    for (; first + STEP <= blocks; first += STEP) {
        double const *const m = block_mass + first;
        double const step = ((m[0] + m[1]) + (m[2] + m[3])) + ((m[4] + m[5]) + (m[6] + m[7]));
        if (reached + step > target) break;
        reached += step;
    }
    size_t found = blocks;
    for (size_t block = first; block < blocks; block++)
        if (block_mass[block] > 0.0) {
            found = block, *passed = reached;
            reached += block_mass[block];
            if (reached > target) return found;
        }
    if (found < blocks) return found;
    do found--; /* the steps went over the end */
    while (!(block_mass[found] > 0.0));
    *passed = reached - block_mass[found];
    return found;
}

size_t fg_band_locate(fg_view *view, fg_domain const *domain, double const *block_mass, double target) {
    size_t last = 0;
    float weights[FG_BLOCK];
    double passed = 0.0, exact = 0.0;
    size_t const found = block_of(block_mass, view->blocks, target, &passed);
    fg_block const part = fg_view_block(view, found);
    fg_domain const local = fg_domain_from(*domain, part.start);
    view->kernels->weigh[part.dtype](part.scores, part.count, &local, weights);
    for (size_t i = 0; i < part.count; i++) exact += weights[i];
    /* The sum of the block was rounded to float32 on its way. Stretching the target to the exact sum keeps the share of
     * every token in its block right, however small the token. */
    target = (target - passed) / block_mass[found] * exact;
    passed = 0.0;
    for (size_t i = 0; i < part.count; i++)
        if (weights[i] > 0.0f) {
            last = i;
            passed += weights[i];
            if (passed > target) break;
        }
    return part.start + last;
}

enum { BUCKETS = 512, FEW = 256 };

/** Tokens by their keys in the order of the filling: the tokens of one bucket stand together in it. */
typedef struct bucket {
    double mass, nearest, farthest;
    size_t count;
} bucket;

/** Lowest first. In descending order keys are exact: a difference to the maximum would make tiny scores equal. */
static double key_of(fg_filling const *filling, float score) {
    return filling->nearest ? fabs((double)score - filling->center) : -(double)score;
}

/** What a cut looks at again and again. */
typedef struct cut {
    fg_band const *band;
    fg_domain domain;
    fg_filling const *filling;
} cut;

/** Walks over the tokens of a band that weigh anything and whose keys are in [low, high]. */
typedef struct key_walk {
    cut const *cut;
    double low, high;
    size_t block, index;
    fg_block part;
    float score;
    size_t id;
    double key, weight;
    float weights[FG_BLOCK];
} key_walk;

static int next_key(key_walk *walk) {
    fg_band const *const band = walk->cut->band;
    fg_view *const view = band->view;
    for (;;) {
        while (walk->index == walk->part.count) {
            float const bound = walk->cut->domain.bound;
            while (walk->block < view->blocks && !fg_view_reaches(view, walk->block, bound)) walk->block++;
            if (walk->block == view->blocks) return 0;
            walk->part = fg_view_block(view, walk->block++);
            walk->index = 0;
            fg_domain const local = fg_domain_from(walk->cut->domain, walk->part.start);
            view->kernels->weigh[walk->part.dtype](walk->part.scores, walk->part.count, &local, walk->weights);
            view->passes->visited++;
        }
        size_t const index = walk->index++;
        if (!(walk->weights[index] > 0.0f)) continue;
        walk->score = fg_load_score(walk->part.scores, index, walk->part.dtype) + 0.0f;
        walk->key = key_of(walk->cut->filling, walk->score);
        walk->weight = walk->cut->filling->unit ? 1.0 : walk->weights[index];
        walk->id = walk->part.start + index;
        if (walk->key >= walk->low && walk->key <= walk->high) return 1;
    }
}

static void begin_keys(key_walk *walk, cut const *cut, double low, double high) {
    walk->cut = cut, walk->low = low, walk->high = high;
    walk->block = walk->index = walk->part.count = 0;
    fg_view_patch(cut->band->view);
}

typedef struct token {
    double key, weight;
    float score;
    size_t id;
} token;

static int is_in(fg_filling const *filling, double before) {
    return before < filling->limit || (filling->inclusive && before == filling->limit);
}

/** The last of a few tokens that is in, `before` being the mass before the first of them; its key in `key`. */
static token last_of_few(token *tokens, size_t count, fg_filling const *filling, double before) {
    for (size_t i = 1; i < count; i++) {
        token const one = tokens[i];
        size_t place = i;
        for (; place > 0; place--) {
            token const other = tokens[place - 1];
            if (other.key < one.key || (other.key == one.key && (other.id < one.id) != filling->high_first)) break;
            tokens[place] = other;
        }
        tokens[place] = one;
    }
    size_t last = 0;
    for (size_t i = 0; i < count; i = last + 1) {
        if (i > 0 && !is_in(filling, before)) break;
        last = i;
        before += tokens[i].weight;
        while (filling->nearest && last + 1 < count && tokens[last + 1].key == tokens[i].key)
            before += tokens[++last].weight;
    }
    return tokens[last];
}

/** Among equals, of which each weighs the same, the last one that is in. */
static token last_of_equals(cut const *cut, key_walk *walk, double key, size_t count, double mass, double before) {
    fg_filling const *const filling = cut->filling;
    double const each = mass / (double)count, fitting = ceil((filling->limit - before) / each);
    size_t wanted = fitting >= (double)count ? count : fitting < 1.0 ? 1 : (size_t)fitting;
    if (filling->inclusive && before + (double)wanted * each == filling->limit && wanted < count) wanted++;
    if (filling->nearest) wanted = count;
    size_t const stop = filling->high_first ? count - wanted + 1 : wanted;
    begin_keys(walk, cut, key, key);
    for (size_t passed = 0; passed < stop && next_key(walk);) passed++;
    return (token){key, each, walk->score, walk->id};
}

/** The last token that is in, in the order of the filling: by buckets, then by buckets of the bucket that it is in. */
static token last_in(cut const *cut, key_walk *walk) {
    double low = INFINITY, high = -INFINITY, before = 0.0;
    begin_keys(walk, cut, -INFINITY, INFINITY);
    while (next_key(walk)) {
        low = walk->key < low ? walk->key : low;
        high = walk->key > high ? walk->key : high;
    }
    for (;;) {
        bucket buckets[BUCKETS];
        for (int i = 0; i < BUCKETS; i++) buckets[i] = (bucket){0.0, INFINITY, -INFINITY, 0};
        double const scale = high > low ? (double)BUCKETS / (high - low) : 0.0;
        begin_keys(walk, cut, low, high);
        while (next_key(walk)) {
            double const place = (walk->key - low) * scale;
            bucket *const one = &buckets[place < BUCKETS ? (int)place : BUCKETS - 1];
            one->mass += walk->weight, one->count++;
            one->nearest = walk->key < one->nearest ? walk->key : one->nearest;
            one->farthest = walk->key > one->farthest ? walk->key : one->farthest;
        }
        bucket const *chosen = NULL;
        double reached = before;
        for (bucket const *one = buckets; one < buckets + BUCKETS; one++) {
            if (!one->count) continue;
            if (chosen && !is_in(cut->filling, reached)) break;
            chosen = one, before = reached;
            reached += one->mass;
        }
        low = chosen->nearest, high = chosen->farthest;
        if (low == high) return last_of_equals(cut, walk, low, chosen->count, chosen->mass, before);
        if (chosen->count <= FEW) {
            token tokens[FEW];
            size_t count = 0;
            begin_keys(walk, cut, low, high);
            while (count < FEW && next_key(walk))
                tokens[count++] = (token){walk->key, walk->weight, walk->score, walk->id};
            return last_of_few(tokens, count, cut->filling, before);
        }
    }
}

size_t fg_band_cut(fg_band *band, double temperature, fg_filling const *filling) {
    cut const cut = {band, fg_band_domain(band, temperature), filling};
    key_walk walk;
    token const last = last_in(&cut, &walk);
    if (!filling->nearest) {
        size_t const first = filling->high_first ? last.id : 0;
        size_t const end = filling->high_first ? band->view->count : last.id + 1;
        if (last.score > band->floor) band->first_tie = 0, band->end_tie = band->view->count;
        band->floor = last.score;
        band->first_tie = band->first_tie > first ? band->first_tie : first;
        band->end_tie = band->end_tie < end ? band->end_tie : end;
        return last.id;
    }
    float lowest = INFINITY, highest = -INFINITY;
    begin_keys(&walk, &cut, 0.0, last.key);
    while (next_key(&walk)) {
        lowest = walk.score < lowest ? walk.score : lowest;
        highest = walk.score > highest ? walk.score : highest;
    }
    fg_band_raise(band, lowest);
    if (highest < band->view->ceiling)
        band->view->ceiling = highest, band->view->first_top = 0, band->view->end_top = band->view->count;
    band->max = highest;
    return last.id;
}
