/** The pool: blocks hold plain memory, so whoever gets one must see what its last owner did, and nobody else may. */
#include "lockfree/pool.h"

static struct {
    fg_pool *pool;
    fg_pool_handle *handle[CHECKER_MOST_THREADS + 1];
    uint64_t *contents, *owner; /* of blocks; plain */
    uint64_t *plain;
    uint32_t capacity;
    fg_atomic *mail;
} it;

static void pool_of(uint32_t capacity, uint32_t handles, uint32_t joined) {
    memset(&it, 0, sizeof it);
    it.capacity = capacity;
    it.pool = checker_alloc(sizeof *it.pool);
    it.contents = checker_alloc(capacity * sizeof *it.contents);
    it.owner = checker_alloc(capacity * sizeof *it.owner);
    it.plain = checker_alloc(sizeof *it.plain);
    it.mail = checker_alloc(sizeof *it.mail);
    memset(it.contents, 0, capacity * sizeof *it.contents);
    memset(it.owner, 0, capacity * sizeof *it.owner);
    *it.plain = 0;
    fg_store_relaxed(it.mail, 0);
    size_t const bytes = fg_pool_bytes(capacity, handles, 2);
    void *const memory = checker_alloc(bytes);
    memset(memory, 0, bytes);
    fg_pool_init(it.pool, capacity, 0, handles, 2, memory);
    for (uint32_t i = 1; i <= joined; i++) it.handle[i] = fg_pool_join(it.pool);
    checker_name(&it.pool->head, "head");
    checker_name(&it.pool->fresh, "fresh");
    checker_name(&it.pool->recalls, "recalls");
    for (uint32_t i = 0; i < capacity; i++) {
        static char const *const names[] = {"link 0", "link 1", "link 2", "link 3", "link 4", "link 5"};
        checker_name(&it.pool->links[i], names[i]);
    }
}

static void got(int thread, uint32_t block) {
    CHECK(block < it.capacity);
    CHECK(!it.owner[block]); /* nobody has it */
    it.owner[block] = (uint64_t)thread;
    it.contents[block]++;
}
static void gives(int thread, uint32_t block) {
    CHECK(it.owner[block] == (uint64_t)thread);
    it.owner[block] = 0;
    it.contents[block]++;
}
static uint32_t acquire(int thread) {
    uint32_t const block = fg_pool_acquire(it.pool, it.handle[thread]);
    if (block != FG_POOL_NONE) got(thread, block);
    return block;
}
static void release(int thread, uint32_t block) {
    if (block == FG_POOL_NONE) return;
    gives(thread, block);
    fg_pool_release(it.pool, it.handle[thread], block);
}
static uint32_t acquire_loose(int thread) {
    uint32_t const block = fg_pool_acquire_loose(it.pool);
    if (block != FG_POOL_NONE) got(thread, block);
    return block;
}
static void release_loose(int thread, uint32_t block) {
    if (block == FG_POOL_NONE) return;
    gives(thread, block);
    fg_pool_release_loose(it.pool, block);
}

/** Blocks 0, 1, ... lie on the shared list, each a batch of its own; the last is on top. */
static void fill(uint32_t count) {
    uint32_t blocks[8];
    for (uint32_t i = 0; i < count; i++) blocks[i] = acquire_loose(1);
    for (uint32_t i = 0; i < count; i++) release_loose(1, blocks[i]);
}
static void three_fresh(void) { pool_of(3, 2, 2); }
static void six_fresh(void) { pool_of(6, 3, 3); }
static void two_listed(void) { pool_of(2, 2, 2), fill(2); }
static void three_listed(void) { pool_of(3, 3, 3), fill(3); }
/** As three_listed, but batches of two: the cache is 4 blocks. */
static void batches_listed(void) {
    pool_of(4, 2, 0);
    size_t const bytes = fg_pool_bytes(4, 2, 4);
    void *const memory = checker_alloc(bytes);
    memset(memory, 0, bytes);
    fg_pool_init(it.pool, 4, 0, 2, 4, memory);
    for (uint32_t i = 1; i <= 2; i++) it.handle[i] = fg_pool_join(it.pool);
    uint32_t blocks[4];
    for (uint32_t i = 0; i < 4; i++) blocks[i] = acquire(1);
    for (uint32_t i = 0; i < 4; i++) release(1, blocks[i]);
    fg_pool_flush(it.pool, it.handle[1]);
}
static void one_handle(void) { pool_of(2, 1, 0); }

