/** Calls that other calls interrupt before each of their atomic operations: the schedules that threads find rarely. */
#ifndef LOCKFREE_INTERRUPTIONS_H
#define LOCKFREE_INTERRUPTIONS_H

#include "lockfree_history.h"
#include "lockfree_queues.h"

static call called(tested *queue, int thread, kind kind, uint64_t item, fg_atomic *clock) {
    call now = {.kind = kind, .item = item, .result = RESULT_CLOSED, .began = fg_add_acq_rel(clock, 1)};
    size_t done;
    if (kind == CALL_CLOSE) {
        if (close_queue(queue, thread)) now.result = RESULT_OK;
    } else {
        fg_queue_status const status =
            kind == CALL_PUSH ? push(queue, thread, &now.item, 1, &done) : pop(queue, thread, &now.item, 1, &done);
        if (status == FG_QUEUE_OK) now.result = RESULT_OK;
        if (status == FG_QUEUE_FULL) now.result = RESULT_FULL;
        if (status == FG_QUEUE_EMPTY) now.result = RESULT_EMPTY;
        if (status == FG_QUEUE_BUSY) now.result = RESULT_BUSY;
    }
    now.returned = fg_add_acq_rel(clock, 1);
    return now;
}

/** A history in the making, of rows of calls: "<" push, ">" pop, "x" close. */
typedef struct scene {
    tested *queue;
    fg_atomic clock;
    call calls[CALLS_MAX];
    int count;
    char const *rows[3]; /* what interrupts the victim, what interrupts it later, what interrupts the latter */
    size_t places[3];    /* before which atomic operation */
    int level, reached;
} scene;

static void perform(scene *scene, int thread, char kind) {
    uint64_t const item = (uint64_t)scene->count + 1;
    enum kind const what = kind == '<' ? CALL_PUSH : kind == '>' ? CALL_POP : CALL_CLOSE;
    int const place = scene->count++;
    CHECK(place < CALLS_MAX);
    scene->calls[place] = called(scene->queue, thread, what, item, &scene->clock);
}

static void perform_row(scene *scene, int thread, char const *row) {
    for (; *row; row++) perform(scene, thread, *row);
}

/** The operations of the clock are counted as well: so a place may lie before or after the call. */
static void interrupt(void *shared) {
    scene *const scene = shared;
    struct interruption const outer[2] = {interruptions[0], interruptions[1]};
    int const level = scene->level++;
    scene->reached++;
    memset(interruptions, 0, sizeof interruptions);
    if (level == 1 && scene->rows[2]) interruptions[0] = (struct interruption){scene->places[2], interrupt, scene};
    perform_row(scene, 1 + level, scene->rows[level]);
    memcpy(interruptions, outer, sizeof outer);
    if (scene->queue->kind == UNBOUNDED) {
        fg_unbounded const *const queue = &scene->queue->unbounded;
        CHECK(segment_at(&queue->head)->number <= segment_at(&queue->tail)->number);
    }
}

/** Returns how many interruptions took place. */
static int play(int kind, size_t size, char const *before, char const *victim, char const *const rows[3],
                size_t const places[3]) {
    scene scene = {.queue = queue_of(kind, size, 1)};
    scene.queue->never_waits = true;
    memcpy(scene.rows, rows, sizeof scene.rows);
    memcpy(scene.places, places, sizeof scene.places);
    fg_store_relaxed(&scene.clock, 0);
    perform_row(&scene, 0, before);
    for (int i = 0; i < 2; i++)
        if (rows[i]) interruptions[i] = (struct interruption){places[i], interrupt, &scene};
    perform_row(&scene, 0, victim);
    memset(interruptions, 0, sizeof interruptions);
    while (scene.count < CALLS_MAX) { /* what is left */
        perform(&scene, 0, '>');
        if (scene.calls[scene.count - 1].result != RESULT_OK) break;
    }
    CHECK(is_linearizable(scene.calls, scene.count, kind == BOUNDED ? (int)size : CALLS_MAX + 1));
    drop(scene.queue);
    return scene.reached;
}

static size_t check_single_interruptions(void) {
    static char const *const befores[] = {"", "<", "<<", "<<<", "<<>", "<<>>", "<<<>>"};
    static char const *const victims[] = {"<", ">", "x", "<>", "><"};
    static char const *const others[] = {"<", ">", "x", "<>", "><", "<<>>", ">><<", "x<", ">x", "<x>", ">>>", ">x<>"};
    size_t played = 0;
    for (size_t before = 0; before < sizeof befores / sizeof *befores; before++)
        for (size_t victim = 0; victim < sizeof victims / sizeof *victims; victim++)
            for (size_t other = 0; other < sizeof others / sizeof *others; other++)
                for (size_t size = 1; size <= 2; size++)
                    for (int kind = BOUNDED; kind <= UNBOUNDED; kind++)
                        for (size_t place = 1; place < 100; place++, played++) {
                            char const *const rows[3] = {others[other], NULL, NULL};
                            size_t const places[3] = {place, 0, 0};
                            if (!play(kind, size, befores[before], victims[victim], rows, places)) break;
                        }
    return played;
}

/** A pop that is interrupted twice, the second time by a close that itself is: of three that stop, none may let the
 * others say that everything has been popped while something can still be pushed. */
static size_t check_nested_interruptions(void) {
    static char const *const seconds[] = {"x", "<", ">"}, *const thirds[] = {">><", "><>", "x<>"};
    size_t played = 0;
    for (size_t size = 1; size <= 3; size++)
        for (int second = 0; second < 3; second++)
            for (int third = 0; third < 3; third++)
                for (size_t first = 1; first < 14; first++)
                    for (size_t then = first + 1; then < 16; then++)
                        for (size_t last = 1; last < 12; last++, played++) {
                            char const *const rows[3] = {">", seconds[second], thirds[third]};
                            size_t const places[3] = {first, then, last};
                            play(UNBOUNDED, size, "<", ">", rows, places);
                        }
    return played;
}

/** Others advance while a thread is on its way to a pin; then the pin must hold what it says. */
static void advance_often(void *shared) {
    memset(interruptions, 0, sizeof interruptions);
    for (int i = 0; i < 6; i++) fg_epoch_advance(shared);
}

static size_t check_interrupted_pins(void) {
    size_t place = 1;
    for (;; place++) {
        tested *const queue = queue_of(UNBOUNDED, 2, 1);
        fg_epoch *const epoch = &queue->unbounded.epoch;
        fg_participant *const me = queue->members[0];
        interruptions[0] = (struct interruption){place, advance_often, epoch};
        fg_epoch_pin(epoch, me);
        bool const reached = !interruptions[0].in;
        memset(interruptions, 0, sizeof interruptions);
        advance_often(epoch);
        CHECK(fg_load_acquire(&epoch->now) <= (fg_load_acquire(&me->pin) >> 1) + 1);
        fg_epoch_unpin(me);
        CHECK(fg_epoch_advance(epoch));
        drop(queue);
        if (!reached) return place;
    }
}

static size_t check_interruptions(void) {
    return check_single_interruptions() + check_nested_interruptions() + check_interrupted_pins();
}

#endif
