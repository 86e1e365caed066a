/** Stands in for csrc/base/atomic.h: found first on the include path, every operation becomes the checker's.
 *
 * It knows all orders of all operations, also those that csrc has no use for: a mutation rewrites one name into
 * another. */
#ifndef FG_ATOMIC_H
#define FG_ATOMIC_H

#include "base/base.h"
#include "checker.h"

typedef struct fg_atomic {
    uint64_t word;
} fg_atomic;

#define fg_load_relaxed(cell) checker_load(cell, CHECKER_RELAXED, CHECKER_HERE)
#define fg_load_acquire(cell) checker_load(cell, CHECKER_ACQUIRE, CHECKER_HERE)
#define fg_load_seq_cst(cell) checker_load(cell, CHECKER_SEQ_CST, CHECKER_HERE)

#define fg_store_relaxed(cell, value) checker_store(cell, value, CHECKER_RELAXED, CHECKER_HERE)
#define fg_store_release(cell, value) checker_store(cell, value, CHECKER_RELEASE, CHECKER_HERE)
#define fg_store_seq_cst(cell, value) checker_store(cell, value, CHECKER_SEQ_CST, CHECKER_HERE)

#define fg_add_relaxed(cell, value) checker_update(cell, CHECKER_ADD, value, CHECKER_RELAXED, CHECKER_HERE)
#define fg_add_acquire(cell, value) checker_update(cell, CHECKER_ADD, value, CHECKER_ACQUIRE, CHECKER_HERE)
#define fg_add_release(cell, value) checker_update(cell, CHECKER_ADD, value, CHECKER_RELEASE, CHECKER_HERE)
#define fg_add_acq_rel(cell, value) checker_update(cell, CHECKER_ADD, value, CHECKER_ACQ_REL, CHECKER_HERE)
#define fg_add_seq_cst(cell, value) checker_update(cell, CHECKER_ADD, value, CHECKER_SEQ_CST, CHECKER_HERE)

#define fg_sub_relaxed(cell, value) checker_update(cell, CHECKER_SUB, value, CHECKER_RELAXED, CHECKER_HERE)
#define fg_sub_acquire(cell, value) checker_update(cell, CHECKER_SUB, value, CHECKER_ACQUIRE, CHECKER_HERE)
#define fg_sub_release(cell, value) checker_update(cell, CHECKER_SUB, value, CHECKER_RELEASE, CHECKER_HERE)
#define fg_sub_acq_rel(cell, value) checker_update(cell, CHECKER_SUB, value, CHECKER_ACQ_REL, CHECKER_HERE)
#define fg_sub_seq_cst(cell, value) checker_update(cell, CHECKER_SUB, value, CHECKER_SEQ_CST, CHECKER_HERE)

#define fg_or_relaxed(cell, value) checker_update(cell, CHECKER_OR, value, CHECKER_RELAXED, CHECKER_HERE)
#define fg_or_acquire(cell, value) checker_update(cell, CHECKER_OR, value, CHECKER_ACQUIRE, CHECKER_HERE)
#define fg_or_release(cell, value) checker_update(cell, CHECKER_OR, value, CHECKER_RELEASE, CHECKER_HERE)
#define fg_or_acq_rel(cell, value) checker_update(cell, CHECKER_OR, value, CHECKER_ACQ_REL, CHECKER_HERE)
#define fg_or_seq_cst(cell, value) checker_update(cell, CHECKER_OR, value, CHECKER_SEQ_CST, CHECKER_HERE)

#define fg_and_relaxed(cell, value) checker_update(cell, CHECKER_AND, value, CHECKER_RELAXED, CHECKER_HERE)
#define fg_and_acquire(cell, value) checker_update(cell, CHECKER_AND, value, CHECKER_ACQUIRE, CHECKER_HERE)
#define fg_and_release(cell, value) checker_update(cell, CHECKER_AND, value, CHECKER_RELEASE, CHECKER_HERE)
#define fg_and_acq_rel(cell, value) checker_update(cell, CHECKER_AND, value, CHECKER_ACQ_REL, CHECKER_HERE)
#define fg_and_seq_cst(cell, value) checker_update(cell, CHECKER_AND, value, CHECKER_SEQ_CST, CHECKER_HERE)

#define fg_exchange_relaxed(cell, value) checker_update(cell, CHECKER_EXCHANGE, value, CHECKER_RELAXED, CHECKER_HERE)
#define fg_exchange_acquire(cell, value) checker_update(cell, CHECKER_EXCHANGE, value, CHECKER_ACQUIRE, CHECKER_HERE)
#define fg_exchange_release(cell, value) checker_update(cell, CHECKER_EXCHANGE, value, CHECKER_RELEASE, CHECKER_HERE)
#define fg_exchange_acq_rel(cell, value) checker_update(cell, CHECKER_EXCHANGE, value, CHECKER_ACQ_REL, CHECKER_HERE)
#define fg_exchange_seq_cst(cell, value) checker_update(cell, CHECKER_EXCHANGE, value, CHECKER_SEQ_CST, CHECKER_HERE)

/* The order when it fails is the first one without its release. */
#define CHECKER_CAS(cell, expected, desired, order, weak)                                                              \
    checker_cas(cell, expected, desired, order, (order) & ~CHECKER_RELEASE, weak, CHECKER_HERE)
#define fg_cas_relaxed(cell, expected, desired) CHECKER_CAS(cell, expected, desired, CHECKER_RELAXED, false)
#define fg_cas_acquire(cell, expected, desired) CHECKER_CAS(cell, expected, desired, CHECKER_ACQUIRE, false)
#define fg_cas_release(cell, expected, desired) CHECKER_CAS(cell, expected, desired, CHECKER_RELEASE, false)
#define fg_cas_acq_rel(cell, expected, desired) CHECKER_CAS(cell, expected, desired, CHECKER_ACQ_REL, false)
#define fg_cas_seq_cst(cell, expected, desired) CHECKER_CAS(cell, expected, desired, CHECKER_SEQ_CST, false)
#define fg_cas_weak_relaxed(cell, expected, desired) CHECKER_CAS(cell, expected, desired, CHECKER_RELAXED, true)
#define fg_cas_weak_acquire(cell, expected, desired) CHECKER_CAS(cell, expected, desired, CHECKER_ACQUIRE, true)
#define fg_cas_weak_release(cell, expected, desired) CHECKER_CAS(cell, expected, desired, CHECKER_RELEASE, true)
#define fg_cas_weak_acq_rel(cell, expected, desired) CHECKER_CAS(cell, expected, desired, CHECKER_ACQ_REL, true)
#define fg_cas_weak_seq_cst(cell, expected, desired) CHECKER_CAS(cell, expected, desired, CHECKER_SEQ_CST, true)

#define fg_spin() checker_spin()

#endif
