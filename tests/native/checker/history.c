/** What an atomic load may read: every store to the location that coherence and happens-before don't hide.
 *
 * Views after J. Kang, C. Hur, O. Lahav, V. Vafeiadis, D. Dreyer, "A promising semantics for relaxed-memory
 * concurrency", POPL 2017, without promises; relacy and loom do about the same. Stores of a location are ordered as
 * they are executed. An update reads the newest store, and one that is not a release passes on what that store
 * released (release sequences as in C++20, which are shorter than those of C11). */
#include "engine.h"

#include <stdio.h>
#include <string.h>

/** A store. */
typedef struct message {
    uint64_t value;
    int32_t previous; /* of the same location; -1 for the first */
    uint16_t order;   /* place among them */
    bool releases;
    checker_view view; /* if it releases: only the first view.locations entries are set */
} message;

typedef struct location {
    uint64_t *address;
    int32_t newest;
    uint16_t sequential; /* the newest store that is sequentially consistent: later such loads read it or a newer one */
} location;

static message messages[CHECKER_MESSAGES];
static location locations[CHECKER_LOCATIONS];
static uint32_t message_count, location_count;

static struct {
    void const *cell;
    char const *name;
} names[CHECKER_LOCATIONS];
static uint32_t name_count;

void checker_history_start(void) {
    message_count = name_count = 0;
    location_count = 1; /* 0 means none */
}

void checker_name(void const *cell, char const *name) {
    if (name_count < CHECKER_LOCATIONS) {
        names[name_count].cell = cell;
        names[name_count++].name = name;
    }
}

char const *checker_location_name(int number) {
    char const *name = NULL;
    for (uint32_t i = 0; i < name_count; i++)
        if (names[i].cell == locations[number].address) name = names[i].name;
    return name;
}
uint64_t *checker_location_address(int number) { return locations[number].address; }

static uint16_t oldest_of(checker_view const *view, uint32_t number) {
    return number < view->locations ? view->oldest[number] : 0;
}

static void raise_to(checker_view *view, uint32_t number, uint16_t order) {
    while (view->locations <= number) view->oldest[view->locations++] = 0;
    if (view->oldest[number] < order) view->oldest[number] = order;
}

static void join_view(checker_view *into, checker_view const *from) {
    checker_join(&into->clock, &from->clock);
    for (uint32_t i = 1; i < from->locations; i++)
        if (from->oldest[i]) raise_to(into, i, from->oldest[i]);
}

static message *append(uint32_t number, uint64_t value) {
    if (message_count == CHECKER_MESSAGES) checker_fail("too many stores in one execution", CHECKER_HERE);
    location *const where = &locations[number];
    message *const made = &messages[message_count];
    made->value = value;
    made->previous = where->newest;
    made->order = (uint16_t)(where->newest < 0 ? 0 : messages[where->newest].order + 1);
    made->releases = false;
    made->view.locations = 0;
    where->newest = (int32_t)message_count++;
    return made;
}

static uint32_t location_of(void *cell, checker_place place) {
    uint16_t *const number = checker_atomic_access(cell, place);
    if (*number) return *number;
    if (location_count == CHECKER_LOCATIONS) checker_fail("too many atomic words", place);
    *number = (uint16_t)location_count;
    location *const made = &locations[location_count++];
    made->address = cell, made->newest = -1, made->sequential = 0;
    append(*number, *(uint64_t *)cell);
    return *number;
}

void checker_catch_up(int thread) {
    for (uint32_t i = 1; i < location_count; i++)
        raise_to(&checker_views[thread], i, messages[locations[i].newest].order);
}

/** Let the view of a store be what the current thread releases, and what `from`, which an update read, did. */
static void release(message *made, message const *from, bool own, uint32_t number) {
    if (from && from->releases) {
        made->releases = true;
        memcpy(&made->view, &from->view, offsetof(checker_view, oldest) + from->view.locations * sizeof(uint16_t));
    }
    if (!own) return;
    if (!made->releases) {
        made->releases = true;
        checker_view const *const view = &checker_views[checker_current];
        memcpy(&made->view, view, offsetof(checker_view, oldest) + view->locations * sizeof(uint16_t));
    } else {
        join_view(&made->view, &checker_views[checker_current]);
    }
    raise_to(&made->view, number, made->order);
}

