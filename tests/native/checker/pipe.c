/** The pipe: pieces of two words in blocks that begin at two words, dropped, cancelled, marked and let go. */
#include "pipe.h"

enum { MOST = 8, PIPES = 2 };

static struct {
    fg_pipe *pipe[PIPES];
    fg_ready *list;
    uint64_t *payload, *reason; /* plain; piece i stands for payload[i] */
    uint64_t written, taken, dropped, last, gone;
    int ended, delivered, aborted;
} it;

static void pipe_of(uint32_t capacity, uint32_t low, int pipes) {
    memset(&it, 0, sizeof it);
    it.payload = checker_alloc(MOST * sizeof *it.payload);
    it.reason = checker_alloc(sizeof *it.reason);
    it.list = checker_alloc(sizeof *it.list);
    fg_store_relaxed(&it.list->first, 0);
    for (int i = 0; i < pipes; i++) {
        it.pipe[i] = checker_alloc(sizeof *it.pipe[i]);
        fg_pipe_init(it.pipe[i], capacity, low, 64);
        fg_store_relaxed(&it.pipe[i]->list, (uint64_t)(uintptr_t)it.list);
    }
    checker_name(&it.list->first, "list");
    checker_name(&it.pipe[0]->head, "head");
    checker_name(&it.pipe[0]->tail, "tail");
    checker_name(&it.pipe[0]->block, "block");
    checker_name(&it.pipe[0]->state, "state");
    checker_name(&it.pipe[0]->queued, "queued");
    checker_name(&it.pipe[0]->refs, "refs");
}
static void room_for_one(void) { pipe_of(1, 0, 1); }
static void room_for_two(void) { pipe_of(2, 0, 1); }
static void room_for_all(void) { pipe_of(8, 0, 1); }
static void two_pipes(void) { pipe_of(8, 0, 2); }

static fg_push push(fg_pipe *pipe, uint64_t number) {
    it.payload[number] = number * 10;
    fg_piece const piece = {.payloads = &number, .payload_count = 1};
    for (;;) {
        fg_push const status = fg_pipe_push(pipe, &piece);
        if (status != FG_GROW) return status;
        size_t const words = fg_load_relaxed(&pipe->block) ? fg_pipe_wanted(pipe, &piece) : 2;
        if (words) fg_pipe_grow(pipe, checker_alloc(fg_block_bytes(words)), words); /* else it has room by now */
    }
}
static void took(uint64_t const *words, size_t count, uint64_t *counted) {
    for (size_t i = 0; i < count; i += 2) {
        uint64_t const number = words[i + 1];
        CHECK(words[i] == words[0] && number < MOST && it.payload[number] == number * 10);
        ++*counted;
    }
}
/** Take and check that numbers grow by one, or at all if some may be dropped. Returns how many. */
static size_t take(uint32_t most, bool gaps, int *resumed) {
    uint64_t words[2 * MOST];
    size_t const count = fg_pipe_take(it.pipe[0], most, words, 2 * MOST, resumed);
    took(words, count, &it.taken);
    for (size_t i = 0; i < count; i += 2) {
        CHECK(gaps ? words[i + 1] > it.last : words[i + 1] == it.last + 1);
        it.last = words[i + 1];
    }
    return count / 2;
}

