/** The unbounded queue of many producers and many consumers, with segments of one or two slots that are freed for
 * real and handed out again. */
#include "lockfree/queue.h"

enum { MOST = 8, PARTIES = CHECKER_MOST_THREADS + 1 };

static struct {
    fg_unbounded *queue;
    fg_participant *party[PARTIES];
    uint64_t *payload, *reason;
    uint64_t pushed[PARTIES][MOST], popped[PARTIES][MOST];
    size_t pushes[PARTIES], pops[PARTIES], outside;
    bool closed[2], fails;
} it;

static void *allocate(void *context, size_t bytes) {
    (void)context;
    return it.fails && checker_choose(2) ? NULL : checker_alloc(bytes);
}
static void release(void *context, void *memory) {
    (void)context;
    checker_free(memory);
}

static void queue_of(size_t slots, int parties) {
    memset(&it, 0, sizeof it);
    checker_reuse();
    it.queue = checker_alloc(sizeof *it.queue);
    it.payload = checker_alloc(16 * PARTIES * sizeof *it.payload);
    it.reason = checker_alloc(sizeof *it.reason);
    for (int i = 0; i <= parties; i++) it.party[i] = checker_alloc(sizeof *it.party[i]);
    it.outside = checker_live();
    CHECK(fg_unbounded_init(it.queue, slots, 1, (fg_allocator){allocate, release, NULL}));
    for (int i = 0; i <= parties; i++) fg_epoch_join(&it.queue->epoch, it.party[i]);
    checker_name(&it.queue->head, "head");
    checker_name(&it.queue->tail, "tail");
    checker_name(&it.queue->epoch.now, "epoch");
}
static void one_slot_two(void) { queue_of(1, 2); }
static void one_slot_three(void) { queue_of(1, 3); }
static void two_slots_two(void) { queue_of(2, 2); }
static void two_slots_three(void) { queue_of(2, 3); }
static void without_memory(void) {
    queue_of(1, 2);
    it.fails = true;
}

/** Items of thread t are 16 t + 1, ... */
static fg_queue_status push(int thread, size_t count) {
    uint64_t items[MOST];
    for (size_t i = 0; i < count; i++) {
        items[i] = (uint64_t)thread * 16 + 1 + it.pushes[thread] + i;
        it.payload[items[i]] = items[i] * 3;
    }
    size_t pushed;
    fg_queue_status const status = fg_unbounded_push(it.queue, it.party[thread], items, count, &pushed);
    for (size_t i = 0; i < pushed; i++) it.pushed[thread][it.pushes[thread]++] = items[i];
    CHECK((status == FG_QUEUE_OK) == (pushed == count) && pushed <= count);
    CHECK(status == FG_QUEUE_OK || status == FG_QUEUE_CLOSED || (it.fails && status == FG_QUEUE_NO_MEMORY));
    return status;
}
static fg_queue_status pop(int thread, size_t count) {
    uint64_t items[MOST];
    size_t popped;
    fg_queue_status const status = fg_unbounded_pop(it.queue, it.party[thread], items, count, &popped);
    CHECK((status == FG_QUEUE_OK) == (popped > 0) && popped <= count);
    for (size_t i = 0; i < popped; i++) {
        CHECK(it.payload[items[i]] == items[i] * 3);
        it.popped[thread][it.pops[thread]++] = items[i];
    }
    return status;
}
static void pop_number(int thread, size_t number) {
    while (it.pops[thread] < number)
        if (pop(thread, number - it.pops[thread]) != FG_QUEUE_OK) checker_spin();
}
static void pop_until_closed(int thread) {
    for (fg_queue_status status; (status = pop(thread, 2)) != FG_QUEUE_CLOSED;)
        if (status != FG_QUEUE_OK) checker_spin();
}
static void push_one(void) { push(1, 1); }
static void push_another(void) { push(2, 1); }
static void push_two(void) { push(1, 1), push(1, 1); }
static void push_pair(void) { push(1, 2); }
static void push_triple(void) { push(1, 3); }
static void pop_two_second(void) { pop_number(2, 1), pop_number(2, 2); }
static void pop_three_second(void) { pop_number(2, 3); }
static void pop_one_second(void) { pop_number(2, 1); }
static void pop_one_third(void) { pop_number(3, 1); }
static void pop_two_third(void) { pop_number(3, 2); }
static void try_second(void) { pop(2, 2), pop(2, 2); }
static void try_third(void) { pop(3, 2), pop(3, 1); }
static void rest_third(void) { pop_until_closed(3); }
static void rest_second(void) { pop_until_closed(2); }
static void both_first(void) { push(1, 1), pop(1, 1); }
static void both_second(void) { push(2, 1), pop(2, 1); }
static void close_second(void) {
    *it.reason = 5;
    it.closed[0] = fg_unbounded_close(it.queue, it.party[2]);
}
static void close_first(void) { it.closed[1] = fg_unbounded_close(it.queue, it.party[1]); }
static void push_or_reason(void) {
    if (push(1, 1) == FG_QUEUE_CLOSED || push(1, 1) == FG_QUEUE_CLOSED) CHECK(*it.reason == 5);
}
static void see_reason(void) {
    if (fg_unbounded_is_closed(it.queue, it.party[3])) {
        CHECK(*it.reason == 5);
        CHECK(push(3, 1) == FG_QUEUE_CLOSED);
    }
}
static void pop_reason(void) {
    pop_until_closed(3);
    CHECK(*it.reason == 5);
}
static void push_and_close(void) {
    CHECK(push(1, 2) == FG_QUEUE_OK);
    it.closed[1] = fg_unbounded_close(it.queue, it.party[1]);
    CHECK(push(1, 1) == FG_QUEUE_CLOSED);
}
static void count_third(void) {
    size_t const count = fg_unbounded_count(it.queue, it.party[3]);
    CHECK(count <= 4); /* slots that were given up count */
    if (count) CHECK(it.payload[17] == 51);
}

