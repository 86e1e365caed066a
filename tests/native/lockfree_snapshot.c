/** Snapshots: literals; then one thread that publishes as fast as it can and frees what comes out, and readers that
 * read, keep, park, leave and come back. What is freed is overwritten at once, so that a reader that is too late sees
 * it; and an age is counted for every read, as rcutorture does: how many versions were published since. */
#include "lockfree_threads.h"

#include "lockfree/snapshot.h"

static fg_snapshot *snapshot_of(size_t readers, uint64_t value) {
    fg_snapshot *const snapshot = lines_of(sizeof *snapshot);
    fg_snapshot_init(snapshot, readers, value, lines_of(fg_snapshot_bytes(readers)));
    return snapshot;
}

static void free_snapshot(fg_snapshot *snapshot) {
    free(snapshot->reader_table);
    free(snapshot);
}

static void test_literals(void) {
    uint64_t freed[4];
    fg_snapshot *const snapshot = snapshot_of(2, 100);
    fg_snapshot_reader *const first = fg_snapshot_join(snapshot), *const second = fg_snapshot_join(snapshot);
    CHECK(first && second && first != second && fg_snapshot_join(snapshot) == NULL);
    CHECK(fg_snapshot_number(snapshot) == 1 && fg_snapshot_read(snapshot, first) == 100);
    CHECK(fg_snapshot_publish(snapshot, 200, freed) == 0); /* `first` may still use 100 */
    CHECK(fg_snapshot_kept(snapshot) == 1 && fg_snapshot_latest(snapshot) == 200);
    CHECK(fg_snapshot_read(snapshot, second) == 200 && fg_snapshot_number(snapshot) == 2);
    CHECK(fg_snapshot_publish(snapshot, 300, freed) == 0 && fg_snapshot_kept(snapshot) == 2);
    CHECK(fg_snapshot_publish(snapshot, 400, freed) == 1 && freed[0] == 300); /* that nobody read */
    CHECK(fg_snapshot_read(snapshot, first) == 400);
    CHECK(fg_snapshot_collect(snapshot, freed) == 1 && freed[0] == 100);
    fg_snapshot_park(second);
    CHECK(fg_snapshot_collect(snapshot, freed) == 1 && freed[0] == 200);
    CHECK(fg_snapshot_collect(snapshot, freed) == 0 && fg_snapshot_kept(snapshot) == 0);
    CHECK(fg_snapshot_publish(snapshot, 400, freed) == 0); /* the same value is another version */
    CHECK(fg_snapshot_read(snapshot, second) == 400);
    fg_snapshot_leave(first);
    CHECK(fg_snapshot_collect(snapshot, freed) == 1 && freed[0] == 400);
    CHECK(fg_snapshot_join(snapshot) == first && fg_snapshot_read(snapshot, first) == 400);
    free_snapshot(snapshot);

    fg_snapshot *const lonely = snapshot_of(0, 1); /* no reader: what is replaced is free at once */
    CHECK(fg_snapshot_join(lonely) == NULL);
    for (uint64_t i = 2; i < 10; i++) CHECK(fg_snapshot_publish(lonely, i, freed) == 1 && freed[0] == i - 1);
    free_snapshot(lonely);
}

/* Threads. */

enum { WORDS = 8 };

/** A version's contents: plain words that all say the same number. 0 after it was freed. */
typedef struct content {
    uint64_t words[WORDS];
    struct content *next;
} content;

typedef struct stress {
    fg_snapshot *snapshot;
    content *contents; /* in use or on the list of free ones, which the publisher alone touches */
    content *spare;
    size_t free_count, readers;
    fg_atomic ages[4]; /* reads whose version was the latest, one behind, two behind, more */
    fg_atomic busy;
} stress;

static content *written(stress *shared, uint64_t number) {
    content *const fresh = shared->spare;
    CHECK(fresh); /* bounded: at most readers + 2 are out */
    shared->spare = fresh->next, shared->free_count--;
    for (size_t i = 0; i < WORDS; i++) fresh->words[i] = number;
    return fresh;
}

static void wiped(stress *shared, uint64_t value) {
    content *const old = (content *)(uintptr_t)value;
    CHECK(old->words[0] != 0); /* freed once */
    for (size_t i = 0; i < WORDS; i++) old->words[i] = 0;
    old->next = shared->spare, shared->spare = old, shared->free_count++;
}

