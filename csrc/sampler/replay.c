#include "sampler/replay.h"

#include <math.h>

void fg_mt19937_seed(fg_mt19937 *generator, uint32_t seed) {
    generator->words[0] = seed;
    for (uint32_t i = 1; i < 624; i++)
        generator->words[i] = 1812433253u * (generator->words[i - 1] ^ generator->words[i - 1] >> 30) + i;
    generator->next = 624;
}

static uint32_t next_word(fg_mt19937 *generator) {
    uint32_t *const words = generator->words;
    if (generator->next == 624) {
        for (uint32_t i = 0; i < 624; i++) {
            uint32_t const mixed = (words[i] & 0x80000000u) | (words[(i + 1) % 624] & 0x7FFFFFFFu);
            words[i] = words[(i + 397) % 624] ^ mixed >> 1 ^ (mixed & 1 ? 0x9908B0DFu : 0);
        }
        generator->next = 0;
    }
    uint32_t word = words[generator->next++];
    word ^= word >> 11;
    word ^= word << 7 & 0x9D2C5680u;
    word ^= word << 15 & 0xEFC60000u;
    return word ^ word >> 18;
}

double fg_mt19937_double(fg_mt19937 *generator) {
    double const low = next_word(generator);
    double const uniform = (low + next_word(generator) * 0x1p32) * 0x1p-64;
    return uniform < 1.0 ? uniform : 0x1.fffffffffffffp-1;
}

float fg_mt19937_float(fg_mt19937 *generator) {
    float const uniform = (float)next_word(generator) * 0x1p-32f;
    return uniform < 1.0f ? uniform : 0x1.fffffep-1f;
}

static int comes_before(fg_candidate const *a, fg_candidate const *b) {
    return a->key > b->key || (a->key == b->key && a->id < b->id);
}

static void sift(fg_candidate *data, size_t root, size_t count) {
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && comes_before(&data[child + 1], &data[child])) child++;
        if (!comes_before(&data[child], &data[root])) return;
        fg_candidate const swap = data[root];
        data[root] = data[child], data[child] = swap;
    }
}

/** Descending by key: heapsort, in place and never slower than n log n. Of equals lower ids come first, which llama.cpp
 * leaves to its library. */
static void sort_by_key(fg_candidates *all) {
    for (size_t root = all->count / 2; root-- > 0;) sift(all->data, root, all->count);
    for (size_t end = all->count; end-- > 1;) {
        fg_candidate const swap = all->data[0];
        all->data[0] = all->data[end], all->data[end] = swap;
        sift(all->data, 0, end);
    }
    for (size_t i = 0, j = all->count; i + 1 < j; i++) { /* a heap of the best on top sorts them to the end */
        fg_candidate const swap = all->data[i];
        all->data[i] = all->data[--j], all->data[j] = swap;
    }
}

static void sort(fg_candidates *all) {
    if (all->sorted) return;
    for (size_t i = 0; i < all->count; i++) all->data[i].key = all->data[i].logit;
    sort_by_key(all);
    all->sorted = 1;
}

static float largest(fg_candidates const *all) {
    float max = all->data[0].logit;
    if (!all->sorted)
        for (size_t i = 1; i < all->count; i++) max = all->data[i].logit > max ? all->data[i].logit : max;
    return max;
}

static void softmax(fg_candidates *all) {
    float const max = largest(all);
    float sum = 0.0f;
    for (size_t i = 0; i < all->count; i++) {
        all->data[i].p = expf(all->data[i].logit - max);
        sum += all->data[i].p;
    }
    for (size_t i = 0; i < all->count; i++) all->data[i].p /= sum;
}

/** Finite, where llama.cpp's would be infinite and make NaN of every probability. */
void fg_replay_temperature(fg_candidates *all, float temperature) {
    float const most = 0x1.fffffep127f;
    for (size_t i = 0; i < all->count; i++) {
        float const logit = all->data[i].logit / temperature;
        all->data[i].logit = logit > most ? most : logit < -most ? -most : logit;
    }
}

void fg_replay_dynatemp(fg_candidates *all, float low, float high, float exponent) {
    if (all->count <= 1) return;
    float const most = -logf(1.0f / (float)all->count);
    sort(all);
    softmax(all);
    float entropy = 0.0f;
    for (size_t i = 0; i < all->count; i++)
        if (all->data[i].p > 0.0f) entropy -= all->data[i].p * logf(all->data[i].p);
    float const temperature = low + (high - low) * powf(entropy / most, exponent);
    if (temperature > 0.0f)
        fg_replay_temperature(all, temperature);
    else
        all->count = 1;
}