static void verify_rest(void) {
    while (pop(0, 2) == FG_QUEUE_OK) {}
    size_t pushes = 0, pops = 0;
    for (int i = 0; i < PARTIES; i++) {
        pushes += it.pushes[i], pops += it.pops[i];
        for (size_t j = 1; j < it.pops[i]; j++)
            for (size_t k = 0; k < j; k++)
                CHECK(it.popped[i][k] / 16 != it.popped[i][j] / 16 || it.popped[i][k] < it.popped[i][j]);
        for (size_t j = 0; j < it.pushes[i]; j++) {
            int found = 0;
            for (int k = 0; k < PARTIES; k++)
                for (size_t l = 0; l < it.pops[k]; l++) found += it.popped[k][l] == it.pushed[i][j];
            CHECK(found == 1);
        }
    }
    CHECK(pushes == pops && fg_unbounded_count(it.queue, it.party[0]) == 0);
    fg_unbounded_destroy(it.queue);
    CHECK(checker_live() == it.outside); /* every segment was released, once */
}
static void verify_closed(void) {
    CHECK(it.closed[0] + it.closed[1] == 1 && fg_unbounded_is_closed(it.queue, it.party[0]));
    verify_rest();
}

checker_scenario const checker_scenarios[] = {
    {.name = "segments of one slot",
     .set_up = one_slot_two,
     .threads = {push_two, pop_two_second},
     .verify = verify_rest},
    {.name = "segments of two slots",
     .set_up = two_slots_two,
     .threads = {push_triple, pop_three_second},
     .verify = verify_rest},
    {.name = "two producers",
     .set_up = one_slot_three,
     .threads = {push_one, push_another, pop_two_third},
     .verify = verify_rest,
     .stale = 1 + 1},
    {.name = "two consumers",
     .set_up = one_slot_three,
     .threads = {push_pair, pop_one_second, pop_one_third},
     .verify = verify_rest,
     .stale = 1 + 1},
    {.name = "two consumers of a segment",
     .set_up = two_slots_three,
     .threads = {push_two, pop_one_second, pop_one_third},
     .verify = verify_rest,
     .stale = 0 + 1},
    {.name = "consumers that give up",
     .set_up = two_slots_three,
     .threads = {push_pair, try_second, try_third},
     .verify = verify_rest,
     .stale = 1 + 1},
    {.name = "everybody both", .set_up = one_slot_two, .threads = {both_first, both_second}, .verify = verify_rest},
    {.name = "out of memory", .set_up = without_memory, .threads = {push_two, try_second}, .verify = verify_rest},
    {.name = "closed by the producer",
     .set_up = one_slot_two,
     .threads = {push_and_close, rest_second},
     .verify = verify_closed},
    {.name = "close against push",
     .set_up = one_slot_three,
     .threads = {push_or_reason, close_second, rest_third},
     .verify = verify_closed,
     .stale = 1 + 1},
    {.name = "close against push, two slots",
     .set_up = two_slots_three,
     .threads = {push_or_reason, close_second, rest_third},
     .verify = verify_closed,
     .stale = 1 + 1},
    {.name = "closed twice", .set_up = one_slot_two, .threads = {close_first, close_second}, .verify = verify_closed},
    {.name = "what the closer did is seen",
     .set_up = two_slots_three,
     .threads = {push_one, close_second, see_reason},
     .verify = verify_closed,
     .stale = 1 + 1},
    {.name = "what the closer did is seen, segments later",
     .set_up = one_slot_three,
     .threads = {push_two, close_second, see_reason},
     .verify = verify_closed,
     .stale = 0 + 1},
    {.name = "what the closer did is popped",
     .set_up = two_slots_three,
     .threads = {push_one, close_second, pop_reason},
     .verify = verify_closed,
     .stale = 1 + 1},
    {.name = "counting",
     .set_up = two_slots_three,
     .threads = {push_pair, try_second, count_third},
     .verify = verify_rest,
     .stale = 1 + 1},
};
size_t const checker_scenario_count = sizeof checker_scenarios / sizeof checker_scenarios[0];
