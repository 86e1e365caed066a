/** Epochs: a cell that is replaced while others read it, and what was in it is freed for real and handed out again. */
#include "lockfree/epoch.h"

enum { PARTIES = CHECKER_MOST_THREADS + 1 };

typedef struct node {
    fg_retired retired; /* first: the address of a node is that of its list entry */
    uint64_t value, check;
    struct node *next; /* in the stack: readers of a retired node follow it still, so it is not that of the list */
} node;

static struct {
    fg_epoch *epoch;
    fg_participant *party[PARTIES];
    fg_atomic *cell, *stack; /* addresses of nodes */
    size_t outside, made, freed;
    uint64_t *plain;
} it;

static void reclaim(void *context, fg_retired *retired) {
    (void)context;
    node *const gone = (node *)retired;
    CHECK(gone->check == gone->value * 3);
    gone->check = 0;
    it.freed++;
    checker_free(gone);
}

static node *made(uint64_t value) {
    node *const fresh = checker_alloc(sizeof *fresh);
    fresh->value = value;
    fresh->check = value * 3;
    it.made++;
    return fresh;
}

static void epoch_of(uint64_t period, int parties, bool joined) {
    memset(&it, 0, sizeof it);
    checker_reuse();
    it.epoch = checker_alloc(sizeof *it.epoch);
    it.cell = checker_alloc(sizeof *it.cell);
    it.stack = checker_alloc(sizeof *it.stack);
    it.plain = checker_alloc(sizeof *it.plain);
    *it.plain = 0;
    for (int i = 0; i <= parties; i++) it.party[i] = checker_alloc(sizeof *it.party[i]);
    it.outside = checker_live();
    fg_epoch_init(it.epoch, period, reclaim, NULL);
    for (int i = 0; i <= parties && (joined || !i); i++) fg_epoch_join(it.epoch, it.party[i]);
    fg_store_relaxed(it.cell, (uint64_t)(uintptr_t)made(1));
    fg_store_relaxed(it.stack, 0);
    checker_name(it.cell, "cell");
    checker_name(&it.epoch->now, "epoch");
    checker_name(&it.epoch->participants, "participants");
    for (int i = 0; i <= parties; i++) {
        static char const *const names[] = {"pin 0", "pin 1", "pin 2", "pin 3", "pin 4"};
        checker_name(&it.party[i]->pin, names[i]);
    }
}
static void two_eager(void) { epoch_of(1, 2, true); }
static void three_eager(void) { epoch_of(1, 3, true); }
static void two_lazy(void) { epoch_of(9, 2, true); }
static void three_lazy(void) { epoch_of(9, 3, true); }
static void nobody_yet(void) { epoch_of(9, 3, false); }

