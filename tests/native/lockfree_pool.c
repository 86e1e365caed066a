/** The pool: literals; a stale head; tags and counts at their ends; then threads that take, fill, hand over and give
 * blocks, with the production's cache and with one of 2, with more threads than handles, with recalls and with threads
 * that come and go. In the end every block is there, once. */
#include "lockfree_threads.h"

#include "lockfree/pool.h"

static fg_pool *pool_of(uint32_t capacity, uint32_t handles, uint32_t cache) {
    fg_pool *const pool = lines_of(sizeof *pool);
    fg_pool_init(pool, capacity, 0, handles, cache, lines_of(fg_pool_bytes(capacity, handles, cache)));
    return pool;
}

static void free_pool(fg_pool *pool) {
    free(pool->handle_table);
    free(pool);
}

/** All blocks can be taken, each once, and nothing was lent. */
static void check_whole(fg_pool *pool) {
    char *const seen = calloc(pool->capacity, 1);
    CHECK(seen && fg_pool_lent(pool) == 0);
    for (uint32_t i = 0; i < pool->capacity; i++) {
        uint32_t const block = fg_pool_acquire_loose(pool);
        CHECK(block < pool->capacity && !seen[block]);
        seen[block] = 1;
    }
    CHECK(fg_pool_acquire_loose(pool) == FG_POOL_NONE && fg_pool_lent(pool) == pool->capacity);
    for (uint32_t i = 0; i < pool->capacity; i++) fg_pool_release_loose(pool, i);
    CHECK(fg_pool_lent(pool) == 0);
    free(seen);
}

static void test_literals(void) {
    fg_pool *const pool = pool_of(5, 2, 4);
    fg_pool_handle *const mine = fg_pool_join(pool), *const other = fg_pool_join(pool);
    CHECK(mine && other && mine != other && fg_pool_join(pool) == NULL);
    /* two fresh ones at a time, the last first */
    CHECK(fg_pool_acquire(pool, mine) == 1 && fg_pool_acquire(pool, mine) == 0);
    CHECK(fg_pool_acquire(pool, mine) == 3 && fg_pool_lent(pool) == 3);
    /* 2 is in the cache of `mine`, so `other` gets 4 and then nothing */
    CHECK(fg_pool_acquire(pool, other) == 4 && fg_pool_acquire(pool, other) == FG_POOL_NONE);
    fg_pool_recall(pool);
    CHECK(fg_pool_acquire(pool, other) == FG_POOL_NONE);
    fg_pool_release(pool, mine, 3); /* answers the recall: 2 goes to all */
    CHECK(fg_pool_acquire(pool, other) == 2 && fg_pool_acquire(pool, mine) == 3);
    /* the cache holds four; the fifth release sends the two that were given first */
    for (uint32_t block = 0; block < 5; block++) fg_pool_release(pool, mine, block);
    CHECK(mine->count == 3 && fg_pool_acquire(pool, mine) == 4 && fg_pool_acquire(pool, other) == 1);
    CHECK(fg_pool_lent(pool) == 2);
    fg_pool_release(pool, other, 4), fg_pool_release(pool, other, 1);
    fg_pool_leave(pool, mine), fg_pool_leave(pool, other);
    CHECK(fg_pool_join(pool) == mine);
    check_whole(pool);
    free_pool(pool);
}

/** A head that was read before its block left and came back must not be swapped: block 0 is on top again, block 1 not.
 */
static void test_stale_head(void) {
    fg_pool *const pool = pool_of(3, 1, 2);
    for (uint32_t i = 0; i < 3; i++) CHECK(fg_pool_acquire_loose(pool) == i);
    for (uint32_t i = 3; i-- > 0;) fg_pool_release_loose(pool, i);
    uint64_t stale = fg_load_acquire(&pool->head);
    uint64_t const link = fg_load_relaxed(&pool->links[0]);
    CHECK((uint32_t)stale == 1 && link >> 32 == 2);
    CHECK(fg_pool_acquire_loose(pool) == 0 && fg_pool_acquire_loose(pool) == 1);
    fg_pool_release_loose(pool, 0);
    CHECK((uint32_t)fg_load_acquire(&pool->head) == 1); /* the same block as the stale head names */
    CHECK(!fg_cas_acq_rel(&pool->head, &stale, ((stale >> 32) + 1) << 32 | link >> 32));
    fg_pool_release_loose(pool, 1);
    check_whole(pool);
    free_pool(pool);
}

static void test_taken_from_the_start(void) {
    fg_pool *const pool = lines_of(sizeof *pool);
    fg_pool_init(pool, 4, 3, 1, 2, lines_of(fg_pool_bytes(4, 1, 2)));
    CHECK(fg_pool_lent(pool) == 3 && fg_pool_acquire_loose(pool) == 3);
    CHECK(fg_pool_acquire_loose(pool) == FG_POOL_NONE && fg_pool_lent(pool) == 4);
    for (uint32_t i = 0; i < 4; i++) fg_pool_release_loose(pool, i);
    check_whole(pool);
    free_pool(pool);
}

static void test_ends_of_counts(void) {
    fg_pool *const pool = pool_of(4, 1, 2);
    fg_store_relaxed(&pool->head, (uint64_t)(UINT32_MAX - 3) << 32);
    fg_store_relaxed(&pool->loose_acquired, UINT64_MAX - 2), fg_store_relaxed(&pool->loose_released, UINT64_MAX - 2);
    for (int round = 0; round < 5; round++) check_whole(pool); /* the tag passes 0, the counts too */
    CHECK(fg_load_relaxed(&pool->head) >> 32 < UINT32_MAX - 3);
    /* `fresh` does not grow while the pool is empty */
    for (int i = 0; i < 4; i++) fg_pool_acquire_loose(pool);
    for (int i = 0; i < 100; i++) CHECK(fg_pool_acquire_loose(pool) == FG_POOL_NONE);
    CHECK(fg_load_relaxed(&pool->fresh) < 10);
    free_pool(pool);
}

