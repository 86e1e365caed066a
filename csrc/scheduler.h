/** Who is served next: weighted fair queuing over tenants, and over the streams of a tenant. O(log n) an operation.
 *
 * Two levels of one fair queue. A flow's tag is the virtual time at which its next service starts: what it was served,
 * divided by its weight. The flow with the least key is next, and the key becomes the queue's virtual time.
 *
 * The key of a tenant is its tag: start-time fair queuing (P. Goyal, H. Vin, H. Cheng, "Start-time fair queuing",
 * SIGCOMM 1996), which needs no cost in advance and serves at once whoever asks for little. To the key of a stream its
 * expected cost over its weight is added: self-clocked fair queuing (S. J. Golestani, "A self-clocked fair queueing
 * scheme for broadband applications", INFOCOM 1994), in which weights order even streams that are served once, and
 * whose clock moves with every service, so that nobody is passed for ever by newcomers.
 *
 * Both hold for a server of any changing speed: while two flows want service all the time, what they got over their
 * weights differs by at most the sum of one service over the weight of each, expected or real, whichever is larger.
 * With n services at a time it is n + 1 of each tenant (W. Jin, J. Chase, J. Kaur, "Interposed proportional sharing for
 * a storage service utility", SIGMETRICS 2004).
 *
 * Virtual time has 64 bits: 2^24 for a unit of cost at weight 1. It is set back before it can overflow. Nothing is
 * allocated here, nothing locks, no clock is read: one thread at a time, and equal calls have equal answers. */
#ifndef FG_SCHEDULER_H
#define FG_SCHEDULER_H

#include "base/base.h"
#include "base/heap.h"

#define FG_NOBODY UINT32_MAX
#define FG_UNLIMITED UINT64_MAX
#define FG_VIRTUAL_UNIT (UINT64_C(1) << 24) /* the rate of weight 1 */
#define FG_RATE_LEAST (UINT64_C(1) << 10)   /* weight 2^14 */
#define FG_RATE_MOST (UINT64_C(1) << 38)    /* weight 2^-14 */
#define FG_COST_MOST ((UINT32_C(1) << 24) - 1)
#define FG_NO_DEADLINE UINT64_MAX

/** Beyond this the virtual time is set back to FG_VIRTUAL_REST; less than that is kept of what lies behind it. */
#define FG_VIRTUAL_LIMIT (UINT64_C(1) << 62)
#define FG_VIRTUAL_REST (UINT64_C(1) << 60)
/** No tag is further ahead of the virtual time; the largest cost at the least weight is a little less. */
#define FG_VIRTUAL_LEAD (UINT64_C(1) << 62)

typedef struct fg_flow {
    uint64_t tag;      /* the virtual time at which the next service starts */
    uint64_t rate;     /* virtual time for a unit of cost: FG_VIRTUAL_UNIT / weight */
    uint32_t place;    /* in the heap of its queue */
    uint32_t expected; /* the cost of the next service; 0 for tenants, whose keys are their tags */
} fg_flow;

typedef struct fg_fair_queue {
    fg_heap heap;     /* of the flows that wait for service */
    uint64_t now;     /* the virtual time: the largest key served */
    uint64_t latest;  /* the largest tag of a flow that was charged: where the next busy period starts */
    uint64_t span;    /* the most virtual time of one service of this busy period, expected or charged */
    uint32_t serving; /* services that were begun and not charged yet */
} fg_fair_queue;

typedef enum fg_entry_state { FG_ENTRY_FREE, FG_ENTRY_RESTING, FG_ENTRY_WAITING, FG_ENTRY_SERVING } fg_entry_state;

/** A stream, from its queuing to its removal. */
typedef struct fg_entry {
    fg_flow flow;
    uint64_t lent, tenant_lent; /* virtual time that was charged in advance, while it is being served */
    uint32_t tenant;            /* of a free entry: the next free one */
    uint32_t generation;        /* how often the entry was freed, modulo 2^31 */
    uint32_t tokens;            /* of its prompt, while it is queued */
    uint32_t deadline_place;
    uint8_t state, queued; /* queued: never served so far */
} fg_entry;

