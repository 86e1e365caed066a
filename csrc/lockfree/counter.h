/** Counters that threads share without sharing cache lines, histograms of them, and rates.
 *
 * A set of counters has a copy ("shard") for each thread that writes often: its owner adds by a load and a store, with
 * no read-modify-write and no line that another writer touches. Shard 0 is for everybody else, by atomic additions. A
 * sum over shards lies between the true values at its begin and at its end, since no cell ever goes down: it may lag,
 * and it never loses an increment. A shard that changes hands keeps its counts.
 *
 * A histogram is a set of counters, one for each bucket, log-linear as in G. Tene's HdrHistogram: 2^precision buckets
 * of equal width for each power of two, so any value is known within 2^-precision of itself. Its count is the sum of
 * its buckets and no cell of its own: the two can't disagree.
 *
 * A rate is an exponentially weighted moving average over time, and time is an argument. All counts wrap at 2^64. */
#ifndef FG_LOCKFREE_COUNTER_H
#define FG_LOCKFREE_COUNTER_H

#include "base/atomic.h"

typedef struct fg_counters {
    size_t count, shards;
    size_t stride;    /* cells from one shard to the next: whole FG_DESTRUCTIVE_INTERFERENCEs */
    fg_atomic *cells; /* [shards][stride]; the cell before a shard's first counter says whether it has an owner */
} fg_counters;

/** Bytes of memory for `count` counters and `shards` copies (at least 1) of them. */
size_t fg_counters_bytes(size_t count, size_t shards);

/** Make counters in `memory`: fg_counters_bytes() of it, zeros, aligned to FG_DESTRUCTIVE_INTERFERENCE. */
void fg_counters_init(fg_counters *counters, size_t count, size_t shards, void *memory);

/** Claim a shard for the calling thread: its counters. NULL if all have owners; shard 0 never gets one. */
fg_atomic *fg_counters_join(fg_counters *counters);
void fg_counters_leave(fg_atomic *shard);

/** Shard 0, for fg_count_shared(). */
FG_INLINE fg_atomic *fg_counters_shared(fg_counters const *counters) { return counters->cells + 1; }

/** Add to a counter of a shard that the calling thread owns. */
FG_INLINE void fg_count(fg_atomic *shard, size_t counter, uint64_t amount) {
    fg_store_release(&shard[counter], fg_load_relaxed(&shard[counter]) + amount);
}

/** Add to a counter of shard 0, from any thread. */
FG_INLINE void fg_count_shared(fg_atomic *shard, size_t counter, uint64_t amount) {
    fg_add_acq_rel(&shard[counter], amount);
}

/** Sum of one counter over the shards. */
uint64_t fg_counters_sum(fg_counters const *counters, size_t counter);

/** Sums of the counters [0, count). Returns 1 if they all held at one instant of the call: the cells were read twice
 * and were the same (Y. Afek et al., "Atomic snapshots of shared memory", JACM 1993: the double collect). Returns 0 if
 * writers were quicker at each of `attempts`: each sum then is one that held at its own instant. */
int fg_counters_read(fg_counters const *counters, uint64_t *sums, size_t count, unsigned attempts);

/* Histograms. Values are integers in [0, 2^bits). */

enum { FG_HISTOGRAM_MAX_PRECISION = 10 };

/** How many buckets there are; value v < 2^(precision + 1) has bucket v for itself. */
FG_INLINE size_t fg_histogram_buckets(unsigned precision, unsigned bits) {
    return bits <= precision ? (size_t)1 << bits : (size_t)(bits - precision + 1) << precision;
}

/** Position of the highest 1. */
FG_INLINE unsigned fg_highest_bit(uint64_t value) {
#if defined(_MSC_VER) && !defined(__clang__)
    unsigned bit = 0;
    while (value >>= 1) bit++;
    return bit;
#else
    return 63u - (unsigned)__builtin_clzll(value);
#endif
}

/** value  1 m..m r..r -> e m..m: `precision` bits m after the leading 1 stay, e numbers the powers of two. */
FG_INLINE size_t fg_histogram_bucket(unsigned precision, uint64_t value) {
    unsigned const top = fg_highest_bit(value | ((uint64_t)1 << precision)), shift = top - precision;
    return ((size_t)shift << precision) + (size_t)(value >> shift);
}

/** The smallest and the largest value of a bucket. */
FG_INLINE uint64_t fg_histogram_low(unsigned precision, size_t bucket) {
    size_t const power = bucket >> precision;
    if (power <= 1) return bucket;
    return (uint64_t)(bucket - ((power - 1) << precision)) << (power - 1);
}
FG_INLINE uint64_t fg_histogram_high(unsigned precision, size_t bucket) {
    size_t const power = bucket >> precision;
    return fg_histogram_low(precision, bucket) + (power <= 1 ? 0 : ((uint64_t)1 << (power - 1)) - 1);
}

/** The value below which (and at which) at least the share `quantile` of the counts lies, rounded up to the end of its
 * bucket; 0 if nothing was counted. */
uint64_t fg_histogram_quantile(unsigned precision, uint64_t const *counts, size_t buckets, double quantile);

/* Rates. */

typedef struct fg_rate {
    fg_atomic busy;   /* 1 while a thread folds; guards the plain fields */
    fg_atomic result; /* bits of a double: events per second, as of the last fold */
    uint64_t total;   /* of the counter, and the time, at the last fold */
    uint64_t time_ns;
    double time_constant; /* seconds until an event's weight has fallen to 1/e */
    double average;       /* weighted sum of rates; the weights since the beginning come to `weight` < 1 */
    double weight;
} fg_rate;

void fg_rate_init(fg_rate *rate, double time_constant, uint64_t total, uint64_t time_ns);

/** Take into account what a counter has come to at a time, and return the rate in events per second. A time that is not
 * after the last one changes nothing, nor does a call while another thread is inside: both return the last rate. For a
 * steady stream the result is exact from the first fold on, however irregular the folds: the average is divided by the
 * weight that it has gathered (as D. Kingma and J. Ba, "Adam", ICLR 2015, section 3). */
double fg_rate_fold(fg_rate *rate, uint64_t total, uint64_t time_ns);

/** The last rate. */
double fg_rate_last(fg_rate const *rate);

#endif
