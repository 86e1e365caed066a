/** The scheduler beside a naive one: arrays that are searched, 128-bit virtual time, every answer compared. */
#ifndef FG_SCHEDULER_CHECKS_H
#define FG_SCHEDULER_CHECKS_H

#include "scheduler.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition) ((condition) ? (void)0 : fail(#condition, __LINE__))

static void fail(char const *condition, int line) {
    printf("line %d: not %s\n", line, condition);
    abort();
}

static void *memory_of(size_t size) {
    void *const memory = calloc(size ? size : 1, 1);
    if (!memory) exit(3);
    return memory;
}

/** A scheduler with exactly the room that it asks for, so that sanitizers see one node more. */
static fg_scheduler *made(uint32_t streams, uint32_t tenants) {
    fg_scheduler *const scheduler = memory_of(sizeof *scheduler);
    fg_scheduler_init(scheduler);
    scheduler->entries = memory_of(streams * sizeof *scheduler->entries);
    scheduler->entries_capacity = streams;
    scheduler->tenants = memory_of(tenants * sizeof *scheduler->tenants);
    scheduler->tenants_used = scheduler->tenants_capacity = tenants;
    scheduler->root.heap = (fg_heap){memory_of(tenants * sizeof(fg_heap_node)), 0, tenants, 0};
    scheduler->deadlines = (fg_heap){memory_of(streams * sizeof(fg_heap_node)), 0, streams, 0};
    for (uint32_t i = 0; i < tenants; i++) {
        scheduler->tenants[i].streams.heap = (fg_heap){memory_of(streams * sizeof(fg_heap_node)), 0, streams, 0};
        fg_scheduler_begin_tenant(scheduler, i, FG_VIRTUAL_UNIT);
    }
    return scheduler;
}

static void unmade(fg_scheduler *scheduler) {
    for (uint32_t i = 0; i < scheduler->tenants_used; i++) free(scheduler->tenants[i].streams.heap.nodes);
    free(scheduler->entries), free(scheduler->tenants), free(scheduler->root.heap.nodes);
    free(scheduler->deadlines.nodes), free(scheduler);
}

/* The naive scheduler. */

typedef __int128 wide;
enum { STREAMS_MOST = 48, TENANTS = 3 };

typedef struct naive_flow {
    wide tag, lent;
    uint64_t rate, ticket;
    uint32_t expected;
    int waits;
} naive_flow;

typedef struct naive_queue {
    wide now, latest, span;
    uint32_t waiting, serving;
} naive_queue;

typedef struct naive_stream {
    naive_flow flow;
    wide tenant_lent;
    uint64_t deadline, deadline_ticket;
    uint32_t tenant, tokens;
    int state, queued;
} naive_stream;

typedef struct naive {
    naive_stream streams[STREAMS_MOST];
    naive_flow tenants[TENANTS];
    naive_queue queues[TENANTS], root;
    uint64_t ticket;
} naive;

static wide larger_of(wide left, wide right) { return left > right ? left : right; }

static wide naive_key(naive_flow const *flow) { return flow->tag + (wide)flow->expected * flow->rate; }

static void naive_enter(naive *all, naive_queue *queue, naive_flow *flow, int again) {
    if (!again && !queue->waiting && !queue->serving)
        queue->now = larger_of(queue->now, queue->latest), queue->span = 0;
    flow->tag = larger_of(flow->tag, again ? queue->now - 2 * queue->span : queue->now);
    flow->waits = 1, flow->ticket = all->ticket++, queue->waiting++;
}

static void naive_leave(naive_queue *queue, naive_flow *flow) { flow->waits = 0, queue->waiting--; }

static wide naive_begin(naive_queue *queue, naive_flow *flow, wide key, uint32_t cost) {
    queue->now = larger_of(queue->now, key), queue->serving++;
    wide const room = queue->now + FG_VIRTUAL_LEAD - flow->tag, taken = (wide)cost * flow->rate;
    wide const lent = larger_of(0, taken < room ? taken : room);
    queue->span = larger_of(queue->span, lent), flow->tag += lent;
    return lent;
}

