/** Counters, histograms and rates: literals; every bucket against a definition by division; then threads with shards of
 * their own and without, that come and go, while others read: nothing is lost and nothing goes down. */
#include "lockfree_threads.h"

#include "lockfree/counter.h"

#include <math.h>

static fg_counters counters_of(size_t count, size_t shards) {
    fg_counters counters;
    fg_counters_init(&counters, count, shards, lines_of(fg_counters_bytes(count, shards)));
    return counters;
}

static void test_literals(void) {
    fg_counters counters = counters_of(20, 3);
    fg_atomic *const first = fg_counters_join(&counters), *const second = fg_counters_join(&counters);
    fg_atomic *const shared = fg_counters_shared(&counters);
    CHECK(first && second && fg_counters_join(&counters) == NULL);
    /* no two shards on one pair of lines */
    CHECK((size_t)(second - first) * sizeof(fg_atomic) == 2 * FG_DESTRUCTIVE_INTERFERENCE);
    fg_count(first, 0, 5), fg_count(first, 19, 1), fg_count(second, 0, 7), fg_count_shared(shared, 0, 100);
    CHECK(fg_counters_sum(&counters, 0) == 112 && fg_counters_sum(&counters, 19) == 1);
    CHECK(fg_counters_sum(&counters, 1) == 0);
    fg_counters_leave(first);
    fg_atomic *const again = fg_counters_join(&counters);
    CHECK(again == first);
    fg_count(again, 0, 1); /* goes on from the counts that were there */
    uint64_t sums[20];
    CHECK(fg_counters_read(&counters, sums, 20, 1) == 1 && sums[0] == 113 && sums[19] == 1 && sums[18] == 0);
    fg_count(again, 0, UINT64_MAX - 112);
    CHECK(fg_counters_sum(&counters, 0) == 0); /* wraps */
    free(counters.cells);
}

static void test_buckets(void) {
    CHECK(fg_histogram_buckets(3, 64) == 62 * 8 && fg_histogram_buckets(3, 3) == 8 && fg_histogram_buckets(3, 5) == 24);
    CHECK(fg_histogram_bucket(3, 0) == 0 && fg_histogram_bucket(3, 15) == 15 && fg_histogram_bucket(3, 16) == 16);
    CHECK(fg_histogram_bucket(3, 17) == 16 && fg_histogram_bucket(3, 18) == 17 && fg_histogram_bucket(3, 31) == 23);
    CHECK(fg_histogram_low(3, 17) == 18 && fg_histogram_high(3, 17) == 19);
    for (unsigned precision = 0; precision <= FG_HISTOGRAM_MAX_PRECISION; precision++) {
        size_t const buckets = fg_histogram_buckets(precision, 64);
        uint64_t next = 0; /* the buckets lie side by side, from 0 to the end */
        for (size_t i = 0; i < buckets; i++) {
            uint64_t const low = fg_histogram_low(precision, i), high = fg_histogram_high(precision, i);
            CHECK(low == next && high >= low);
            CHECK(fg_histogram_bucket(precision, low) == i && fg_histogram_bucket(precision, high) == i);
            CHECK(high - low <= low >> precision); /* the promised width */
            next = high + 1;
        }
        CHECK(next == 0);
    }
}

static void test_quantiles(void) {
    uint64_t counts[16] = {0};
    CHECK(fg_histogram_quantile(3, counts, 16, 0.5) == 0);
    counts[2] = 1, counts[5] = 2, counts[9] = 1;
    CHECK(fg_histogram_quantile(3, counts, 16, 0) == 2 && fg_histogram_quantile(3, counts, 16, 0.25) == 2);
    CHECK(fg_histogram_quantile(3, counts, 16, 0.26) == 5 && fg_histogram_quantile(3, counts, 16, 0.75) == 5);
    CHECK(fg_histogram_quantile(3, counts, 16, 0.76) == 9 && fg_histogram_quantile(3, counts, 16, 1) == 9);
}

static int near(double value, double expected) { return fabs(value - expected) <= 1e-9 * fabs(expected); }

static void test_rates(void) {
    uint64_t const second = 1000000000;
    fg_rate rate;
    fg_rate_init(&rate, 10, 1000, 5 * second);
    CHECK(fg_rate_last(&rate) == 0 && fg_rate_fold(&rate, 2000, 5 * second) == 0); /* no time has passed */
    CHECK(near(fg_rate_fold(&rate, 1100, 6 * second), 100));
    CHECK(near(fg_rate_fold(&rate, 1100, 4 * second), 100));              /* time that goes back is no time */
    CHECK(near(fg_rate_fold(&rate, 1350, 8 * second + second / 2), 100)); /* steady, whatever the steps */
    /* 3.5 s of 100/s, then 10 s of nothing: the weights of the past are e^-1 of 1 - e^-0.35 and 1 - e^-1.35 */
    CHECK(
        near(fg_rate_fold(&rate, 1350, 18 * second + second / 2), 100 * exp(-1) * (1 - exp(-0.35)) / (1 - exp(-1.35))));
    CHECK(fg_rate_fold(&rate, 1350, 1000 * second) < 1e-9);
    CHECK(fg_rate_fold(&rate, 1, 1001 * second) < 1e-9); /* a sum that lags is no negative rate */
    CHECK(rate.total == 1350);
}

/* Threads. */

typedef struct stress {
    fg_counters counters;
    fg_rate rate;
    fg_atomic busy, clock;
} stress;

