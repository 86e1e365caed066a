/** Reclamation by epochs: what was taken out of a structure is released when nobody can hold it any more.
 *
 * K. Fraser, "Practical lock-freedom", 2004, section 5.2.3; the interface is like crossbeam-epoch's. A thread pins the
 * epoch while it reads shared pointers. The epoch advances from e to e + 1 only if all who are pinned are pinned at e,
 * so while someone is pinned at l it is at most l + 1, and what was retired under a pin at l is released at l + 3.
 *
 * There are no fences. Pinning exchanges the participant's word and advancing adds 0 to it, so of a pin and a look at
 * it one comes first: either the look sees the pin, or the pin acquires all that came before the look, among that the
 * epoch, and pins anew. The same holds for joining the list. A look that falls into an earlier pin at l of the same
 * participant need not be acquired: it was allowed because it saw l, which the participant itself has read.
 *
 * A participant has one owner at a time and is never removed from the list, only left and taken again, garbage and all.
 * Pins are for C code of microseconds: whoever runs Python or waits in one stops reclamation for everybody. */
#ifndef FG_LOCKFREE_EPOCH_H
#define FG_LOCKFREE_EPOCH_H

#include "base/atomic.h"

enum { FG_EPOCH_BINS = 3, FG_EPOCH_AGES = 16 };

/** Head of what can be retired: the structure's own memory holds the list. */
typedef struct fg_retired {
    struct fg_retired *next;
} fg_retired;

typedef void fg_reclaim_fn(void *context, fg_retired *retired);

typedef struct fg_participant {
    fg_atomic pin;                   /* 0, or epoch << 1 | 1 */
    fg_atomic taken;                 /* 1 while it has an owner */
    fg_atomic blocked;               /* attempts to advance that failed because of the present pin: its age */
    fg_atomic waiting;               /* retired and not yet released */
    fg_retired *bins[FG_EPOCH_BINS]; /* what was retired at epochs[i], which is i modulo 3 */
    uint64_t epochs[FG_EPOCH_BINS];
    uint64_t retired;            /* since the last attempt to advance */
    struct fg_participant *next; /* set before the participant is in the list */
    char apart[FG_DESTRUCTIVE_INTERFERENCE];
} fg_participant;

typedef struct fg_epoch {
    fg_atomic now;
    fg_atomic participants; /* address of the latest; the list only grows */
    fg_reclaim_fn *reclaim;
    void *context;
    uint64_t period; /* objects that a participant retires between attempts to advance */
} fg_epoch;

FG_INLINE void fg_epoch_init(fg_epoch *epoch, uint64_t period, fg_reclaim_fn *reclaim, void *context) {
    fg_store_relaxed(&epoch->now, FG_EPOCH_BINS); /* so that bins of epoch 0 are old ones */
    fg_store_relaxed(&epoch->participants, 0);
    epoch->reclaim = reclaim, epoch->context = context, epoch->period = period;
}

FG_INLINE fg_participant *fg_epoch_participants(fg_epoch const *epoch) {
    return (fg_participant *)(uintptr_t)fg_load_acquire(&epoch->participants);
}

/** Own a participant that nobody owns, or NULL: then fg_epoch_join with memory of the caller. */
FG_INLINE fg_participant *fg_epoch_take(fg_epoch *epoch) {
    for (fg_participant *one = fg_epoch_participants(epoch); one; one = one->next) {
        uint64_t taken = 0;
        if (!fg_load_relaxed(&one->taken) && fg_cas_acq_rel(&one->taken, &taken, 1)) return one;
    }
    return NULL;
}

/** Add a participant and own it. Its memory must last as long as the epoch. */
FG_INLINE void fg_epoch_join(fg_epoch *epoch, fg_participant *fresh) {
    memset(fresh->bins, 0, sizeof fresh->bins);
    memset(fresh->epochs, 0, sizeof fresh->epochs);
    fresh->retired = 0;
    fg_store_relaxed(&fresh->pin, 0);
    fg_store_relaxed(&fresh->taken, 1);
    fg_store_relaxed(&fresh->blocked, 0);
    fg_store_relaxed(&fresh->waiting, 0);
    uint64_t latest = fg_load_relaxed(&epoch->participants);
    do {
        fresh->next = (fg_participant *)(uintptr_t)latest;
    } while (!fg_cas_acq_rel(&epoch->participants, &latest, (uint64_t)(uintptr_t)fresh));
}

/** Give a participant up, unpinned. Its garbage stays with it: the next owner, or anyone who collects, releases it. */
FG_INLINE void fg_epoch_leave(fg_participant *me) { fg_store_release(&me->taken, 0); }

/** From here to fg_epoch_unpin nothing that can be reached now is released. Pins don't nest. */
FG_INLINE void fg_epoch_pin(fg_epoch *epoch, fg_participant *me) {
    uint64_t now = fg_load_acquire(&epoch->now), pinned;
    do {
        pinned = now;
        fg_exchange_acq_rel(&me->pin, pinned << 1 | 1);
        now = fg_load_acquire(&epoch->now);
    } while (FG_UNLIKELY(now != pinned)); /* it advanced meanwhile: a stale pin would not hold what it promises */
}