static message *chosen(uint32_t number, int order, uint64_t const *unless, bool *is_newest) {
    location const *const where = &locations[number];
    uint16_t oldest = oldest_of(&checker_views[checker_current], number);
    if (order & CHECKER_SEQUENTIAL && oldest < where->sequential) oldest = where->sequential;
    uint32_t options = 1;
    int32_t candidates[256] = {where->newest};
    if (checker_current && checker_spend_stale(false)) {
        for (int32_t at = messages[where->newest].previous; at >= 0 && messages[at].order >= oldest && options < 256;
             at = messages[at].previous)
            if (!unless || messages[at].value != *unless) candidates[options++] = at;
    }
    uint32_t const pick = checker_pick(options);
    if (pick) checker_spend_stale(true);
    *is_newest = !pick;
    return &messages[candidates[pick]];
}

static void must_be_written(message const *read, checker_place place) {
    if (!read->order && read->value == CHECKER_POISON) checker_fail("reads memory that nobody has written", place);
}

static void acquire(message const *read, uint32_t number, int order) {
    checker_view *const view = &checker_views[checker_current];
    raise_to(view, number, read->order);
    if ((order & CHECKER_ACQUIRE) && read->releases) join_view(view, &read->view);
}

static void note(char const *what, checker_place place, uint32_t number, int order, uint64_t value, uint64_t aside,
                 uint32_t read) {
    checker_step *const step = checker_log(what, place);
    step->location = (int16_t)number;
    step->order = (uint8_t)order;
    step->value = value;
    step->aside = aside;
    step->read = read;
    step->latest = messages[locations[number].newest].order;
}

static void written(uint32_t number, message const *made, int order, uint64_t before) {
    raise_to(&checker_views[checker_current], number, made->order);
    if (order & CHECKER_SEQUENTIAL) locations[number].sequential = made->order;
    *locations[number].address = made->value;
    if (made->value != before) checker_progress();
}

uint64_t checker_load(void const *cell, int order, checker_place place) {
    checker_schedule();
    uint32_t const number = location_of((void *)cell, place), step = checker_tick();
    bool newest;
    message const *const read = chosen(number, order, NULL, &newest);
    must_be_written(read, place);
    acquire(read, number, order);
    checker_atomic_touched((void *)cell, false, step, place);
    note("load", place, number, order, read->value, 0, read->order);
    return read->value;
}

void checker_store(void *cell, uint64_t value, int order, checker_place place) {
    checker_schedule();
    uint32_t const number = location_of(cell, place), step = checker_tick();
    uint64_t const before = messages[locations[number].newest].value;
    message *const made = append(number, value);
    release(made, NULL, (order & CHECKER_RELEASE) != 0, number);
    written(number, made, order, before);
    checker_atomic_touched(cell, true, step, place);
    note("store", place, number, order, value, 0, made->order);
}

static void update(uint32_t number, message const *read, uint64_t value, int order) {
    acquire(read, number, order);
    uint64_t const before = read->value;
    message *const made = append(number, value);
    release(made, read, (order & CHECKER_RELEASE) != 0, number);
    written(number, made, order, before);
}

uint64_t checker_update(void *cell, checker_change change, uint64_t value, int order, checker_place place) {
    static char const *const whats[] = {"add", "sub", "or", "and", "xor", "exchange"};
    checker_schedule();
    uint32_t const number = location_of(cell, place), step = checker_tick();
    message const *const read = &messages[locations[number].newest];
    must_be_written(read, place);
    uint64_t const found = read->value;
    uint64_t const values[] = {found + value, found - value, found | value, found & value, found ^ value, value};
    update(number, read, values[change], order);
    checker_atomic_touched(cell, true, step, place);
    note(whats[change], place, number, order, values[change], found, read->order);
    return found;
}

bool checker_cas(void *cell, uint64_t *expected, uint64_t desired, int order, int failure, bool weak,
                 checker_place place) {
    checker_schedule();
    uint32_t const number = location_of(cell, place), step = checker_tick();
    bool newest;
    message const *const read = chosen(number, failure, expected, &newest);
    must_be_written(read, place);
    uint64_t const found = read->value;
    checker_atomic_touched(cell, true, step, place);
    if (newest && found == *expected) {
        if (!(weak && checker_spend_spurious(false) && checker_pick(2))) {
            update(number, read, desired, order);
            note("cas", place, number, order, desired, found, read->order);
            return true;
        }
        checker_spend_spurious(true);
    }
    acquire(read, number, failure);
    note("cas fails", place, number, failure, found, *expected, read->order);
    *expected = found;
    return false;
}
