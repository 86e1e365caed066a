/** Queues from many producers to many consumers, of 64-bit words: numbers or addresses.
 *
 * Both are linearizable first-in first-out queues, and a batch is a row of single pushes or pops. No call waits: where
 * another thread is between claiming a place and filling it, `fg_bounded` answers FG_QUEUE_BUSY.
 *
 * Closing is a bit in the word that producers claim places from: of a push and a close one comes first, nothing is
 * pushed after the close, and what was pushed before it is still popped, until FG_QUEUE_CLOSED says that it was all. */
#ifndef FG_LOCKFREE_QUEUE_H
#define FG_LOCKFREE_QUEUE_H

#include "lockfree/epoch.h"

#define FG_QUEUE_CLOSED_BIT ((uint64_t)1 << 63)

typedef enum fg_queue_status {
    FG_QUEUE_OK = 0,    /* pushed all, or popped at least one */
    FG_QUEUE_FULL,      /* push */
    FG_QUEUE_EMPTY,     /* pop */
    FG_QUEUE_BUSY,      /* the place that comes next is in the hands of another thread: try again */
    FG_QUEUE_CLOSED,    /* push: closed; pop: closed, and nothing will come any more */
    FG_QUEUE_NO_MEMORY, /* push to an unbounded queue; what was pushed stays pushed */
} fg_queue_status;

/* Bounded. */

/** The stamp says whose turn it is at a slot, and hands the item over: 2p if the push to position p may fill it,
 * 2p + 1 if the pop of position p may empty it. A pop leaves 2 (p + capacity) behind. */
typedef struct fg_bounded_slot {
    fg_atomic stamp;
    uint64_t item;
} fg_bounded_slot;

/** D. Vyukov, "Bounded MPMC queue", 1024cores.net, 2010; telling empty and full from busy as crossbeam's ArrayQueue.
 *
 * Invariant: popped <= pushed <= popped + capacity; position p lives in slot p & mask. Positions never wrap. Where a
 * thread stops between its claim and its stamp, the next to come to that slot are told FG_QUEUE_BUSY. */
typedef struct fg_bounded {
    fg_atomic pushed; /* positions claimed by producers, and FG_QUEUE_CLOSED_BIT */
    char apart_pushed[FG_DESTRUCTIVE_INTERFERENCE - sizeof(fg_atomic)];
    fg_atomic popped; /* positions claimed by consumers */
    char apart_popped[FG_DESTRUCTIVE_INTERFERENCE - sizeof(fg_atomic)];
    fg_bounded_slot *slots;
    uint64_t mask; /* capacity - 1 */
} fg_bounded;

/** Bytes of the slots; `capacity` is a power of two. 0 if that many can't be addressed. */
size_t fg_bounded_bytes(size_t capacity);

/** Before any other thread knows of the queue. `memory` has fg_bounded_bytes() and stays the caller's. */
void fg_bounded_init(fg_bounded *queue, size_t capacity, void *memory);

/** Push items in order, as many as fit, those of others maybe between them; `*done` is how many. */
fg_queue_status fg_bounded_push(fg_bounded *queue, uint64_t const *items, size_t count, size_t *done);

/** Pop up to `count` items that are next to each other; `*done` is how many. */
fg_queue_status fg_bounded_pop(fg_bounded *queue, uint64_t *items, size_t count, size_t *done);

/** Close for good; returns whether this call did it. */
bool fg_bounded_close(fg_bounded *queue);
bool fg_bounded_is_closed(fg_bounded const *queue);

/** Positions claimed by producers and not by consumers, at some moment of the call. */
size_t fg_bounded_count(fg_bounded const *queue);

/* Unbounded. */

enum { FG_SEGMENT_SLOTS = 128 };

/** Where segments come from. `allocate` may return NULL; memory is aligned for 64-bit words. */
typedef struct fg_allocator {
    void *(*allocate)(void *context, size_t bytes);
    void (*release)(void *context, void *memory);
    void *context;
} fg_allocator;

/** A slot goes from FG_SLOT_EMPTY to an item to FG_SLOT_TAKEN, or from empty to taken, if the consumer that has claimed
 * it comes first; then its producer claims another. Slots never go back: a segment is used once. */
#define FG_SLOT_EMPTY ((uint64_t)0)
#define FG_SLOT_TAKEN UINT64_MAX

typedef struct fg_segment {
    fg_retired retired; /* first: a retired segment is its own list entry */
    uint64_t number;    /* of segments before it */
    fg_atomic next;     /* address, 0 before there is one, or FG_SEGMENT_SEALED: there will be none */
    char apart_next[FG_DESTRUCTIVE_INTERFERENCE - sizeof(fg_atomic)];
    fg_atomic pushed; /* slots claimed by producers, beyond the end too, and FG_QUEUE_CLOSED_BIT in the last segment */
    char apart_pushed[FG_DESTRUCTIVE_INTERFERENCE - sizeof(fg_atomic)];
    fg_atomic popped; /* slots claimed by consumers, beyond the end too */
    char apart_popped[FG_DESTRUCTIVE_INTERFERENCE - sizeof(fg_atomic)];
    fg_atomic slots[];
} fg_segment;

#define FG_SEGMENT_SEALED ((uint64_t)1)

/** P. Ramalhete, A. Correia, "FAAArrayQueue", concurrencyfreaks.com, 2016: M. Michael's and M. Scott's list (PODC 1996)
 * of segments whose slots are claimed by adding. Lock-free: nobody waits for a thread that stops anywhere.
 *
 * Invariant: `head` never overtakes `tail`, and a segment is retired after both have left it. Items are neither
 * FG_SLOT_EMPTY nor FG_SLOT_TAKEN. Each thread inside has a participant of `epoch`. */
typedef struct fg_unbounded {
    fg_atomic head; /* address of the segment that is popped from */
    char apart_head[FG_DESTRUCTIVE_INTERFERENCE - sizeof(fg_atomic)];
    fg_atomic tail; /* address of the segment that is pushed to, or of one before it */
    char apart_tail[FG_DESTRUCTIVE_INTERFERENCE - sizeof(fg_atomic)];
    uint64_t slots; /* of each segment */
    fg_allocator allocator;
    fg_epoch epoch;
} fg_unbounded;

/** `slots` of each segment, at least 1; `period` as of fg_epoch, in segments. Returns whether there was memory. The
 * queue must not move afterwards. */
bool fg_unbounded_init(fg_unbounded *queue, size_t slots, uint64_t period, fg_allocator allocator);

/** Release all segments; items inside are forgotten. Nobody may be inside, nor come. */
void fg_unbounded_destroy(fg_unbounded *queue);

/** Push items in order, others' maybe between them; `*done` is how many: fewer only if closed or out of memory. */
fg_queue_status fg_unbounded_push(fg_unbounded *queue, fg_participant *me, uint64_t const *items, size_t count,
                                  size_t *done);

/** Pop up to `count` items; `*done` is how many. A batch doesn't reach across the end of a segment. */
fg_queue_status fg_unbounded_pop(fg_unbounded *queue, fg_participant *me, uint64_t *items, size_t count, size_t *done);

/** Close for good; returns whether this call did it. */
bool fg_unbounded_close(fg_unbounded *queue, fg_participant *me);
bool fg_unbounded_is_closed(fg_unbounded *queue, fg_participant *me);

/** Slots claimed by producers and not by consumers: a bound while others are inside, exact if nobody is. */
size_t fg_unbounded_count(fg_unbounded *queue, fg_participant *me);

#endif
