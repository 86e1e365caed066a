/** One publisher, many readers: the latest version of a 64-bit word (a pointer, say), and when an old one may be freed.
 *
 * Each reader keeps the version that it read last and says so in a slot of its own ("hazard pointer": M. Michael, IEEE
 * TPDS 15(6), 2004). While nothing new is published a read is a load and a compare, as with `Cache` of the Rust crate
 * arc-swap; a new version costs the reader one read-modify-write. Reads are wait-free but for versions published
 * meanwhile; publishing is wait-free, and memory is bounded: with R readers at most R old versions are kept, so R + 2
 * places are always enough.
 *
 * Why no reader ever holds what is freed. A reader writes the version into its slot and then passes through `current`
 * by an atomic addition of 0; the publisher passes through `current` by an exchange and then looks at the slots. These
 * two are ordered by the one word that both change: if the reader came first, its slot is visible to the publisher; if
 * it came second, it finds another version than it wrote, and tries again. No sequentially consistent order is needed,
 * and no stand-alone fence. */
#ifndef FG_LOCKFREE_SNAPSHOT_H
#define FG_LOCKFREE_SNAPSHOT_H

#include "base/atomic.h"

/** One reading thread. `pinned` is what others see; the rest is the owner's alone. */
typedef struct fg_snapshot_reader {
    fg_atomic owner;  /* 1: taken */
    fg_atomic pinned; /* the version that must not be freed, or 0 */
    uint64_t version; /* that `value` belongs to, or 0 */
    uint64_t value;
    char padding[FG_DESTRUCTIVE_INTERFERENCE - 4 * sizeof(uint64_t)];
} fg_snapshot_reader;

/** A place for a version: read-only from when it is published until it is free again. */
typedef struct fg_snapshot_place {
    fg_atomic value;
    uint64_t version; /* 0: free; this and the next are the publisher's */
    uint64_t keep;    /* while collecting */
} fg_snapshot_place;

typedef struct fg_snapshot {
    FG_ALIGNED(FG_DESTRUCTIVE_INTERFERENCE)
    fg_atomic current; /* number << 16 | place; numbers grow by one with each version and start at 1 */
    FG_ALIGNED(FG_DESTRUCTIVE_INTERFERENCE)
    size_t readers; /* constant; places are two more */
    fg_snapshot_reader *reader_table;
    fg_snapshot_place *places;
} fg_snapshot;

enum { FG_SNAPSHOT_MAX_READERS = (1 << 16) - 2, FG_SNAPSHOT_PLACE_BITS = 16 };

/** Bytes of memory for so many readers. */
size_t fg_snapshot_bytes(size_t readers);

/** Begin with a first version. `memory`: fg_snapshot_bytes() of it, zeros, aligned to FG_DESTRUCTIVE_INTERFERENCE. */
void fg_snapshot_init(fg_snapshot *snapshot, size_t readers, uint64_t value, void *memory);

/** Claim a slot for a reading thread; NULL if all are taken. */
fg_snapshot_reader *fg_snapshot_join(fg_snapshot *snapshot);

/** Give the slot up. What was read must not be used any more. */
void fg_snapshot_leave(fg_snapshot_reader *reader);

/** Let go of what was read last, so that it can be freed: for a reader that will be silent for long. */
FG_INLINE void fg_snapshot_park(fg_snapshot_reader *reader) {
    reader->version = 0;
    fg_store_release(&reader->pinned, 0);
}

uint64_t fg_snapshot_refresh(fg_snapshot *snapshot, fg_snapshot_reader *reader);

/** The latest value. It stays valid until this reader reads again, parks or leaves. */
FG_INLINE uint64_t fg_snapshot_read(fg_snapshot *snapshot, fg_snapshot_reader *reader) {
    if (FG_LIKELY(fg_load_acquire(&snapshot->current) == reader->version)) return reader->value;
    return fg_snapshot_refresh(snapshot, reader);
}

/** The number of the latest version, from 1 on. */
FG_INLINE uint64_t fg_snapshot_number(fg_snapshot const *snapshot) {
    return fg_load_acquire(&snapshot->current) >> FG_SNAPSHOT_PLACE_BITS;
}

/** Make a value the latest. One thread at a time publishes or collects. Writes the values that nobody can read any more
 * into `freed` (room for readers + 1) and returns how many they are; each value comes out once. */
size_t fg_snapshot_publish(fg_snapshot *snapshot, uint64_t value, uint64_t *freed);

/** The same without a new value: readers may have moved on or left. */
size_t fg_snapshot_collect(fg_snapshot *snapshot, uint64_t *freed);

/** The latest value, for the publisher. */
uint64_t fg_snapshot_latest(fg_snapshot const *snapshot);

/** How many old versions are kept for readers; for the publisher. */
size_t fg_snapshot_kept(fg_snapshot const *snapshot);

#endif
