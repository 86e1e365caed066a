/** A bounded queue from one producer to one consumer: items of a fixed number of 64-bit words.
 *
 * L. Lamport, "Specifying concurrent program modules", ACM TOPLAS 5(2), 1983: each side writes its own position and
 * reads the other's. Each side keeps a copy of the other's position and looks again only when the copy says full or
 * empty, as in P. Lee, T. Bu, G. Chandranmenon, "A lock-free, cache-efficient shared ring buffer for multi-core
 * architectures", ANCS 2009, and in rigtorp::SPSCQueue. All calls are wait-free.
 *
 * Positions count items since the start and never wrap: 2^63 items are 292 years at one a nanosecond. The top bit of
 * the producer's position says closed, so that closing and publishing are changes of one word, one of which comes
 * first: nothing is pushed after the close, and what was pushed before it is still popped. */
#ifndef FG_LOCKFREE_RING_H
#define FG_LOCKFREE_RING_H

#include "base/atomic.h"

#define FG_RING_CLOSED ((uint64_t)1 << 63)

/** What one side works with: all of it on lines that the other side only reads `position` from. */
typedef struct fg_ring_side {
    fg_atomic position; /* items pushed (producer, with FG_RING_CLOSED) or popped (consumer); never goes back */
    uint64_t seen;      /* the other side's position when it was last looked at: at most what it is now */
    uint64_t mask;      /* capacity - 1; item i lives in slot i & mask */
    uint64_t words;     /* of one item */
    uint64_t *items;
    char apart[FG_DESTRUCTIVE_INTERFERENCE - 4 * sizeof(uint64_t) - sizeof(uint64_t *)];
} fg_ring_side;

/** Correct at any address; at a multiple of FG_DESTRUCTIVE_INTERFERENCE the sides share no pair of cache lines.
 *
 * Invariant: popped <= pushed <= popped + capacity. Slots of items in [popped, pushed) belong to the consumer, the
 * others to the producer; a position that moves hands slots over, by release, to the side that acquires it. */
typedef struct fg_ring {
    fg_ring_side producer, consumer;
} fg_ring;

/** Bytes of the items; `capacity` is a power of two, and both are at least 1. 0 if that many can't be addressed. */
FG_INLINE size_t fg_ring_bytes(size_t capacity, size_t words) {
    if (words > SIZE_MAX / sizeof(uint64_t) / capacity) return 0;
    return capacity * words * sizeof(uint64_t);
}

/** Before any other thread knows of the ring. `memory` has fg_ring_bytes() and stays the caller's. */
FG_INLINE void fg_ring_init(fg_ring *ring, size_t capacity, size_t words, void *memory) {
    fg_ring_side *const sides[2] = {&ring->producer, &ring->consumer};
    for (int i = 0; i < 2; i++) {
        fg_store_relaxed(&sides[i]->position, 0);
        sides[i]->seen = 0;
        sides[i]->mask = capacity - 1;
        sides[i]->words = words;
        sides[i]->items = (uint64_t *)memory;
    }
}

FG_INLINE void fg_ring_copy(uint64_t *target, uint64_t const *source, uint64_t words) {
    if (words == 1) {
        *target = *source;
    } else {
        memcpy(target, source, (size_t)words * sizeof *target);
    }
}

/** Write items behind position `tail`, as many as fit; not published yet. Returns how many. */
FG_INLINE uint64_t fg_ring_write(fg_ring *ring, uint64_t tail, uint64_t const *items, uint64_t count) {
    fg_ring_side *const side = &ring->producer;
    uint64_t const capacity = side->mask + 1;
    if (capacity - (tail - side->seen) < count) {
        side->seen = fg_load_acquire(&ring->consumer.position); /* what was popped has been read: the slots are free */
        uint64_t const room = capacity - (tail - side->seen);
        if (room < count) count = room;
    }
    if (!count) return 0;
    uint64_t const slot = tail & side->mask, before_wrap = capacity - slot;
    uint64_t const first = count < before_wrap ? count : before_wrap;
    fg_ring_copy(side->items + slot * side->words, items, first * side->words);
    if (first < count) fg_ring_copy(side->items, items + first * side->words, (count - first) * side->words);
    return count;
}

/** Push as many of `count` items as fit, in order, and return how many: the producer alone. On a ring that others may
 * close use fg_ring_offer; the producer itself may close any. */
