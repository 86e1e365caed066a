#include "pipe.h"

enum { FIRST_BLOCK = 16 };

static fg_block *block_of(fg_pipe const *pipe) { return (fg_block *)(uintptr_t)fg_load_acquire(&pipe->block); }

void fg_pipe_init(fg_pipe *pipe, uint32_t capacity, uint32_t low, uint64_t limit) {
    memset(pipe, 0, sizeof *pipe);
    pipe->capacity = capacity;
    pipe->low = low;
    pipe->limit = limit;
    fg_store_relaxed(&pipe->refs, 1);
}

/* The producer. */

static void write_record(fg_block *block, uint32_t place, fg_piece const *piece) {
    uint64_t const mask = block->mask;
    fg_store_relaxed(&block->words[place++ & mask], fg_header_of(piece));
    for (size_t i = 0; i < piece->token_count; i += 2) {
        uint64_t const second = i + 1 < piece->token_count ? (uint32_t)piece->tokens[i + 1] : 0;
        fg_store_relaxed(&block->words[place++ & mask], second << 32 | (uint32_t)piece->tokens[i]);
    }
    for (size_t i = 0; i < piece->payload_count; i++) {
        fg_store_relaxed(&block->words[place++ & mask], piece->payloads[i]);
    }
    for (size_t i = 0; i < piece->size; i += 8) {
        uint64_t word = 0;
        memcpy(&word, piece->text + i, piece->size - i < 8 ? piece->size - i : 8);
        fg_store_relaxed(&block->words[place++ & mask], word);
    }
}

fg_push fg_pipe_push(fg_pipe *pipe, fg_piece const *piece) {
    if (fg_load_acquire(&pipe->state) != FG_PIPE_OPEN) return FG_OVER;
    uint64_t const head = pipe->seen = fg_load_acquire(&pipe->head);
    if (head & FG_WAITING) return FG_WAITS;
    uint32_t const pending = fg_words_between(head, pipe->end), length = fg_length_of(fg_header_of(piece));
    if (fg_pieces_between(head, pipe->end) >= pipe->capacity) return FG_FULL;
    if (pending && pending + length > pipe->limit) return FG_FULL_BYTES;
    fg_block *block = block_of(pipe);
    if (block == NULL || pending + length > block->mask + 1) return FG_GROW;
    write_record(block, fg_words_of(pipe->end), piece);
    pipe->end = fg_moved(pipe->end, 1, length);
    fg_store_relaxed(&pipe->tokens, fg_load_relaxed(&pipe->tokens) + piece->token_count);
    return FG_PUSHED;
}

size_t fg_pipe_wanted(fg_pipe const *pipe, fg_piece const *piece) {
    fg_block const *block = block_of(pipe);
    uint32_t const pending = fg_words_between(fg_load_acquire(&pipe->head), pipe->end);
    uint32_t const needed = pending + fg_length_of(fg_header_of(piece));
    size_t words = block ? (size_t)block->mask + 1 : FIRST_BLOCK;
    if (block && needed <= words) return 0;
    while (words < needed) words *= 2;
    return words;
}

size_t fg_block_bytes(size_t words) { return sizeof(fg_block) + words * sizeof(fg_atomic); }

void fg_pipe_grow(fg_pipe *pipe, fg_block *block, size_t words) {
    fg_block *const older = block_of(pipe);
    block->mask = words - 1;
    block->older = older;
    if (older) {
        uint32_t const end = fg_words_of(pipe->end);
        for (uint32_t place = fg_words_of(fg_load_acquire(&pipe->head)); place != end; place++) {
            fg_store_relaxed(&block->words[place & block->mask], fg_load_relaxed(&older->words[place & older->mask]));
        }
    }
    fg_store_release(&pipe->block, (uint64_t)(uintptr_t)block);
}

bool fg_pipe_wait(fg_pipe *pipe) {
    fg_pipe_publish(pipe);
    uint64_t seen = pipe->seen;
    return seen & FG_WAITING || fg_cas_acq_rel(&pipe->head, &seen, seen | FG_WAITING);
}

/* Whoever reads. */

size_t fg_pipe_take(fg_pipe *pipe, uint32_t most, uint64_t *out, size_t room, int *resumed) {
    for (;;) {
        uint64_t head = fg_load_acquire(&pipe->head);
        uint64_t const tail = fg_load_acquire(&pipe->tail);
        uint32_t const pending = fg_words_between(head, tail), pieces = fg_pieces_between(head, tail);
        *resumed = 0;
        if (pending == 0) return 0;
        fg_block *const block = block_of(pipe);
        uint32_t const first = fg_words_of(head);
        uint32_t length = pending, taken = pieces;
        if (most < pieces) {
            /* If the producer has taken these records since, headers may be anything: the swap below will fail. */
            for (length = 0, taken = 0; taken < most && length < pending; taken++) {
                length += fg_length_of(fg_load_relaxed(&block->words[(first + length) & block->mask]));
            }
            if (length > pending) continue;
        }
        if (length > room) {
            if (fg_load_acquire(&pipe->head) == head) return length;
            continue;
        }
        for (uint32_t i = 0; i < length; i++) out[i] = fg_load_relaxed(&block->words[(first + i) & block->mask]);
        bool const ends_wait = head & FG_WAITING && pieces - taken <= pipe->low;
        uint64_t const next = fg_moved(head, taken, length) | (ends_wait ? 0 : head & FG_WAITING);
        if (!fg_cas_acq_rel(&pipe->head, &head, next)) continue;
        *resumed = ends_wait;
        return length;
    }
}
