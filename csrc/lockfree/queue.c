#include "lockfree/queue.h"

size_t fg_bounded_bytes(size_t capacity) {
    if (capacity > SIZE_MAX / sizeof(fg_bounded_slot)) return 0;
    return capacity * sizeof(fg_bounded_slot);
}

void fg_bounded_init(fg_bounded *queue, size_t capacity, void *memory) {
    fg_store_relaxed(&queue->pushed, 0);
    fg_store_relaxed(&queue->popped, 0);
    queue->slots = (fg_bounded_slot *)memory;
    queue->mask = capacity - 1;
    for (size_t i = 0; i < capacity; i++) fg_store_relaxed(&queue->slots[i].stamp, 2 * (uint64_t)i);
}

/** How many slots from `position` on have the stamp of their turn; a claim of them can't find them changed. */
static size_t ready(fg_bounded const *queue, uint64_t position, uint64_t turn, size_t count) {
    size_t const capacity = (size_t)queue->mask + 1;
    if (count > capacity) count = capacity;
    size_t found = 0;
    while (found < count) {
        uint64_t const next = position + found;
        if (fg_load_acquire(&queue->slots[next & queue->mask].stamp) != 2 * next + turn) break;
        found++;
    }
    return found;
}

fg_queue_status fg_bounded_push(fg_bounded *queue, uint64_t const *items, size_t count, size_t *done) {
    *done = 0;
    uint64_t pushed = fg_load_acquire(&queue->pushed);
    while (*done < count) {
        if (FG_UNLIKELY(pushed & FG_QUEUE_CLOSED_BIT)) return FG_QUEUE_CLOSED;
        size_t const found = ready(queue, pushed, 0, count - *done);
        if (!found) {
            /* Nobody pops beyond what is pushed, so if it is a capacity behind what was pushed, nobody pushed since. */
            uint64_t const popped = fg_load_acquire(&queue->popped), before = pushed;
            if (pushed - popped == queue->mask + 1) return FG_QUEUE_FULL;
            pushed = fg_load_acquire(&queue->pushed);
            if (pushed == before) return FG_QUEUE_BUSY;
            continue;
        }
        uint64_t const first = pushed;
        if (!fg_cas_acq_rel(&queue->pushed, &pushed, first + found)) continue;
        for (size_t i = 0; i < found; i++) {
            fg_bounded_slot *const slot = &queue->slots[(first + i) & queue->mask];
            slot->item = items[*done + i];
            fg_store_release(&slot->stamp, 2 * (first + i) + 1);
        }
        *done += found;
        pushed = first + found;
    }
    return FG_QUEUE_OK;
}

fg_queue_status fg_bounded_pop(fg_bounded *queue, uint64_t *items, size_t count, size_t *done) {
    *done = 0;
    if (!count) return FG_QUEUE_OK;
    uint64_t popped = fg_load_acquire(&queue->popped);
    for (;;) {
        size_t const found = ready(queue, popped, 1, count);
        if (!found) {
            uint64_t const pushed = fg_load_acquire(&queue->pushed), before = popped;
            if ((pushed & ~FG_QUEUE_CLOSED_BIT) == popped)
                return pushed & FG_QUEUE_CLOSED_BIT ? FG_QUEUE_CLOSED : FG_QUEUE_EMPTY;
            popped = fg_load_acquire(&queue->popped);
            if (popped == before) return FG_QUEUE_BUSY;
            continue;
        }
        uint64_t const first = popped;
        if (!fg_cas_acq_rel(&queue->popped, &popped, first + found)) continue;
        for (size_t i = 0; i < found; i++) {
            fg_bounded_slot *const slot = &queue->slots[(first + i) & queue->mask];
            items[i] = slot->item;
            fg_store_release(&slot->stamp, 2 * (first + i + queue->mask + 1));
        }
        *done = found;
        return FG_QUEUE_OK;
    }
}

bool fg_bounded_close(fg_bounded *queue) {
    uint64_t pushed = fg_load_relaxed(&queue->pushed);
    while (!(pushed & FG_QUEUE_CLOSED_BIT))
        if (fg_cas_acq_rel(&queue->pushed, &pushed, pushed | FG_QUEUE_CLOSED_BIT)) return true;
    return false;
}

bool fg_bounded_is_closed(fg_bounded const *queue) {
    return (fg_load_acquire(&queue->pushed) & FG_QUEUE_CLOSED_BIT) != 0;
}

size_t fg_bounded_count(fg_bounded const *queue) {
    uint64_t const popped = fg_load_acquire(&queue->popped); /* first: the other can only have grown since */
    uint64_t const count = (fg_load_acquire(&queue->pushed) & ~FG_QUEUE_CLOSED_BIT) - popped;
    return (size_t)(count <= queue->mask ? count : queue->mask + 1);
}
