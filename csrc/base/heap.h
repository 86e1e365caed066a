/** A heap of 64-bit keys with four children to a node: the least key first, of equal keys the one that came first.
 *
 * Half as deep as a binary heap, and the four children lie side by side (D. Johnson, "Priority queues with update and
 * finding minimum spanning trees", IPL 4(3), 1975). Each item keeps its own place, so that it can be moved or taken out
 * in O(log n); the memory is the caller's. */
#ifndef FG_HEAP_H
#define FG_HEAP_H

#include "base/base.h"

enum { FG_HEAP_CHILDREN = 4 };

typedef struct fg_heap_node {
    uint64_t key;
    uint64_t order; /* ticket << 32 | item: a ticket is drawn on entering, so equal keys leave as they came */
} fg_heap_node;

typedef struct fg_heap {
    fg_heap_node *nodes; /* node i is not above its children, 4 i + 1 to 4 i + 4 */
    uint32_t count, capacity;
    uint32_t ticket; /* the next one */
} fg_heap;

/** Where the items keep their places: item i in first[i * stride], 0 if it is not in the heap, else its node + 1. */
typedef struct fg_places {
    uint32_t *first;
    size_t stride;
} fg_places;

FG_INLINE int fg_heap_precedes(fg_heap_node left, fg_heap_node right, int by_ticket) {
    return by_ticket || left.key == right.key ? left.order < right.order : left.key < right.key;
}

FG_INLINE int fg_heap_before(fg_heap_node left, fg_heap_node right) { return fg_heap_precedes(left, right, 0); }

FG_INLINE uint32_t fg_heap_item(fg_heap const *heap, uint32_t at) { return (uint32_t)heap->nodes[at].order; }

FG_INLINE void fg_heap_put(fg_heap *heap, fg_places places, uint32_t at, fg_heap_node node) {
    heap->nodes[at] = node;
    places.first[(uint32_t)node.order * places.stride] = at + 1;
}

/** Put a node into the hole at `at`, or above it. */
static inline void fg_heap_rise(fg_heap *heap, fg_places places, uint32_t at, fg_heap_node node) {
    while (at) {
        uint32_t const parent = (at - 1) / FG_HEAP_CHILDREN;
        if (!fg_heap_before(node, heap->nodes[parent])) break;
        fg_heap_put(heap, places, at, heap->nodes[parent]);
        at = parent;
    }
    fg_heap_put(heap, places, at, node);
}

/** Put a node into the hole at `at`, or below it, in the heap's order or in that of the tickets alone. */
FG_INLINE void fg_heap_sink_in(fg_heap *heap, fg_places places, uint32_t at, fg_heap_node node, int by_ticket) {
    for (;;) {
        uint64_t const first = (uint64_t)at * FG_HEAP_CHILDREN + 1;
        if (first >= heap->count) break;
        uint32_t const left = heap->count - (uint32_t)first;
        uint32_t const end = (uint32_t)first + (left < FG_HEAP_CHILDREN ? left : FG_HEAP_CHILDREN);
        uint32_t least = (uint32_t)first;
        for (uint32_t child = least + 1; child < end; child++)
            if (fg_heap_precedes(heap->nodes[child], heap->nodes[least], by_ticket)) least = child;
        if (!fg_heap_precedes(heap->nodes[least], node, by_ticket)) break;
        fg_heap_put(heap, places, at, heap->nodes[least]);
        at = least;
    }
    fg_heap_put(heap, places, at, node);
}

static inline void fg_heap_sink(fg_heap *heap, fg_places places, uint32_t at, fg_heap_node node) {
    fg_heap_sink_in(heap, places, at, node, 0);
}

/** Make it a heap after nodes were changed in place. Linear. */
static inline void fg_heap_rebuild(fg_heap *heap, fg_places places, int by_ticket) {
    for (uint32_t at = (heap->count + 2) / FG_HEAP_CHILDREN; at-- > 0;)
        fg_heap_sink_in(heap, places, at, heap->nodes[at], by_ticket);
}

/** Give out the tickets anew from 0 on in the order in which they were drawn, once in 2^32 times: heapsort by them. */
static inline void fg_heap_renumber(fg_heap *heap, fg_places places) {
    uint32_t const count = heap->count;
    fg_heap_rebuild(heap, places, 1);
    while (heap->count) { /* the earliest goes behind the rest: they end up latest first */
        fg_heap_node const first = heap->nodes[0], last = heap->nodes[--heap->count];
        fg_heap_sink_in(heap, places, 0, last, 1);
        heap->nodes[heap->count] = first;
    }
    heap->count = heap->ticket = count;
    for (uint32_t i = 0; i < count; i++)
        heap->nodes[i].order = (uint64_t)(count - 1 - i) << 32 | (uint32_t)heap->nodes[i].order;
    fg_heap_rebuild(heap, places, 0);
    for (uint32_t i = 0; i < count; i++) fg_heap_put(heap, places, i, heap->nodes[i]); /* rebuilding skips leaves */
}

FG_INLINE uint64_t fg_heap_draw(fg_heap *heap, fg_places places) {
    if (FG_UNLIKELY(heap->ticket == UINT32_MAX)) fg_heap_renumber(heap, places);
    return (uint64_t)heap->ticket++ << 32;
}

/** Add an item that is not there. There must be room. */
FG_INLINE void fg_heap_push(fg_heap *heap, fg_places places, uint32_t item, uint64_t key) {
    if (!heap->count) heap->ticket = 0;
    uint64_t const ticket = fg_heap_draw(heap, places);
    fg_heap_rise(heap, places, heap->count++, (fg_heap_node){key, ticket | item});
}

FG_INLINE void fg_heap_replace(fg_heap *heap, fg_places places, uint32_t at, fg_heap_node node) {
    if (at && fg_heap_before(node, heap->nodes[(at - 1) / FG_HEAP_CHILDREN]))
        fg_heap_rise(heap, places, at, node);
    else
        fg_heap_sink(heap, places, at, node);
}

/** Change the key of an item that is there. With `anew` it goes behind those that have the same key. */
FG_INLINE void fg_heap_rekey(fg_heap *heap, fg_places places, uint32_t item, uint64_t key, int anew) {
    uint64_t const ticket = anew ? fg_heap_draw(heap, places) : 0; /* may move everything */
    uint32_t const at = places.first[item * places.stride] - 1;
    fg_heap_replace(heap, places, at, (fg_heap_node){key, anew ? ticket | item : heap->nodes[at].order});
}

/** Take out an item that is there. */
FG_INLINE void fg_heap_remove(fg_heap *heap, fg_places places, uint32_t item) {
    uint32_t const at = places.first[item * places.stride] - 1;
    places.first[item * places.stride] = 0;
    fg_heap_node const last = heap->nodes[--heap->count];
    if (at != heap->count) fg_heap_replace(heap, places, at, last);
}

#endif
