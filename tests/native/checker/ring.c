/** The ring: one producer, one consumer, and threads that close it or count. */
#include "lockfree/ring.h"

enum { ITEMS = 3 };

static struct {
    fg_ring *ring;
    uint64_t *payload; /* plain memory that items point into */
    uint64_t *reason;  /* plain memory that is written before the ring is closed */
    size_t words;
    uint64_t accepted, popped;
    uint64_t taken[16];
    bool closed[4];
} it;

static void ring_of(size_t capacity, size_t words) {
    memset(&it, 0, sizeof it);
    it.ring = checker_alloc(sizeof *it.ring);
    it.words = words;
    it.reason = checker_alloc(sizeof *it.reason);
    it.payload = checker_alloc(ITEMS * sizeof *it.payload);
    fg_ring_init(it.ring, capacity, words, checker_alloc(fg_ring_bytes(capacity, words)));
    checker_name(&it.ring->producer.position, "pushed");
    checker_name(&it.ring->consumer.position, "popped");
}
static void one_slot(void) { ring_of(1, 1); }
static void two_slots(void) { ring_of(2, 1); }
static void two_pairs(void) { ring_of(2, 2); }
static void four_slots(void) { ring_of(4, 1); }

/* Items count from 1; the second word of a pair is the first one negated. */
static void push_all(void) {
    for (uint64_t item = 1; item <= ITEMS; item++) {
        it.payload[item - 1] = item * 10;
        while (!fg_ring_push(it.ring, &item, 1)) checker_spin();
    }
}
static void push_batches(void) {
    uint64_t items[2 * ITEMS];
    for (uint64_t i = 0; i < ITEMS; i++) {
        items[i * it.words] = i + 1;
        if (it.words > 1) items[i * it.words + 1] = ~i; /* -(i + 1) */
    }
    for (size_t done = 0; done < ITEMS;) {
        size_t const pushed = fg_ring_push(it.ring, items + done * it.words, ITEMS - done);
        CHECK(pushed <= 2);
        if (!pushed) checker_spin();
        done += pushed;
    }
}
static void offer_all(void) {
    for (uint64_t item = 1; item <= ITEMS && !fg_ring_is_closed(it.ring); item++) {
        it.payload[item - 1] = item * 10;
        if (!fg_ring_offer(it.ring, &item, 1)) break;
        it.accepted = item;
    }
}
static void offer_batch(void) {
    uint64_t const items[2] = {1, 2};
    it.accepted = fg_ring_offer(it.ring, items, 2);
    CHECK(it.accepted == 2 || !it.accepted);
}
static void push_and_close(void) {
    for (uint64_t item = 1; item <= 2; item++)
        while (!fg_ring_push(it.ring, &item, 1)) checker_spin();
    it.accepted = 2;
    CHECK(fg_ring_close(it.ring));
    uint64_t const late = 3;
    CHECK(!fg_ring_push(it.ring, &late, 1));
}

