/** The queues: literals; order and content between threads that come and go; closing against pushing; small histories
 * against the definition; failing allocations; a stalled thread, and objects that tell their age to readers.
 *
 * FASTGEN_TEST_CASES is the items of each stress run; lockfree_runs.json has the long ones. `lockfree_queue bench`,
 * compiled with -DFG_NO_YIELDS, prints times instead. */
#define _DEFAULT_SOURCE
#include "lockfree_checks.h"

#include "lockfree_interruptions.h"

static void check_bounded_literals(void) {
    tested *const queue = queue_of(BOUNDED, 2, 0);
    uint64_t const items[] = {7, 8, 9};
    uint64_t out[3];
    size_t done;
    CHECK(pop(queue, 0, out, 3, &done) == FG_QUEUE_EMPTY && done == 0);
    CHECK(push(queue, 0, items, 3, &done) == FG_QUEUE_FULL && done == 2 && fg_bounded_count(&queue->bounded) == 2);
    CHECK(pop(queue, 0, out, 1, &done) == FG_QUEUE_OK && done == 1 && out[0] == 7);
    CHECK(push(queue, 0, items + 2, 1, &done) == FG_QUEUE_OK && push(queue, 0, items, 1, &done) == FG_QUEUE_FULL);
    CHECK(close_queue(queue, 0) && !close_queue(queue, 0) && fg_bounded_is_closed(&queue->bounded));
    CHECK(push(queue, 0, items, 1, &done) == FG_QUEUE_CLOSED && done == 0);
    CHECK(pop(queue, 0, out, 3, &done) == FG_QUEUE_OK && done == 2 && out[0] == 8 && out[1] == 9);
    CHECK(pop(queue, 0, out, 3, &done) == FG_QUEUE_CLOSED && fg_bounded_count(&queue->bounded) == 0);
    drop(queue);

    tested *const one = queue_of(BOUNDED, 1, 0);
    for (uint64_t i = 0; i < 5; i++) {
        CHECK(push(one, 0, &i, 1, &done) == FG_QUEUE_OK && push(one, 0, &i, 1, &done) == FG_QUEUE_FULL);
        CHECK(pop(one, 0, out, 2, &done) == FG_QUEUE_OK && done == 1 && out[0] == i);
        CHECK(pop(one, 0, out, 2, &done) == FG_QUEUE_EMPTY);
    }
    /* A producer that stops between its claim and its stamp. */
    uint64_t pushed = fg_load_relaxed(&one->bounded.pushed);
    CHECK(fg_cas_acq_rel(&one->bounded.pushed, &pushed, pushed + 1));
    CHECK(fg_bounded_pop(&one->bounded, out, 1, &done) == FG_QUEUE_BUSY);
    CHECK(fg_bounded_push(&one->bounded, items, 1, &done) == FG_QUEUE_FULL);
    drop(one);
    CHECK(fg_bounded_bytes(4) == 64 && fg_bounded_bytes(SIZE_MAX / 16 + 1) == 0);
}

static void check_unbounded_literals(void) {
    tested *const queue = queue_of(UNBOUNDED, 2, 1);
    uint64_t const items[] = {7, 8, 9, 10, 11};
    uint64_t out[5];
    size_t done;
    CHECK(pop(queue, 0, out, 1, &done) == FG_QUEUE_EMPTY && push(queue, 0, items, 5, &done) == FG_QUEUE_OK &&
          done == 5);
    CHECK(fg_unbounded_count(&queue->unbounded, queue->members[0]) == 5 && queue->live == 3);
    CHECK(pop(queue, 0, out, 5, &done) == FG_QUEUE_OK && done == 2 && out[1] == 8); /* to the end of a segment */
    CHECK(close_queue(queue, 0) && !close_queue(queue, 0));
    CHECK(push(queue, 0, items, 1, &done) == FG_QUEUE_CLOSED && done == 0);
    CHECK(pop(queue, 0, out, 5, &done) == FG_QUEUE_OK && done == 2 && out[0] == 9);
    CHECK(pop(queue, 0, out, 5, &done) == FG_QUEUE_OK && done == 1 && out[0] == 11);
    CHECK(pop(queue, 0, out, 5, &done) == FG_QUEUE_CLOSED &&
          fg_unbounded_is_closed(&queue->unbounded, queue->members[0]));
    drop(queue);

    tested *const full = queue_of(UNBOUNDED, 2, 1); /* closed where the last segment is full */
    CHECK(push(full, 0, items, 2, &done) == FG_QUEUE_OK && close_queue(full, 0));
    CHECK(push(full, 0, items, 1, &done) == FG_QUEUE_CLOSED && pop(full, 0, out, 5, &done) == FG_QUEUE_OK && done == 2);
    CHECK(pop(full, 0, out, 5, &done) == FG_QUEUE_CLOSED);
    drop(full);

    /* A thread that has sealed the last segment and stopped before it could say closed: the others say it. */
    tested *const half = queue_of(UNBOUNDED, 2, 1);
    CHECK(push(half, 0, items, 2, &done) == FG_QUEUE_OK);
    fg_segment *const last = segment_at(&half->unbounded.tail);
    fg_store_release(&last->next, FG_SEGMENT_SEALED);
    CHECK(!fg_unbounded_is_closed(&half->unbounded, half->members[0]));
    CHECK(push(half, 0, items, 1, &done) == FG_QUEUE_CLOSED);
    CHECK(fg_unbounded_is_closed(&half->unbounded, half->members[0]));
    drop(half);
}

