#include "lockfree/counter.h"

#include <math.h>

enum { CELLS_PER_STEP = FG_DESTRUCTIVE_INTERFERENCE / sizeof(fg_atomic) };

static size_t stride_of(size_t count) { return (count + 1 + CELLS_PER_STEP - 1) / CELLS_PER_STEP * CELLS_PER_STEP; }

size_t fg_counters_bytes(size_t count, size_t shards) { return shards * stride_of(count) * sizeof(fg_atomic); }

void fg_counters_init(fg_counters *counters, size_t count, size_t shards, void *memory) {
    counters->count = count, counters->shards = shards;
    counters->stride = stride_of(count);
    counters->cells = memory;
}

fg_atomic *fg_counters_join(fg_counters *counters) {
    for (size_t shard = 1; shard < counters->shards; shard++) {
        fg_atomic *const owner = &counters->cells[shard * counters->stride];
        uint64_t nobody = 0;
        /* acquires what the owner before wrote: the next one goes on from its counts */
        if (fg_load_relaxed(owner) == 0 && fg_cas_acq_rel(owner, &nobody, 1)) return owner + 1;
    }
    return NULL;
}

void fg_counters_leave(fg_atomic *shard) { fg_store_release(shard - 1, 0); }

uint64_t fg_counters_sum(fg_counters const *counters, size_t counter) {
    uint64_t sum = 0;
    for (size_t shard = 0; shard < counters->shards; shard++)
        sum += fg_load_acquire(&counters->cells[shard * counters->stride + 1 + counter]);
    return sum;
}

int fg_counters_read(fg_counters const *counters, uint64_t *sums, size_t count, unsigned attempts) {
    uint64_t before = 0;
    for (unsigned attempt = 0; attempt <= attempts; attempt++) {
        /* No cell goes down, so the grand total is the same twice only if every cell is. */
        uint64_t total = 0;
        memset(sums, 0, count * sizeof *sums);
        for (size_t shard = 0; shard < counters->shards; shard++) {
            fg_atomic const *const cells = &counters->cells[shard * counters->stride + 1];
            for (size_t i = 0; i < count; i++) {
                uint64_t const value = fg_load_acquire(&cells[i]);
                sums[i] += value, total += value;
            }
        }
        if (attempt > 0 && total == before) return 1;
        before = total;
    }
    return 0;
}

uint64_t fg_histogram_quantile(unsigned precision, uint64_t const *counts, size_t buckets, double quantile) {
    uint64_t total = 0, seen = 0;
    for (size_t i = 0; i < buckets; i++) total += counts[i];
    if (total == 0) return 0;
    double const exact = ceil(quantile * (double)total);
    uint64_t const rank = exact < 1 ? 1 : exact >= (double)total ? total : (uint64_t)exact;
    size_t bucket = 0;
    for (; bucket + 1 < buckets; bucket++) {
        seen += counts[bucket];
        if (seen >= rank) break;
    }
    return fg_histogram_high(precision, bucket);
}

static uint64_t bits_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

void fg_rate_init(fg_rate *rate, double time_constant, uint64_t total, uint64_t time_ns) {
    memset(rate, 0, sizeof *rate);
    rate->time_constant = time_constant;
    rate->total = total, rate->time_ns = time_ns;
}

double fg_rate_last(fg_rate const *rate) {
    uint64_t const bits = fg_load_acquire(&rate->result);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

double fg_rate_fold(fg_rate *rate, uint64_t total, uint64_t time_ns) {
    uint64_t idle = 0;
    if (!fg_cas_acq_rel(&rate->busy, &idle, 1)) return fg_rate_last(rate);
    if (time_ns > rate->time_ns) {
        double const seconds = (double)(time_ns - rate->time_ns) * 1e-9;
        double const events =
            total > rate->total ? (double)(total - rate->total) : 0; /* sums may lag: never negative */
        double const gain = -expm1(-seconds / rate->time_constant);
        rate->average += gain * (events / seconds - rate->average);
        rate->weight += gain * (1 - rate->weight);
        rate->time_ns = time_ns;
        if (total > rate->total) rate->total = total;
        fg_store_release(&rate->result, bits_of(rate->average / rate->weight));
    }
    fg_store_release(&rate->busy, 0);
    return fg_rate_last(rate);
}
