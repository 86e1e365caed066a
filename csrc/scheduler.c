#include "scheduler.h"

/* Nothing overflows: between calls a virtual time is below 2^62, so that a tag is below 2^63, a key below 2^63 + 2^62,
 * and the virtual time that a key becomes has room for a lead. */

FG_INLINE uint64_t larger(uint64_t left, uint64_t right) { return left > right ? left : right; }
FG_INLINE uint64_t smaller(uint64_t left, uint64_t right) { return left < right ? left : right; }
FG_INLINE uint64_t less(uint64_t from, uint64_t amount) { return from > amount ? from - amount : 0; }

FG_INLINE fg_places places_of_streams(fg_scheduler const *scheduler) {
    return (fg_places){&scheduler->entries[0].flow.place, sizeof(fg_entry) / sizeof(uint32_t)};
}

FG_INLINE fg_places places_of_tenants(fg_scheduler const *scheduler) {
    return (fg_places){&scheduler->tenants[0].flow.place, sizeof(fg_tenant) / sizeof(uint32_t)};
}

FG_INLINE fg_places places_of_deadlines(fg_scheduler const *scheduler) {
    return (fg_places){&scheduler->entries[0].deadline_place, sizeof(fg_entry) / sizeof(uint32_t)};
}

/* One fair queue. */

FG_INLINE uint64_t key_of(fg_flow const *flow) { return flow->tag + flow->expected * flow->rate; }

/** Let a flow wait. `again`: it has wanted service all the time, while it was served. */
static void enter(fg_fair_queue *queue, fg_places places, uint32_t item, fg_flow *flow, int again) {
    if (again) {
        flow->tag = larger(flow->tag, less(queue->now, 2 * queue->span));
    } else {
        if (!queue->heap.count && !queue->serving) queue->now = larger(queue->now, queue->latest), queue->span = 0;
        flow->tag = larger(flow->tag, queue->now);
    }
    fg_heap_push(&queue->heap, places, item, key_of(flow));
}

/** Begin a service: charge in advance and return how much, so that the charge can be taken back exactly. */
static uint64_t begin(fg_fair_queue *queue, fg_flow *flow, uint64_t key, uint32_t cost) {
    queue->now = larger(queue->now, key);
    queue->serving++;
    uint64_t const tag = smaller(flow->tag + cost * flow->rate, queue->now + FG_VIRTUAL_LEAD);
    uint64_t const lent = less(tag, flow->tag);
    queue->span = larger(queue->span, lent);
    flow->tag += lent;
    return lent;
}

/** Charge a flow for `cost` instead of what was lent. */
static void settle(fg_fair_queue *queue, fg_flow *flow, uint64_t lent, uint32_t cost) {
    uint64_t const before = less(flow->tag, lent), taken = cost * flow->rate;
    flow->tag = larger(before, smaller(before + taken, queue->now + FG_VIRTUAL_LEAD));
    queue->latest = larger(queue->latest, flow->tag);
    queue->span = larger(queue->span, taken);
}

/** Time has just risen to the least key of those that wait: none lies behind it, and all keep their order. */
FG_INLINE uint64_t drop_base(fg_fair_queue *queue) {
    uint64_t const base = queue->now - FG_VIRTUAL_REST;
    queue->now = FG_VIRTUAL_REST, queue->latest = less(queue->latest, base);
    for (uint32_t i = 0; i < queue->heap.count; i++) queue->heap.nodes[i].key -= base;
    return base;
}

/** Set a queue's time back. Linear, but no sooner than 2^61 of virtual time after the last: 2^37 units at weight 1. */
static void renew_streams(fg_scheduler *scheduler, uint32_t tenant) {
    fg_fair_queue *const queue = &scheduler->tenants[tenant].streams;
    uint64_t const base = drop_base(queue);
    for (uint32_t i = 0; i < scheduler->entries_used; i++) {
        fg_entry *const entry = &scheduler->entries[i];
        if (entry->state != FG_ENTRY_FREE && entry->tenant == tenant) entry->flow.tag = less(entry->flow.tag, base);
    }
}

static void renew_tenants(fg_scheduler *scheduler) {
    uint64_t const base = drop_base(&scheduler->root);
    for (uint32_t i = 0; i < scheduler->tenants_used; i++)
        scheduler->tenants[i].flow.tag = less(scheduler->tenants[i].flow.tag, base);
}

FG_INLINE void keep_small(fg_scheduler *scheduler, uint32_t tenant) {
    if (FG_UNLIKELY(scheduler->tenants[tenant].streams.now >= FG_VIRTUAL_LIMIT)) renew_streams(scheduler, tenant);
    if (FG_UNLIKELY(scheduler->root.now >= FG_VIRTUAL_LIMIT)) renew_tenants(scheduler);
}

