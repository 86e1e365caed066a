/** For stress of lock-free structures: checks that stay in release builds, threads that begin together, random numbers.
 *
 * FASTGEN_TEST_CASES scales the operations of each stress; FASTGEN_TEST_TIMES=1 prints nanoseconds of single
 * operations. */
#ifndef LOCKFREE_THREADS_H
#define LOCKFREE_THREADS_H

#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE
#endif
#include "base/atomic.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("line %d: %s\n", __LINE__, #condition);                                                             \
            fflush(stdout);                                                                                            \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

enum { MOST_THREADS = 64 };

static size_t cases_of(size_t usual) {
    char const *const text = getenv("FASTGEN_TEST_CASES");
    return text ? (size_t)strtoull(text, NULL, 10) : usual;
}

static uint32_t random_below(uint64_t *state, uint32_t limit) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*state >> 32) * limit >> 32);
}

/** Zeros that nothing else shares a line with. */
static void *lines_of(size_t bytes) {
    size_t const whole = (bytes / FG_DESTRUCTIVE_INTERFERENCE + 1) * FG_DESTRUCTIVE_INTERFERENCE;
    void *const memory = aligned_alloc(FG_DESTRUCTIVE_INTERFERENCE, whole);
    CHECK(memory);
    return memset(memory, 0, whole);
}

/** What makes interleavings on few processors: a thread gives way at odd moments. */
static void stumble(uint64_t *state) {
    if (random_below(state, 256) == 0) sched_yield();
}

typedef struct worker {
    void *shared;
    size_t number, operations;
    uint64_t state; /* of its random numbers */
    uint64_t done;  /* what it reports */
    pthread_barrier_t *barrier;
    void (*body)(struct worker *);
} worker;

static void *worker_main(void *argument) {
    worker *const self = argument;
    pthread_barrier_wait(self->barrier);
    self->body(self);
    return NULL;
}

/** Run a body on so many threads at a time; returns the sum of what they report. */
static uint64_t run_threads(size_t threads, size_t operations, uint64_t seed, void (*body)(worker *), void *shared) {
    pthread_barrier_t barrier;
    pthread_t ids[MOST_THREADS];
    worker workers[MOST_THREADS];
    CHECK(threads <= MOST_THREADS && pthread_barrier_init(&barrier, NULL, (unsigned)threads) == 0);
    for (size_t i = 0; i < threads; i++) {
        workers[i] = (worker){shared, i, operations, seed * 1000003 + i * 7919 + 1, 0, &barrier, body};
        CHECK(pthread_create(&ids[i], NULL, worker_main, &workers[i]) == 0);
    }
    uint64_t done = 0;
    for (size_t i = 0; i < threads; i++) {
        CHECK(pthread_join(ids[i], NULL) == 0);
        done += workers[i].done;
    }
    pthread_barrier_destroy(&barrier);
    return done;
}

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/** Print the least nanoseconds that one of `count` statements took, of nine rounds. */
#define PRINT_TIME(what, count, statement)                                                                             \
    do {                                                                                                               \
        double least = 1e9;                                                                                            \
        for (int round_ = 0; round_ < 9; round_++) {                                                                   \
            double const began = seconds_now();                                                                        \
            for (size_t i = 0; i < (size_t)(count); i++) {                                                             \
                statement;                                                                                             \
                __asm__ __volatile__("" ::: "memory");                                                                 \
            }                                                                                                          \
            double const nanoseconds = (seconds_now() - began) * 1e9 / (double)(count);                                \
            if (nanoseconds < least) least = nanoseconds;                                                              \
        }                                                                                                              \
        printf("%s: %.2f ns\n", what, least);                                                                          \
    } while (0)

#endif
