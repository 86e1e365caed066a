/** What the checker itself must see and must not: executions whose outcomes are known from the literature.
 *
 * Names as in J. Alglave, L. Maranget, M. Tautschnig, "Herding cats", TOPLAS 36(2), 2014. A scenario with `caught`
 * holds a bug, or an outcome that the memory model allows. */
#include "base/atomic.h"

typedef struct words {
    fg_atomic x, y, z, turn;
    uint64_t plain, other;
    uint64_t r[8];
} words;

static words *w;

static void set_up(void) {
    w = checker_alloc(sizeof *w);
    memset(w, 0, sizeof *w);
    checker_name(&w->x, "x");
    checker_name(&w->y, "y");
    checker_name(&w->z, "z");
    checker_name(&w->turn, "turn");
}

/* Store buffering: only seq_cst, or updates of one word, keep both from reading 0. */
static void sb_first(void) {
    fg_store_release(&w->x, 1);
    w->r[0] = fg_load_acquire(&w->y);
}
static void sb_second(void) {
    fg_store_release(&w->y, 1);
    w->r[1] = fg_load_acquire(&w->x);
}
static void sb_sc_first(void) {
    fg_store_seq_cst(&w->x, 1);
    w->r[0] = fg_load_seq_cst(&w->y);
}
static void sb_sc_second(void) {
    fg_store_seq_cst(&w->y, 1);
    w->r[1] = fg_load_seq_cst(&w->x);
}
static void sb_updates_first(void) {
    fg_store_relaxed(&w->x, 1);
    fg_add_acq_rel(&w->z, 1);
    w->r[0] = fg_load_relaxed(&w->y);
}
static void sb_updates_second(void) {
    fg_store_relaxed(&w->y, 1);
    fg_add_acq_rel(&w->z, 1);
    w->r[1] = fg_load_relaxed(&w->x);
}
static void sb_verify(void) { CHECK(w->r[0] || w->r[1]); }

/* Message passing: both halves of the order are needed. */
static void mp_write(void) {
    w->plain = 7;
    fg_store_release(&w->x, 1);
}
static void mp_write_relaxed(void) {
    w->plain = 7;
    fg_store_relaxed(&w->x, 1);
}
static void mp_read(void) {
    if (fg_load_acquire(&w->x)) CHECK(w->plain == 7);
}
static void mp_read_relaxed(void) {
    if (fg_load_relaxed(&w->x)) CHECK(w->plain == 7);
}
static void mp_write_atomic(void) {
    fg_store_relaxed(&w->y, 7);
    fg_store_release(&w->x, 1);
}
static void mp_write_atomic_relaxed(void) {
    fg_store_relaxed(&w->y, 7);
    fg_store_relaxed(&w->x, 1);
}
static void mp_read_atomic(void) {
    if (fg_load_acquire(&w->x)) CHECK(fg_load_relaxed(&w->y) == 7);
}
static void mp_wait(void) {
    while (!fg_load_acquire(&w->x)) fg_spin();
    CHECK(w->plain == 7);
}
static void mp_write_late(void) {
    fg_store_release(&w->x, 1);
    w->plain = 7;
}

/* A release sequence goes through an update, relaxed too, and not through a store. */
static void sequence_update(void) { fg_add_relaxed(&w->x, 1); }
static void sequence_store(void) {
    if (fg_load_relaxed(&w->x)) fg_store_relaxed(&w->x, 2);
}
static void sequence_read(void) {
    if (fg_load_acquire(&w->x) == 2) CHECK(w->plain == 7);
}

/* Load buffering: no execution of ours has it (README). */
static void lb_first(void) {
    w->r[0] = fg_load_relaxed(&w->x);
    fg_store_relaxed(&w->y, 1);
}
static void lb_second(void) {
    w->r[1] = fg_load_relaxed(&w->y);
    fg_store_relaxed(&w->x, 1);
}
static void lb_verify(void) { CHECK(!(w->r[0] && w->r[1])); }

/* Coherence: two loads of one word never go back, in one thread or through synchronisation. */
static void corr_write(void) {
    fg_store_relaxed(&w->x, 1);
    fg_store_relaxed(&w->x, 2);
}
static void corr_read(void) {
    uint64_t const first = fg_load_relaxed(&w->x);
    CHECK(fg_load_relaxed(&w->x) >= first);
}
static void corr_pass(void) {
    w->r[0] = fg_load_relaxed(&w->x);
    fg_store_release(&w->y, 1);
}
static void corr_take(void) {
    if (fg_load_acquire(&w->y)) CHECK(fg_load_relaxed(&w->x) >= w->r[0]);
}
static void cowr(void) {
    fg_store_relaxed(&w->x, 3);
    CHECK(fg_load_relaxed(&w->x) != 0);
}