/* Both levels. */

void fg_scheduler_init(fg_scheduler *scheduler) {
    *scheduler = (fg_scheduler){.free_entry = FG_NOBODY, .most = {FG_UNLIMITED, FG_UNLIMITED, FG_UNLIMITED}};
}

void fg_scheduler_begin_tenant(fg_scheduler *scheduler, uint32_t tenant, uint64_t rate) {
    fg_tenant *const begun = &scheduler->tenants[tenant];
    fg_heap const heap = {.nodes = begun->streams.heap.nodes, .capacity = begun->streams.heap.capacity};
    *begun = (fg_tenant){.flow.rate = rate, .streams.heap = heap, .most = {FG_UNLIMITED, FG_UNLIMITED, FG_UNLIMITED}};
}

int fg_scheduler_is_settled(fg_scheduler const *scheduler, uint32_t tenant) {
    fg_tenant const *const asked = &scheduler->tenants[tenant];
    int const is_idle = !scheduler->root.heap.count && !scheduler->root.serving;
    return !asked->counts.streams && (is_idle || asked->flow.tag <= scheduler->root.now);
}

static fg_refusal refusal(fg_counts const *counts, fg_counts const *most, uint32_t tokens) {
    if (counts->queue >= most->queue) return FG_QUEUE_FULL;
    if (counts->streams >= most->streams) return FG_STREAMS_FULL;
    if (most->tokens != FG_UNLIMITED && counts->tokens + tokens > most->tokens) return FG_TOKENS_FULL;
    return FG_ADMITTED;
}

fg_refusal fg_scheduler_refusal(fg_scheduler const *scheduler, uint32_t tenant, uint32_t tokens) {
    fg_refusal const overall = refusal(&scheduler->counts, &scheduler->most, tokens);
    if (overall || tenant == FG_NOBODY) return overall;
    fg_tenant const *const asked = &scheduler->tenants[tenant];
    fg_refusal const own = refusal(&asked->counts, &asked->most, tokens);
    return own ? (fg_refusal)(own + FG_TENANT_QUEUE_FULL - FG_QUEUE_FULL) : FG_ADMITTED;
}

static void wait_for_service(fg_scheduler *scheduler, uint32_t item, int again) {
    fg_entry *const entry = &scheduler->entries[item];
    fg_tenant *const tenant = &scheduler->tenants[entry->tenant];
    entry->state = FG_ENTRY_WAITING;
    enter(&tenant->streams, places_of_streams(scheduler), item, &entry->flow, again);
    if (!tenant->flow.place) enter(&scheduler->root, places_of_tenants(scheduler), entry->tenant, &tenant->flow, again);
    keep_small(scheduler, entry->tenant);
}

uint32_t fg_scheduler_add(fg_scheduler *scheduler, uint32_t tenant, uint64_t rate, uint32_t expected, uint32_t tokens,
                          uint64_t deadline) {
    uint32_t item = scheduler->free_entry;
    if (item != FG_NOBODY) {
        scheduler->free_entry = scheduler->entries[item].tenant;
    } else {
        item = scheduler->entries_used++;
        scheduler->entries[item].generation = 0;
    }
    fg_entry *const entry = &scheduler->entries[item];
    *entry = (fg_entry){.flow = {.rate = rate, .expected = expected},
                        .tenant = tenant,
                        .generation = entry->generation,
                        .tokens = tokens,
                        .queued = 1};
    fg_counts *const both[2] = {&scheduler->counts, &scheduler->tenants[tenant].counts};
    for (int i = 0; i < 2; i++) both[i]->queue++, both[i]->streams++, both[i]->tokens += tokens;
    if (deadline != FG_NO_DEADLINE) fg_heap_push(&scheduler->deadlines, places_of_deadlines(scheduler), item, deadline);
    wait_for_service(scheduler, item, 0);
    return item;
}

static void leave_queue(fg_scheduler *scheduler, uint32_t item) {
    fg_entry *const entry = &scheduler->entries[item];
    if (!entry->queued) return;
    fg_counts *const both[2] = {&scheduler->counts, &scheduler->tenants[entry->tenant].counts};
    for (int i = 0; i < 2; i++) both[i]->queue--, both[i]->tokens -= entry->tokens;
    entry->queued = 0;
    if (entry->deadline_place) fg_heap_remove(&scheduler->deadlines, places_of_deadlines(scheduler), item);
}

void fg_scheduler_wake(fg_scheduler *scheduler, uint32_t entry) {
    if (scheduler->entries[entry].state == FG_ENTRY_RESTING) wait_for_service(scheduler, entry, 0);
}

