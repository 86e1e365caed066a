/** The scheduler: random calls beside a naive one, how many nodes an operation moves, and the limits of its numbers. */
#include "scheduler_checks.h"

static uint64_t state = 0x243F6A8885A308D3u;

static uint32_t drawn(uint32_t bound) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 32) * bound >> 32);
}

static void random_calls(int cases) {
    static uint8_t bytes[6000];
    for (int i = 0; i < cases; i++) {
        for (size_t at = 0; at < sizeof bytes; at++) bytes[at] = (uint8_t)drawn(256);
        bytes[0] = (uint8_t)i;
        check_calls(bytes, sizeof bytes);
    }
}

static uint32_t changed(fg_heap const *heap, fg_heap_node *before) {
    uint32_t nodes = 0;
    for (uint32_t i = 0; i < heap->count; i++)
        if (memcmp(&heap->nodes[i], &before[i], sizeof *before)) before[i] = heap->nodes[i], nodes++;
    return nodes;
}

/* An operation touches one path: 10 levels of nodes hold 349,525, so 100,000 have at most 9 below the root. */
static void operations_are_logarithmic(void) {
    enum { COUNT = 100000, LEVELS = 10 };
    fg_scheduler *const scheduler = made(COUNT, 1);
    fg_heap const *const heap = &scheduler->tenants[0].streams.heap;
    fg_heap_node *const before = memory_of(COUNT * sizeof *before);
    for (uint32_t i = 0; i < COUNT; i++)
        fg_scheduler_add(scheduler, 0, FG_RATE_LEAST + drawn(1 << 20), 1, 0, FG_NO_DEADLINE);
    changed(heap, before);
    for (int round = 0; round < 300; round++) {
        uint32_t const picked = fg_scheduler_pick(scheduler), other = drawn(COUNT);
        CHECK(changed(heap, before) <= LEVELS);
        fg_scheduler_charge(scheduler, picked, 1 + drawn(100), 1);
        CHECK(changed(heap, before) <= LEVELS);
        fg_scheduler_charge(scheduler, other, drawn(100), 0);
        CHECK(changed(heap, before) <= LEVELS);
        fg_scheduler_remove(scheduler, other);
        CHECK(changed(heap, before) <= LEVELS);
        fg_scheduler_add(scheduler, 0, FG_RATE_LEAST, 1, 0, FG_NO_DEADLINE);
        CHECK(changed(heap, before) <= LEVELS);
    }
    unmade(scheduler), free(before);
}

/* Nothing overflows and nobody is lost with the largest costs at the least weight, paid or owed. */
static void largest_numbers(void) {
    fg_scheduler *const scheduler = made(4, 2);
    for (uint32_t i = 0; i < 2; i++) scheduler->tenants[i].flow.rate = FG_RATE_MOST;
    for (uint32_t i = 0; i < 4; i++) fg_scheduler_add(scheduler, i % 2, FG_RATE_MOST, FG_COST_MOST, 0, FG_NO_DEADLINE);
    for (int round = 0; round < 20000; round++) {
        uint32_t const entry = drawn(4);
        switch (drawn(6)) {
        case 0:
            fg_scheduler_rest(scheduler, entry);
            break;
        case 1:
            fg_scheduler_wake(scheduler, entry);
            break;
        case 2:
            fg_scheduler_charge(scheduler, entry, FG_COST_MOST, (int)drawn(2));
            break;
        case 3:
            fg_scheduler_charge(scheduler, entry, 1, (int)drawn(2));
            break;
        default:
            fg_scheduler_pick(scheduler);
        }
        for (uint32_t i = 0; i < 4; i++) CHECK(scheduler->entries[i].flow.tag < UINT64_C(1) << 63);
        for (uint32_t i = 0; i < 2; i++) CHECK(scheduler->tenants[i].flow.tag < UINT64_C(1) << 63);
        fg_fair_queue const *const queues[3] = {&scheduler->tenants[0].streams, &scheduler->tenants[1].streams,
                                                &scheduler->root};
        for (uint32_t i = 0; i < 3; i++) {
            fg_places const places = {i < 2 ? &scheduler->entries[0].flow.place : &scheduler->tenants[0].flow.place,
                                      (i < 2 ? sizeof(fg_entry) : sizeof(fg_tenant)) / 4};
            check_heap(&queues[i]->heap, places);
            CHECK(queues[i]->now < FG_VIRTUAL_LIMIT && queues[i]->latest <= queues[i]->now + FG_VIRTUAL_LEAD);
        }
    }
    for (uint32_t i = 0; i < 4; i++) fg_scheduler_charge(scheduler, i, 1, 1);
    uint32_t seen = 0;
    for (uint32_t entry; (entry = fg_scheduler_pick(scheduler)) != FG_NOBODY;) seen |= 1u << entry;
    CHECK(seen == 15);
    unmade(scheduler);
}

/* Generations keep handles apart, and stay below 2^31. */
static void generations(void) {
    fg_scheduler *const scheduler = made(1, 1);
    fg_scheduler_remove(scheduler, fg_scheduler_add(scheduler, 0, FG_RATE_LEAST, 1, 0, FG_NO_DEADLINE));
    CHECK(scheduler->entries[0].generation == 1);
    scheduler->entries[0].generation = INT32_MAX;
    fg_scheduler_remove(scheduler, fg_scheduler_add(scheduler, 0, FG_RATE_LEAST, 1, 0, FG_NO_DEADLINE));
    CHECK(scheduler->entries[0].generation == 0 && scheduler->entries_used == 1);
    unmade(scheduler);
}

int main(void) {
    char const *const wanted = getenv("FASTGEN_TEST_CASES");
#ifdef __aarch64__
    int const cases = wanted ? atoi(wanted) : 10; /* emulated */
#else
    int const cases = wanted ? atoi(wanted) : 100;
#endif
    random_calls(cases);
    operations_are_logarithmic();
    largest_numbers();
    generations();
    printf("scheduler ok: %d sequences of 2000 calls\n", cases);
    return 0;
}