FG_INLINE size_t fg_ring_push(fg_ring *ring, uint64_t const *items, size_t count) {
    uint64_t const tail = fg_load_relaxed(&ring->producer.position);
    if (FG_UNLIKELY(tail & FG_RING_CLOSED)) return 0;
    uint64_t const written = fg_ring_write(ring, tail, items, count);
    if (written) fg_store_release(&ring->producer.position, tail + written);
    return (size_t)written;
}

/** fg_ring_push for a ring that any thread may close: all that fit or, if the close came first, nothing. */
FG_INLINE size_t fg_ring_offer(fg_ring *ring, uint64_t const *items, size_t count) {
    uint64_t tail = fg_load_relaxed(&ring->producer.position);
    if (FG_UNLIKELY(tail & FG_RING_CLOSED)) return 0;
    uint64_t const written = fg_ring_write(ring, tail, items, count);
    if (written && !fg_cas_acq_rel(&ring->producer.position, &tail, tail + written)) return 0;
    return (size_t)written;
}

/** Find up to `count` items at position `head`. Returns how many there are. */
FG_INLINE uint64_t fg_ring_find(fg_ring *ring, uint64_t head, uint64_t count) {
    fg_ring_side *const side = &ring->consumer;
    if (side->seen - head < count) {
        side->seen = fg_load_acquire(&ring->producer.position) & ~FG_RING_CLOSED; /* what was pushed can be read */
        if (side->seen - head < count) count = side->seen - head;
    }
    return count;
}

/** Pop up to `count` items, oldest first, and return how many: the consumer alone. */
FG_INLINE size_t fg_ring_pop(fg_ring *ring, uint64_t *items, size_t count) {
    fg_ring_side *const side = &ring->consumer;
    uint64_t const head = fg_load_relaxed(&side->position), found = fg_ring_find(ring, head, count);
    if (!found) return 0;
    uint64_t const slot = head & side->mask, before_wrap = side->mask + 1 - slot;
    uint64_t const first = found < before_wrap ? found : before_wrap;
    fg_ring_copy(items, side->items + slot * side->words, first * side->words);
    if (first < found) fg_ring_copy(items + first * side->words, side->items, (found - first) * side->words);
    fg_store_release(&side->position, head + found);
    return (size_t)found;
}

/** Look at up to `count` of the oldest items where they are, as far as they are adjacent: to read them and then
 * fg_ring_skip them. Returns how many. The consumer alone. */
FG_INLINE size_t fg_ring_peek(fg_ring *ring, uint64_t const **items, size_t count) {
    fg_ring_side *const side = &ring->consumer;
    uint64_t const head = fg_load_relaxed(&side->position), slot = head & side->mask;
    uint64_t const before_wrap = side->mask + 1 - slot, found = fg_ring_find(ring, head, count);
    *items = side->items + slot * side->words;
    return (size_t)(found < before_wrap ? found : before_wrap);
}

/** Give back items that fg_ring_peek has shown. */
FG_INLINE void fg_ring_skip(fg_ring *ring, size_t count) {
    fg_store_release(&ring->consumer.position, fg_load_relaxed(&ring->consumer.position) + count);
}

/** Close for good. Any thread if the producer only offers, else the producer. Returns whether this call did it. */
FG_INLINE bool fg_ring_close(fg_ring *ring) {
    uint64_t tail = fg_load_relaxed(&ring->producer.position);
    while (!(tail & FG_RING_CLOSED))
        if (fg_cas_acq_rel(&ring->producer.position, &tail, tail | FG_RING_CLOSED)) return true;
    return false;
}

/** Any thread. */
FG_INLINE bool fg_ring_is_closed(fg_ring const *ring) {
    return (fg_load_acquire(&ring->producer.position) & FG_RING_CLOSED) != 0;
}

/** Closed, and nothing is left nor will be: the consumer's end of stream. The consumer alone. */
FG_INLINE bool fg_ring_is_drained(fg_ring const *ring) {
    return fg_load_acquire(&ring->producer.position) == (fg_load_relaxed(&ring->consumer.position) | FG_RING_CLOSED);
}

/** Items inside, from any thread: what was true at some moments during the call, never more than the capacity. At
 * least so many can be popped by the consumer, and at most so many are inside for the producer. */
FG_INLINE size_t fg_ring_count(fg_ring const *ring) {
    uint64_t const head = fg_load_acquire(&ring->consumer.position); /* first: the other can only have grown since */
    uint64_t const tail = fg_load_acquire(&ring->producer.position) & ~FG_RING_CLOSED;
    uint64_t const capacity = ring->producer.mask + 1, count = tail - head;
    return (size_t)(count < capacity ? count : capacity);
}

#endif