/** Every allocation of a run fails once: nothing is lost, nothing leaks, and the same call succeeds afterwards. */
static size_t check_failing_allocations(void) {
    size_t failures = 0;
    for (size_t wanted = 0;; wanted++) {
        tested *const queue = queue_of(UNBOUNDED, 2, 1);
        queue->fails_at = queue->allocations + wanted;
        uint64_t pushed = 0, popped = 0, out[4];
        size_t done, failed = 0;
        while (pushed < 40) {
            uint64_t const items[] = {pushed + 1, pushed + 2, pushed + 3, pushed + 4, pushed + 5};
            fg_queue_status const status = push(queue, 0, items, 5, &done);
            pushed += done;
            CHECK(status == FG_QUEUE_OK || status == FG_QUEUE_NO_MEMORY);
            failed += status == FG_QUEUE_NO_MEMORY;
            CHECK(fg_unbounded_count(&queue->unbounded, queue->members[0]) == pushed - popped);
            CHECK(pop(queue, 0, out, 4, &done) == FG_QUEUE_OK);
            for (size_t i = 0; i < done; i++) CHECK(out[i] == ++popped);
        }
        while (pop(queue, 0, out, 4, &done) == FG_QUEUE_OK)
            for (size_t i = 0; i < done; i++) CHECK(out[i] == ++popped);
        CHECK(popped == pushed && failed <= 1);
        drop(queue);
        if (!failed) break;
        failures++;
    }
    tested none = {.kind = UNBOUNDED};
    fg_allocator const allocator = {allocate, release, &none};
    CHECK(!fg_unbounded_init(&none.unbounded, 2, 1, allocator)); /* fails_at is 0 */
    fg_unbounded_destroy(&none.unbounded);
    return failures + 1;
}

/** Threads that push, pop and close at random while a clock counts their calls. */
typedef struct recording {
    tested *queue;
    pthread_barrier_t meets;
    fg_atomic clock;
    call calls[CALLS_MAX];
    size_t histories;
    uint32_t closes; /* one call in so many */
    size_t capacity;
} recording;

enum { RECORDERS = 3, CALLS_EACH = 4 };

static void record(void *shared, int number) {
    recording *const log = shared;
    for (size_t history = 0; history < log->histories; history++) {
        if (number == 0) {
            log->queue = queue_of(log->capacity ? BOUNDED : UNBOUNDED, log->capacity ? log->capacity : 2, 1);
            fg_store_relaxed(&log->clock, 0);
        }
        pthread_barrier_wait(&log->meets);
        for (int i = 0; i < CALLS_EACH; i++) {
            kind const what = log->closes && below(log->closes) == 0 ? CALL_CLOSE : below(2) ? CALL_PUSH : CALL_POP;
            int const place = number * CALLS_EACH + i;
            log->calls[place] = called(log->queue, number, what, (uint64_t)place + 1, &log->clock);
        }
        pthread_barrier_wait(&log->meets);
        if (number == 0) {
            int const capacity = log->capacity ? (int)log->capacity : CALLS_MAX + 1;
            CHECK(is_linearizable(log->calls, RECORDERS * CALLS_EACH, capacity));
            drop(log->queue);
        }
    }
}

static size_t check_histories(size_t capacity, uint32_t closes, size_t histories) {
    recording log = {.histories = histories, .closes = closes, .capacity = capacity};
    CHECK(pthread_barrier_init(&log.meets, NULL, RECORDERS) == 0);
    on_threads(RECORDERS, record, &log);
    CHECK(pthread_barrier_destroy(&log.meets) == 0);
    return histories;
}

