/** The bounded queue of many producers and many consumers. */
#include "lockfree/queue.h"

enum { MOST = 8 };

static struct {
    fg_bounded *queue;
    uint64_t *payload; /* plain memory that items point into: item i stands for payload[i] */
    uint64_t pushed[CHECKER_MOST_THREADS + 1][MOST], popped[CHECKER_MOST_THREADS + 1][MOST];
    size_t pushes[CHECKER_MOST_THREADS + 1], pops[CHECKER_MOST_THREADS + 1];
    uint64_t *reason;
    bool closed[2];
} it;

static void queue_of(size_t capacity) {
    memset(&it, 0, sizeof it);
    it.queue = checker_alloc(sizeof *it.queue);
    it.payload = checker_alloc(64 * sizeof *it.payload);
    it.reason = checker_alloc(sizeof *it.reason);
    fg_bounded_init(it.queue, capacity, checker_alloc(fg_bounded_bytes(capacity)));
    checker_name(&it.queue->pushed, "pushed");
    checker_name(&it.queue->popped, "popped");
    for (size_t i = 0; i < capacity; i++) {
        static char const *const names[] = {"stamp 0", "stamp 1", "stamp 2", "stamp 3"};
        checker_name(&it.queue->slots[i].stamp, names[i]);
    }
}
static void one_slot(void) { queue_of(1); }
static void two_slots(void) { queue_of(2); }
static void four_slots(void) { queue_of(4); }