/** What waits or runs. Queued is what was added and never served. */
typedef struct fg_counts {
    uint64_t queue, streams, tokens;
} fg_counts;

typedef struct fg_tenant {
    fg_flow flow;
    fg_fair_queue streams;
    fg_counts counts, most;
    uint64_t served; /* cost, all that was charged */
} fg_tenant;

typedef struct fg_scheduler {
    fg_entry *entries;
    fg_tenant *tenants;
    fg_fair_queue root; /* of the tenants of which a stream waits */
    fg_heap deadlines;  /* of queued entries, by the bits of the deadline */
    fg_counts counts, most;
    uint64_t served, started; /* cost that was charged, and streams that were served at all */
    uint32_t entries_used, entries_capacity, free_entry; /* entries below entries_used have been in use */
    uint32_t tenants_used, tenants_capacity;
} fg_scheduler;

/** Empty, without limits and without memory. */
void fg_scheduler_init(fg_scheduler *scheduler);

/** Begin a tenant at a place below `tenants_used`; its heap keeps its memory. */
void fg_scheduler_begin_tenant(fg_scheduler *scheduler, uint32_t tenant, uint64_t rate);

/** Whether nothing would be forgotten with the tenant: it has no streams and no more service than others. */
int fg_scheduler_is_settled(fg_scheduler const *scheduler, uint32_t tenant);

typedef enum fg_refusal {
    FG_ADMITTED,
    FG_QUEUE_FULL,
    FG_STREAMS_FULL,
    FG_TOKENS_FULL,
    FG_TENANT_QUEUE_FULL,
    FG_TENANT_STREAMS_FULL,
    FG_TENANT_TOKENS_FULL
} fg_refusal;

/** The first limit that one more stream would break. A tenant of FG_NOBODY has no streams and no limits yet. */
fg_refusal fg_scheduler_refusal(fg_scheduler const *scheduler, uint32_t tenant, uint32_t tokens);

/** Queue a stream and return its entry. There must be room: for an entry, in the heap of the tenant for all of its
 * streams, in the root's for all tenants, in that of the deadlines for all entries. The deadline is the bits of a
 * double that is not negative, or FG_NO_DEADLINE. */
uint32_t fg_scheduler_add(fg_scheduler *scheduler, uint32_t tenant, uint64_t rate, uint32_t expected, uint32_t tokens,
                          uint64_t deadline);

/** Let a resting stream wait for service, from the present virtual time on: rest earns no credit. */
void fg_scheduler_wake(fg_scheduler *scheduler, uint32_t entry);

/** Let a waiting stream rest. */
void fg_scheduler_rest(fg_scheduler *scheduler, uint32_t entry);

/** The stream that is next, or FG_NOBODY. */
uint32_t fg_scheduler_peek(fg_scheduler const *scheduler);

/** Begin the service of the stream that is next, and charge the cost that it expects. FG_NOBODY if none waits. */
uint32_t fg_scheduler_pick(fg_scheduler *scheduler);

/** Charge a stream, in any state, for real cost: if it is being served, instead of what it expected, and it rests then.
 *
 * With `again` a stream that rests then waits at once, and what others got meanwhile is not lost to it: it may lag by
 * twice the largest service. */
void fg_scheduler_charge(fg_scheduler *scheduler, uint32_t entry, uint32_t cost, int again);

/** Set what the next service of a stream is expected to cost. */
void fg_scheduler_expect(fg_scheduler *scheduler, uint32_t entry, uint32_t expected);

/** Forget a stream, in any state. A service that was begun keeps the charge that was expected. */
void fg_scheduler_remove(fg_scheduler *scheduler, uint32_t entry);

/** A queued stream whose deadline is at most `now`, the earliest first, or FG_NOBODY. */
uint32_t fg_scheduler_expired(fg_scheduler const *scheduler, uint64_t now);

#endif