static void write_three(void) {
    for (uint64_t i = 1; i <= 3; i++) {
        CHECK(push(it.pipe[0], i) == FG_PUSHED);
        fg_pipe_publish(it.pipe[0]);
    }
}
static void write_chunk(void) {
    for (uint64_t i = 1; i <= 3; i++) CHECK(push(it.pipe[0], i) == FG_PUSHED);
    fg_pipe_publish(it.pipe[0]);
}
static void read_three(void) {
    int resumed;
    while (it.taken < 3)
        if (!take(MOST, false, &resumed)) checker_spin();
}
static void read_one_by_one(void) {
    int resumed;
    while (it.taken < 3)
        if (!take(1, false, &resumed)) checker_spin();
}
/** Full: wait until the reader says that it has made room, and only then go on. */
static void write_waiting(void) {
    for (uint64_t i = 1; i <= 3; i++) {
        for (fg_push status; (status = push(it.pipe[0], i)) != FG_PUSHED;) {
            if (status == FG_FULL && !fg_pipe_wait(it.pipe[0])) continue;
            checker_spin();
        }
        fg_pipe_publish(it.pipe[0]);
    }
}
static void write_dropping(void) {
    for (uint64_t i = 1; i <= 3; i++) {
        while (push(it.pipe[0], i) != FG_PUSHED) {
            uint64_t words[2 * MOST];
            int resumed;
            took(words, fg_pipe_take(it.pipe[0], 1, words, 2 * MOST, &resumed), &it.dropped);
        }
        fg_pipe_publish(it.pipe[0]);
    }
}
static void read_gaps(void) {
    int resumed;
    take(1, true, &resumed), take(MOST, true, &resumed);
}
static void count_pieces(void) {
    CHECK(fg_pipe_pieces(it.pipe[0]) <= 3);
    CHECK(fg_pipe_words(it.pipe[0]) <= 6);
    uint32_t const published = fg_pipe_published(it.pipe[0]);
    for (uint64_t i = 1; i <= published; i++) CHECK(it.payload[i] == i * 10);
}
/* The end, and who tells it. */
static void write_and_end(void) {
    for (uint64_t i = 1; i <= 2; i++) {
        if (push(it.pipe[0], i) == FG_OVER) {
            CHECK(*it.reason == 5);
            return;
        }
        it.written++;
        fg_pipe_publish(it.pipe[0]);
    }
    it.ended = fg_pipe_end(it.pipe[0]);
}
static void cancel(void) {
    *it.reason = 5;
    it.aborted = fg_pipe_abort(it.pipe[0], false);
}
static void cancel_quietly(void) {
    *it.reason = 5;
    it.aborted = fg_pipe_abort(it.pipe[0], true);
}
static void deliver(void) { it.delivered += fg_pipe_deliver(it.pipe[0]); }
static void deliver_reason(void) {
    if (!fg_pipe_deliver(it.pipe[0])) return;
    it.delivered++;
    if (fg_load_relaxed(&it.pipe[0]->state) & FG_PIPE_ABORTED) CHECK(*it.reason == 5);
}
static void read_to_the_end(void) {
    for (;;) {
        int resumed;
        uint64_t const state = fg_load_acquire(&it.pipe[0]->state);
        while (take(MOST, false, &resumed)) {}
        if (state == FG_PIPE_ENDED) CHECK(it.taken == it.written); /* the end comes after all that was written */
        if (state & FG_PIPE_DONE) return;
        if (state != FG_PIPE_OPEN && fg_pipe_deliver(it.pipe[0])) {
            it.delivered++;
            return;
        }
        if (state == FG_PIPE_OPEN) checker_spin();
    }
}
/* Readiness: whoever publishes marks; the reader unmarks and then takes. */
static void write_marking(int pipe, uint64_t from, uint64_t to) {
    for (uint64_t i = from; i <= to; i++) {
        CHECK(push(it.pipe[pipe], i) == FG_PUSHED);
        fg_pipe_publish(it.pipe[pipe]);
        fg_pipe_mark(it.pipe[pipe]);
    }
}
static void mark_three(void) { write_marking(0, 1, 3); }
static void mark_one(void) { write_marking(0, 1, 1); }
static void mark_two(void) { write_marking(0, 1, 2); }
static void mark_other(void) { write_marking(1, 3, 3); }
static void let_go(fg_pipe *pipe) {
    if (!fg_pipe_release(pipe)) return;
    it.gone++;
    checker_free(pipe);
}
static void read_marked(uint64_t number) {
    while (it.taken < number) {
        fg_pipe *pipe = fg_ready_take(it.list);
        if (!pipe) checker_spin();
        for (fg_pipe *next; pipe; pipe = next) {
            uint64_t words[2 * MOST];
            int resumed;
            next = pipe->next;
            fg_pipe_unmark(pipe);
            for (size_t count; (count = fg_pipe_take(pipe, MOST, words, 2 * MOST, &resumed));)
                took(words, count, &it.taken);
            let_go(pipe);
        }
    }
}
static void read_marked_three(void) { read_marked(3); }
static void read_marked_two(void) { read_marked(2); }
/** The owner walks away while the list still holds a reference. */
static void mark_and_drop(void) {
    write_marking(0, 1, 1);
    let_go(it.pipe[0]);
}
static void read_marked_one(void) { read_marked(1); }
static void drop_first(void) { let_go(it.pipe[0]); }
static void empty_list(void) {
    for (fg_pipe *pipe = fg_ready_take(it.list), *next; pipe; pipe = next) {
        next = pipe->next;
        let_go(pipe);
    }
}
static void marked_already(void) {
    room_for_all();
    CHECK(push(it.pipe[0], 1) == FG_PUSHED);
    fg_pipe_mark(it.pipe[0]);
}

