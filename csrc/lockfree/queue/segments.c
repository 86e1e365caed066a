#include "lockfree/queue.h"

static fg_segment *segment_at(fg_atomic const *address) { return (fg_segment *)(uintptr_t)fg_load_acquire(address); }

static uint64_t address_of(fg_segment const *segment) { return (uint64_t)(uintptr_t)segment; }

static size_t smaller(size_t one, size_t other) { return one < other ? one : other; }

static void reclaim(void *context, fg_retired *retired) {
    fg_unbounded const *const queue = context;
    queue->allocator.release(queue->allocator.context, retired);
}

/** A segment that holds the first `count` of items, which nobody sees yet. */
static fg_segment *segment_of(fg_unbounded const *queue, uint64_t const *items, size_t count, uint64_t number) {
    size_t const bytes = sizeof(fg_segment) + (size_t)queue->slots * sizeof(fg_atomic);
    fg_segment *const segment = queue->allocator.allocate(queue->allocator.context, bytes);
    if (!segment) return NULL;
    segment->number = number;
    fg_store_relaxed(&segment->next, 0);
    fg_store_relaxed(&segment->pushed, count);
    fg_store_relaxed(&segment->popped, 0);
    for (size_t i = 0; i < queue->slots; i++)
        fg_store_relaxed(&segment->slots[i], i < count ? items[i] : FG_SLOT_EMPTY);
    return segment;
}

bool fg_unbounded_init(fg_unbounded *queue, size_t slots, uint64_t period, fg_allocator allocator) {
    queue->slots = slots;
    queue->allocator = allocator;
    fg_epoch_init(&queue->epoch, period, reclaim, queue);
    fg_segment *const first = segment_of(queue, NULL, 0, 0);
    fg_store_relaxed(&queue->head, address_of(first));
    fg_store_relaxed(&queue->tail, address_of(first));
    return first != NULL;
}

void fg_unbounded_destroy(fg_unbounded *queue) {
    fg_epoch_drain(&queue->epoch);
    uint64_t address = fg_load_acquire(&queue->head);
    while (address && address != FG_SEGMENT_SEALED) {
        fg_segment *const segment = (fg_segment *)(uintptr_t)address;
        address = fg_load_acquire(&segment->next);
        queue->allocator.release(queue->allocator.context, segment);
    }
}

/** Say closed in the word that slots are claimed from; the segment has been sealed. */
static void mark_closed(fg_segment *segment) {
    uint64_t pushed = fg_load_relaxed(&segment->pushed);
    while (!(pushed & FG_QUEUE_CLOSED_BIT))
        if (fg_cas_acq_rel(&segment->pushed, &pushed, pushed | FG_QUEUE_CLOSED_BIT)) return;
}

static void leave(fg_atomic *where, fg_segment const *segment, uint64_t next) {
    uint64_t expected = address_of(segment);
    fg_cas_acq_rel(where, &expected, next);
}

/** Claim slots and fill them. A slot that its consumer has given up ends the batch, or items would be out of order; the
 * rest of the claim is left to its consumers to give up. Returns how many, or -1: closed. */
static ptrdiff_t fill(fg_unbounded const *queue, fg_segment *tail, uint64_t const *items, size_t count) {
    uint64_t const first = fg_add_acq_rel(&tail->pushed, count);
    if (first & FG_QUEUE_CLOSED_BIT) return -1;
    size_t filled = 0;
    while (filled < count && first + filled < queue->slots) {
        uint64_t empty = FG_SLOT_EMPTY;
        if (!fg_cas_acq_rel(&tail->slots[first + filled], &empty, items[filled])) break;
        filled++;
    }
    return (ptrdiff_t)filled;
}

/** Go to the segment after a full one; make it, with items in it, if there is none. */
static fg_queue_status extend(fg_unbounded *queue, fg_segment *tail, uint64_t const *items, size_t count,
                              size_t *done) {
    uint64_t next = fg_load_acquire(&tail->next);
    if (!next) {
        size_t const held = smaller(count, (size_t)queue->slots);
        fg_segment *const fresh = segment_of(queue, items, held, tail->number + 1);
        if (!fresh) return FG_QUEUE_NO_MEMORY;
        if (fg_cas_acq_rel(&tail->next, &next, address_of(fresh))) {
            next = address_of(fresh);
            *done += held;
        } else {
            queue->allocator.release(queue->allocator.context, fresh);
        }
    }
    if (next == FG_SEGMENT_SEALED) {
        mark_closed(tail); /* for the thread that closes, which may have stopped in between */
        return FG_QUEUE_CLOSED;
    }
    leave(&queue->tail, tail, next);
    return FG_QUEUE_OK;
}