void fg_scheduler_rest(fg_scheduler *scheduler, uint32_t item) {
    fg_entry *const entry = &scheduler->entries[item];
    if (entry->state != FG_ENTRY_WAITING) return;
    fg_tenant *const tenant = &scheduler->tenants[entry->tenant];
    entry->state = FG_ENTRY_RESTING;
    fg_heap_remove(&tenant->streams.heap, places_of_streams(scheduler), item);
    if (!tenant->streams.heap.count) fg_heap_remove(&scheduler->root.heap, places_of_tenants(scheduler), entry->tenant);
}

uint32_t fg_scheduler_peek(fg_scheduler const *scheduler) {
    if (!scheduler->root.heap.count) return FG_NOBODY;
    return fg_heap_item(&scheduler->tenants[fg_heap_item(&scheduler->root.heap, 0)].streams.heap, 0);
}

uint32_t fg_scheduler_pick(fg_scheduler *scheduler) {
    fg_fair_queue *const root = &scheduler->root;
    if (!root->heap.count) return FG_NOBODY;
    uint32_t const owner = fg_heap_item(&root->heap, 0);
    fg_tenant *const tenant = &scheduler->tenants[owner];
    fg_fair_queue *const streams = &tenant->streams;
    uint32_t const item = fg_heap_item(&streams->heap, 0);
    fg_entry *const entry = &scheduler->entries[item];

    entry->lent = begin(streams, &entry->flow, streams->heap.nodes[0].key, entry->flow.expected);
    entry->tenant_lent = begin(root, &tenant->flow, root->heap.nodes[0].key, entry->flow.expected);
    entry->state = FG_ENTRY_SERVING;
    scheduler->started += entry->queued;
    leave_queue(scheduler, item);
    fg_heap_remove(&streams->heap, places_of_streams(scheduler), item);
    if (streams->heap.count)
        fg_heap_rekey(&root->heap, places_of_tenants(scheduler), owner, tenant->flow.tag, 1);
    else
        fg_heap_remove(&root->heap, places_of_tenants(scheduler), owner);
    keep_small(scheduler, owner);
    return item;
}

void fg_scheduler_charge(fg_scheduler *scheduler, uint32_t item, uint32_t cost, int again) {
    fg_entry *const entry = &scheduler->entries[item];
    fg_tenant *const tenant = &scheduler->tenants[entry->tenant];
    settle(&tenant->streams, &entry->flow, entry->lent, cost);
    settle(&scheduler->root, &tenant->flow, entry->tenant_lent, cost);
    entry->lent = entry->tenant_lent = 0;
    tenant->served += cost, scheduler->served += cost;

    if (entry->state == FG_ENTRY_SERVING) {
        entry->state = FG_ENTRY_RESTING;
        tenant->streams.serving--, scheduler->root.serving--;
    } else if (entry->state == FG_ENTRY_WAITING) {
        fg_heap_rekey(&tenant->streams.heap, places_of_streams(scheduler), item, key_of(&entry->flow), 0);
    }
    if (tenant->flow.place)
        fg_heap_rekey(&scheduler->root.heap, places_of_tenants(scheduler), entry->tenant, tenant->flow.tag, 0);
    if (again && entry->state == FG_ENTRY_RESTING) wait_for_service(scheduler, item, 1);
}

void fg_scheduler_expect(fg_scheduler *scheduler, uint32_t item, uint32_t expected) {
    fg_entry *const entry = &scheduler->entries[item];
    entry->flow.expected = expected;
    if (entry->state == FG_ENTRY_WAITING)
        fg_heap_rekey(&scheduler->tenants[entry->tenant].streams.heap, places_of_streams(scheduler), item,
                      key_of(&entry->flow), 0);
}

void fg_scheduler_remove(fg_scheduler *scheduler, uint32_t item) {
    fg_entry *const entry = &scheduler->entries[item];
    fg_tenant *const tenant = &scheduler->tenants[entry->tenant];
    fg_scheduler_rest(scheduler, item);
    leave_queue(scheduler, item);
    if (entry->state == FG_ENTRY_SERVING) {
        tenant->streams.serving--, scheduler->root.serving--;
        scheduler->root.latest = larger(scheduler->root.latest, tenant->flow.tag);
    }
    tenant->counts.streams--, scheduler->counts.streams--;
    entry->state = FG_ENTRY_FREE;
    entry->generation = (entry->generation + 1) & INT32_MAX;
    entry->tenant = scheduler->free_entry;
    scheduler->free_entry = item;
}

uint32_t fg_scheduler_expired(fg_scheduler const *scheduler, uint64_t now) {
    fg_heap const *const deadlines = &scheduler->deadlines;
    return deadlines->count && deadlines->nodes[0].key <= now ? fg_heap_item(deadlines, 0) : FG_NOBODY;
}
