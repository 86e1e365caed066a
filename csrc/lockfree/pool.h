/** Fixed-size blocks by number: a lock-free shared list, and before it a cache for each thread.
 *
 * The shared list is R. K. Treiber's stack ("Systems programming: coping with parallelism", IBM RJ 5118, 1986) whose
 * head is an index and a tag in one 64-bit word: the tag moves at every change, so that a head which comes back after
 * it left ("ABA") is another word. What lies on it are batches, so that one compare-and-swap moves half a cache; caches
 * and batches follow the magazines of J. Bonwick and J. Adams, "Magazines and vmem", USENIX ATC 2001.
 *
 * The pool hands out numbers in [0, capacity) and never touches what they stand for: links lie in an array of their
 * own, so a thread with a stale head reads a link, never somebody's block. Acquiring and releasing are lock-free, and
 * wait-free while the cache serves. Nothing here allocates: memory comes from the caller. */
#ifndef FG_LOCKFREE_POOL_H
#define FG_LOCKFREE_POOL_H

#include "base/atomic.h"

#define FG_POOL_NONE UINT32_MAX

/** A cache, which one thread at a time owns; all but the counts is the owner's alone. A handle passes from one owner to
 * the next through `owner`: released when one leaves, acquired when another joins. */
typedef struct fg_pool_handle {
    fg_atomic owner;    /* 1: taken */
    fg_atomic acquired; /* blocks that this handle ever took and gave; they are written by the owner only, */
    fg_atomic released; /* and a block may be given by another handle than took it */
    uint64_t recalled;  /* the recall that was answered last */
    uint32_t count;     /* of `items`; in [0, cache] */
    uint32_t items[];
} fg_pool_handle;

typedef struct fg_pool {
    FG_ALIGNED(FG_DESTRUCTIVE_INTERFERENCE)
    fg_atomic head; /* tag << 32 | number of the first block of the first batch + 1, or 0 */
    FG_ALIGNED(FG_DESTRUCTIVE_INTERFERENCE)
    fg_atomic fresh; /* blocks from here on were never handed out; may run past the capacity */
    FG_ALIGNED(FG_DESTRUCTIVE_INTERFERENCE)
    fg_atomic recalls;                        /* rarely written; from here on what only `fg_pool_init` writes */
    fg_atomic loose_acquired, loose_released; /* what was taken and given without a handle */
    uint32_t capacity, cache, handles;
    size_t handle_stride;
    fg_atomic *links; /* of a batch's first block: next batch << 32 | next block; of the others: next block; all + 1 */
    char *handle_table;
} fg_pool;

/** Bytes that a pool of `capacity` blocks needs beside itself, for `handles` caches of `cache` blocks (an even number,
 * at least 2). Blocks idle in caches are at most handles * cache. Untouched links cost address space only. */
size_t fg_pool_bytes(uint32_t capacity, uint32_t handles, uint32_t cache);

/** Make a pool in `memory`: fg_pool_bytes() of it, zeros, aligned to FG_DESTRUCTIVE_INTERFERENCE. The blocks below
 * `taken` count as taken, by whoever will release them. */
void fg_pool_init(fg_pool *pool, uint32_t capacity, uint32_t taken, uint32_t handles, uint32_t cache, void *memory);

/** Claim a handle for the calling thread; NULL if all are taken: the thread then works without. */
fg_pool_handle *fg_pool_join(fg_pool *pool);

/** Give the cached blocks back to all and the handle up. */
void fg_pool_leave(fg_pool *pool, fg_pool_handle *handle);

/** Ask every thread to empty its cache at its next call. */
void fg_pool_recall(fg_pool *pool);

/** Give the cached blocks back to all. */
void fg_pool_flush(fg_pool *pool, fg_pool_handle *handle);

/** Blocks taken and not yet given: exact while nobody is inside. */
uint64_t fg_pool_lent(fg_pool const *pool);

/** The ways around the cache: for a thread without a handle, for an empty and for a full cache. */
uint32_t fg_pool_acquire_loose(fg_pool *pool);
void fg_pool_release_loose(fg_pool *pool, uint32_t block);
uint32_t fg_pool_acquire_batch(fg_pool *pool, fg_pool_handle *handle);
void fg_pool_release_batch(fg_pool *pool, fg_pool_handle *handle, uint32_t block);

/** One writer, many readers: no read-modify-write. Released, so that who sees a block given sees it taken. */
FG_INLINE void fg_pool_note(fg_atomic *count) { fg_store_release(count, fg_load_relaxed(count) + 1); }

/** Take a block that nobody else has: the one that this thread gave last, if there is one. FG_POOL_NONE: none is left
 * (caches of other threads aside). What its last owner wrote to it is visible. */
FG_INLINE uint32_t fg_pool_acquire(fg_pool *pool, fg_pool_handle *handle) {
    if (FG_UNLIKELY(handle->count == 0 || handle->recalled != fg_load_relaxed(&pool->recalls)))
        return fg_pool_acquire_batch(pool, handle);
    fg_pool_note(&handle->acquired);
    return handle->items[--handle->count];
}

/** Give a block back. It must be one that was taken, and be given once. */
FG_INLINE void fg_pool_release(fg_pool *pool, fg_pool_handle *handle, uint32_t block) {
    if (FG_UNLIKELY(handle->count == pool->cache || handle->recalled != fg_load_relaxed(&pool->recalls))) {
        fg_pool_release_batch(pool, handle, block);
        return;
    }
    fg_pool_note(&handle->released);
    handle->items[handle->count++] = block;
}

#endif