FG_INLINE void fg_epoch_unpin(fg_participant *me) {
    fg_store_release(&me->pin, 0);
    if (FG_UNLIKELY(fg_load_relaxed(&me->blocked))) fg_store_relaxed(&me->blocked, 0);
}

/** Try to advance. Any thread, pinned or not. */
FG_INLINE bool fg_epoch_advance(fg_epoch *epoch) {
    uint64_t now = fg_load_acquire(&epoch->now);
    fg_participant *one = (fg_participant *)(uintptr_t)fg_add_acq_rel(&epoch->participants, 0);
    for (; one; one = one->next) {
        uint64_t const pin = fg_add_acq_rel(&one->pin, 0);
        if (pin && pin != (now << 1 | 1)) {
            fg_add_relaxed(&one->blocked, 1);
            return false;
        }
    }
    return fg_cas_acq_rel(&epoch->now, &now, now + 1);
}

FG_INLINE void fg_epoch_empty_bin(fg_epoch *epoch, fg_participant *me, int bin) {
    fg_retired *retired = me->bins[bin];
    uint64_t released = 0;
    me->bins[bin] = NULL;
    while (retired) {
        fg_retired *const next = retired->next;
        epoch->reclaim(epoch->context, retired);
        retired = next, released++;
    }
    if (released) fg_store_relaxed(&me->waiting, fg_load_relaxed(&me->waiting) - released);
}

FG_INLINE void fg_epoch_empty_bins(fg_epoch *epoch, fg_participant *me) {
    uint64_t const now = fg_load_acquire(&epoch->now);
    for (int bin = 0; bin < FG_EPOCH_BINS; bin++)
        if (me->bins[bin] && me->epochs[bin] + FG_EPOCH_BINS <= now) fg_epoch_empty_bin(epoch, me, bin);
}

/** Release later what no shared pointer leads to any more. The owner, pinned. */
FG_INLINE void fg_epoch_retire(fg_epoch *epoch, fg_participant *me, fg_retired *retired) {
    uint64_t const pinned = fg_load_relaxed(&me->pin) >> 1;
    int const bin = (int)(pinned % FG_EPOCH_BINS);
    if (me->epochs[bin] != pinned) fg_epoch_empty_bin(epoch, me, bin); /* of three epochs ago, or before */
    me->epochs[bin] = pinned;
    retired->next = me->bins[bin];
    me->bins[bin] = retired;
    fg_store_relaxed(&me->waiting, fg_load_relaxed(&me->waiting) + 1);
    if (++me->retired >= epoch->period) {
        me->retired = 0;
        if (fg_epoch_advance(epoch)) fg_epoch_empty_bins(epoch, me);
    }
}

/** Try to advance once, and release what can be of one's own and of participants that nobody owns. */
FG_INLINE void fg_epoch_collect(fg_epoch *epoch, fg_participant *me) {
    fg_epoch_advance(epoch);
    fg_epoch_empty_bins(epoch, me);
    for (fg_participant *one = fg_epoch_participants(epoch); one; one = one->next) {
        uint64_t taken = 0;
        if (fg_load_relaxed(&one->waiting) && !fg_load_relaxed(&one->taken) && fg_cas_acq_rel(&one->taken, &taken, 1)) {
            fg_epoch_empty_bins(epoch, one);
            fg_epoch_leave(one);
        }
    }
}

/** Release everything. Nobody else may be inside, nor come. */
FG_INLINE void fg_epoch_drain(fg_epoch *epoch) {
    for (fg_participant *one = fg_epoch_participants(epoch); one; one = one->next)
        for (int bin = 0; bin < FG_EPOCH_BINS; bin++) fg_epoch_empty_bin(epoch, one, bin);
}

/** Objects retired and not yet released: exact when nobody is inside. */
FG_INLINE uint64_t fg_epoch_waiting(fg_epoch const *epoch) {
    uint64_t waiting = 0;
    for (fg_participant const *one = fg_epoch_participants(epoch); one; one = one->next)
        waiting += fg_load_relaxed(&one->waiting);
    return waiting;
}

/** Count the pins there are by age: ages[0] those that have stopped no attempt to advance, ages[i] those that have
 * stopped 2^(i-1) up to 2^i - 1, and more in the last. A stalled owner climbs while others retire. */
FG_INLINE void fg_epoch_ages(fg_epoch const *epoch, uint64_t ages[FG_EPOCH_AGES]) {
    memset(ages, 0, FG_EPOCH_AGES * sizeof *ages);
    for (fg_participant const *one = fg_epoch_participants(epoch); one; one = one->next) {
        if (!fg_load_relaxed(&one->pin)) continue;
        int age = 0;
        for (uint64_t blocked = fg_load_relaxed(&one->blocked); blocked && age < FG_EPOCH_AGES - 1; blocked >>= 1)
            age++;
        ages[age]++;
    }
}

#endif