/* Independent reads of independent writes: the readers may disagree unless all is seq_cst. */
static void iriw_x(void) { fg_store_release(&w->x, 1); }
static void iriw_y(void) { fg_store_release(&w->y, 1); }
static void iriw_xy(void) {
    w->r[0] = fg_load_acquire(&w->x);
    w->r[1] = fg_load_acquire(&w->y);
}
static void iriw_yx(void) {
    w->r[2] = fg_load_acquire(&w->y);
    w->r[3] = fg_load_acquire(&w->x);
}
static void iriw_sc_x(void) { fg_store_seq_cst(&w->x, 1); }
static void iriw_sc_y(void) { fg_store_seq_cst(&w->y, 1); }
static void iriw_sc_xy(void) {
    w->r[0] = fg_load_seq_cst(&w->x);
    w->r[1] = fg_load_seq_cst(&w->y);
}
static void iriw_sc_yx(void) {
    w->r[2] = fg_load_seq_cst(&w->y);
    w->r[3] = fg_load_seq_cst(&w->x);
}
static void iriw_verify(void) { CHECK(!(w->r[0] && !w->r[1] && w->r[2] && !w->r[3])); }

/* Write-to-read causality. */
static void wrc_pass(void) {
    if (fg_load_acquire(&w->x)) fg_store_release(&w->y, 1);
}
static void wrc_pass_relaxed(void) {
    if (fg_load_relaxed(&w->x)) fg_store_release(&w->y, 1);
}
static void wrc_read(void) {
    if (fg_load_acquire(&w->y)) CHECK(w->plain == 7);
}

/* G. L. Peterson's mutual exclusion, IPL 12(3), 1981: right with seq_cst, wrong with acquire and release. */
static void peterson(fg_atomic *mine, fg_atomic *other, uint64_t turn, bool sequential) {
    if (sequential) {
        fg_store_seq_cst(mine, 1);
        fg_store_seq_cst(&w->turn, turn);
        while (fg_load_seq_cst(other) && fg_load_seq_cst(&w->turn) == turn) fg_spin();
    } else {
        fg_store_release(mine, 1);
        fg_store_release(&w->turn, turn);
        while (fg_load_acquire(other) && fg_load_acquire(&w->turn) == turn) fg_spin();
    }
    w->plain++;
    fg_store_release(mine, 0);
}
static void peterson_x(void) { peterson(&w->x, &w->y, 1, true); }
static void peterson_y(void) { peterson(&w->y, &w->x, 2, true); }
static void peterson_weak_x(void) { peterson(&w->x, &w->y, 1, false); }
static void peterson_weak_y(void) { peterson(&w->y, &w->x, 2, false); }
static void peterson_verify(void) { CHECK(w->plain == 2); }

/* A lock of one word. */
static void lock_right(void) {
    while (fg_exchange_acquire(&w->x, 1)) fg_spin();
    w->plain++;
    fg_store_release(&w->x, 0);
}
static void lock_relaxed(void) {
    while (fg_exchange_acquire(&w->x, 1)) fg_spin();
    w->plain++;
    fg_store_relaxed(&w->x, 0);
}
static void lock_forgotten(void) {
    while (fg_exchange_acquire(&w->x, 1)) fg_spin();
    w->plain++;
}
static void lock_verify(void) { CHECK(w->plain == 3); }
static void lost_update(void) { fg_store_relaxed(&w->x, fg_load_relaxed(&w->x) + 1); }
static void lost_verify(void) { CHECK(fg_load_relaxed(&w->x) == 2); }
static void weak_update(void) {
    uint64_t seen = fg_load_relaxed(&w->x);
    while (!fg_cas_weak_release(&w->x, &seen, seen + 1)) {}
}
static void weak_once(void) {
    uint64_t seen = 0;
    CHECK(fg_cas_weak_release(&w->y, &seen, 1));
}

/* R. K. Treiber's stack, IBM RJ 5118, 1986: popping needs a tag, or a node that left and came back fools it (ABA). */
enum { NODES = 3 };
typedef struct stack {
    fg_atomic top; /* index + 1; the tag is above 32 bits */
    fg_atomic next[NODES];
    fg_atomic owners[NODES];
} stack;
static stack *s;