static void take_and_give(int thread) {
    uint32_t const block = acquire(thread);
    release(thread, block);
    fg_pool_flush(it.pool, it.handle[thread]);
}
static void take_two_give_first(int thread) { /* the shape that needs tags */
    uint32_t const first = acquire_loose(thread), second = acquire_loose(thread);
    release_loose(thread, first);
    (void)second;
}
static void first_takes(void) { take_and_give(1); }
static void second_takes(void) { take_and_give(2); }
static void third_takes(void) { take_and_give(3); }
static void first_takes_twice(void) { take_and_give(1), take_and_give(1); }
static void first_loose(void) { release_loose(1, acquire_loose(1)); }
static void second_loose(void) { release_loose(2, acquire_loose(2)); }
static void third_loose(void) { release_loose(3, acquire_loose(3)); }
static void first_two(void) { take_two_give_first(1); }
static void second_two(void) { take_two_give_first(2); }
static void first_all(void) {
    uint32_t const first = acquire(1), second = acquire(1), third = acquire(1);
    release(1, first), release(1, second), release(1, third);
}
static void second_all(void) {
    uint32_t const first = acquire(2), second = acquire(2);
    release(2, first), release(2, second);
}
static void first_flushes(void) {
    first_all();
    fg_pool_flush(it.pool, it.handle[1]);
}
/** A block is given by another thread than took it. */
static void send(void) {
    uint32_t const block = acquire(1);
    it.owner[block] = 2;
    fg_store_release(it.mail, block + 1);
}
static void receive(void) {
    uint64_t mail;
    while (!(mail = fg_load_acquire(it.mail))) checker_spin();
    release(2, (uint32_t)mail - 1);
    fg_pool_flush(it.pool, it.handle[2]);
}
static void recall(void) { fg_pool_recall(it.pool); }
/** Handles pass from thread to thread with what is in them. */
static void visit(int thread) {
    it.handle[thread] = fg_pool_join(it.pool);
    if (!it.handle[thread]) return;
    *it.plain += 1;
    release(thread, acquire(thread));
    fg_pool_leave(it.pool, it.handle[thread]);
}
static void first_visits(void) { visit(1); }
static void second_visits(void) { visit(2); }
static void count_lent(void) {
    uint64_t const lent = fg_pool_lent(it.pool);
    CHECK(lent <= it.capacity);
}
/** Every block can be had once more, and no other. */
static void verify(void) {
    for (int i = 1; i <= CHECKER_MOST_THREADS; i++)
        if (it.handle[i]) fg_pool_flush(it.pool, it.handle[i]);
    uint64_t lent = 0;
    for (uint32_t i = 0; i < it.capacity; i++) lent += it.owner[i] != 0;
    CHECK(fg_pool_lent(it.pool) == lent);
    while (acquire_loose(4) != FG_POOL_NONE) lent++;
    CHECK(lent == it.capacity);
}

checker_scenario const checker_scenarios[] = {
    {.name = "two caches", .set_up = two_listed, .threads = {first_takes, second_takes}, .verify = verify},
    {.name = "two caches, twice", .set_up = two_listed, .threads = {first_takes_twice, second_takes}, .verify = verify},
    {.name = "three caches",
     .set_up = three_listed,
     .threads = {first_takes, second_takes, third_takes},
     .verify = verify,
     .stale = 0 + 1},
    {.name = "fresh blocks run out", .set_up = three_fresh, .threads = {first_all, second_all}, .verify = verify},
    {.name = "without handles",
     .set_up = two_listed,
     .threads = {first_loose, second_loose, third_loose},
     .verify = verify,
     .stale = 1 + 1},
    {.name = "a head that comes back", .set_up = three_listed, .threads = {first_two, second_two}, .verify = verify},
    {.name = "a head that comes back to a cache",
     .set_up = three_listed,
     .threads = {first_takes, second_two},
     .verify = verify},
    {.name = "batches of two", .set_up = batches_listed, .threads = {first_takes, second_takes}, .verify = verify},
    {.name = "batches broken up", .set_up = batches_listed, .threads = {first_loose, second_takes}, .verify = verify},
    {.name = "batches broken up by two",
     .set_up = batches_listed,
     .threads = {first_loose, second_loose},
     .verify = verify},
    {.name = "overflowing caches", .set_up = six_fresh, .threads = {first_flushes, second_all}, .verify = verify},
    {.name = "given by another", .set_up = three_fresh, .threads = {send, receive, third_loose}, .verify = verify},
    {.name = "recalled",
     .set_up = three_listed,
     .threads = {first_takes_twice, recall, third_loose},
     .verify = verify,
     .stale = 1 + 1},
    {.name = "visitors", .set_up = one_handle, .threads = {first_visits, second_visits}, .verify = verify},
    {.name = "counting",
     .set_up = two_listed,
     .threads = {first_takes, second_loose, count_lent},
     .verify = verify,
     .stale = 1 + 1},
    {.name = "counting what changes hands",
     .set_up = three_fresh,
     .threads = {send, receive, count_lent},
     .verify = verify},
};
size_t const checker_scenario_count = sizeof checker_scenarios / sizeof checker_scenarios[0];
