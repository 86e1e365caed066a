/** Atomics whose names carry the memory order, over C11.
 *
 * 64-bit words only: they are lock-free on every processor that fastgen is built for, and checkers follow them. Order
 * sits on the operation; there are no stand-alone fences, which ThreadSanitizer can't see. The naming follows mimalloc.
 */
#ifndef FG_ATOMIC_H
#define FG_ATOMIC_H

#include "base/base.h"

#include <stdatomic.h>
#include <stdbool.h>

typedef struct fg_atomic {
    _Atomic uint64_t word;
} fg_atomic;

_Static_assert(sizeof(fg_atomic) == 8 && ATOMIC_LLONG_LOCK_FREE == 2, "64-bit atomics must be lock-free");

FG_INLINE uint64_t fg_load_relaxed(fg_atomic const *cell) {
    return atomic_load_explicit(&((fg_atomic *)cell)->word, memory_order_relaxed);
}
FG_INLINE uint64_t fg_load_acquire(fg_atomic const *cell) {
    return atomic_load_explicit(&((fg_atomic *)cell)->word, memory_order_acquire);
}
FG_INLINE void fg_store_relaxed(fg_atomic *cell, uint64_t value) {
    atomic_store_explicit(&cell->word, value, memory_order_relaxed);
}
FG_INLINE void fg_store_release(fg_atomic *cell, uint64_t value) {
    atomic_store_explicit(&cell->word, value, memory_order_release);
}
FG_INLINE uint64_t fg_add_relaxed(fg_atomic *cell, uint64_t value) {
    return atomic_fetch_add_explicit(&cell->word, value, memory_order_relaxed);
}
FG_INLINE uint64_t fg_add_acq_rel(fg_atomic *cell, uint64_t value) {
    return atomic_fetch_add_explicit(&cell->word, value, memory_order_acq_rel);
}
FG_INLINE uint64_t fg_exchange_acq_rel(fg_atomic *cell, uint64_t value) {
    return atomic_exchange_explicit(&cell->word, value, memory_order_acq_rel);
}

/** Replace `*expected` by `desired`; on failure `*expected` is what was found. The weak form may fail for no reason:
 * loop. */
FG_INLINE bool fg_cas_acq_rel(fg_atomic *cell, uint64_t *expected, uint64_t desired) {
    return atomic_compare_exchange_strong_explicit(&cell->word, expected, desired, memory_order_acq_rel,
                                                   memory_order_acquire);
}
FG_INLINE bool fg_cas_weak_release(fg_atomic *cell, uint64_t *expected, uint64_t desired) {
    return atomic_compare_exchange_weak_explicit(&cell->word, expected, desired, memory_order_release,
                                                 memory_order_relaxed);
}

/** Tell the core that this is a spin loop: a hyper-thread sibling gets the pipeline, and leaving the loop costs no
 * flush. */
FG_INLINE void fg_spin(void) {
#if defined(__x86_64__) && !defined(_MSC_VER)
    __builtin_ia32_pause();
#elif defined(__aarch64__) && !defined(_MSC_VER)
    __asm__ __volatile__("isb" ::: "memory");
#endif
}

#endif