static void stack_set_up(void) {
    s = checker_alloc(sizeof *s);
    memset(s, 0, sizeof *s);
    for (uint64_t i = 0; i < NODES; i++) fg_store_relaxed(&s->next[i], i);
    fg_store_relaxed(&s->top, NODES);
    checker_name(&s->top, "top");
}
static uint64_t stack_pop(uint64_t tag) {
    uint64_t top = fg_load_acquire(&s->top);
    for (;;) {
        uint64_t const index = top & 0xFFFFFFFFu;
        if (!index) return 0;
        uint64_t const next = fg_load_relaxed(&s->next[index - 1]);
        if (fg_cas_acq_rel(&s->top, &top, next | ((top >> 32) + tag) << 32)) {
            CHECK(!fg_exchange_relaxed(&s->owners[index - 1], 1));
            return index;
        }
    }
}
static void stack_push(uint64_t index, uint64_t tag) {
    fg_store_relaxed(&s->owners[index - 1], 0);
    uint64_t top = fg_load_relaxed(&s->top);
    do fg_store_relaxed(&s->next[index - 1], top & 0xFFFFFFFFu);
    while (!fg_cas_acq_rel(&s->top, &top, index | ((top >> 32) + tag) << 32));
}
static void stack_two(uint64_t tag) {
    uint64_t const first = stack_pop(tag);
    stack_pop(tag);
    if (first) stack_push(first, tag);
}
static void stack_pop_tagged(void) {
    stack_pop(1);
    stack_pop(1);
}
static void stack_pop_untagged(void) {
    stack_pop(0);
    stack_pop(0);
}
static void stack_two_tagged(void) { stack_two(1); }
static void stack_two_untagged(void) { stack_two(0); }

/* Memory. */
static void use_plain(void) { w->r[7] = w->plain; }
static void use_word(void) { fg_load_relaxed(&w->x); }
static void set_plain(void) { w->plain = 1; }
static void set_other(void) { w->other = 1; }
static void set_memory(void) { memset(&w->plain, 1, sizeof w->plain); }
static void copy_memory(void) { memcpy(&w->r[6], &w->plain, sizeof w->plain); }
static void free_words(void) { checker_free(w); }
static void free_after(void) {
    while (fg_load_acquire(&w->x) != 1) fg_spin();
    checker_free(w);
}
static void overflow(void) { ((uint64_t *)w)[sizeof *w / 8] = 1; }
static void publish_new(void) {
    words *const fresh = checker_alloc(sizeof *fresh);
    fg_store_relaxed(&fresh->x, 5);
    fg_store_release(&w->x, (uint64_t)(uintptr_t)fresh);
}
static void publish_new_relaxed(void) {
    words *const fresh = checker_alloc(sizeof *fresh);
    fg_store_relaxed(&fresh->x, 5);
    fg_store_relaxed(&w->x, (uint64_t)(uintptr_t)fresh);
}
static void publish_unwritten(void) { fg_store_release(&w->x, (uint64_t)(uintptr_t)checker_alloc(sizeof *w)); }
static void read_new(void) {
    words *const fresh = (words *)(uintptr_t)fg_load_acquire(&w->x);
    if (fresh) CHECK(fg_load_relaxed(&fresh->x) == 5);
}
static void wait_for_nobody(void) {
    while (!fg_load_acquire(&w->x)) fg_spin();
}
static void crash(void) { *(int volatile *)16 = 1; }

#define MUST_PASS(title, first, second, end)                                                                           \
    {.name = title, .set_up = set_up, .threads = {first, second}, .verify = end}
#define MUST_FAIL(title, text, first, second, end)                                                                     \
    {.name = title, .set_up = set_up, .threads = {first, second}, .verify = end, .caught = text}

