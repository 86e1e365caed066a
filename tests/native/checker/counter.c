/** Counters: nothing is lost, nothing goes back, and a read that claims one instant had one. */
#include "lockfree/counter.h"

static struct {
    fg_counters *counters;
    fg_atomic *shard[CHECKER_MOST_THREADS + 1];
    fg_rate *rate;
    uint64_t *plain;
    uint64_t added[2];
} it;

static void counters_of(size_t shards, int joined) {
    memset(&it, 0, sizeof it);
    it.counters = checker_alloc(sizeof *it.counters);
    it.plain = checker_alloc(sizeof *it.plain);
    *it.plain = 0;
    it.rate = checker_alloc(sizeof *it.rate);
    fg_rate_init(it.rate, 1.0, 0, 0);
    size_t const bytes = fg_counters_bytes(2, shards);
    void *const memory = checker_alloc(bytes);
    memset(memory, 0, bytes);
    fg_counters_init(it.counters, 2, shards, memory);
    for (int i = 1; i <= joined; i++) it.shard[i] = fg_counters_join(it.counters);
    for (size_t i = 0; i < shards; i++) {
        static char const *const names[][3] = {{"-", "shared 0", "shared 1"}, {"owner 1", "first 0", "first 1"},
                                               {"owner 2", "second 0", "second 1"}};
        for (size_t j = 0; j < 3; j++) checker_name(&it.counters->cells[i * it.counters->stride + j], names[i][j]);
    }
}
static void shared_only(void) { counters_of(1, 0); }
static void one_shard(void) { counters_of(2, 1); }
static void two_shards(void) { counters_of(3, 2); }
static void one_vacant(void) { counters_of(2, 0); }

static void first_counts(void) { fg_count(it.shard[1], 0, 1), fg_count(it.shard[1], 0, 2); }
static void second_counts(void) { fg_count(it.shard[2], 0, 4), fg_count(it.shard[2], 1, 8); }
static void shared_counts(void) {
    fg_count_shared(fg_counters_shared(it.counters), 0, 16);
    fg_count_shared(fg_counters_shared(it.counters), 0, 32);
}
/** Counter 0 first, then counter 1: at every instant the first is as much as the second or one more. */
static void first_in_pairs(void) {
    for (int i = 0; i < 2; i++) fg_count(it.shard[1], 0, 1), fg_count(it.shard[1], 1, 1);
}
static void shared_in_pairs(void) {
    fg_atomic *const shard = fg_counters_shared(it.counters);
    for (int i = 0; i < 2; i++) fg_count_shared(shard, 0, 1), fg_count_shared(shard, 1, 1);
}
static void read_pairs(void) {
    uint64_t sums[2];
    if (fg_counters_read(it.counters, sums, 2, 1)) CHECK(sums[0] == sums[1] || sums[0] == sums[1] + 1);
}
static void read_pairs_often(void) {
    uint64_t sums[2];
    if (fg_counters_read(it.counters, sums, 2, 3)) CHECK(sums[0] == sums[1] || sums[0] == sums[1] + 1);
}
static void sum_twice(void) {
    uint64_t const before = fg_counters_sum(it.counters, 0);
    CHECK(fg_counters_sum(it.counters, 0) >= before);
}
/** Who sees the count sees what was done before counting, in its own shard or in the shared one. */
static void work_then_count(void) {
    *it.plain = 3;
    fg_count(it.shard[1], 0, 1);
}
static void work_then_count_shared(void) {
    *it.plain = 3;
    fg_count_shared(fg_counters_shared(it.counters), 0, 1);
}
static void count_then_work(void) {
    if (fg_counters_sum(it.counters, 0)) CHECK(*it.plain == 3);
}
static void read_then_work(void) {
    uint64_t sums[2];
    fg_counters_read(it.counters, sums, 2, 0);
    if (sums[0]) CHECK(*it.plain == 3);
}
/** Two threads own the same shard after each other; the second goes on from the counts of the first. */
static void visit(void) {
    fg_atomic *const mine = fg_counters_join(it.counters);
    if (!mine) {
        fg_count_shared(fg_counters_shared(it.counters), 0, 1);
        return;
    }
    *it.plain += 1;
    fg_count(mine, 0, 1);
    fg_counters_leave(mine);
}
static void fold_one(void) {
    double const rate = fg_rate_fold(it.rate, 10, 1000000000);
    CHECK(rate >= 0);
}
static void fold_two(void) {
    double const rate = fg_rate_fold(it.rate, 20, 2000000000);
    CHECK(rate >= 0);
}
static void last_twice(void) {
    double const rate = fg_rate_last(it.rate);
    CHECK(rate == 0 || (rate > 9.999 && rate < 10.001)); /* 10 a second from the start, in any order */
}
/** Folded by one thread, then told to another: its fold is not lost behind a `busy` that has long ended. */
static void fold_and_tell(void) {
    *it.plain = 1;
    fg_rate_fold(it.rate, 10, 1000000000);
}
static void rate_then_work(void) {
    if (fg_rate_last(it.rate) > 0) CHECK(*it.plain == 1);
}

static void verify_all(void) {
    CHECK(fg_counters_sum(it.counters, 0) == 3 + 4 + 48 && fg_counters_sum(it.counters, 1) == 8);
}
static void verify_first(void) { CHECK(fg_counters_sum(it.counters, 0) == 3 + 48); }
static void verify_shared(void) { CHECK(fg_counters_sum(it.counters, 0) == 96); }
static void verify_visits(void) { CHECK(fg_counters_sum(it.counters, 0) == 3); }
static void verify_rate(void) {
    double const rate = fg_rate_fold(it.rate, 30, 3000000000);
    CHECK(rate > 9.999 && rate < 10.001);
}

checker_scenario const checker_scenarios[] = {
    {.name = "nothing lost",
     .set_up = two_shards,
     .threads = {first_counts, second_counts, shared_counts},
     .verify = verify_all,
     .stale = 0 + 1},
    {.name = "shared by two",
     .set_up = shared_only,
     .threads = {shared_counts, shared_counts},
     .verify = verify_shared},
    {.name = "sums never go back",
     .set_up = one_shard,
     .threads = {first_counts, shared_counts, sum_twice},
     .verify = verify_first,
     .stale = 3 + 1},
    {.name = "one instant", .set_up = one_shard, .threads = {first_in_pairs, read_pairs}, .stale = 4 + 1},
    {.name = "one instant, shared", .set_up = shared_only, .threads = {shared_in_pairs, read_pairs}, .stale = 4 + 1},
    {.name = "one instant, more attempts",
     .set_up = one_shard,
     .threads = {first_in_pairs, read_pairs_often},
     .stale = 3 + 1},
    {.name = "what was done before counting",
     .set_up = one_shard,
     .threads = {work_then_count, count_then_work, read_then_work}},
    {.name = "what was done before counting, shared",
     .set_up = shared_only,
     .threads = {work_then_count_shared, count_then_work, read_then_work}},
    {.name = "one shard after the other",
     .set_up = one_vacant,
     .threads = {visit, visit, visit},
     .verify = verify_visits},
    {.name = "a rate folded by two",
     .set_up = shared_only,
     .threads = {fold_one, fold_two, last_twice},
     .verify = verify_rate},
    {.name = "a rate and what came before",
     .set_up = shared_only,
     .threads = {fold_and_tell, rate_then_work},
     .verify = verify_rate},
};
size_t const checker_scenario_count = sizeof checker_scenarios / sizeof checker_scenarios[0];
