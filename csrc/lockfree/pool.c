#include "lockfree/pool.h"

static size_t handle_stride(uint32_t cache) {
    size_t const bytes = sizeof(fg_pool_handle) + cache * sizeof(uint32_t);
    return (bytes + FG_DESTRUCTIVE_INTERFERENCE - 1) / FG_DESTRUCTIVE_INTERFERENCE * FG_DESTRUCTIVE_INTERFERENCE;
}

static fg_pool_handle *handle_at(fg_pool const *pool, size_t index) {
    return (fg_pool_handle *)(void *)(pool->handle_table + index * pool->handle_stride);
}

size_t fg_pool_bytes(uint32_t capacity, uint32_t handles, uint32_t cache) {
    return handles * handle_stride(cache) + capacity * sizeof(fg_atomic);
}

void fg_pool_init(fg_pool *pool, uint32_t capacity, uint32_t taken, uint32_t handles, uint32_t cache, void *memory) {
    memset(pool, 0, sizeof *pool);
    fg_store_relaxed(&pool->fresh, taken), fg_store_relaxed(&pool->loose_acquired, taken);
    pool->capacity = capacity, pool->cache = cache, pool->handles = handles;
    pool->handle_stride = handle_stride(cache);
    pool->handle_table = memory;
    pool->links = (fg_atomic *)(void *)(pool->handle_table + handles * pool->handle_stride);
}

/* The shared list. A batch is private before it is pushed and after it is popped. */

static void push_batch(fg_pool *pool, uint32_t const *blocks, uint32_t count) {
    for (uint32_t i = 1; i < count; i++)
        fg_store_relaxed(&pool->links[blocks[i]], i + 1 < count ? (uint64_t)blocks[i + 1] + 1 : 0);
    uint64_t const second = count > 1 ? (uint64_t)blocks[1] + 1 : 0;
    uint64_t head = fg_load_relaxed(&pool->head), desired;
    do {
        fg_store_relaxed(&pool->links[blocks[0]], head << 32 | second);
        desired = ((head >> 32) + 1) << 32 | ((uint64_t)blocks[0] + 1);
    } while (!fg_cas_weak_release(&pool->head, &head, desired)); /* publishes links and contents */
}

/** Take a batch off the shared list; returns how many blocks of it stand in `blocks`, 0 if the list is empty.
 *
 * The link may be read after another thread popped the batch and pushed its block again elsewhere: it is then of no
 * use, and the tag tells, unless exactly 2^32 changes fit between the load and the swap. */
static uint32_t pop_batch(fg_pool *pool, uint32_t *blocks) {
    uint64_t head = fg_load_acquire(&pool->head), link;
    do {
        if ((uint32_t)head == 0) return 0;
        link = fg_load_relaxed(&pool->links[(uint32_t)head - 1]);
    } while (!fg_cas_acq_rel(&pool->head, &head, ((head >> 32) + 1) << 32 | link >> 32));
    uint32_t count = 0;
    blocks[count++] = (uint32_t)head - 1;
    for (uint32_t next = (uint32_t)link; next; next = (uint32_t)fg_load_relaxed(&pool->links[next - 1]))
        blocks[count++] = next - 1;
    return count;
}

/** Take up to `most` blocks that were never handed out. */
static uint32_t take_fresh(fg_pool *pool, uint32_t *blocks, uint32_t most) {
    if (fg_load_relaxed(&pool->fresh) >= pool->capacity) return 0; /* stops `fresh` from growing for ever */
    uint64_t const first = fg_add_relaxed(&pool->fresh, most);
    uint32_t count = 0;
    while (count < most && first + count < pool->capacity) blocks[count] = (uint32_t)first + count, count++;
    return count;
}

/* Handles. */

fg_pool_handle *fg_pool_join(fg_pool *pool) {
    for (size_t i = 0; i < pool->handles; i++) {
        fg_pool_handle *const handle = handle_at(pool, i);
        uint64_t nobody = 0;
        if (fg_load_relaxed(&handle->owner) == 0 && fg_cas_acq_rel(&handle->owner, &nobody, 1)) {
            handle->recalled = fg_load_relaxed(&pool->recalls);
            return handle;
        }
    }
    return NULL;
}