fg_queue_status fg_unbounded_push(fg_unbounded *queue, fg_participant *me, uint64_t const *items, size_t count,
                                  size_t *done) {
    fg_queue_status status = FG_QUEUE_OK;
    *done = 0;
    fg_epoch_pin(&queue->epoch, me);
    while (*done < count && status == FG_QUEUE_OK) {
        fg_segment *const tail = segment_at(&queue->tail);
        uint64_t const pushed = fg_load_acquire(&tail->pushed);
        size_t const left = count - *done;
        if (pushed & FG_QUEUE_CLOSED_BIT) {
            status = FG_QUEUE_CLOSED;
        } else if (pushed < queue->slots) {
            ptrdiff_t const filled = fill(queue, tail, items + *done, smaller(left, (size_t)(queue->slots - pushed)));
            if (filled < 0) {
                status = FG_QUEUE_CLOSED;
            } else {
                *done += (size_t)filled;
            }
        } else {
            status = extend(queue, tail, items + *done, left, done);
        }
    }
    fg_epoch_unpin(me);
    return status;
}

/** Claim slots and take what is in them; those still empty are given up, and their producers go elsewhere. */
static size_t take(fg_unbounded const *queue, fg_segment *head, uint64_t *items, size_t count) {
    uint64_t const first = fg_add_acq_rel(&head->popped, count);
    size_t taken = 0;
    for (uint64_t slot = first; slot < first + count && slot < queue->slots; slot++) {
        uint64_t const item = fg_exchange_acq_rel(&head->slots[slot], FG_SLOT_TAKEN);
        if (item != FG_SLOT_EMPTY) items[taken++] = item;
    }
    return taken;
}

/** All slots are claimed by consumers: go to the next segment. */
static fg_queue_status advance(fg_unbounded *queue, fg_participant *me, fg_segment *head) {
    uint64_t const next = fg_load_acquire(&head->next);
    if (!next) return FG_QUEUE_EMPTY;
    if (next == FG_SEGMENT_SEALED) {
        mark_closed(head); /* else a producer could still fill a slot whose consumer has not looked yet */
        return FG_QUEUE_CLOSED;
    }
    leave(&queue->tail, head, next); /* before `head` goes, or `tail` would lead to a retired segment */
    uint64_t expected = address_of(head);
    if (fg_cas_acq_rel(&queue->head, &expected, next)) fg_epoch_retire(&queue->epoch, me, &head->retired);
    return FG_QUEUE_OK;
}

fg_queue_status fg_unbounded_pop(fg_unbounded *queue, fg_participant *me, uint64_t *items, size_t count, size_t *done) {
    fg_queue_status status = FG_QUEUE_OK;
    *done = 0;
    fg_epoch_pin(&queue->epoch, me);
    while (*done == 0 && count && status == FG_QUEUE_OK) {
        fg_segment *const head = segment_at(&queue->head);
        uint64_t const popped = fg_load_acquire(&head->popped); /* first: if it isn't below the other, all is claimed */
        uint64_t const claims = fg_load_acquire(&head->pushed), pushed = claims & ~FG_QUEUE_CLOSED_BIT;
        uint64_t const filled = pushed < queue->slots ? pushed : queue->slots;
        if (popped < filled) {
            *done = take(queue, head, items, smaller(count, (size_t)(filled - popped)));
        } else if (popped < queue->slots) {
            status = claims & FG_QUEUE_CLOSED_BIT ? FG_QUEUE_CLOSED : FG_QUEUE_EMPTY;
        } else {
            status = advance(queue, me, head);
        }
    }
    fg_epoch_unpin(me);
    return status;
}

bool fg_unbounded_close(fg_unbounded *queue, fg_participant *me) {
    fg_epoch_pin(&queue->epoch, me);
    fg_segment *tail;
    uint64_t next;
    for (;;) { /* first no further segment, then no further slot */
        tail = segment_at(&queue->tail);
        next = 0;
        if (fg_cas_acq_rel(&tail->next, &next, FG_SEGMENT_SEALED) || next == FG_SEGMENT_SEALED) break;
        leave(&queue->tail, tail, next);
    }
    mark_closed(tail);
    fg_epoch_unpin(me);
    return next == 0;
}

bool fg_unbounded_is_closed(fg_unbounded *queue, fg_participant *me) {
    fg_epoch_pin(&queue->epoch, me);
    fg_segment const *tail = segment_at(&queue->tail);
    for (uint64_t next; (next = fg_load_acquire(&tail->next)) > FG_SEGMENT_SEALED;)
        tail = (fg_segment const *)(uintptr_t)next;
    bool const closed = (fg_load_acquire(&tail->pushed) & FG_QUEUE_CLOSED_BIT) != 0;
    fg_epoch_unpin(me);
    return closed;
}

static uint64_t position_of(fg_unbounded const *queue, fg_segment const *segment, fg_atomic const *claims) {
    uint64_t const slots = fg_load_acquire(claims) & ~FG_QUEUE_CLOSED_BIT;
    return segment->number * queue->slots + (slots < queue->slots ? slots : queue->slots);
}

size_t fg_unbounded_count(fg_unbounded *queue, fg_participant *me) {
    fg_epoch_pin(&queue->epoch, me);
    fg_segment const *const head = segment_at(&queue->head);
    uint64_t const popped = position_of(queue, head, &head->popped);
    fg_segment const *const tail = segment_at(&queue->tail);
    uint64_t const pushed = position_of(queue, tail, &tail->pushed);
    fg_epoch_unpin(me);
    return pushed > popped ? (size_t)(pushed - popped) : 0; /* consumers may be ahead of what is filled */
}
