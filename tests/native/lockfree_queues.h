/** Both queues behind one interface, with an allocator that counts and fails, and what many threads do to them. */
#ifndef LOCKFREE_QUEUES_H
#define LOCKFREE_QUEUES_H

#include "lockfree_checks.h"

#include "lockfree/queue.c"
#include "lockfree/queue/segments.c"

enum { BOUNDED, UNBOUNDED };

typedef struct tested {
    int kind;
    fg_bounded bounded;
    fg_unbounded unbounded;
    void *slots;
    fg_participant *members[THREADS_MAX]; /* each thread's own */
    fg_participant all[THREADS_MAX];
    atomic_size_t allocations, live;
    size_t fails_at;  /* the allocation that gets no memory */
    bool never_waits; /* busy is an answer: the one to wait for is on the same thread */
} tested;

static void *allocate(void *context, size_t bytes) {
    tested *const queue = context;
    if (atomic_fetch_add(&queue->allocations, 1) == queue->fails_at) return NULL;
    atomic_fetch_add(&queue->live, 1);
    return malloc(bytes);
}

static void release(void *context, void *memory) {
    tested *const queue = context;
    atomic_fetch_sub(&queue->live, 1);
    free(memory);
}

/** A queue of so many slots, or slots a segment. */
static tested *queue_of(int kind, size_t size, uint64_t period) {
    tested *const queue = calloc(1, sizeof *queue);
    CHECK(queue);
    queue->kind = kind;
    queue->fails_at = SIZE_MAX;
    if (kind == BOUNDED) {
        queue->slots = malloc(fg_bounded_bytes(size));
        fg_bounded_init(&queue->bounded, size, queue->slots);
    } else {
        CHECK(fg_unbounded_init(&queue->unbounded, size, period, (fg_allocator){allocate, release, queue}));
        for (int i = 0; i < THREADS_MAX; i++) {
            queue->members[i] = &queue->all[i];
            fg_epoch_join(&queue->unbounded.epoch, queue->members[i]);
        }
    }
    return queue;
}

static void drop(tested *queue) {
    if (queue->kind == UNBOUNDED) fg_unbounded_destroy(&queue->unbounded);
    CHECK(queue->live == 0);
    free(queue->slots);
    free(queue);
}

static fg_queue_status push(tested *queue, int thread, uint64_t const *items, size_t count, size_t *done) {
    if (queue->kind == UNBOUNDED)
        return fg_unbounded_push(&queue->unbounded, queue->members[thread], items, count, done);
    fg_queue_status status;
    size_t more;
    *done = 0;
    do {
        status = fg_bounded_push(&queue->bounded, items + *done, count - *done, &more);
        *done += more;
        if (status == FG_QUEUE_BUSY) sched_yield();
    } while (status == FG_QUEUE_BUSY && !queue->never_waits);
    return status;
}

static fg_queue_status pop(tested *queue, int thread, uint64_t *items, size_t count, size_t *done) {
    if (queue->kind == UNBOUNDED)
        return fg_unbounded_pop(&queue->unbounded, queue->members[thread], items, count, done);
    for (;;) {
        fg_queue_status const status = fg_bounded_pop(&queue->bounded, items, count, done);
        if (status != FG_QUEUE_BUSY || queue->never_waits) return status;
        sched_yield();
    }
}

static bool close_queue(tested *queue, int thread) {
    return queue->kind == UNBOUNDED ? fg_unbounded_close(&queue->unbounded, queue->members[thread])
                                    : fg_bounded_close(&queue->bounded);
}

/** Two producers, two consumers; the producers' items are numbered, and the last of them closes, or a fifth thread at
 * any time. */
typedef struct transfer {
    int kind;
    size_t size, batch, items; /* items of each producer */
    bool closes;               /* any time; `items` is unlimited then */
    tested *queue;
    fg_atomic producing;
    uint64_t pushed[2];
    uint8_t *seen; /* how often each item came out */
    size_t popped[2];
} transfer;

enum { SEEN_MAX = 1 << 16, PRODUCERS = 2, CONSUMERS = 2 };

static void push_numbers(transfer *setup, int number) {
    uint64_t items[64], next = 0;
    size_t const end = setup->closes ? SEEN_MAX : setup->items;
    size_t done;
    while (next < end) {
        size_t count = below((uint32_t)setup->batch) + 1;
        if (count > end - next) count = end - next;
        for (size_t i = 0; i < count; i++) items[i] = (uint64_t)(number + 1) << 48 | (next + i);
        fg_queue_status const status = push(setup->queue, number, items, count, &done);
        next += done;
        if (status == FG_QUEUE_CLOSED) break;
        CHECK(status == FG_QUEUE_OK ? done == count : status == FG_QUEUE_FULL);
        if (status == FG_QUEUE_FULL) sched_yield();
    }
    setup->pushed[number] = next;
    if (fg_add_acq_rel(&setup->producing, UINT64_MAX) == 1) {
        bool const did = close_queue(setup->queue, number);
        CHECK(setup->closes || did);
    }
}

