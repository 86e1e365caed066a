/* Pipes without Python: one thread writes, one reads, under every policy's moves, with tiny blocks and with large ones;
 * what comes out is the order of what went in. Run under ThreadSanitizer this is the proof of the orders in pipe.h. */
#include "pipe.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROOM = 4096 };

typedef struct run {
    fg_pipe *pipe;
    fg_ready ready;
    uint32_t total;
    int drops;
} run;

static int failures;

static void check(int holds, char const *what, uint64_t found) {
    if (!holds && failures++ < 20) printf("failed: %s (%llu)\n", what, (unsigned long long)found);
}

static void grow(fg_pipe *pipe, fg_piece const *piece) {
    size_t const words = fg_pipe_wanted(pipe, piece);
    if (words) fg_pipe_grow(pipe, malloc(fg_block_bytes(words)), words);
}

static void *produce(void *argument) {
    run *const self = argument;
    uint8_t text[40];
    memset(text, 'x', sizeof text);
    for (uint32_t i = 0; i < self->total;) {
        int32_t const tokens[3] = {(int32_t)i, (int32_t)i, (int32_t)i};
        uint64_t const payload = i;
        fg_piece const piece = {tokens, &payload, text, 1 + i % 3, i % 2, i % 37};
        uint64_t scratch[ROOM];
        int resumed;
        switch (fg_pipe_push(self->pipe, &piece)) {
        case FG_PUSHED:
            fg_pipe_publish(self->pipe);
            fg_pipe_mark(self->pipe);
            i++;
            break;
        case FG_GROW: grow(self->pipe, &piece); break;
        case FG_FULL:
        case FG_FULL_BYTES:
            if (self->drops) fg_pipe_take(self->pipe, 1, scratch, ROOM, &resumed);
            else fg_pipe_wait(self->pipe);
            break;
        case FG_WAITS: sched_yield(); break;
        case FG_OVER: check(0, "it is over", i); return NULL;
        }
    }
    fg_pipe_end(self->pipe);
    fg_pipe_mark(self->pipe);
    return NULL;
}

/* Read what is ready, as a port does: only a pipe that is in the list is looked at. */
static uint32_t consume(run *self) {
    uint64_t words[ROOM];
    int64_t last = -1;
    uint32_t pieces = 0;
    for (;;) {
        fg_pipe *const pipe = fg_ready_take(&self->ready);
        if (pipe == NULL) {
            sched_yield();
            continue;
        }
        fg_pipe_unmark(pipe);
        check(!fg_pipe_release(pipe), "the owner holds it", 0);
        uint64_t const state = fg_load_acquire(&pipe->state);
        int resumed;
        size_t count;
        while ((count = fg_pipe_take(pipe, 1 + pieces % 5, words, ROOM, &resumed)) != 0) {
            check(count <= ROOM, "the pieces are short", count);
            for (size_t place = 0; place < count; place += fg_length_of(words[place]), pieces++) {
                int32_t tokens[3];
                uint64_t payload = 0;
                uint8_t text[64];
                uint32_t const length = fg_length_of(words[place]);
                fg_piece sizes;
                fg_records_measure(words + place, length, &sizes);
                fg_records_join(words + place, length, tokens, &payload, text);
                int64_t const i = tokens[0];
                check(self->drops ? i > last : i == last + 1, "each in order", (uint64_t)i);
                check(sizes.token_count == (size_t)(1 + i % 3) && tokens[i % 3] == i, "its tokens", (uint64_t)i);
                check(sizes.payload_count == (size_t)(i % 2) && (i % 2 == 0 || payload == (uint64_t)i), "its payload",
                      (uint64_t)i);
                check(sizes.size == (size_t)(i % 37) && (i % 37 == 0 || text[i % 37 - 1] == 'x'), "its text",
                      (uint64_t)i);
                last = i;
            }
        }
        if (state == FG_PIPE_ENDED) {
            check(fg_pipe_deliver(pipe) && !fg_pipe_deliver(pipe), "the end is told once", 0);
            check(last == (int64_t)self->total - 1, "the last is read", (uint64_t)last);
            return pieces;
        }
    }
}

static void both(uint32_t capacity, int drops, uint64_t start, uint32_t total) {
    fg_pipe *const pipe = aligned_alloc(FG_CACHE_LINE, sizeof(fg_pipe));
    fg_pipe_init(pipe, capacity, capacity / 2, (uint64_t)capacity * 4);
    fg_store_relaxed(&pipe->head, start << 1); /* the counts wrap around */
    fg_store_relaxed(&pipe->tail, start << 1);
    pipe->end = start << 1;
    run self = {.pipe = pipe, .total = total, .drops = drops};
    fg_store_relaxed(&pipe->list, (uint64_t)(uintptr_t)&self.ready);
    pthread_t thread;
    pthread_create(&thread, NULL, produce, &self);
    uint32_t const pieces = consume(&self);
    pthread_join(thread, NULL);
    if (!drops) check(pieces == total, "all are read", pieces);
    if (fg_ready_take(&self.ready)) fg_pipe_release(pipe); /* the end was read before it was marked */
    check(fg_pipe_release(pipe), "the last reference", 0);
    for (fg_block *block = (fg_block *)(uintptr_t)fg_load_relaxed(&pipe->block), *older; block; block = older) {
        older = block->older;
        free(block);
    }
    free(pipe);
}

int main(void) {
    char const *const cases = getenv("FASTGEN_TEST_CASES");
    uint32_t const total = cases ? (uint32_t)strtoul(cases, NULL, 10) : 20000;
    uint32_t const capacities[] = {1, 2, 3, 16, 256};
    uint64_t const starts[] = {0, (1ull << 32) - 7, (((1ull << 31) - 5) << 32) | 0xFFFFFFF0u};
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        for (size_t j = 0; j < sizeof starts / sizeof *starts; j++) {
            both(capacities[i], 0, starts[j], total);
            both(capacities[i], 1, starts[j], total);
        }
    }
    if (failures == 0) printf("ok: %u pieces through each of %zu pipes\n", total,
                              2 * (sizeof capacities / sizeof *capacities) * (sizeof starts / sizeof *starts));
    return failures != 0;
}