/** Items of thread t are 16 t + 0, 1, ... Returns whether the queue was open. */
static bool push(int thread, size_t count) {
    uint64_t items[MOST];
    for (size_t i = 0; i < count; i++) {
        items[i] = (uint64_t)thread * 16 + it.pushes[thread] + i;
        it.payload[items[i]] = items[i] * 3;
    }
    for (size_t done = 0; done < count;) {
        size_t pushed;
        fg_queue_status const status = fg_bounded_push(it.queue, items + done, count - done, &pushed);
        for (size_t i = 0; i < pushed; i++) it.pushed[thread][it.pushes[thread]++] = items[done + i];
        done += pushed;
        if (status == FG_QUEUE_CLOSED) return false;
        CHECK((status == FG_QUEUE_OK) == (done == count));
        if (status != FG_QUEUE_OK) checker_spin();
    }
    return true;
}
/** Returns what the queue said when it had nothing. */
static fg_queue_status pop(int thread, size_t count) {
    uint64_t items[MOST];
    size_t popped;
    fg_queue_status const status = fg_bounded_pop(it.queue, items, count, &popped);
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
static void push_two(void) { push(1, 1) && push(1, 1); }
static void push_pair(void) { push(1, 2); }
static void push_other_pair(void) { push(2, 2); }
static void push_three(void) { push(1, 1) && push(1, 1) && push(1, 1); }
static void pop_one(void) { pop_number(3, 1); }
static void pop_another(void) { pop_number(4, 1); }
static void pop_two(void) { pop_number(3, 1), pop_number(3, 2); }
static void pop_three(void) { pop_number(3, 3); }
static void pop_four(void) { pop_number(3, 4); }
static void pop_rest(void) { pop_until_closed(3); }
static void pop_rest_too(void) { pop_until_closed(4); }
static void try_once(void) { pop(3, 2); }
static void try_too(void) { pop(4, 2); }
static void push_and_pop(void) { push(1, 1), pop_number(3, 1); }
static void push_and_pop_too(void) { push(2, 1), pop_number(4, 1); }
static void close_it(void) {
    *it.reason = 5;
    it.closed[0] = fg_bounded_close(it.queue);
}
static void close_too(void) { it.closed[1] = fg_bounded_close(it.queue); }
static void push_or_reason(void) {
    if (!push(1, 1) || !push(1, 1)) CHECK(*it.reason == 5);
}
static void see_reason(void) {
    if (fg_bounded_is_closed(it.queue)) {
        CHECK(*it.reason == 5);
        CHECK(!push(2, 1));
    }
}
static void pop_reason(void) {
    pop_until_closed(3);
    CHECK(*it.reason == 5);
}
static void count_it(void) {
    size_t const count = fg_bounded_count(it.queue);
    CHECK(count <= 1);
    if (count) CHECK(it.payload[16] == 48); /* what is counted has been pushed */
}

/** What remains, then: everything pushed was popped once, in its producer's order as far as one consumer saw. */
static void verify_rest(void) {
    while (pop(0, 1) == FG_QUEUE_OK) {}
    size_t pushes = 0, pops = 0;
    for (int i = 0; i <= CHECKER_MOST_THREADS; i++) {
        pushes += it.pushes[i], pops += it.pops[i];
        for (size_t j = 1; j < it.pops[i]; j++)
            for (size_t k = 0; k < j; k++)
                CHECK(it.popped[i][k] / 16 != it.popped[i][j] / 16 || it.popped[i][k] < it.popped[i][j]);
        for (size_t j = 0; j < it.pushes[i]; j++) {
            int found = 0;
            for (int k = 0; k <= CHECKER_MOST_THREADS; k++)
                for (size_t l = 0; l < it.pops[k]; l++) found += it.popped[k][l] == it.pushed[i][j];
            CHECK(found == 1);
        }
    }
    CHECK(pushes == pops && fg_bounded_count(it.queue) == 0);
}
static void verify_popped(void) {
    CHECK(fg_bounded_count(it.queue) == 0);
    verify_rest();
}
static void verify_closed(void) {
    CHECK(it.closed[0] + it.closed[1] == 1);
    verify_rest();
    CHECK(pop(0, 1) == FG_QUEUE_CLOSED);
}

checker_scenario const checker_scenarios[] = {
    {.name = "one slot", .set_up = one_slot, .threads = {push_two, pop_two}, .verify = verify_popped},
    {.name = "one slot, two producers",
     .set_up = one_slot,
     .threads = {push_one, push_another, pop_two},
     .verify = verify_popped},
    {.name = "two producers",
     .set_up = two_slots,
     .threads = {push_two, push_another, pop_three},
     .verify = verify_popped},
    {.name = "two consumers",
     .set_up = two_slots,
     .threads = {push_two, pop_one, pop_another},
     .verify = verify_popped},
    {.name = "two and two",
     .set_up = two_slots,
     .threads = {push_one, push_another, pop_one, pop_another},
     .verify = verify_popped},
    {.name = "everybody both",
     .set_up = one_slot,
     .threads = {push_and_pop, push_and_pop_too},
     .verify = verify_popped},
    {.name = "batches",
     .set_up = two_slots,
     .threads = {push_pair, push_other_pair, pop_four},
     .verify = verify_popped,
     .preemptions = 2 + 1,
     .stale = 1 + 1},
    {.name = "once around", .set_up = two_slots, .threads = {push_three, pop_three}, .verify = verify_popped},
    {.name = "consumers that give up",
     .set_up = two_slots,
     .threads = {push_pair, try_once, try_too},
     .verify = verify_rest},
    {.name = "close against push",
     .set_up = two_slots,
     .threads = {push_or_reason, close_it, pop_rest},
     .verify = verify_closed},
    {.name = "close against two consumers",
     .set_up = two_slots,
     .threads = {push_one, close_it, pop_rest, pop_rest_too},
     .verify = verify_closed,
     .preemptions = 2 + 1,
     .stale = 1 + 1},
    {.name = "close against a push that waits",
     .set_up = one_slot,
     .threads = {push_or_reason, close_it, try_once},
     .verify = verify_closed},
    {.name = "closed twice", .set_up = two_slots, .threads = {push_one, close_it, close_too}, .verify = verify_closed},
    {.name = "what the closer did is seen",
     .set_up = four_slots,
     .threads = {push_or_reason, close_it, see_reason},
     .verify = verify_closed},
    {.name = "what the closer did is popped",
     .set_up = four_slots,
     .threads = {push_one, close_it, pop_reason},
     .verify = verify_closed},
    {.name = "counting",
     .set_up = four_slots,
     .threads = {push_one, try_once, count_it},
     .verify = verify_rest,
     .stale = 3 + 1},
};
size_t const checker_scenario_count = sizeof checker_scenarios / sizeof checker_scenarios[0];