static void naive_settle(naive_queue *queue, naive_flow *flow, wide lent, uint32_t cost) {
    wide const before = flow->tag - lent, taken = (wide)cost * flow->rate, most = queue->now + FG_VIRTUAL_LEAD;
    flow->tag = larger_of(before, before + taken < most ? before + taken : most);
    queue->latest = larger_of(queue->latest, flow->tag), queue->span = larger_of(queue->span, taken);
}

static void naive_wait(naive *all, uint32_t item, int again) {
    naive_stream *const stream = &all->streams[item];
    stream->state = FG_ENTRY_WAITING;
    naive_enter(all, &all->queues[stream->tenant], &stream->flow, again);
    if (!all->tenants[stream->tenant].waits) naive_enter(all, &all->root, &all->tenants[stream->tenant], again);
}

static void naive_rest(naive *all, uint32_t item) {
    naive_stream *const stream = &all->streams[item];
    if (stream->state != FG_ENTRY_WAITING) return;
    stream->state = FG_ENTRY_RESTING;
    naive_leave(&all->queues[stream->tenant], &stream->flow);
    if (!all->queues[stream->tenant].waiting) naive_leave(&all->root, &all->tenants[stream->tenant]);
}

static int naive_before(naive_flow const *left, naive_flow const *right) {
    wide const left_key = naive_key(left), right_key = naive_key(right);
    return left_key != right_key ? left_key < right_key : left->ticket < right->ticket;
}

static uint32_t naive_peek(naive const *all) {
    uint32_t tenant = FG_NOBODY, first = FG_NOBODY;
    for (uint32_t i = 0; i < TENANTS; i++)
        if (all->tenants[i].waits && (tenant == FG_NOBODY || naive_before(&all->tenants[i], &all->tenants[tenant])))
            tenant = i;
    for (uint32_t i = 0; i < STREAMS_MOST; i++) {
        naive_stream const *const stream = &all->streams[i];
        if (stream->state != FG_ENTRY_WAITING || stream->tenant != tenant) continue;
        if (first == FG_NOBODY || naive_before(&stream->flow, &all->streams[first].flow)) first = i;
    }
    return first;
}

static uint32_t naive_pick(naive *all) {
    uint32_t const item = naive_peek(all);
    if (item == FG_NOBODY) return item;
    naive_stream *const stream = &all->streams[item];
    naive_flow *const tenant = &all->tenants[stream->tenant];
    naive_queue *const queue = &all->queues[stream->tenant];
    uint32_t const cost = stream->flow.expected;
    stream->flow.lent = naive_begin(queue, &stream->flow, naive_key(&stream->flow), cost);
    stream->tenant_lent = naive_begin(&all->root, tenant, tenant->tag, cost);
    stream->state = FG_ENTRY_SERVING, stream->queued = 0;
    naive_leave(queue, &stream->flow);
    if (queue->waiting)
        tenant->ticket = all->ticket++;
    else
        naive_leave(&all->root, tenant);
    return item;
}

static void naive_end(naive *all, naive_stream *stream) {
    if (stream->state == FG_ENTRY_SERVING) all->queues[stream->tenant].serving--, all->root.serving--;
}

static void naive_charge(naive *all, uint32_t item, uint32_t cost, int again) {
    naive_stream *const stream = &all->streams[item];
    naive_settle(&all->queues[stream->tenant], &stream->flow, stream->flow.lent, cost);
    naive_settle(&all->root, &all->tenants[stream->tenant], stream->tenant_lent, cost);
    stream->flow.lent = stream->tenant_lent = 0;
    naive_end(all, stream);
    if (stream->state == FG_ENTRY_SERVING) stream->state = FG_ENTRY_RESTING;
    if (again && stream->state == FG_ENTRY_RESTING) naive_wait(all, item, 1);
}

