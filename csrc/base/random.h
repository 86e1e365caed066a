/** The one generator: Philox 4x32-10, a pure function of (key, counter).
 *
 * J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. No state is kept, so
 * neither batch nor thread can shift what a sequence draws. */
#ifndef FG_RANDOM_H
#define FG_RANDOM_H

#include "base/base.h"

FG_INLINE void fg_philox4x32(uint32_t const counter[4], uint32_t const key[2], uint32_t out[4]) {
    uint32_t word0 = counter[0], word1 = counter[1], word2 = counter[2], word3 = counter[3];
    uint32_t key0 = key[0], key1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t const product0 = (uint64_t)0xD2511F53u * word0, product1 = (uint64_t)0xCD9E8D57u * word2;
        uint32_t const next0 = (uint32_t)(product1 >> 32) ^ word1 ^ key0,
                       next2 = (uint32_t)(product0 >> 32) ^ word3 ^ key1;
        word1 = (uint32_t)product1, word3 = (uint32_t)product0;
        word0 = next0, word2 = next2;
        key0 += 0x9E3779B9u, key1 += 0xBB67AE85u; /* Weyl sequence: golden ratio and sqrt(3) - 1 */
    }
    out[0] = word0, out[1] = word1, out[2] = word2, out[3] = word3;
}

/** What a draw is for. Draws for different purposes are independent of each other. */
typedef enum fg_purpose { FG_PURPOSE_SAMPLE = 0, FG_PURPOSE_XTC = 1, FG_PURPOSE_ACCEPT = 2 } fg_purpose;

/** Uniform in (0, 1): (k + 1/2) / 2^53 with k of 53 bits, never 0 and never 1.
 *
 * `choice` numbers the continuations of one request, `position` the tokens of a continuation, `attempt` the draws that
 * one token needs (rejection sampling). */
FG_INLINE double fg_uniform(uint64_t seed, uint32_t choice, uint32_t position, uint32_t purpose, uint32_t attempt) {
    uint32_t const key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t const counter[4] = {position, choice, purpose, attempt};
    uint32_t bits[4];
    fg_philox4x32(counter, key, bits);
    uint64_t const k = ((uint64_t)bits[1] << 32 | bits[0]) >> 11;
    /* k + 1/2 needs 54 bits: at the very top it would round to 2^53, that is to 1 */
    double const uniform = ((double)k + 0.5) * 0x1p-53;
    return uniform < 1.0 ? uniform : 0x1.fffffffffffffp-1;
}

#endif