static void verify_three(void) {
    CHECK(it.taken == 3 && fg_pipe_pieces(it.pipe[0]) == 0 && fg_pipe_progress(it.pipe[0]) == 3);
}
static void verify_dropped(void) {
    int resumed;
    while (take(MOST, true, &resumed)) {}
    CHECK(it.taken + it.dropped == 3);
}
static void verify_once(void) {
    deliver();
    CHECK(it.delivered == 1);
}
static void verify_quiet(void) {
    CHECK(it.delivered + it.aborted == 1 || (!it.aborted && !it.delivered && it.ended));
    deliver();
    CHECK(it.delivered + it.aborted == 1);
}
static void verify_gone(void) {
    empty_list();
    CHECK(it.gone == 1);
}

checker_scenario const checker_scenarios[] = {
    {.name = "pieces in order",
     .set_up = room_for_all,
     .threads = {write_three, read_three},
     .verify = verify_three,
     .stale = 1 + 1},
    {.name = "one by one",
     .set_up = room_for_all,
     .threads = {write_three, read_one_by_one},
     .verify = verify_three,
     .stale = 1 + 1},
    {.name = "chunks", .set_up = room_for_all, .threads = {write_chunk, read_three}, .verify = verify_three},
    {.name = "waiting for room",
     .set_up = room_for_one,
     .threads = {write_waiting, read_three},
     .verify = verify_three},
    {.name = "waiting for room, one by one",
     .set_up = room_for_two,
     .threads = {write_waiting, read_one_by_one},
     .verify = verify_three},
    {.name = "dropping the oldest",
     .set_up = room_for_one,
     .threads = {write_dropping, read_gaps},
     .verify = verify_dropped},
    {.name = "counting", .set_up = room_for_all, .threads = {write_three, read_gaps, count_pieces}, .stale = 1 + 1},
    {.name = "end against read",
     .set_up = room_for_all,
     .threads = {write_and_end, read_to_the_end},
     .verify = verify_once},
    {.name = "cancel against publish",
     .set_up = room_for_all,
     .threads = {write_and_end, cancel, read_to_the_end},
     .verify = verify_once,
     .stale = 1 + 1},
    {.name = "cancel against publish, quietly",
     .set_up = room_for_all,
     .threads = {write_and_end, cancel_quietly, deliver},
     .verify = verify_quiet},
    {.name = "delivered with its reason",
     .set_up = room_for_all,
     .threads = {write_and_end, cancel, deliver_reason},
     .verify = verify_once},
    {.name = "delivered by one of two",
     .set_up = room_for_all,
     .threads = {write_and_end, deliver, deliver},
     .verify = verify_once},
    {.name = "no wake-up is lost",
     .set_up = room_for_all,
     .threads = {mark_three, read_marked_three},
     .verify = verify_three,
     .stale = 1 + 1},
    {.name = "two pipes in a list",
     .set_up = two_pipes,
     .threads = {mark_one, mark_other, read_marked_two},
     .stale = 1 + 1},
    {.name = "marked again while it is read", .set_up = room_for_all, .threads = {mark_two, read_marked_two}},
    {.name = "dropped while marked",
     .set_up = room_for_all,
     .threads = {mark_and_drop, read_marked_one},
     .verify = verify_gone},
    {.name = "dropped by two", .set_up = marked_already, .threads = {drop_first, empty_list}, .verify = verify_gone},
};
size_t const checker_scenario_count = sizeof checker_scenarios / sizeof checker_scenarios[0];