static void naive_remove(naive *all, uint32_t item) {
    naive_stream *const stream = &all->streams[item];
    naive_rest(all, item), naive_end(all, stream);
    if (stream->state == FG_ENTRY_SERVING)
        all->root.latest = larger_of(all->root.latest, all->tenants[stream->tenant].tag);
    stream->state = FG_ENTRY_FREE, stream->queued = 0;
}

static uint32_t naive_expired(naive const *all, uint64_t now) {
    uint32_t first = FG_NOBODY;
    for (uint32_t i = 0; i < STREAMS_MOST; i++) {
        naive_stream const *const one = &all->streams[i], *const best = &all->streams[first == FG_NOBODY ? 0 : first];
        if (!one->queued || one->deadline == FG_NO_DEADLINE || one->deadline > now) continue;
        if (first == FG_NOBODY || one->deadline < best->deadline ||
            (one->deadline == best->deadline && one->deadline_ticket < best->deadline_ticket))
            first = i;
    }
    return first;
}

/* Both. */

static void check_heap(fg_heap const *heap, fg_places places) {
    CHECK(heap->count <= heap->capacity);
    for (uint32_t i = 0; i < heap->count; i++) {
        CHECK(places.first[fg_heap_item(heap, i) * places.stride] == i + 1);
        if (i) CHECK(fg_heap_before(heap->nodes[(i - 1) / FG_HEAP_CHILDREN], heap->nodes[i]));
        CHECK(heap->nodes[i].order >> 32 < heap->ticket);
    }
}

static void check_same(fg_scheduler const *scheduler, naive const *all) {
    size_t const stride = sizeof(fg_entry) / 4;
    check_heap(&scheduler->root.heap, (fg_places){&scheduler->tenants[0].flow.place, sizeof(fg_tenant) / 4});
    check_heap(&scheduler->deadlines, (fg_places){&scheduler->entries[0].deadline_place, stride});
    fg_counts total = {0, 0, 0};
    for (uint32_t tenant = 0; tenant < TENANTS; tenant++) {
        fg_tenant const *const one = &scheduler->tenants[tenant];
        check_heap(&one->streams.heap, (fg_places){&scheduler->entries[0].flow.place, stride});
        CHECK(!one->flow.place == !one->streams.heap.count && one->streams.now < FG_VIRTUAL_LIMIT);
        fg_counts own = {0, 0, 0};
        for (uint32_t i = 0; i < STREAMS_MOST; i++) {
            naive_stream const *const stream = &all->streams[i];
            if (stream->state == FG_ENTRY_FREE || stream->tenant != tenant) continue;
            own.streams++, own.queue += stream->queued, own.tokens += stream->queued ? stream->tokens : 0;
        }
        CHECK(memcmp(&own, &one->counts, sizeof own) == 0);
        total.streams += own.streams, total.queue += own.queue, total.tokens += own.tokens;
    }
    CHECK(memcmp(&total, &scheduler->counts, sizeof total) == 0 && scheduler->root.now < FG_VIRTUAL_LIMIT);
    for (uint32_t i = 0; i < STREAMS_MOST; i++)
        CHECK(all->streams[i].state == (i < scheduler->entries_used ? (int)scheduler->entries[i].state : 0));
    CHECK(fg_scheduler_peek(scheduler) == naive_peek(all));
}

/** Let the next tickets run out soon: those in use are far below. */
static void exhaust_tickets(fg_heap *heap) {
    if (heap->count && heap->ticket < UINT32_MAX / 2) heap->ticket = UINT32_MAX - 3;
}

/** Make calls of bytes, three a call; the first byte of all decides how large the services are.
 *
 * Services near 2^57 set the virtual time back again and again. They are charged at once, and nothing rests: what lies
 * more than 2^60 behind is cut off, and the naive one does not forget. */