static void publish_many(worker *self) {
    stress *const shared = self->shared;
    uint64_t freed[MOST_THREADS + 1];
    for (size_t i = 0; i < self->operations; i++) {
        uint64_t const number = fg_snapshot_number(shared->snapshot) + 1;
        size_t count = fg_snapshot_publish(shared->snapshot, (uintptr_t)written(shared, number), freed);
        if (random_below(&self->state, 16) == 0) {
            for (size_t k = 0; k < count; k++) wiped(shared, freed[k]);
            count = fg_snapshot_collect(shared->snapshot, freed);
        }
        for (size_t k = 0; k < count; k++) wiped(shared, freed[k]);
        CHECK(fg_snapshot_kept(shared->snapshot) <= shared->readers);
        stumble(&self->state);
        self->done++;
    }
    fg_store_release(&shared->busy, 0);
}

static void read_many(worker *self) {
    stress *const shared = self->shared;
    if (self->number == 0) {
        publish_many(self);
        return;
    }
    fg_snapshot_reader *reader = NULL;
    uint64_t last = 0;
    do {
        if (!reader) reader = fg_snapshot_join(shared->snapshot);
        if (!reader) {
            sched_yield();
            continue;
        }
        uint64_t const before = fg_snapshot_number(shared->snapshot);
        content const *const found = (content const *)(uintptr_t)fg_snapshot_read(shared->snapshot, reader);
        stumble(&self->state); /* now it is old, perhaps */
        uint64_t const number = found->words[0];
        for (size_t i = 1; i < WORDS; i++) CHECK(found->words[i] == number);
        CHECK(number >= before && number >= last); /* as new as when the read began, and never back */
        last = number, self->done++;
        uint64_t const age = fg_snapshot_number(shared->snapshot) - number;
        fg_add_relaxed(&shared->ages[age < 3 ? age : 3], 1);
        uint32_t const choice = random_below(&self->state, 64);
        if (choice == 0) fg_snapshot_park(reader);
        if (choice == 1) fg_snapshot_leave(reader), reader = NULL;
    } while (fg_load_acquire(&shared->busy));
    if (reader) fg_snapshot_leave(reader);
}

static uint64_t stress_snapshot(size_t readers, size_t threads, size_t operations) {
    stress shared = {.readers = readers, .contents = lines_of((readers + 2) * sizeof(content))};
    for (size_t i = 0; i < readers + 2; i++)
        shared.contents[i].next = shared.spare, shared.spare = &shared.contents[i], shared.free_count++;
    shared.snapshot = snapshot_of(readers, (uintptr_t)written(&shared, 1));
    fg_store_relaxed(&shared.busy, 1);
    uint64_t const done = run_threads(threads, operations, readers, read_many, &shared);
    uint64_t freed[MOST_THREADS + 1];
    size_t const count = fg_snapshot_collect(shared.snapshot, freed);
    for (size_t k = 0; k < count; k++) wiped(&shared, freed[k]);
    CHECK(fg_snapshot_kept(shared.snapshot) == 0 && shared.free_count == readers + 1);
    printf("%zu readers of %zu places, versions behind 0 1 2 more:", threads - 1, readers);
    for (size_t i = 0; i < 4; i++) printf(" %llu", (unsigned long long)fg_load_relaxed(&shared.ages[i]));
    printf("\n");
    free(shared.contents);
    free_snapshot(shared.snapshot);
    return done;
}

static void print_times(void) {
    uint64_t freed[9], sum = 0;
    fg_snapshot *const snapshot = snapshot_of(8, 1);
    fg_snapshot_reader *const reader = fg_snapshot_join(snapshot);
    PRINT_TIME("read", 20000000, sum += fg_snapshot_read(snapshot, reader));
    PRINT_TIME("publish, then read", 2000000, {
        fg_snapshot_publish(snapshot, i, freed);
        sum += fg_snapshot_read(snapshot, reader);
    });
    CHECK(sum);
    free_snapshot(snapshot);
}

int main(void) {
    size_t const operations = cases_of(200000);
    test_literals();
    uint64_t done = stress_snapshot(8, 5, operations / 2) + stress_snapshot(1, 3, operations / 4);
    done += stress_snapshot(16, 17, operations / 8) + stress_snapshot(3, 9, operations / 8);
    if (getenv("FASTGEN_TEST_TIMES")) print_times();
    printf("ok: %llu reads and publications\n", (unsigned long long)done);
    return 0;
}
