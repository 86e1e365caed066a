/** llama.cpp's arithmetic and random numbers, for a list of candidates: what profile "llamacpp" replays token for
 * token.
 *
 * Follows ggml-org/llama.cpp, src/llama-sampler.cpp (MIT), as of llama-cpp-python 0.3.36, with libstdc++'s
 * distributions: float32 throughout, libm's expf and logf, running sums in the candidates' order. */
#ifndef FG_SAMPLER_REPLAY_H
#define FG_SAMPLER_REPLAY_H

#include "base/base.h"

/** MT19937: M. Matsumoto, T. Nishimura, "Mersenne twister", ACM TOMACS 8 (1998). */
typedef struct fg_mt19937 {
    uint32_t words[624];
    uint32_t next;
} fg_mt19937;

/** Each of llama.cpp's samplers that draws has a generator of its own, all from one seed. */
typedef struct fg_replay {
    fg_mt19937 token, xtc;
} fg_replay;

void fg_mt19937_seed(fg_mt19937 *generator, uint32_t seed);

/** Uniform in [0, 1) as std::uniform_real_distribution<double> makes it of two words. */
double fg_mt19937_double(fg_mt19937 *generator);

/** Uniform in [0, 1) as std::uniform_real_distribution<float> makes it of one word. */
float fg_mt19937_float(fg_mt19937 *generator);

typedef struct fg_candidate {
    uint32_t id;
    float logit, p, key; /* key: what a sort goes by */
} fg_candidate;

/** Candidates in the order that llama.cpp would have them in. */
typedef struct fg_candidates {
    fg_candidate *data;
    size_t count;
    int sorted; /* in descending order of logits */
} fg_candidates;

void fg_replay_temperature(fg_candidates *all, float temperature);
void fg_replay_dynatemp(fg_candidates *all, float low, float high, float exponent);
void fg_replay_top_k(fg_candidates *all, size_t k);
/** `total`: 0, or the softmax denominator if tokens that are not in the list count too. */
void fg_replay_top_p(fg_candidates *all, float p, double total);
void fg_replay_min_p(fg_candidates *all, float p);
void fg_replay_typical(fg_candidates *all, float p);
void fg_replay_top_n_sigma(fg_candidates *all, float n);
void fg_replay_xtc(fg_candidates *all, float probability, float threshold, fg_mt19937 *generator);

/** The place of the token drawn; `p` of it is its probability. */
size_t fg_replay_draw(fg_candidates *all, fg_mt19937 *generator);

/** The place of a token drawn as std::discrete_distribution does, which mirostat uses; `p` of it is its probability. */
size_t fg_replay_discrete(fg_candidates *all, fg_mt19937 *generator);

#endif