static void check_calls(uint8_t const *bytes, size_t count) {
    fg_scheduler *const scheduler = made(STREAMS_MOST, TENANTS);
    naive *const all = memory_of(sizeof *all);
    int const is_large = count && bytes[0] & 1;
    uint32_t const unit = is_large ? 2048 : 1;
    uint64_t now = 0;
    for (uint32_t i = 0; i < TENANTS; i++)
        all->tenants[i].rate = scheduler->tenants[i].flow.rate =
            is_large ? FG_RATE_MOST >> i % 2 : FG_VIRTUAL_UNIT / (i + 1);
    for (size_t at = 1; at + 3 <= count; at += 3) {
        uint32_t const what = bytes[at] & 15, item = bytes[at + 1] % STREAMS_MOST;
        uint32_t const cost = (bytes[at + 2] | (is_large ? 128u : 0u)) * unit;
        int const again = bytes[at] >> 4 & 1, is_there = all->streams[item].state != FG_ENTRY_FREE;
        if (what <= 3 && scheduler->counts.streams < STREAMS_MOST) {
            uint32_t const tenant = bytes[at + 1] % TENANTS, tokens = bytes[at + 1];
            uint64_t const rate = is_large ? FG_RATE_MOST - bytes[at + 1] : FG_RATE_LEAST << (bytes[at] >> 4);
            uint64_t const deadline = again ? now + bytes[at + 2] % 8 : FG_NO_DEADLINE;
            uint32_t const added = fg_scheduler_add(scheduler, tenant, rate, cost + 1, tokens, deadline);
            CHECK(added < STREAMS_MOST && all->streams[added].state == FG_ENTRY_FREE);
            all->streams[added] = (naive_stream){.flow = {.rate = rate, .expected = cost + 1},
                                                 .deadline = deadline,
                                                 .deadline_ticket = all->ticket++,
                                                 .tenant = tenant,
                                                 .tokens = tokens,
                                                 .queued = 1};
            naive_wait(all, added, 0);
        } else if (what <= 10) {
            uint32_t const picks = what <= 7 ? 1 + bytes[at + 1] % 4u : 0;
            for (uint32_t i = 0; i < picks; i++) CHECK(fg_scheduler_pick(scheduler) == naive_pick(all));
            for (uint32_t i = 0; (is_large || !picks) && i < STREAMS_MOST; i++) {
                if (all->streams[i].state != FG_ENTRY_SERVING) continue;
                fg_scheduler_charge(scheduler, i, cost, again || is_large);
                naive_charge(all, i, cost, again || is_large);
            }
        } else if (what == 11 && is_there) {
            fg_scheduler_remove(scheduler, item), naive_remove(all, item);
        } else if (what == 12 && is_there && !is_large) {
            fg_scheduler_charge(scheduler, item, cost, again), naive_charge(all, item, cost, again);
        } else if (what == 13 && is_there && !is_large) {
            if (again)
                fg_scheduler_rest(scheduler, item), naive_rest(all, item);
            else if (fg_scheduler_wake(scheduler, item), all->streams[item].state == FG_ENTRY_RESTING)
                naive_wait(all, item, 0);
        } else if (what == 14) {
            now += bytes[at + 1] % 4;
            for (uint32_t gone = 0; gone != FG_NOBODY;) {
                gone = fg_scheduler_expired(scheduler, now);
                CHECK(gone == naive_expired(all, now));
                if (gone != FG_NOBODY) fg_scheduler_remove(scheduler, gone), naive_remove(all, gone);
            }
        } else if (what == 15 && is_there && again) {
            fg_scheduler_expect(scheduler, item, cost + 1), all->streams[item].flow.expected = cost + 1;
        } else if (what == 15) {
            for (uint32_t i = 0; i < TENANTS; i++) exhaust_tickets(&scheduler->tenants[i].streams.heap);
            exhaust_tickets(&scheduler->root.heap), exhaust_tickets(&scheduler->deadlines);
        }
        check_same(scheduler, all);
    }
    unmade(scheduler), free(all);
}

#endif
