/** Runs C code of csrc/lockfree on fibers, under every schedule and every outcome of weak memory within bounds.
 *
 * A scenario file names its scenarios in `checker_scenarios`; what it does between `set_up` and `verify` is repeated
 * for each execution from the same state. README.md has the method and its limits. */
#ifndef CHECKER_H
#define CHECKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What follows an operation in its name; bits. */
enum { CHECKER_RELAXED = 0, CHECKER_ACQUIRE = 1, CHECKER_RELEASE = 2, CHECKER_ACQ_REL = 3, CHECKER_SEQ_CST = 7 };

typedef enum checker_change {
    CHECKER_ADD,
    CHECKER_SUB,
    CHECKER_OR,
    CHECKER_AND,
    CHECKER_XOR,
    CHECKER_EXCHANGE,
} checker_change;

typedef struct checker_place {
    char const *function;
    int line;
} checker_place;

#define CHECKER_HERE ((checker_place){__func__, __LINE__})

/* What base/atomic.h of this folder turns the fg_* operations into. */
uint64_t checker_load(void const *cell, int order, checker_place place);
void checker_store(void *cell, uint64_t value, int order, checker_place place);
uint64_t checker_update(void *cell, checker_change change, uint64_t value, int order, checker_place place);
bool checker_cas(void *cell, uint64_t *expected, uint64_t desired, int order, int failure, bool weak,
                 checker_place place);

/** In every loop that waits for another thread: the others go first. Nobody to wait for fails the execution. */
void checker_spin(void);

enum { CHECKER_MOST_THREADS = 4 };

typedef struct checker_scenario {
    char const *name;
    void (*set_up)(void); /* happens before everything in the threads */
    void (*threads[CHECKER_MOST_THREADS])(void);
    void (*verify)(void); /* everything in the threads happens before it; may be NULL */
    char const *caught;   /* NULL if no execution may fail; else some must, and the report contains this */
    int preemptions, stale; /* bounds of its own: the number + 1; 0: as on the command line */
} checker_scenario;

extern checker_scenario const checker_scenarios[];
extern size_t const checker_scenario_count;

/** Memory that is watched, all 0xDB, aligned to two cache lines; gone when the execution ends. Set-up or any thread. */
void *checker_alloc(size_t bytes);
/** All uses must happen before it; a later use fails the execution. NULL is fine. */
void checker_free(void *memory);
/** From now on checker_alloc hands out freed memory of the same size again, the last freed first. */
void checker_reuse(void);
/** Blocks that were allocated and not freed. */
size_t checker_live(void);
/** A name for the reports. */
void checker_name(void const *cell, char const *name);
/** A choice of the scenario's own, below `end`: all are tried. */
uint32_t checker_choose(uint32_t end);

_Noreturn void checker_fail(char const *what, checker_place place);

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) checker_fail("failed: " #condition, CHECKER_HERE);                                           \
    } while (0)

#endif
