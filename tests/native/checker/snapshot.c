/** Snapshots: values are memory that is freed for real as soon as the publisher is told so. */
#include "lockfree/snapshot.h"

enum { MOST = 8 };

typedef struct version {
    uint64_t number, check;
} version;

static struct {
    fg_snapshot *snapshot;
    fg_snapshot_reader *reader[CHECKER_MOST_THREADS + 1];
    size_t outside, readers;
    uint64_t latest;
    uint64_t *plain;
    fg_atomic *gate;
} it;

static uint64_t made(uint64_t number) {
    version *const fresh = checker_alloc(sizeof *fresh);
    fresh->number = number;
    fresh->check = number * 3;
    it.latest = number;
    return (uint64_t)(uintptr_t)fresh;
}

static void snapshot_of(size_t readers, size_t joined) {
    memset(&it, 0, sizeof it);
    checker_reuse();
    it.readers = readers;
    it.snapshot = checker_alloc(sizeof *it.snapshot);
    it.plain = checker_alloc(sizeof *it.plain);
    *it.plain = 0;
    it.gate = checker_alloc(sizeof *it.gate);
    fg_store_relaxed(it.gate, 0);
    size_t const bytes = fg_snapshot_bytes(readers);
    void *const memory = checker_alloc(bytes);
    memset(memory, 0, bytes);
    it.outside = checker_live();
    fg_snapshot_init(it.snapshot, readers, made(1), memory);
    for (size_t i = 1; i <= joined; i++) it.reader[i] = fg_snapshot_join(it.snapshot);
    checker_name(&it.snapshot->current, "current");
    for (size_t i = 0; i < readers; i++) {
        static char const *const names[] = {"pinned 0", "pinned 1", "pinned 2"};
        checker_name(&it.snapshot->reader_table[i].pinned, names[i]);
    }
}
static void one_reader(void) { snapshot_of(1, 1); }
static void two_readers(void) { snapshot_of(2, 2); }
static void one_vacant(void) { snapshot_of(1, 0); }
static void two_vacant(void) { snapshot_of(2, 0); }
static void one_that_has_read(void) {
    one_reader();
    fg_snapshot_read(it.snapshot, it.reader[1]);
}

static uint64_t look(uint64_t value) {
    version const *const found = (version const *)(uintptr_t)value;
    CHECK(found->check == found->number * 3 && found->number);
    return found->number;
}
/** What was read before stays valid until the next read, and later reads are not older. */
static void read_times(int thread, int times) {
    uint64_t before = 0;
    while (times--) {
        uint64_t const value = fg_snapshot_read(it.snapshot, it.reader[thread]), number = look(value);
        CHECK(number >= before);
        before = number;
        CHECK(look(value) == number);
    }
}
static void release_all(uint64_t const *freed, size_t count) {
    CHECK(count <= it.readers + 1);
    for (size_t i = 0; i < count; i++) {
        ((version *)(uintptr_t)freed[i])->check = 0;
        checker_free((void *)(uintptr_t)freed[i]);
    }
}
static void publish(uint64_t number) {
    uint64_t freed[MOST];
    release_all(freed, fg_snapshot_publish(it.snapshot, made(number), freed));
    CHECK(fg_snapshot_kept(it.snapshot) <= it.readers);
    CHECK(look(fg_snapshot_latest(it.snapshot)) == number);
}
static void collect(void) {
    uint64_t freed[MOST];
    release_all(freed, fg_snapshot_collect(it.snapshot, freed));
}
static void read_once(void) { read_times(1, 1); }
static void read_twice(void) { read_times(1, 2); }
static void read_other(void) { read_times(2, 1); }
static void read_and_hold(void) {
    uint64_t const value = fg_snapshot_read(it.snapshot, it.reader[1]);
    while (!fg_load_acquire(it.gate)) checker_spin();
    look(value);
}
static void publish_and_open(void) {
    publish(2), publish(3);
    fg_store_release(it.gate, 1);
}
static void publish_once(void) { publish(2); }
static void publish_twice(void) { publish(2), publish(3); }
static void publish_thrice(void) { publish(2), publish(3), publish(4); }
static void publish_and_collect(void) { publish(2), collect(); }
static void read_and_park(void) {
    read_times(1, 1);
    fg_snapshot_park(it.reader[1]);
    read_times(1, 1);
}
/** Threads that come and go share what they leave. */
static void visit(void) {
    fg_snapshot_reader *const mine = fg_snapshot_join(it.snapshot);
    if (!mine) return;
    *it.plain += 1; /* one owner after the other, if there is one slot */
    look(fg_snapshot_read(it.snapshot, mine));
    fg_snapshot_leave(mine);
}
static void visit_beside(void) {
    fg_snapshot_reader *const mine = fg_snapshot_join(it.snapshot);
    CHECK(mine);
    look(fg_snapshot_read(it.snapshot, mine));
    fg_snapshot_leave(mine);
}
/** The number is seen before what was published with it is looked at by a reader of its own. */
static void number_then_read(void) {
    uint64_t const number = fg_snapshot_number(it.snapshot);
    CHECK(look(fg_snapshot_read(it.snapshot, it.reader[1])) >= number);
}
static void publish_plain(void) {
    *it.plain = 9;
    publish(2);
}
static void number_then_plain(void) {
    if (fg_snapshot_number(it.snapshot) == 2) CHECK(*it.plain == 9);
}

static void verify(void) {
    CHECK(look(fg_snapshot_latest(it.snapshot)) == it.latest);
    for (int i = 1; i <= CHECKER_MOST_THREADS; i++)
        if (it.reader[i]) fg_snapshot_park(it.reader[i]);
    collect();
    CHECK(fg_snapshot_kept(it.snapshot) == 0 && checker_live() == it.outside + 1);
}
static void verify_held(void) {
    CHECK(fg_snapshot_kept(it.snapshot) <= 1);
    verify();
}

checker_scenario const checker_scenarios[] = {
    {.name = "reload against read against free",
     .set_up = one_reader,
     .threads = {read_twice, publish_twice},
     .verify = verify},
    {.name = "three reloads", .set_up = one_that_has_read, .threads = {read_twice, publish_thrice}, .verify = verify},
    {.name = "two readers", .set_up = two_readers, .threads = {read_once, publish_twice, read_other}, .verify = verify},
    {.name = "held across reloads",
     .set_up = one_reader,
     .threads = {read_and_hold, publish_and_open},
     .verify = verify_held},
    {.name = "parked", .set_up = one_reader, .threads = {read_and_park, publish_twice}, .verify = verify},
    {.name = "collected later",
     .set_up = one_that_has_read,
     .threads = {read_once, publish_and_collect},
     .verify = verify},
    {.name = "visitors of one slot", .set_up = one_vacant, .threads = {visit, publish_once, visit}, .verify = verify},
    {.name = "visitors beside each other",
     .set_up = two_vacant,
     .threads = {visit_beside, publish_once, visit_beside},
     .verify = verify},
    {.name = "number, then value",
     .set_up = one_reader,
     .threads = {number_then_read, publish_twice},
     .verify = verify},
    {.name = "number, then what came before",
     .set_up = one_reader,
     .threads = {number_then_plain, publish_plain},
     .verify = verify},
};
size_t const checker_scenario_count = sizeof checker_scenarios / sizeof checker_scenarios[0];