/* Threads. */

typedef struct stress {
    fg_pool *pool;
    uint64_t *contents;     /* of each block: who has it; plain, so that a sanitizer sees two owners */
    fg_atomic handover[16]; /* block + 1 for whoever takes it: given by another thread than took it */
    size_t hold;            /* the most blocks that a thread has at a time */
    int churn;              /* leave and join again at odd moments */
} stress;

static uint32_t take(stress *shared, fg_pool_handle *handle) {
    return handle ? fg_pool_acquire(shared->pool, handle) : fg_pool_acquire_loose(shared->pool);
}

static void give(stress *shared, fg_pool_handle *handle, uint32_t block) {
    if (handle)
        fg_pool_release(shared->pool, handle, block);
    else
        fg_pool_release_loose(shared->pool, block);
}

static void take_and_give(worker *self) {
    stress *const shared = self->shared;
    uint64_t const identity = self->number + 1;
    fg_pool_handle *handle = fg_pool_join(shared->pool); /* NULL: without */
    uint32_t held[64], count = 0;
    for (size_t i = 0; i < self->operations; i++) {
        stumble(&self->state);
        uint32_t const choice = random_below(&self->state, 100);
        if (choice < 48 && count < shared->hold) {
            uint32_t const block = take(shared, handle);
            if (block == FG_POOL_NONE) continue;
            CHECK(shared->contents[block] == 0);
            shared->contents[block] = identity;
            held[count++] = block, self->done++;
        } else if (choice < 90 && count) {
            uint32_t const place = random_below(&self->state, count), block = held[place];
            held[place] = held[--count];
            CHECK(shared->contents[block] == identity);
            shared->contents[block] = 0;
            give(shared, handle, block), self->done++;
        } else if (choice < 98 && count) {
            uint32_t const block = held[--count];
            shared->contents[block] = 0;
            uint64_t const there =
                fg_exchange_acq_rel(&shared->handover[random_below(&self->state, 16)], (uint64_t)block + 1);
            if (there) give(shared, handle, (uint32_t)there - 1);
            self->done++;
        } else if (choice == 98 && random_below(&self->state, 50) == 0) {
            fg_pool_recall(shared->pool);
        } else if (shared->churn && random_below(&self->state, 20) == 0) {
            if (handle) fg_pool_leave(shared->pool, handle);
            handle = fg_pool_join(shared->pool);
        }
    }
    while (count) shared->contents[held[--count]] = 0, give(shared, handle, held[count]);
    if (handle) fg_pool_leave(shared->pool, handle);
}

static uint64_t stress_pool(uint32_t capacity, uint32_t handles, uint32_t cache, size_t threads, size_t rounds,
                            size_t operations, int churn) {
    stress shared = {.pool = pool_of(capacity, handles, cache), .hold = 24, .churn = churn};
    shared.contents = calloc(capacity, sizeof *shared.contents);
    uint64_t done = 0;
    for (size_t round = 0; round < rounds; round++) {
        done += run_threads(threads, operations / threads, round + capacity, take_and_give, &shared);
        for (size_t i = 0; i < 16; i++) {
            uint64_t const there = fg_exchange_acq_rel(&shared.handover[i], 0);
            if (there) fg_pool_release_loose(shared.pool, (uint32_t)there - 1);
        }
        check_whole(shared.pool);
    }
    free(shared.contents);
    free_pool(shared.pool);
    return done;
}

static void print_times(void) {
    fg_pool *const pool = pool_of(1024, 4, 64);
    fg_pool_handle *const handle = fg_pool_join(pool);
    uint32_t held[256];
    PRINT_TIME("acquire and release", 10000000, fg_pool_release(pool, handle, fg_pool_acquire(pool, handle)));
    PRINT_TIME("256 acquired, then released", 40000, {
        for (int k = 0; k < 256; k++) held[k] = fg_pool_acquire(pool, handle);
        for (int k = 0; k < 256; k++) fg_pool_release(pool, handle, held[k]);
    });
    PRINT_TIME("acquire and release without a handle", 1000000,
               fg_pool_release_loose(pool, fg_pool_acquire_loose(pool)));
    free_pool(pool);
}

int main(void) {
    size_t const operations = cases_of(200000);
    test_literals();
    test_stale_head();
    test_taken_from_the_start();
    test_ends_of_counts();
    uint64_t done = 0;
    done += stress_pool(4096, 8, 64, 4, 2, operations, 0); /* production */
    done += stress_pool(4096, 2, 64, 8, 1, operations, 1); /* more threads than handles */
    done += stress_pool(64, 8, 2, 4, 2, operations, 1);    /* a cache of 2 and too few blocks */
    done += stress_pool(3, 4, 2, 4, 1, operations, 1);     /* three blocks */
    done += stress_pool(256, 32, 4, 32, 1, operations, 1);
    done += stress_pool(1024, 16, 8, 16, 1 + operations / 4000, 4000, 0); /* threads that come and go */
    if (getenv("FASTGEN_TEST_TIMES")) print_times();
    printf("ok: %llu blocks taken and given\n", (unsigned long long)done);
    return 0;
}