static void note(uint64_t item) {
    CHECK(item == it.popped + 1); /* in order, none twice, none lost */
    it.popped = item;
}
static void pop_all(void) {
    while (it.popped < ITEMS) {
        uint64_t item;
        if (fg_ring_pop(it.ring, &item, 1)) {
            note(item);
            CHECK(it.payload[item - 1] == item * 10);
        } else {
            checker_spin();
        }
    }
}
static void pop_batches(void) {
    while (it.popped < ITEMS) {
        uint64_t items[4];
        size_t const count = fg_ring_pop(it.ring, items, 2);
        if (!count) checker_spin();
        for (size_t i = 0; i < count; i++) {
            note(items[i * it.words]);
            if (it.words > 1) CHECK(items[i * it.words + 1] == ~(it.popped - 1));
        }
    }
}
static void pop_until_drained(void) {
    for (;;) {
        uint64_t items[2];
        bool const drained = fg_ring_is_drained(it.ring);
        size_t const count = fg_ring_pop(it.ring, items, 2);
        for (size_t i = 0; i < count; i++) note(items[i]);
        CHECK(!drained || !count);
        if (drained) return;
        if (!count) checker_spin();
    }
}
/** The consumer cancels: what was accepted before is still its. */
static void cancel_and_drain(void) {
    uint64_t item;
    if (fg_ring_pop(it.ring, &item, 1)) note(item);
    fg_ring_close(it.ring);
    while (fg_ring_pop(it.ring, &item, 1)) note(item);
    CHECK(fg_ring_is_drained(it.ring));
}
static void close_first(void) { it.closed[0] = fg_ring_close(it.ring); }
static void close_second(void) { it.closed[1] = fg_ring_close(it.ring); }
static void pop_in_place(void) {
    while (it.popped < ITEMS) {
        uint64_t const *items;
        size_t const count = fg_ring_peek(it.ring, &items, 2);
        if (!count) checker_spin();
        for (size_t i = 0; i < count; i++) note(items[i * it.words]);
        if (count) fg_ring_skip(it.ring, count);
    }
}
static void close_with_reason(void) {
    *it.reason = 5;
    fg_ring_close(it.ring);
}
static void drain_for_reason(void) {
    uint64_t item;
    while (!fg_ring_is_drained(it.ring)) {
        if (!fg_ring_pop(it.ring, &item, 1)) checker_spin();
    }
    CHECK(*it.reason == 5);
}
static void see_reason(void) {
    if (fg_ring_is_closed(it.ring)) CHECK(*it.reason == 5);
}
static void offer_or_reason(void) {
    uint64_t item = 1;
    if (fg_ring_offer(it.ring, &item, 1)) {
        it.accepted = 1;
    } else if (fg_ring_is_closed(it.ring)) {
        CHECK(*it.reason == 5);
    }
}
static void push_one(void) {
    uint64_t const item = 1;
    it.payload[0] = 10;
    CHECK(fg_ring_push(it.ring, &item, 1) == 1);
}
static void pop_one(void) {
    uint64_t item;
    if (fg_ring_pop(it.ring, &item, 1)) note(item);
}
static void count_one(void) {
    size_t const count = fg_ring_count(it.ring);
    CHECK(count <= 1);
    if (count) CHECK(it.payload[0] == 10); /* what is counted has been pushed */
}
static void count_twice(void) {
    for (int i = 0; i < 2; i++) CHECK(fg_ring_count(it.ring) <= it.ring->producer.mask + 1);
}
static void count_and_pop(void) {
    for (int i = 0; i < 2; i++) {
        size_t const count = fg_ring_count(it.ring);
        uint64_t items[4];
        size_t const popped = fg_ring_pop(it.ring, items, 4);
        CHECK(popped >= count);
        for (size_t j = 0; j < popped; j++) note(items[j]);
    }
}
/** What is seen closed stays so, and what was pushed before is there: a thread that is told, takes over. */
static void take_over(void) {
    while (!fg_ring_is_closed(it.ring)) checker_spin();
    uint64_t item;
    while (fg_ring_pop(it.ring, &item, 1)) {
        note(item);
        CHECK(it.payload[item - 1] == item * 10);
    }
}

static void all_popped(void) { CHECK(it.popped == ITEMS && fg_ring_count(it.ring) == 0); }
static void accepted_popped(void) { CHECK(it.popped == it.accepted && fg_ring_is_drained(it.ring)); }
static void closed_once(void) {
    CHECK(it.closed[0] + it.closed[1] == 1);
    CHECK(fg_ring_is_closed(it.ring) && fg_ring_count(it.ring) == it.accepted);
}

checker_scenario const checker_scenarios[] = {
    {.name = "one slot", .set_up = one_slot, .threads = {push_all, pop_all}, .verify = all_popped},
    {.name = "two slots", .set_up = two_slots, .threads = {push_all, pop_all}, .verify = all_popped},
    {.name = "batches that wrap", .set_up = two_slots, .threads = {push_batches, pop_batches}, .verify = all_popped},
    {.name = "batches of pairs", .set_up = two_pairs, .threads = {push_batches, pop_batches}, .verify = all_popped},
    {.name = "closed by the producer",
     .set_up = one_slot,
     .threads = {push_and_close, pop_until_drained},
     .verify = accepted_popped},
    {.name = "close against offer",
     .set_up = four_slots,
     .threads = {offer_all, close_first, pop_until_drained},
     .verify = accepted_popped},
    {.name = "close against a batch",
     .set_up = two_slots,
     .threads = {offer_batch, close_first, pop_until_drained},
     .verify = accepted_popped},
    {.name = "cancelled by the consumer",
     .set_up = four_slots,
     .threads = {offer_all, cancel_and_drain},
     .verify = accepted_popped},
    {.name = "closed twice",
     .set_up = four_slots,
     .threads = {offer_all, close_first, close_second},
     .verify = closed_once},
    {.name = "taken over when closed",
     .set_up = four_slots,
     .threads = {offer_all, close_first, take_over},
     .verify = accepted_popped},
    {.name = "read in place", .set_up = two_slots, .threads = {push_all, pop_in_place}, .verify = all_popped},
    {.name = "pairs read in place", .set_up = two_pairs, .threads = {push_batches, pop_in_place}, .verify = all_popped},
    {.name = "what the closer did is seen",
     .set_up = two_slots,
     .threads = {offer_or_reason, close_with_reason, see_reason}},
    {.name = "what the closer did is popped",
     .set_up = two_slots,
     .threads = {offer_or_reason, close_with_reason, drain_for_reason}},
    {.name = "counting one", .set_up = four_slots, .threads = {push_one, pop_one, count_one}},
    {.name = "counting beside", .set_up = one_slot, .threads = {push_all, pop_all, count_twice}, .verify = all_popped},
    {.name = "counting by the consumer", .set_up = two_slots, .threads = {offer_all, count_and_pop}},
};
size_t const checker_scenario_count = sizeof checker_scenarios / sizeof checker_scenarios[0];