/* The link is all that readers are given: relaxed would do for the epoch, but what it leads to must be visible. */
static void read_cell(int thread) {
    fg_epoch_pin(it.epoch, it.party[thread]);
    node const *const found = (node *)(uintptr_t)fg_load_acquire(it.cell);
    uint64_t const value = found->value;
    CHECK(found->check == value * 3 && value);
    fg_epoch_unpin(it.party[thread]);
}
static void replace(int thread, uint64_t value) {
    node *const fresh = made(value);
    fg_epoch_pin(it.epoch, it.party[thread]);
    node *const old = (node *)(uintptr_t)fg_exchange_acq_rel(it.cell, (uint64_t)(uintptr_t)fresh);
    fg_epoch_retire(it.epoch, it.party[thread], &old->retired);
    fg_epoch_unpin(it.party[thread]);
}
static void collect(int thread, int times) {
    while (times--) fg_epoch_collect(it.epoch, it.party[thread]);
}
static void read_once(void) { read_cell(1); }
static void read_twice(void) { read_cell(1), read_cell(1); }
static void read_third(void) { read_cell(3); }
static void replace_eagerly(void) { replace(2, 2), replace(2, 3), replace(2, 4), replace(2, 5); }
static void replace_and_collect(void) { replace(2, 2), collect(2, 3); }
static void replace_third(void) { replace(3, 9); }
static void replace_first(void) { replace(1, 7); }
static void collect_third(void) { collect(3, 2); }
static void collect_second(void) { collect(2, 3); }
static void join_and_read(void) {
    fg_epoch_join(it.epoch, it.party[1]);
    read_cell(1);
}
static void join_and_replace(void) {
    fg_epoch_join(it.epoch, it.party[2]);
    replace_and_collect();
}
/** Garbage is left behind by an owner and released by whoever collects, or by the next owner. */
static void replace_and_leave(void) {
    replace(2, 2);
    *it.plain += 1;
    fg_epoch_leave(it.party[2]);
}
static void take_and_leave(void) {
    fg_participant *const mine = fg_epoch_take(it.epoch);
    if (!mine) return;
    CHECK(mine == it.party[2]);
    *it.plain += 1; /* what the owner before did is visible */
    it.party[3] = mine;
    replace(3, 5);
    fg_epoch_leave(mine);
}
static void collect_once_first(void) { collect(1, 2); }
static void collect_abandoned(void) { collect(1, 4); }
/** One stays pinned while others retire: what it holds stays, and the epoch moves by one at most. */
static void stall(void) {
    fg_epoch_pin(it.epoch, it.party[1]);
    uint64_t const pinned = fg_load_relaxed(&it.party[1]->pin) >> 1;
    node const *const found = (node *)(uintptr_t)fg_load_acquire(it.cell);
    uint64_t const value = found->value;
    CHECK(fg_load_acquire(&it.epoch->now) <= pinned + 1);
    CHECK(found->value == value && found->check == value * 3);
    fg_epoch_unpin(it.party[1]);
}
/** Looks at what it has found again after everybody else had a turn. */
static void read_slowly(void) {
    fg_epoch_pin(it.epoch, it.party[3]);
    node const *const found = (node *)(uintptr_t)fg_load_acquire(it.cell);
    CHECK(found->value);
    checker_spin();
    CHECK(found->check == found->value * 3);
    fg_epoch_unpin(it.party[3]);
}
static void join_and_read_slowly(void) {
    fg_epoch_join(it.epoch, it.party[3]);
    read_slowly();
}
/** Thread 2 was pinned one epoch ago and has not unlinked yet; thread 3 may have been there or joins. */
static void pinned_before(void) {
    epoch_of(9, 3, false);
    fg_epoch_join(it.epoch, it.party[1]);
    fg_epoch_join(it.epoch, it.party[2]);
    fg_epoch_pin(it.epoch, it.party[2]);
    CHECK(fg_epoch_advance(it.epoch));
}
static void pinned_before_three(void) {
    pinned_before();
    fg_epoch_join(it.epoch, it.party[3]);
}
static void unlink_late(void) {
    node *const fresh = made(2);
    node *const old = (node *)(uintptr_t)fg_exchange_acq_rel(it.cell, (uint64_t)(uintptr_t)fresh);
    fg_epoch_retire(it.epoch, it.party[2], &old->retired);
    fg_epoch_unpin(it.party[2]);
    fg_epoch_advance(it.epoch);
    checker_spin();
    collect(2, 1);
}
static void advance_once(void) { fg_epoch_advance(it.epoch); }
/** A stack that is popped under pins: a node can't come back while someone looks at it, so it needs no tags. */
static void push(uint64_t value) {
    node *const fresh = made(value);
    uint64_t top = fg_load_relaxed(it.stack);
    do fresh->next = (node *)(uintptr_t)top;
    while (!fg_cas_acq_rel(it.stack, &top, (uint64_t)(uintptr_t)fresh));
}
static void pop(int thread) {
    fg_epoch_pin(it.epoch, it.party[thread]);
    uint64_t top = fg_load_acquire(it.stack);
    while (top) {
        node *const first = (node *)(uintptr_t)top;
        if (!fg_cas_acq_rel(it.stack, &top, (uint64_t)(uintptr_t)first->next)) continue;
        CHECK(first->check == first->value * 3);
        fg_epoch_retire(it.epoch, it.party[thread], &first->retired);
        break;
    }
    fg_epoch_unpin(it.party[thread]);
}
static void stack_set_up(void) {
    two_eager();
    for (uint64_t i = 2; i <= 3; i++) push(i);
}
static void pop_first(void) { pop(1); }
static void pop_and_push(void) { pop(2), pop(2), push(8), collect(2, 2); }

