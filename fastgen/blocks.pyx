# cython: language_level=3, cdivision=True
"""Blocks of memory whose sizes are powers of two, kept for reuse when they are given back.

The pool is bounded in blocks and in bytes, and is used under the GIL only.
"""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc

cdef enum:
    SMALLEST = 9   # log2 of bytes
    LARGEST = 24   # longer blocks come and go
    KEPT = 4       # of each size
    KEPT_BYTES = 1 << 26  # of all sizes

cdef void *kept[LARGEST + 1][KEPT]
cdef int kept_count[LARGEST + 1]
cdef size_t kept_bytes = 0


cdef int log2_of(size_t size) noexcept:
    """Return the power of two that is the size of a block for so many bytes."""
    cdef int power = SMALLEST
    while <size_t>1 << power < size:
        power += 1
    return power


cdef size_t block_size(size_t size) noexcept:
    """Return how large the block is that `take` returns."""
    return <size_t>1 << log2_of(size)


cdef void *take(size_t size) except NULL:
    global kept_bytes
    cdef int power = log2_of(size)
    cdef void *block
    if power <= LARGEST and kept_count[power]:
        kept_count[power] -= 1
        kept_bytes -= <size_t>1 << power
        return kept[power][kept_count[power]]
    block = PyMem_RawMalloc(<size_t>1 << power)
    if block == NULL:
        raise MemoryError
    return block


cdef void give(void *block, size_t size) noexcept:
    global kept_bytes
    cdef int power = log2_of(size)
    if power > LARGEST or kept_count[power] == KEPT or kept_bytes + (<size_t>1 << power) > KEPT_BYTES:
        PyMem_RawFree(block)
        return
    kept[power][kept_count[power]] = block
    kept_count[power] += 1
    kept_bytes += <size_t>1 << power


def kept_memory():
    """Return how many bytes the pool holds for reuse."""
    return kept_bytes