enum { COUNTERS = 5, READERS = 2 };

/** Read while others write: sums never go down, and a consistent read holds counter 0 >= counter 1 (writers add to 0
 * before 1 and by the same amount; they are in between in one thread each). */
static void read_sums(worker *self) {
    stress *const shared = self->shared;
    uint64_t sums[COUNTERS], before[COUNTERS] = {0}, consistent = 0;
    double highest = 0;
    do {
        consistent += (uint64_t)fg_counters_read(&shared->counters, sums, COUNTERS, 3);
        for (size_t i = 0; i < COUNTERS; i++) {
            CHECK(sums[i] >= before[i]);
            before[i] = sums[i];
        }
        double const rate = fg_rate_fold(&shared->rate, sums[0], 1000000 * fg_add_acq_rel(&shared->clock, 1));
        if (rate > highest) highest = rate;
        CHECK(rate >= 0 && highest < 1e18);
        sched_yield();
    } while (fg_load_acquire(&shared->busy));
    CHECK(fg_counters_read(&shared->counters, sums, COUNTERS, 1) == 1 || fg_load_acquire(&shared->busy));
    self->done = 0;
}

static void count_much(worker *self) {
    stress *const shared = self->shared;
    if (self->number < READERS) {
        read_sums(self);
        return;
    }
    fg_atomic *shard = fg_counters_join(&shared->counters);
    fg_atomic *const everybodys = fg_counters_shared(&shared->counters);
    for (size_t i = 0; i < self->operations; i++) {
        uint64_t const amount = random_below(&self->state, 4);
        if (shard)
            fg_count(shard, 0, amount), fg_count(shard, 1, amount), fg_count(shard, 2, 1);
        else
            fg_count_shared(everybodys, 0, amount), fg_count_shared(everybodys, 1, amount),
                fg_count_shared(everybodys, 2, 1);
        self->done += amount;
        stumble(&self->state);
        if (random_below(&self->state, 1000) == 0) { /* shards change hands */
            if (shard) fg_counters_leave(shard);
            shard = fg_counters_join(&shared->counters);
        }
    }
    if (shard) fg_counters_leave(shard);
    fg_add_acq_rel(&shared->busy, UINT64_MAX);
}

static uint64_t stress_counters(size_t shards, size_t writers, size_t operations) {
    stress shared = {.counters = counters_of(COUNTERS, shards)};
    fg_rate_init(&shared.rate, 1, 0, 0);
    fg_store_relaxed(&shared.busy, writers);
    fg_store_relaxed(&shared.clock, 1);
    size_t const each = operations / writers;
    uint64_t const done = run_threads(writers + READERS, each, shards, count_much, &shared);
    CHECK(fg_counters_sum(&shared.counters, 0) == done && fg_counters_sum(&shared.counters, 1) == done);
    CHECK(fg_counters_sum(&shared.counters, 2) == each * writers && fg_counters_sum(&shared.counters, 3) == 0);
    for (size_t shard = 1; shard < shards; shard++) CHECK(fg_counters_join(&shared.counters) != NULL);
    CHECK(fg_counters_join(&shared.counters) == NULL);
    free(shared.counters.cells);
    return 3 * each * writers;
}

static void add_own(worker *self) {
    fg_counters *const counters = self->shared;
    fg_atomic *const shard = fg_counters_join(counters);
    double const began = seconds_now();
    for (size_t i = 0; i < self->operations; i++) {
        fg_count(shard, 0, 1);
        __asm__ __volatile__("" ::: "memory");
    }
    self->done = (uint64_t)((seconds_now() - began) * 1e15 / (double)self->operations);
    fg_counters_leave(shard);
}

static void record(uint64_t *value, fg_atomic *shard, size_t sum) {
    *value = *value * 6364136223846793005u + 1442695040888963407u;
    uint64_t const latency = *value >> 40; /* 24 bits: 20 powers of two */
    fg_count(shard, fg_histogram_bucket(5, latency), 1);
    fg_count(shard, sum, latency);
}

static void print_times(void) {
    fg_counters counters = counters_of(fg_histogram_buckets(5, 64) + 1, 9);
    fg_atomic *const shard = fg_counters_join(&counters), *const shared = fg_counters_shared(&counters);
    PRINT_TIME("count", 20000000, fg_count(shard, 3, 1));
    PRINT_TIME("count on the shared shard", 5000000, fg_count_shared(shared, 3, 1));
    uint64_t value = 1;
    PRINT_TIME("record", 10000000, record(&value, shard, counters.count - 1));
    fg_counters_leave(shard);
    for (size_t threads = 1; threads <= 8; threads *= 2) {
        /* each thread's own time, which on fewer processors than threads includes waiting for one */
        double const began = seconds_now();
        run_threads(threads, 20000000, 1, add_own, &counters);
        printf("count by %zu threads: %.2f ns of a processor each\n", threads,
               (seconds_now() - began) * 1e9 / 20000000 / (double)threads * (threads < 2 ? 1 : 2));
    }
    free(counters.cells);
}

int main(void) {
    size_t const operations = cases_of(200000);
    test_literals();
    test_buckets();
    test_quantiles();
    test_rates();
    uint64_t done = stress_counters(9, 4, operations) + stress_counters(2, 4, operations);
    done += stress_counters(1, 2, operations) + stress_counters(4, 16, operations);
    if (getenv("FASTGEN_TEST_TIMES")) print_times();
    printf("ok: %llu increments\n", (unsigned long long)done);
    return 0;
}