checker_scenario const checker_scenarios[] = {
    MUST_FAIL("SB release-acquire", "w->r[0] ||", sb_first, sb_second, sb_verify),
    MUST_PASS("SB seq_cst", sb_sc_first, sb_sc_second, sb_verify),
    MUST_FAIL("SB half seq_cst", "w->r[0] ||", sb_sc_first, sb_second, sb_verify),
    MUST_PASS("SB with updates of one word", sb_updates_first, sb_updates_second, sb_verify),
    MUST_PASS("MP", mp_write, mp_read, NULL),
    MUST_PASS("MP waiting", mp_write, mp_wait, NULL),
    MUST_FAIL("MP store relaxed", "data race: load after store", mp_write_relaxed, mp_read, NULL),
    MUST_FAIL("MP load relaxed", "data race: load after store", mp_write, mp_read_relaxed, NULL),
    MUST_FAIL("MP written too late", "data race", mp_write_late, mp_read, NULL),
    MUST_PASS("MP atomic", mp_write_atomic, mp_read_atomic, NULL),
    MUST_FAIL("MP atomic store relaxed", "== 7", mp_write_atomic_relaxed, mp_read_atomic, NULL),
    {.name = "MP through a relaxed update",
     .set_up = set_up,
     .threads = {mp_write, sequence_update, sequence_read}},
    {.name = "MP through a relaxed store",
     .set_up = set_up,
     .threads = {mp_write, sequence_store, sequence_read},
     .caught = "data race"},
    MUST_PASS("LB", lb_first, lb_second, lb_verify),
    MUST_PASS("CoRR", corr_write, corr_read, NULL),
    {.name = "CoRR through a release", .set_up = set_up, .threads = {corr_write, corr_pass, corr_take}},
    MUST_PASS("CoWR", cowr, corr_write, NULL),
    {.name = "IRIW release-acquire",
     .set_up = set_up,
     .threads = {iriw_x, iriw_y, iriw_xy, iriw_yx},
     .verify = iriw_verify,
     .caught = "w->r[0] &&"},
    {.name = "IRIW seq_cst",
     .set_up = set_up,
     .threads = {iriw_sc_x, iriw_sc_y, iriw_sc_xy, iriw_sc_yx},
     .verify = iriw_verify},
    {.name = "WRC", .set_up = set_up, .threads = {mp_write, wrc_pass, wrc_read}},
    {.name = "WRC middle relaxed",
     .set_up = set_up,
     .threads = {mp_write, wrc_pass_relaxed, wrc_read},
     .caught = "data race"},
    MUST_PASS("Peterson seq_cst", peterson_x, peterson_y, peterson_verify),
    MUST_FAIL("Peterson release-acquire", "data race", peterson_weak_x, peterson_weak_y, peterson_verify),
    {.name = "lock", .set_up = set_up, .threads = {lock_right, lock_right, lock_right}, .verify = lock_verify},
    MUST_FAIL("lock with a relaxed unlock", "data race", lock_relaxed, lock_relaxed, NULL),
    MUST_FAIL("lock never unlocked", "no thread can go on", lock_forgotten, lock_right, NULL),
    MUST_FAIL("lost update", "== 2", lost_update, lost_update, lost_verify),
    MUST_PASS("updates by weak exchange", weak_update, weak_update, lost_verify),
    MUST_FAIL("weak exchange fails for no reason", "weak_release", weak_once, NULL, NULL),
    {.name = "Treiber stack with tags", .set_up = stack_set_up, .threads = {stack_pop_tagged, stack_two_tagged}},
    {.name = "Treiber stack without tags",
     .set_up = stack_set_up,
     .threads = {stack_pop_untagged, stack_two_untagged},
     .caught = "owners"},
    MUST_FAIL("race of stores", "store after store", set_plain, set_plain, NULL),
    MUST_FAIL("race of a store with a load", "data race", use_plain, set_plain, NULL),
    MUST_FAIL("race in memset", "data race", use_plain, set_memory, NULL),
    MUST_FAIL("race in memcpy", "data race", copy_memory, set_plain, NULL),
    MUST_PASS("neighbours", set_plain, set_other, NULL),
    MUST_FAIL("use after free", "use after free", free_words, use_plain, NULL),
    MUST_FAIL("atomic use after free", "use after free", free_words, use_word, NULL),
    MUST_FAIL("free of what is read", "free not ordered", use_plain, free_words, NULL),
    MUST_FAIL("free of what is stored", "free not ordered", set_plain, free_words, NULL),
    MUST_PASS("free after the last use", mp_write, free_after, NULL),
    MUST_FAIL("overflow", "outside every block", overflow, NULL, NULL),
    MUST_PASS("new memory", publish_new, read_new, NULL),
    MUST_FAIL("new memory published relaxed", "allocation", publish_new_relaxed, read_new, NULL),
    MUST_FAIL("new memory not written", "nobody has written", publish_unwritten, read_new, NULL),
    MUST_FAIL("waiting for nobody", "no thread can go on", wait_for_nobody, sb_second, NULL),
    MUST_FAIL("crash", "crash", crash, NULL, NULL),
};
size_t const checker_scenario_count = sizeof checker_scenarios / sizeof checker_scenarios[0];