static void pop_numbers(transfer *setup, int number) {
    uint64_t items[64], next[PRODUCERS] = {0, 0};
    size_t const stride = setup->closes ? SEEN_MAX : setup->items;
    for (;;) {
        size_t done;
        fg_queue_status const status = pop(setup->queue, number, items, below((uint32_t)setup->batch) + 1, &done);
        CHECK((status == FG_QUEUE_OK) == (done > 0) && done <= setup->batch);
        for (size_t i = 0; i < done; i++) {
            uint64_t const producer = (items[i] >> 48) - 1, item = items[i] & 0xFFFFFFFFFFFFu;
            CHECK(producer < PRODUCERS && item >= next[producer] && item < stride);
            next[producer] = item + 1;
            CHECK(setup->seen[producer * stride + item]++ == 0);
        }
        setup->popped[number - PRODUCERS] += done;
        if (status == FG_QUEUE_CLOSED) break;
        if (status == FG_QUEUE_EMPTY) sched_yield();
    }
    size_t done;
    CHECK(pop(setup->queue, number, items, 1, &done) == FG_QUEUE_CLOSED);
}

static void run_transfer(void *shared, int number) {
    transfer *const setup = shared;
    if (number < PRODUCERS) {
        push_numbers(setup, number);
    } else if (number < PRODUCERS + CONSUMERS) {
        pop_numbers(setup, number);
    } else {
        for (uint32_t patience = below(200); patience; patience--) sched_yield();
        close_queue(setup->queue, number);
        size_t done;
        uint64_t const item = 1;
        CHECK(push(setup->queue, number, &item, 1, &done) == FG_QUEUE_CLOSED && done == 0);
    }
}

/** Returns how many pushes and pops of single items there were. */
static size_t check_transfer(transfer setup) {
    size_t const stride = setup.closes ? SEEN_MAX : setup.items;
    setup.queue = queue_of(setup.kind, setup.size, 1);
    setup.seen = calloc(PRODUCERS * stride, 1);
    CHECK(setup.seen);
    fg_store_relaxed(&setup.producing, PRODUCERS);
    on_threads(PRODUCERS + CONSUMERS + setup.closes, run_transfer, &setup);
    uint64_t const pushed = setup.pushed[0] + setup.pushed[1];
    for (int producer = 0; producer < PRODUCERS; producer++)
        for (uint64_t item = 0; item < setup.pushed[producer]; item++) CHECK(setup.seen[producer * stride + item] == 1);
    CHECK(setup.popped[0] + setup.popped[1] == pushed);
    if (setup.kind == UNBOUNDED) CHECK(fg_unbounded_count(&setup.queue->unbounded, setup.queue->members[0]) == 0);
    free(setup.seen);
    drop(setup.queue);
    return 2 * pushed;
}

/** Threads that exist for a few calls: they take the participants that others have left, garbage and all. */
typedef struct churn {
    tested *queue;
    fg_atomic pushed, popped;
} churn;

static void live_shortly(void *shared, int number) {
    (void)number;
    churn *const setup = shared;
    fg_epoch *const epoch = &setup->queue->unbounded.epoch;
    fg_participant *const me = fg_epoch_take(epoch);
    CHECK(me);
    for (int i = 0; i < 8; i++) {
        uint64_t items[3] = {1, 2, 3};
        size_t done;
        if (below(2)) {
            CHECK(fg_unbounded_push(&setup->queue->unbounded, me, items, 3, &done) == FG_QUEUE_OK && done == 3);
            fg_add_acq_rel(&setup->pushed, done);
        } else {
            fg_unbounded_pop(&setup->queue->unbounded, me, items, 3, &done);
            fg_add_acq_rel(&setup->popped, done);
        }
    }
    fg_epoch_leave(me);
}

static size_t check_churn(size_t rounds) {
    churn setup = {.queue = queue_of(UNBOUNDED, 2, 1)};
    tested *const queue = setup.queue;
    for (int i = 0; i < THREADS_MAX; i++) fg_epoch_leave(queue->members[i]);
    for (size_t round = 0; round < rounds; round++) on_threads(4, live_shortly, &setup);
    fg_participant *const me = fg_epoch_take(&queue->unbounded.epoch);
    CHECK(me &&
          fg_unbounded_count(&queue->unbounded, me) == fg_load_acquire(&setup.pushed) - fg_load_acquire(&setup.popped));
    for (int i = 0; i < FG_EPOCH_BINS; i++) fg_epoch_collect(&queue->unbounded.epoch, me);
    CHECK(fg_epoch_waiting(&queue->unbounded.epoch) == 0); /* what those who left had retired, too */
    drop(queue);
    return 4 * rounds;
}

