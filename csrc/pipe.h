/** A pipe: pieces of an answer on their way from the thread that makes them to the one that reads them.
 *
 * A piece is a record of 64-bit words. Records lie end to end in a circular block between `head` and `tail`, two
 * positions that only grow. The producer alone writes; whoever takes records copies them first and then moves `head`
 * by a compare and swap, so the producer may take old ones too, to drop or to merge them, and each record belongs to
 * exactly one taker. A block that is too small is replaced by a copy twice as large, the old one stays readable: Chase
 * and Lev, "Dynamic Circular Work-Stealing Deque", SPAA 2005.
 *
 * A pipe that has something to read is marked: put into a list of ready pipes, once until it is unmarked. The list is a
 * stack that is only ever emptied as a whole (Treiber, "Systems Programming: Coping with Parallelism", 1986), so no
 * address can return to its top unseen.
 *
 * Nothing is allocated here: memory comes from the caller.
 */
#ifndef FG_PIPE_H
#define FG_PIPE_H

#include "base/atomic.h"
#include "base/base.h"
#include "pipe/records.h"

/** How it stands. The end is delivered once: whoever brings FG_PIPE_DONE into the state tells the reader. */
enum {
    FG_PIPE_OPEN = 0,
    FG_PIPE_ENDED = 1,   /* nothing more is written; what is pending is to be read */
    FG_PIPE_ABORTED = 2, /* what is pending is void */
    FG_PIPE_DONE = 4,    /* the reader knows */
};

typedef enum fg_push {
    FG_PUSHED,
    FG_FULL,       /* as many pieces as may be pending are */
    FG_FULL_BYTES, /* the words that may be pending do not hold this piece too */
    FG_GROW,       /* there is room, but not in this block: see fg_pipe_grow */
    FG_OVER,       /* the pipe is not open */
    FG_WAITS,      /* refused until the reader is down to `low`: see fg_pipe_wait */
} fg_push;

typedef struct fg_block {
    uint64_t mask; /* words - 1; their number is a power of two */
    struct fg_block *older;
    fg_atomic words[];
} fg_block;

typedef struct fg_pipe fg_pipe;

typedef struct fg_ready {
    fg_atomic first; /* the pipe that was marked last */
} fg_ready;

struct fg_pipe {
    /* The producer's line. */
    FG_ALIGNED(FG_CACHE_LINE) fg_atomic tail; /* up to here everything may be read */
    uint64_t end;                             /* up to here it is written: tail follows when a chunk is complete */
    uint64_t seen;                            /* the head that the last push was judged by */
    fg_atomic block;                          /* fg_block *, NULL at first */
    fg_atomic tokens;                         /* ever written */
    fg_atomic lost;                           /* pieces dropped */
    uint32_t capacity, low;                   /* pieces: most, and how few end a wait */
    uint64_t limit;                           /* words */
    /* The reader's line. */
    FG_ALIGNED(FG_CACHE_LINE) fg_atomic head;
    fg_atomic state;
    fg_atomic list;   /* fg_ready *, where the pipe is marked; NULL if nobody wants to know */
    fg_atomic queued; /* whether it is in a list */
    fg_atomic refs;   /* the owner's and a list's */
    fg_pipe *next;    /* in the list; belongs to whoever set `queued`, then to whoever emptied the list */
    void *owner;      /* the caller's */
    void *memory;     /* the caller's: what to free */
};

/* A position packs two counts, modulo 2^31 and 2^32: pieces << 33 | words << 1. In a head the lowest bit says that the
 * producer waits for room. */
#define FG_WAITING 1u

FG_INLINE uint32_t fg_words_of(uint64_t position) { return (uint32_t)(position >> 1); }
FG_INLINE uint32_t fg_pieces_of(uint64_t position) { return (uint32_t)(position >> 33); }
FG_INLINE uint64_t fg_moved(uint64_t position, uint32_t pieces, uint32_t words) {
    return (uint64_t)(fg_pieces_of(position) + pieces) << 33 | (uint64_t)(uint32_t)(fg_words_of(position) + words) << 1;
}
FG_INLINE uint32_t fg_pieces_between(uint64_t head, uint64_t tail) {
    return (fg_pieces_of(tail) - fg_pieces_of(head)) & 0x7FFFFFFFu;
}
FG_INLINE uint32_t fg_words_between(uint64_t head, uint64_t tail) { return fg_words_of(tail) - fg_words_of(head); }

/** Begin. @param limit  words that may be pending, unless a single piece needs more */
void fg_pipe_init(fg_pipe *pipe, uint32_t capacity, uint32_t low, uint64_t limit);

/* The producer. */

/** Write a piece that can't be read before fg_pipe_publish. */
fg_push fg_pipe_push(fg_pipe *pipe, fg_piece const *piece);

/** Words of the block that the piece needs: 0 if the present one does. */
size_t fg_pipe_wanted(fg_pipe const *pipe, fg_piece const *piece);

/** Put a larger block in place. `words` is a power of two; memory for it: fg_block_bytes(words). */
void fg_pipe_grow(fg_pipe *pipe, fg_block *block, size_t words);
size_t fg_block_bytes(size_t words);

