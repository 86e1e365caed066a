/** What the harnesses of lock-free structures share: noise between the atomic operations, threads, random numbers. */
#ifndef LOCKFREE_CHECKS_H
#define LOCKFREE_CHECKS_H

#include "base/atomic.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #condition), fflush(stdout);                                     \
            _Exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

enum { THREADS_MAX = 16 };

static _Thread_local uint64_t random_state = 1;

static uint32_t below(uint32_t end) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 32) * end >> 32);
}

/** Give the processor away before one atomic operation in `yield_every`: on two cores that is what makes threads meet
 * in the middle of things. 0 for never. Set while no other thread runs. */
static uint32_t yield_every;

/** What happens before one of this thread's next atomic operations, as if another thread ran there. */
static _Thread_local struct interruption {
    size_t in; /* operations from now; 0 for never */
    void (*body)(void *shared);
    void *shared;
} interruptions[2];

static inline void maybe_yield(void) {
    for (int i = 0; i < 2; i++)
        if (interruptions[i].in && --interruptions[i].in == 0) interruptions[i].body(interruptions[i].shared);
    if (yield_every && below(yield_every) == 0) sched_yield();
}

#ifndef FG_NO_YIELDS
#define fg_load_relaxed(cell) (maybe_yield(), fg_load_relaxed(cell))
#define fg_load_acquire(cell) (maybe_yield(), fg_load_acquire(cell))
#define fg_store_relaxed(cell, value) (maybe_yield(), fg_store_relaxed(cell, value))
#define fg_store_release(cell, value) (maybe_yield(), fg_store_release(cell, value))
#define fg_add_relaxed(cell, value) (maybe_yield(), fg_add_relaxed(cell, value))
#define fg_add_acq_rel(cell, value) (maybe_yield(), fg_add_acq_rel(cell, value))
#define fg_exchange_acq_rel(cell, value) (maybe_yield(), fg_exchange_acq_rel(cell, value))
#define fg_cas_acq_rel(cell, expected, desired) (maybe_yield(), fg_cas_acq_rel(cell, expected, desired))
#endif

/** Numbers scale with FASTGEN_TEST_CASES. */
static size_t cases(size_t usual) {
    char const *const wanted = getenv("FASTGEN_TEST_CASES");
    return wanted ? strtoull(wanted, NULL, 10) : usual;
}

static inline double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

typedef struct worker {
    pthread_t thread;
    void (*body)(void *shared, int number);
    void *shared;
    int number;
} worker;

static void *work(void *argument) {
    worker const *const self = argument;
    random_state = 0x9E3779B97F4A7C15u * (uint64_t)(self->number + 1);
    self->body(self->shared, self->number);
    return NULL;
}

/** Run a body on `count` threads, numbered from 0, and wait for all of them. */
static void on_threads(int count, void (*body)(void *, int), void *shared) {
    worker workers[THREADS_MAX];
    for (int i = 0; i < count; i++) {
        workers[i].body = body, workers[i].shared = shared, workers[i].number = i;
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    for (int i = 0; i < count; i++) CHECK(pthread_join(workers[i].thread, NULL) == 0);
}

#endif