/** One thread stays pinned: nothing is released, its age shows, and when it goes everything is. */
static void check_stall(void) {
    tested *const queue = queue_of(UNBOUNDED, 2, 1);
    fg_epoch *const epoch = &queue->unbounded.epoch;
    uint64_t ages[FG_EPOCH_AGES], item = 1;
    size_t done;
    fg_epoch_pin(epoch, queue->members[1]);
    fg_epoch_ages(epoch, ages);
    CHECK(ages[0] == 1);
    for (int i = 0; i < 200; i++)
        CHECK(push(queue, 0, &item, 1, &done) == FG_QUEUE_OK && pop(queue, 0, &item, 1, &done) == FG_QUEUE_OK);
    fg_epoch_ages(epoch, ages);
    CHECK(fg_epoch_waiting(epoch) == 99 && ages[0] == 0 && ages[7] == 1); /* it has stopped 98 of 99 attempts */
    fg_epoch_unpin(queue->members[1]);
    for (int i = 0; i < FG_EPOCH_BINS; i++) fg_epoch_collect(epoch, queue->members[0]);
    fg_epoch_ages(epoch, ages);
    for (int i = 0; i < FG_EPOCH_AGES; i++) CHECK(ages[i] == 0);
    CHECK(fg_epoch_waiting(epoch) == 0 && queue->live == 1);
    for (int i = 0; i < 200; i++)
        CHECK(push(queue, 0, &item, 1, &done) == FG_QUEUE_OK && pop(queue, 0, &item, 1, &done) == FG_QUEUE_OK);
    CHECK(fg_epoch_waiting(epoch) <= FG_EPOCH_BINS);
    drop(queue);
}

/** As rcutorture: an object is 0 while it can be reached, 1 when retired, 2 when released; readers count what they see.
 * Released objects rest before they are used again, so that a late reader finds the 2. */
typedef struct aged {
    fg_retired retired;
    fg_atomic age;
    uint64_t value;
} aged;

enum { READERS = 3, UPDATERS = 2, REST = 256 };

typedef struct torture {
    fg_epoch epoch;
    fg_participant members[READERS + UPDATERS];
    fg_atomic shared; /* address of the object */
    fg_atomic updating;
    size_t updates;
    uint64_t seen[READERS][3];
    uint64_t most_waiting;
} torture;

typedef struct resting {
    aged *objects[REST];
    size_t count;
} resting;

static _Thread_local resting rests;

/** Reclaim: runs on whichever thread empties the bin. */
static void rest(void *context, fg_retired *retired) {
    (void)context;
    aged *const object = (aged *)retired;
    CHECK(fg_exchange_acq_rel(&object->age, 2) == 1);
    aged **const place = &rests.objects[rests.count++ % REST];
    free(*place);
    *place = object;
}

static void read_or_update(void *shared, int number) {
    torture *const setup = shared;
    fg_participant *const me = &setup->members[number];
    if (number < READERS) {
        while (fg_load_acquire(&setup->updating)) {
            fg_epoch_pin(&setup->epoch, me);
            aged *const object = (aged *)(uintptr_t)fg_load_acquire(&setup->shared);
            for (uint32_t looks = below(8) + 1; looks; looks--) {
                setup->seen[number][fg_load_acquire(&object->age)]++;
                CHECK(object->value == 42);
            }
            fg_epoch_unpin(me);
        }
        return;
    }
    for (size_t i = 0; i < setup->updates; i++) {
        aged *const fresh = calloc(1, sizeof *fresh);
        CHECK(fresh);
        fresh->value = 42;
        fg_epoch_pin(&setup->epoch, me);
        aged *const old = (aged *)(uintptr_t)fg_exchange_acq_rel(&setup->shared, (uint64_t)(uintptr_t)fresh);
        CHECK(fg_exchange_acq_rel(&old->age, 1) == 0);
        fg_epoch_retire(&setup->epoch, me, &old->retired);
        fg_epoch_unpin(me);
        if (number == READERS && fg_epoch_waiting(&setup->epoch) > setup->most_waiting)
            setup->most_waiting = fg_epoch_waiting(&setup->epoch);
    }
    for (size_t i = 0; i < REST; i++) free(rests.objects[i]), rests.objects[i] = NULL;
    fg_add_acq_rel(&setup->updating, UINT64_MAX);
}

static void check_ages(size_t updates) {
    torture setup = {.updates = updates};
    fg_epoch_init(&setup.epoch, 8, rest, NULL);
    for (int i = 0; i < READERS + UPDATERS; i++) fg_epoch_join(&setup.epoch, &setup.members[i]);
    aged *const first = calloc(1, sizeof *first);
    CHECK(first);
    first->value = 42;
    fg_store_relaxed(&setup.shared, (uint64_t)(uintptr_t)first);
    fg_store_relaxed(&setup.updating, UPDATERS);
    on_threads(READERS + UPDATERS, read_or_update, &setup);
    uint64_t seen[3] = {0, 0, 0};
    for (int age = 0; age < 3; age++)
        for (int reader = 0; reader < READERS; reader++) seen[age] += setup.seen[reader][age];
    CHECK(seen[2] == 0);
    fg_epoch_drain(&setup.epoch);
    for (size_t i = 0; i < REST; i++) free(rests.objects[i]), rests.objects[i] = NULL;
    free((void *)(uintptr_t)fg_load_acquire(&setup.shared));
    printf("ages seen: %llu reachable, %llu retired, %llu released; %zu updates, at most %llu waiting ok\n",
           (unsigned long long)seen[0], (unsigned long long)seen[1], (unsigned long long)seen[2], UPDATERS * updates,
           (unsigned long long)setup.most_waiting);
}

#endif