/** After a push that found no room: refuse every push until the reader is down to `low`. False if the head has moved
 * since: push again. */
bool fg_pipe_wait(fg_pipe *pipe);

/* Whoever reads; the producer too, to drop or merge. */

/** Take at most `most` pieces.
 * @param out      their records, end to end
 * @param room     of `out`, in words
 * @param resumed  set if the producer had waited and need not any more
 * @return how many words they are; if more than `room`, nothing was taken */
size_t fg_pipe_take(fg_pipe *pipe, uint32_t most, uint64_t *out, size_t room, int *resumed);

/** What was written may be read. */
FG_INLINE void fg_pipe_publish(fg_pipe *pipe) { fg_store_release(&pipe->tail, pipe->end); }

/** End it: true if it was open. Only the producer may. */
FG_INLINE bool fg_pipe_end(fg_pipe *pipe) {
    uint64_t open = FG_PIPE_OPEN;
    fg_pipe_publish(pipe);
    return fg_cas_acq_rel(&pipe->state, &open, FG_PIPE_ENDED);
}

/* Anybody. */

/** Pieces that may be read at this moment, and their words. */
FG_INLINE uint32_t fg_pipe_pieces(fg_pipe const *pipe) {
    uint64_t const head = fg_load_acquire(&pipe->head); /* first: a later tail is not behind it */
    return fg_pieces_between(head, fg_load_acquire(&pipe->tail));
}
FG_INLINE uint32_t fg_pipe_words(fg_pipe const *pipe) {
    uint64_t const head = fg_load_acquire(&pipe->head);
    return fg_words_between(head, fg_load_acquire(&pipe->tail));
}

/** Pieces ever taken, modulo 2^31: it moves if the reader does. */
FG_INLINE uint32_t fg_pipe_progress(fg_pipe const *pipe) { return fg_pieces_of(fg_load_acquire(&pipe->head)); }

/** Pieces ever published, modulo 2^31. */
FG_INLINE uint32_t fg_pipe_published(fg_pipe const *pipe) { return fg_pieces_of(fg_load_acquire(&pipe->tail)); }

FG_INLINE bool fg_pipe_waits(fg_pipe const *pipe) { return fg_load_acquire(&pipe->head) & FG_WAITING; }

/** Make it end without what is pending; `quietly`: nor is its end delivered. False if it was aborted before, or its end
 * was delivered. */
FG_INLINE bool fg_pipe_abort(fg_pipe *pipe, bool quietly) {
    uint64_t state = fg_load_acquire(&pipe->state);
    uint64_t const target = quietly ? FG_PIPE_ABORTED | FG_PIPE_DONE : FG_PIPE_ABORTED;
    do {
        if (state & FG_PIPE_DONE || (state == FG_PIPE_ABORTED && !quietly)) return false;
    } while (!fg_cas_acq_rel(&pipe->state, &state, target));
    return true;
}

/** Claim the delivery of the end: true for the one who gets it. */
FG_INLINE bool fg_pipe_deliver(fg_pipe *pipe) {
    uint64_t state = fg_load_acquire(&pipe->state);
    do {
        if (state == FG_PIPE_OPEN || state & FG_PIPE_DONE) return false;
    } while (!fg_cas_acq_rel(&pipe->state, &state, state | FG_PIPE_DONE));
    return true;
}

/** Mark it as ready, in the list that it belongs to. */
FG_INLINE void fg_pipe_mark(fg_pipe *pipe) {
    fg_ready *const list = (fg_ready *)(uintptr_t)fg_load_acquire(&pipe->list);
    /* An exchange, not a look: it and the one of fg_pipe_unmark are in one order, so either the reader's comes later
     * and he sees what was published, or the pipe is put into the list again. */
    if (list == NULL || fg_exchange_acq_rel(&pipe->queued, 1)) return;
    fg_add_relaxed(&pipe->refs, 1);
    uint64_t first = fg_load_relaxed(&list->first);
    do {
        pipe->next = (fg_pipe *)(uintptr_t)first;
    } while (!fg_cas_weak_release(&list->first, &first, (uint64_t)(uintptr_t)pipe));
}

FG_INLINE void fg_pipe_unmark(fg_pipe *pipe) { fg_exchange_acq_rel(&pipe->queued, 0); }

/** Empty a list: its pipes, the one marked first in front. Each holds a reference: fg_pipe_release. */
FG_INLINE fg_pipe *fg_ready_take(fg_ready *list) {
    fg_pipe *pipe = (fg_pipe *)(uintptr_t)fg_exchange_acq_rel(&list->first, 0), *reversed = NULL;
    while (pipe) {
        fg_pipe *const next = pipe->next;
        pipe->next = reversed;
        reversed = pipe;
        pipe = next;
    }
    return reversed;
}

/** Let go of a reference: true if it was the last, and the memory can be freed. */
FG_INLINE bool fg_pipe_release(fg_pipe *pipe) { return fg_add_acq_rel(&pipe->refs, (uint64_t)-1) == 1; }

#endif
