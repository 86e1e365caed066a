/** Explores the executions of scenarios, depth first, and reports the first that fails.
 *
 * Threads are fibers. A choice is which thread goes on before an atomic operation, which store a load reads, whether a
 * weak exchange fails for no reason, or the scenario's own; the list of choices is the execution. Preemptions, where
 * a thread that could go on does not, are bounded: M. Musuvathi, S. Qadeer, "Iterative context bounding for systematic
 * testing of multithreaded programs", PLDI 2007. Waiting threads let all others go first, as in the same authors' "Fair
 * stateless model checking", PLDI 2008. */
#define _GNU_SOURCE
#include "engine.h"
#include "fiber.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STACK = 1 << 17, CHOICES = 1 << 14, RESCUES = 4 };

int checker_current;
checker_view checker_views[CHECKER_THREADS];
uint32_t checker_run_number;

static struct {
    bool started, finished, waiting;
    uint32_t before;   /* bits of threads that go first */
    uint32_t progress; /* when it began to wait */
    uint32_t rescued, rescued_at;
    void *stack;
} threads[CHECKER_THREADS];

static struct {
    uint32_t pick, options;
} choices[CHOICES];

static struct {
    uint32_t preemptions, stale, spurious, steps; /* bounds of one execution */
    uint64_t executions, random, seed;            /* random: that many executions with random choices instead of all */
} bounds;

static _Alignas(64) uint8_t stacks[CHECKER_THREADS][STACK];
static void *explorer_stack;
static sigjmp_buf crashed;
static checker_scenario const *scenario;
static int thread_count;
static uint32_t choice_count, choice_at, preemptions, stale, spurious, progress, step_count;
static uint64_t random_state;
static checker_step steps[CHECKER_STEPS];

static bool failed;
static char failure[512];
static checker_place failure_place;
static void const *failure_code[2];

static uint32_t random_below(uint32_t end) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 32) * end >> 32);
}

uint32_t checker_pick(uint32_t options) {
    if (options < 2) return 0;
    if (bounds.random) return random_below(3) ? 0 : random_below(options);
    if (choice_at == CHOICES) checker_fail("too many choices in one execution", CHECKER_HERE);
    if (choice_at == choice_count) {
        choices[choice_count].pick = 0;
        choices[choice_count++].options = options;
    } else if (choices[choice_at].options != options) {
        checker_fail("the same choices led elsewhere: the scenario is not deterministic", CHECKER_HERE);
    }
    return choices[choice_at++].pick;
}

uint32_t checker_choose(uint32_t end) {
    if (bounds.random) return random_below(end);
    return checker_pick(end);
}

static bool next_choices(void) {
    while (choice_count && choices[choice_count - 1].pick + 1 == choices[choice_count - 1].options) choice_count--;
    if (!choice_count) return false;
    choices[choice_count - 1].pick++;
    return true;
}

bool checker_spend_stale(bool spend) { return (stale += spend) < bounds.stale; }
bool checker_spend_spurious(bool spend) { return (spurious += spend) < bounds.spurious; }
void checker_progress(void) { progress++; }
uint32_t checker_tick(void) { return ++checker_views[checker_current].clock.of[checker_current]; }

void checker_code(void const *at, void const *other) {
    failure_code[0] = at;
    failure_code[1] = other;
}

checker_step *checker_log(char const *what, checker_place place) {
    checker_step *const step = &steps[step_count < CHECKER_STEPS - 1 ? step_count++ : step_count];
    *step = (checker_step){.what = what, .place = place, .location = -1, .thread = (uint8_t)checker_current};
    return step;
}

void checker_fail(char const *what, checker_place place) {
    failed = true;
    snprintf(failure, sizeof failure, "%s", what);
    failure_place = place;
    void *unused;
    checker_switch(&unused, explorer_stack);
    abort();
}

/* Threads. */

static void go_to(int thread) {
    int const from = checker_current;
    if (thread == from) return;
    checker_current = thread;
    checker_switch(&threads[from].stack, threads[thread].stack);
}

static bool can_go(int thread) {
    if (!threads[thread].started || threads[thread].finished) return false;
    return !threads[thread].waiting || (!threads[thread].before && threads[thread].progress != progress);
}

static int others(int candidates[CHECKER_THREADS]) {
    int count = 0;
    for (int i = 1; i <= thread_count; i++) {
        int const thread = (checker_current + i - 1) % thread_count + 1;
        if (thread != checker_current && can_go(thread)) candidates[count++] = thread;
    }
    return count;
}

static void stops_hindering(int thread) {
    for (int i = 1; i <= thread_count; i++) threads[i].before &= ~(1u << thread);
}