void fg_pool_flush(fg_pool *pool, fg_pool_handle *handle) {
    uint32_t const batch = pool->cache / 2;
    while (handle->count) {
        uint32_t const count = handle->count < batch ? handle->count : batch;
        handle->count -= count;
        push_batch(pool, handle->items + handle->count, count);
    }
}

void fg_pool_leave(fg_pool *pool, fg_pool_handle *handle) {
    fg_pool_flush(pool, handle);
    fg_store_release(&handle->owner, 0);
}

void fg_pool_recall(fg_pool *pool) { fg_add_relaxed(&pool->recalls, 1); }

uint64_t fg_pool_lent(fg_pool const *pool) {
    uint64_t released = fg_load_acquire(&pool->loose_released); /* gives before takes: never less than 0 */
    for (size_t i = 0; i < pool->handles; i++) released += fg_load_acquire(&handle_at(pool, i)->released);
    uint64_t acquired = fg_load_acquire(&pool->loose_acquired);
    for (size_t i = 0; i < pool->handles; i++) acquired += fg_load_acquire(&handle_at(pool, i)->acquired);
    return acquired - released;
}

/* Around the cache. */

static void answer_recall(fg_pool *pool, fg_pool_handle *handle) {
    uint64_t const recalls = fg_load_relaxed(&pool->recalls);
    if (handle->recalled == recalls) return;
    handle->recalled = recalls;
    fg_pool_flush(pool, handle);
}

uint32_t fg_pool_acquire_batch(fg_pool *pool, fg_pool_handle *handle) {
    answer_recall(pool, handle);
    if (handle->count == 0) handle->count = pop_batch(pool, handle->items);
    if (handle->count == 0) handle->count = take_fresh(pool, handle->items, pool->cache / 2);
    if (handle->count == 0) return FG_POOL_NONE;
    fg_pool_note(&handle->acquired);
    return handle->items[--handle->count];
}

void fg_pool_release_batch(fg_pool *pool, fg_pool_handle *handle, uint32_t block) {
    uint32_t const batch = pool->cache / 2;
    answer_recall(pool, handle);
    if (handle->count == pool->cache) { /* the older half goes: what was given last is likely in the cache still */
        push_batch(pool, handle->items, batch);
        handle->count -= batch;
        memmove(handle->items, handle->items + batch, handle->count * sizeof handle->items[0]);
    }
    fg_pool_note(&handle->released);
    handle->items[handle->count++] = block;
}

uint32_t fg_pool_acquire_loose(fg_pool *pool) {
    uint64_t head = fg_load_acquire(&pool->head);
    uint32_t block = FG_POOL_NONE;
    while ((uint32_t)head != 0) {
        uint32_t const first = (uint32_t)head - 1;
        uint64_t const link = fg_load_relaxed(&pool->links[first]);
        if (!fg_cas_acq_rel(&pool->head, &head, ((head >> 32) + 1) << 32 | link >> 32)) continue;
        block = first;
        if ((uint32_t)link) { /* the rest of the batch goes back as a batch, whose order and links it has already */
            uint32_t const second = (uint32_t)link - 1;
            uint64_t const rest = (uint32_t)fg_load_relaxed(&pool->links[second]);
            uint64_t now = fg_load_relaxed(&pool->head);
            do {
                fg_store_relaxed(&pool->links[second], now << 32 | rest);
            } while (!fg_cas_weak_release(&pool->head, &now, ((now >> 32) + 1) << 32 | ((uint64_t)second + 1)));
        }
        break;
    }
    if (block == FG_POOL_NONE && take_fresh(pool, &block, 1) == 0) return FG_POOL_NONE;
    fg_add_acq_rel(&pool->loose_acquired, 1);
    return block;
}

void fg_pool_release_loose(fg_pool *pool, uint32_t block) {
    fg_add_acq_rel(&pool->loose_released, 1);
    push_batch(pool, &block, 1);
}
