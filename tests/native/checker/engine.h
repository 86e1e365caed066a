/** What the parts of the checker know of each other: checker.c explores schedules, history.c holds what loads may
 * read, shadow.c watches memory. */
#ifndef CHECKER_ENGINE_H
#define CHECKER_ENGINE_H

#include "checker.h"

enum {
    CHECKER_THREADS = CHECKER_MOST_THREADS + 1, /* thread 0 sets up and verifies */
    CHECKER_LOCATIONS = 1024,                   /* atomic words touched in one execution */
    CHECKER_MESSAGES = 1 << 12,                 /* stores in one execution */
    CHECKER_STEPS = 1 << 13,
    CHECKER_ARENA = 1 << 20,
    CHECKER_BLOCKS = 512,
    CHECKER_SEQUENTIAL = CHECKER_SEQ_CST & ~CHECKER_ACQ_REL,
};

#define CHECKER_POISON 0xDBDBDBDBDBDBDBDBu /* what allocated memory is filled with */

/** A vector clock: how many steps of each thread happened before. */
typedef struct checker_clock {
    uint32_t of[CHECKER_THREADS];
} checker_clock;

static inline bool checker_before(uint32_t step, int thread, checker_clock const *clock) {
    return step <= clock->of[thread];
}

static inline void checker_join(checker_clock *into, checker_clock const *from) {
    for (int i = 0; i < CHECKER_THREADS; i++)
        if (into->of[i] < from->of[i]) into->of[i] = from->of[i];
}

/** What a thread knows: which steps happened before its next one, and for each location the oldest store that it may
 * still read. A release store carries a copy; an acquire load joins it. */
typedef struct checker_view {
    checker_clock clock;
    uint32_t locations; /* entries of `oldest` in use; the others are 0 */
    uint16_t oldest[CHECKER_LOCATIONS];
} checker_view;

typedef struct checker_step {
    char const *what;
    checker_place place;
    uint64_t value, aside; /* aside: what an update found or a failed exchange expected */
    uint32_t read, latest; /* places in the location's order of stores */
    int16_t location;      /* -1: none */
    uint8_t thread, order;
} checker_step;

/* checker.c */
extern int checker_current;                         /* thread */
extern checker_view checker_views[CHECKER_THREADS];
extern uint32_t checker_run_number;                 /* of the execution, from 1: stamps make old entries void */
uint32_t checker_pick(uint32_t options);            /* all numbers below `options` are tried */
void checker_schedule(void);                        /* before each atomic operation */
void checker_progress(void);                        /* a value has changed: who waits may look again */
bool checker_spend_stale(bool spend);               /* whether another old store may be read */
bool checker_spend_spurious(bool spend);
void checker_code(void const *at, void const *other); /* where a plain access is in the program, for the report */
checker_step *checker_log(char const *what, checker_place place);
uint32_t checker_tick(void);                        /* the next step of the current thread */

/* history.c */
void checker_history_start(void);
void checker_catch_up(int thread);                  /* old stores become unreadable, as they do in time */
char const *checker_location_name(int location);
uint64_t *checker_location_address(int location);

/* shadow.c */
void checker_shadow_start(void);
/** The block and offset of an address for reports; false if it isn't watched. */
bool checker_describe(void const *address, char *text, size_t size);
/** An atomic operation at this address: it must be live memory that no plain store races with. Returns where the
 * number of the location is kept; 0: not seen yet. */
uint16_t *checker_atomic_access(void *cell, checker_place place);
void checker_atomic_touched(void *cell, bool written, uint32_t step, checker_place place);

#endif