/** The current thread waits or has finished: another one goes on, or all are done. */
static void leave(void) {
    stops_hindering(checker_current);
    int candidates[CHECKER_THREADS];
    int count = others(candidates);
    if (threads[checker_current].waiting && can_go(checker_current)) candidates[count++] = checker_current;
    bool all_finished = true;
    for (int i = 1; i <= thread_count && !count; i++) {
        if (threads[i].finished) continue;
        all_finished = false;
        if (threads[i].rescued_at != progress) threads[i].rescued = 0;
        threads[i].rescued_at = progress;
        if (threads[i].rescued++ < RESCUES) { /* nobody will write: what there is becomes visible, in time */
            checker_catch_up(i);
            candidates[count++] = i;
        }
    }
    if (!count && !all_finished) checker_fail("no thread can go on: a deadlock or a lost wake-up", CHECKER_HERE);
    int const next = count ? candidates[checker_pick((uint32_t)count)] : 0;
    threads[next].waiting = false;
    go_to(next);
}

void checker_schedule(void) {
    if (!checker_current) return;
    if (step_count > bounds.steps) checker_fail("too many steps: a livelock, or raise --steps", CHECKER_HERE);
    stops_hindering(checker_current);
    int candidates[CHECKER_THREADS];
    int const count = preemptions < bounds.preemptions ? others(candidates) : 0;
    uint32_t const pick = checker_pick((uint32_t)count + 1);
    if (!pick) return;
    preemptions++;
    threads[candidates[pick - 1]].waiting = false;
    go_to(candidates[pick - 1]);
}

void checker_spin(void) {
    if (!checker_current) checker_fail("waits where no other thread runs", CHECKER_HERE);
    checker_log("spin", CHECKER_HERE);
    if (step_count > bounds.steps) checker_fail("too many steps: a livelock, or raise --steps", CHECKER_HERE);
    threads[checker_current].before = 0;
    for (int i = 1; i <= thread_count; i++)
        if (i != checker_current && can_go(i)) threads[checker_current].before |= 1u << i;
    threads[checker_current].waiting = true;
    threads[checker_current].progress = progress;
    leave();
}

static void thread_main(void) {
    scenario->threads[checker_current - 1]();
    checker_tick();
    threads[checker_current].finished = true;
    leave();
    abort();
}

static void first_main(void) {
    if (scenario->set_up) scenario->set_up();
    checker_tick();
    for (int i = 1; i <= thread_count; i++) {
        memcpy(&checker_views[i], &checker_views[0], sizeof checker_views[0]);
        threads[i].started = true;
        threads[i].stack = checker_fresh(stacks[i], STACK, thread_main);
    }
    leave();
    for (int i = 1; i <= thread_count; i++) checker_join(&checker_views[0].clock, &checker_views[i].clock);
    checker_catch_up(0);
    if (scenario->verify) scenario->verify();
    void *unused;
    checker_switch(&unused, explorer_stack);
    abort();
}

/** Returns whether it failed. */
static bool execute(void) {
    checker_run_number++;
    checker_history_start();
    checker_shadow_start();
    memset(threads, 0, sizeof threads);
    checker_current = 0;
    checker_views[0].locations = 0;
    checker_views[0].clock = (checker_clock){{0}};
    choice_at = preemptions = stale = spurious = step_count = 0;
    progress = 1;
    failed = false;
    failure_code[0] = failure_code[1] = NULL;
    threads[0].stack = checker_fresh(stacks[0], STACK, first_main);
    if (!sigsetjmp(crashed, 1)) checker_switch(&explorer_stack, threads[0].stack);
    return failed;
}

static void on_signal(int number) {
    failed = true;
    snprintf(failure, sizeof failure, "%s: %s", number == SIGALRM ? "hangs" : "crash", strsignal(number));
    failure_place = (checker_place){"?", 0};
    siglongjmp(crashed, 1);
}

/* Reports. */

static void print_code(char const *title, void const *at) {
    if (!at) return;
    char command[256];
    snprintf(command, sizeof command, "addr2line -sfpi -e /proc/%d/exe %#zx 2>/dev/null | head -n 3", (int)getpid(),
             (size_t)at - 1);
    printf("  %s ", title);
    fflush(stdout);
    if (system(command)) printf("%p\n", at);
}