static void verify(void) {
    CHECK(fg_epoch_waiting(it.epoch) == it.made - it.freed - 1);
    fg_epoch_drain(it.epoch);
    CHECK(fg_epoch_waiting(it.epoch) == 0 && it.freed == it.made - 1);
    checker_free((void *)(uintptr_t)fg_load_relaxed(it.cell));
    CHECK(checker_live() == it.outside);
}
static void verify_stack(void) {
    fg_epoch_drain(it.epoch);
    CHECK(fg_epoch_waiting(it.epoch) == 0);
    size_t left = 0;
    for (node *at = (node *)(uintptr_t)fg_load_relaxed(it.stack), *next; at; at = next) {
        next = at->next;
        left++;
    }
    CHECK(it.made == it.freed + left + 1);
}
static void verify_progress(void) { /* with nobody pinned, three collections release all of one's own */
    for (int i = 1; i <= 2; i++) collect(i, 4);
    CHECK(fg_epoch_waiting(it.epoch) == 0);
    verify();
}

checker_scenario const checker_scenarios[] = {
    {.name = "reload against read against free",
     .set_up = two_lazy,
     .threads = {read_twice, replace_and_collect},
     .verify = verify},
    {.name = "four reloads", .set_up = two_eager, .threads = {read_once, replace_eagerly}, .verify = verify_progress},
    {.name = "somebody else collects",
     .set_up = three_lazy,
     .threads = {read_once, replace_and_collect, collect_third},
     .verify = verify,
     .stale = 1 + 1},
    {.name = "two readers",
     .set_up = three_lazy,
     .threads = {read_once, replace_and_collect, read_third},
     .verify = verify,
     .stale = 1 + 1},
    {.name = "two writers",
     .set_up = three_eager,
     .threads = {read_once, replace_and_collect, replace_third},
     .verify = verify,
     .stale = 1 + 1},
    {.name = "writers collect each other's time",
     .set_up = two_eager,
     .threads = {replace_first, replace_eagerly},
     .verify = verify_progress},
    {.name = "a reader joins", .set_up = nobody_yet, .threads = {join_and_read, join_and_replace}, .verify = verify},
    {.name = "garbage of one who left",
     .set_up = three_lazy,
     .threads = {collect_abandoned, replace_and_leave, read_third},
     .verify = verify,
     .stale = 1 + 1},
    {.name = "taken by the next",
     .set_up = two_lazy,
     .threads = {collect_once_first, replace_and_leave, take_and_leave},
     .verify = verify,
     .stale = 1 + 1},
    {.name = "stalled while others retire", .set_up = two_eager, .threads = {stall, replace_eagerly}, .verify = verify},
    {.name = "a slow reader",
     .set_up = three_lazy,
     .threads = {read_slowly, replace_and_collect},
     .verify = verify,
     .preemptions = 3 + 1},
    {.name = "unlinked late, advanced by another",
     .set_up = pinned_before_three,
     .threads = {advance_once, unlink_late, read_slowly},
     .verify = verify},
    {.name = "unlinked late, read by one who joins",
     .set_up = pinned_before,
     .threads = {advance_once, unlink_late, join_and_read_slowly},
     .verify = verify,
     .preemptions = 1 + 1,
     .stale = 3 + 1},
    {.name = "collecting only", .set_up = two_lazy, .threads = {read_once, collect_second}, .verify = verify},
    {.name = "a stack without tags",
     .set_up = stack_set_up,
     .threads = {pop_first, pop_and_push},
     .verify = verify_stack},
};
size_t const checker_scenario_count = sizeof checker_scenarios / sizeof checker_scenarios[0];
