/** Whether a history of calls could have happened one at a time: J. Wing, C. Gong, "Testing and verifying concurrent
 * objects", JPDC 17, 1993. Depth first, without a table of states: histories are short. */
#ifndef LOCKFREE_HISTORY_H
#define LOCKFREE_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

enum { CALLS_MAX = 16 };

typedef enum kind { CALL_PUSH, CALL_POP, CALL_CLOSE } kind;
typedef enum result { RESULT_OK, RESULT_FULL, RESULT_EMPTY, RESULT_CLOSED, RESULT_BUSY } result;

/** A call and what it said; of two calls one was first if it returned before the other began. */
typedef struct call {
    kind kind;
    result result;
    uint64_t item;            /* pushed or popped */
    uint64_t began, returned; /* on one clock */
} call;

typedef struct model {
    uint64_t items[CALLS_MAX];
    int head, tail, capacity;
    bool closed;
} model;

/** Do a call on the queue as it is defined, and return whether it says what was said. */
static bool agrees(model *queue, call const *call) {
    int const count = queue->tail - queue->head;
    if (call->result == RESULT_BUSY) return true; /* it did nothing */
    switch (call->kind) {
    case CALL_PUSH:
        if (queue->closed) return call->result == RESULT_CLOSED;
        if (count == queue->capacity) return call->result == RESULT_FULL;
        queue->items[queue->tail++] = call->item;
        return call->result == RESULT_OK;
    case CALL_POP:
        if (!count) return call->result == (queue->closed ? RESULT_CLOSED : RESULT_EMPTY);
        return call->result == RESULT_OK && queue->items[queue->head++] == call->item;
    default: {
        bool const did = !queue->closed;
        queue->closed = true;
        return (call->result == RESULT_OK) == did;
    }
    }
}

static bool can_follow(model queue, call const *calls, int count, uint32_t left) {
    if (!left) return true;
    uint64_t first_return = UINT64_MAX;
    for (int i = 0; i < count; i++)
        if (left >> i & 1 && calls[i].returned < first_return) first_return = calls[i].returned;
    for (int i = 0; i < count; i++) {
        if (!(left >> i & 1) || calls[i].began > first_return) continue;
        model after = queue;
        if (agrees(&after, &calls[i]) && can_follow(after, calls, count, left & ~(1u << i))) return true;
    }
    return false;
}

static bool is_linearizable(call const *calls, int count, int capacity) {
    model const empty = {.capacity = capacity};
    return can_follow(empty, calls, count, (1u << count) - 1);
}

#endif