static void print_step(uint32_t number) {
    static char const *const orders[] = {"relaxed", "acquire", "release", "acq_rel", "?", "seq_cst", "?", "seq_cst"};
    checker_step const *const step = &steps[number];
    printf("  %4u. %*sthread %d  %s:%d  %s", number, step->thread * 4, "", step->thread, step->place.function,
           step->place.line, step->what);
    if (step->location >= 0) {
        char where[64] = "?";
        checker_describe(checker_location_address(step->location), where, sizeof where);
        char const *const name = checker_location_name(step->location);
        bool const update = strcmp(step->what, "load") != 0 && strcmp(step->what, "store") != 0;
        printf(" %s %s: ", orders[step->order], name ? name : where);
        if (update) printf("%#llx -> ", (unsigned long long)step->aside);
        printf("%#llx", (unsigned long long)step->value);
        if (step->read != step->latest && !update) printf("  (store %u of %u)", step->read, step->latest);
    }
    printf("\n");
}

static void print_failure(uint64_t execution) {
    printf("%s: execution %llu: %s (%s:%d)\n", scenario->name, (unsigned long long)execution, failure,
           failure_place.function, failure_place.line);
    print_code("here:  ", failure_code[0]);
    print_code("before:", failure_code[1]);
    uint32_t const first = step_count > 400 ? step_count - 400 : 0;
    for (uint32_t i = first; i < step_count; i++) print_step(i);
}

/** Returns whether the scenario did what it should. */
static bool explore(bool quiet) {
    thread_count = 0;
    while (thread_count < CHECKER_MOST_THREADS && scenario->threads[thread_count]) thread_count++;
    uint32_t const usual[2] = {bounds.preemptions, bounds.stale};
    if (scenario->preemptions) bounds.preemptions = (uint32_t)scenario->preemptions - 1;
    if (scenario->stale) bounds.stale = (uint32_t)scenario->stale - 1;
    uint64_t executions = 0;
    bool wrong = false, complete = false;
    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    choice_count = 0;
    while (!wrong && executions < (bounds.random ? bounds.random : bounds.executions)) {
        random_state = (bounds.seed + executions) * 0x9E3779B97F4A7C15u;
        random_below(2);
        if (executions % 4096 == 0) alarm(60); /* a loop without an atomic operation never comes back */
        wrong = execute();
        executions++;
        if (!bounds.random && !wrong && !next_choices()) {
            complete = true;
            break;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    double const seconds = (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) * 1e-9;
    bool const caught = wrong && scenario->caught && strstr(failure, scenario->caught);
    bool const fine = scenario->caught ? caught : !wrong;
    if (wrong && !(caught && quiet)) print_failure(executions - 1);
    printf("%s: %s, %llu executions, %s, preemptions %u, stale %u, %.2f s\n", scenario->name,
           !fine    ? "FAILED"
           : caught ? "caught"
                    : "passed",
           (unsigned long long)executions,
           bounds.random ? "random"
           : complete    ? "complete"
                         : "not complete",
           bounds.preemptions, bounds.stale, seconds);
    fflush(stdout);
    bounds.preemptions = usual[0];
    bounds.stale = usual[1];
    return fine;
}

static uint64_t option(int count, char **words, char const *name, uint64_t usual) {
    for (int i = 1; i + 1 < count; i++)
        if (!strcmp(words[i], name)) return strtoull(words[i + 1], NULL, 0);
    return usual;
}

int main(int count, char **words) {
    static uint8_t signal_stack[1 << 16];
    sigaltstack(&(stack_t){.ss_sp = signal_stack, .ss_size = sizeof signal_stack}, NULL);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_NODEFER};
    static int const signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGALRM};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) sigaction(signals[i], &action, NULL);
    bounds.preemptions = (uint32_t)option(count, words, "--preemptions", 2);
    bounds.stale = (uint32_t)option(count, words, "--stale", 2);
    bounds.spurious = (uint32_t)option(count, words, "--spurious", 1);
    bounds.steps = (uint32_t)option(count, words, "--steps", 2000);
    bounds.executions = option(count, words, "--executions", UINT64_MAX);
    bounds.random = option(count, words, "--random", 0);
    bounds.seed = option(count, words, "--seed", 1);
    char const *only = NULL;
    bool fine = true, quiet = true, keep_going = false;
    for (int i = 1; i < count; i++) {
        if (!strcmp(words[i], "--only") && i + 1 < count) only = words[i + 1];
        if (!strcmp(words[i], "--show")) quiet = false;
        if (!strcmp(words[i], "--keep-going")) keep_going = true;
    }
    for (size_t i = 0; i < checker_scenario_count && (fine || keep_going); i++) {
        scenario = &checker_scenarios[i];
        if (!only || !strcmp(only, scenario->name)) fine = explore(quiet) && fine;
    }
    return fine ? 0 : 1;
}