/** The checker itself: it must see what is wrong. */
static void check_checker(void) {
    call const late[] = {{CALL_PUSH, RESULT_OK, 1, 0, 1}, {CALL_POP, RESULT_EMPTY, 0, 2, 3}};
    call const overlapping[] = {{CALL_PUSH, RESULT_OK, 1, 0, 3}, {CALL_POP, RESULT_EMPTY, 0, 1, 2}};
    call const swapped[] = {
        {CALL_PUSH, RESULT_OK, 1, 0, 1}, {CALL_PUSH, RESULT_OK, 2, 2, 3}, {CALL_POP, RESULT_OK, 2, 4, 5}};
    call const closed[] = {{CALL_CLOSE, RESULT_OK, 0, 0, 1}, {CALL_PUSH, RESULT_OK, 1, 2, 3}};
    call const twice[] = {
        {CALL_PUSH, RESULT_OK, 1, 0, 1}, {CALL_POP, RESULT_OK, 1, 2, 5}, {CALL_POP, RESULT_OK, 1, 3, 4}};
    CHECK(!is_linearizable(late, 2, 2) && is_linearizable(overlapping, 2, 2) && !is_linearizable(swapped, 3, 2));
    CHECK(!is_linearizable(closed, 2, 2) && !is_linearizable(twice, 3, 2));
}

static void bench_one(tested *queue, char const *name) {
    enum { ITEMS = 1 << 18 };
    for (size_t batch = 1; batch <= 64; batch *= 8) {
        double least = 1;
        for (int round = 0; round < 41; round++) {
            uint64_t items[64] = {1, 2, 3}, sum = 0;
            size_t done;
            for (size_t i = 0; i < 64; i++) items[i] = i + 1;
            double const began = seconds();
            for (size_t i = 0; i < ITEMS; i += batch) {
                push(queue, 0, items, batch, &done);
                for (size_t left = batch; left; left -= done) pop(queue, 0, items, left, &done), sum += done;
            }
            double const took = (seconds() - began) / ITEMS;
            CHECK(sum == ITEMS);
            if (took < least) least = took;
        }
        printf("%-9s batch %2zu: push and pop %6.2f ns an item\n", name, batch, least * 1e9);
    }
    drop(queue);
}

static void bench_pin(void) {
    tested *const queue = queue_of(UNBOUNDED, FG_SEGMENT_SLOTS, 1);
    double least = 1;
    for (int round = 0; round < 41; round++) {
        double const began = seconds();
        for (int i = 0; i < 100000; i++) {
            fg_epoch_pin(&queue->unbounded.epoch, queue->members[0]);
            fg_epoch_unpin(queue->members[0]);
        }
        double const took = (seconds() - began) / 100000;
        if (took < least) least = took;
    }
    printf("pin and unpin %.2f ns\n", least * 1e9);
    drop(queue);
}

int main(int count, char **arguments) {
    if (count > 1 && strcmp(arguments[1], "bench") == 0) {
        bench_one(queue_of(BOUNDED, 1024, 0), "bounded");
        bench_one(queue_of(UNBOUNDED, FG_SEGMENT_SLOTS, 1), "unbounded");
        bench_pin();
        return 0;
    }
    size_t const items = cases(16000);
    check_checker();
    check_bounded_literals();
    check_unbounded_literals();
    printf("interrupted calls: %zu ok\n", check_interruptions());
    printf("allocations that failed: %zu ok\n", check_failing_allocations());
    for (int kind = BOUNDED; kind <= UNBOUNDED; kind++) {
        char const *const name = kind == BOUNDED ? "bounded" : "unbounded";
        size_t operations = 0;
        for (int noisy = 0; noisy < 2; noisy++) {
            yield_every = noisy ? 16 : 0;
            size_t const share = noisy ? items / 4 : items;
            operations += check_transfer((transfer){.kind = kind, .size = 2, .batch = 1, .items = share / 2});
            operations += check_transfer((transfer){.kind = kind, .size = 2, .batch = 3, .items = share / 2});
            operations += check_transfer((transfer){.kind = kind, .size = 128, .batch = 16, .items = share});
        }
        yield_every = 4;
        for (size_t round = 0; round < items / 400; round++)
            operations +=
                check_transfer((transfer){.kind = kind, .size = round % 2 ? 2 : 16, .batch = 3, .closes = true});
        printf("%s: %zu operations, %zu closings ok\n", name, operations, items / 400);
    }
    yield_every = 3;
    size_t histories = 0;
    for (size_t capacity = 0; capacity <= 4; capacity = capacity ? capacity * 2 : 1)
        for (uint32_t closes = 0; closes <= 6; closes += 6) histories += check_histories(capacity, closes, items / 40);
    printf("linearizable: %zu histories ok\n", histories);
    yield_every = 16;
    printf("threads that came and went: %zu ok\n", check_churn(items / 100));
    check_stall();
    check_ages(items);
    return 0;
}