void fg_replay_top_k(fg_candidates *all, size_t k) {
    sort(all);
    if (k < all->count) all->count = k;
}

void fg_replay_top_p(fg_candidates *all, float p, double total) {
    if (p >= 1.0f) return;
    if (total > 0.0) {
        float const max = largest(all);
        for (size_t i = 0; i < all->count; i++) all->data[i].p = expf(all->data[i].logit - max) / (float)total;
        sort(all);
    } else {
        softmax(all); /* before the sort: the sum runs in the order that the candidates are in */
        sort(all);
    }
    float sum = 0.0f;
    for (size_t i = 0; i < all->count; i++) {
        sum += all->data[i].p;
        if (sum >= p) {
            all->count = i + 1;
            break;
        }
    }
}

void fg_replay_min_p(fg_candidates *all, float p) {
    if (p <= 0.0f) return;
    float const bound = largest(all) + logf(p);
    size_t kept = 0;
    for (size_t i = 0; i < all->count; i++)
        if (all->data[i].logit >= bound || (all->sorted && i == 0)) all->data[kept++] = all->data[i];
    if (kept == 0) { /* p > 1 among candidates that are not in order */
        sort(all);
        kept = 1;
    }
    all->count = kept;
}

void fg_replay_typical(fg_candidates *all, float p) {
    if (p >= 1.0f) return;
    sort(all);
    softmax(all);
    float entropy = 0.0f, sum = 0.0f;
    for (size_t i = 0; i < all->count; i++) entropy += -all->data[i].p * logf(all->data[i].p);
    for (size_t i = 0; i < all->count; i++) all->data[i].key = -fabsf(-logf(all->data[i].p) - entropy);
    sort_by_key(all);
    all->sorted = 0;
    for (size_t i = 0; i < all->count; i++) {
        sum += all->data[i].p;
        if (sum > p) {
            all->count = i + 1;
            break;
        }
    }
}

void fg_replay_top_n_sigma(fg_candidates *all, float n) {
    if (n <= 0.0f || all->count <= 1) return;
    float const max = largest(all);
    float sum = 0.0f, squares = 0.0f;
    for (size_t i = 0; i < all->count; i++) sum += all->data[i].logit;
    float const mean = sum / (float)all->count;
    for (size_t i = 0; i < all->count; i++) {
        float const distance = all->data[i].logit - mean;
        squares += distance * distance;
    }
    float const deviation = sqrtf(squares / (float)all->count);
    size_t kept = 0;
    for (size_t i = 0; i < all->count; i++)
        if (!(all->data[i].logit < max - n * deviation)) all->data[kept++] = all->data[i];
    all->count = kept;
}

void fg_replay_xtc(fg_candidates *all, float probability, float threshold, fg_mt19937 *generator) {
    if (probability <= 0.0f || threshold > 0.5f || all->count < 2) return;
    if (fg_mt19937_float(generator) > probability) return;
    sort(all);
    softmax(all);
    size_t last = 0;
    while (last + 1 < all->count && all->data[last + 1].p >= threshold && all->data[0].p >= threshold) last++;
    all->data += last;
    all->count -= last;
}

size_t fg_replay_draw(fg_candidates *all, fg_mt19937 *generator) {
    double const uniform = fg_mt19937_double(generator); /* also for a single candidate */
    float const max = largest(all);
    double sum = 0.0, run = 0.0;
    for (size_t i = 0; i < all->count; i++) {
        all->data[i].p = expf(all->data[i].logit - max);
        sum += all->data[i].p;
    }
    size_t drawn = 0;
    for (; drawn + 1 < all->count; drawn++) {
        run += all->data[drawn].p;
        if (run >= sum * uniform) break;
    }
    all->data[drawn].p = (float)(all->data[drawn].p / sum);
    return drawn;
}

size_t fg_replay_discrete(fg_candidates *all, fg_mt19937 *generator) {
    sort(all);
    softmax(all);
    if (all->count < 2) return 0; /* without a draw */
    double sum = 0.0, run = 0.0;
    for (size_t i = 0; i < all->count; i++) sum += all->data[i].p;
    double const uniform = fg_mt19937_double(generator);
    for (size_t i = 0; i + 1 < all->count; i++) {
        run += all->data[i].p / sum;
        if (!(run < uniform)) return i;
    }
    return all->count - 1;
}
