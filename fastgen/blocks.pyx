# cython: language_level=3, cdivision=True
"""Blocks of memory in size classes, kept for reuse when they are given back: what `fastgen.memory` lends.

A request is rounded up to a size class: powers of two and the halves between them. Each class has a lock-free pool of
its idle blocks and shrinks to what was in use lately. Memory is aligned to 64 bytes and not cleared. Pools are bounded;
what does not fit comes from the heap and goes back to it. All of it holds the GIL.
"""

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc
from libc.stdint cimport uintptr_t

from fastgen.kernels.tokens cimport integer_of
from fastgen.lockfree.pool cimport (
    FG_POOL_NONE, pool_acquire, pool_free, pool_join, pool_leave, pool_make, pool_release,
)

import weakref
from typing import NamedTuple

from fastgen.errors import InvalidParameterError
from fastgen.pressure import pressure

cdef extern from *:
    """
    #if defined(_MSC_VER) && !defined(__clang__)
    static int fg_log2_of(size_t size) {
        int power = 0;
        while (power < 63 && (size_t)1 << power < size) power++;
        return power;
    }
    #else
    static int fg_log2_of(size_t size) { return size <= 1 ? 0 : 64 - __builtin_clzll((unsigned long long)size - 1); }
    #endif
    """
    int fg_log2_of(size_t size) noexcept nogil      # of the next power of two

cdef enum:
    ALIGNMENT = 64
    HEADER = 192
    SMALLEST = 6                    # log2 of bytes
    LARGEST = SMALLEST + (CLASSES - 1) // 2
    CACHE = 128                     # blocks
    MOST_BLOCKS = 1 << 15           # of a class
    SWEEP = 4096                    # draws between two looks at which classes are used

HIGH_PRESSURE = 0.9
"""The share of the memory limit from which on pools keep nothing that is not in use."""

cdef size_t CHECK_BYTES = 1 << 24   # of new memory, between two looks at the pressure
cdef size_t new_bytes = 1 << 24     # since the last look; the first allocation looks
cdef bint pressed = False
pools = weakref.WeakSet()


cdef Header *header_of(void *data) noexcept:
    return <Header *>(<char *>data - HEADER)


cdef void *allocate(size_t size) noexcept:
    """Return aligned memory behind a header, or NULL."""
    cdef void *whole = PyMem_RawMalloc(size + HEADER + ALIGNMENT) if size <= MAX_BYTES else NULL
    cdef void *data
    if whole == NULL:
        return NULL
    data = <void *>((<uintptr_t>whole + HEADER + ALIGNMENT - 1) & ~<uintptr_t>(ALIGNMENT - 1))
    header_of(data).whole, header_of(data).size = whole, size
    header_of(data).size_class = NULL
    return data


cdef int class_of(size_t size) noexcept:
    """Return the number of the smallest class that has room."""
    cdef int power
    if size <= 1 << SMALLEST:
        return 0
    power = fg_log2_of(size)
    return 2 * (power - SMALLEST) - (size <= <size_t>3 << (power - 2))


class PoolStats(NamedTuple):
    """Counts since the pool was made, and what it has now."""

    hits: int               # requests served from what was kept
    misses: int             # requests that took new memory, which is then kept
    overflows: int          # requests that the heap served, past the limit or under pressure
    lent: int               # buffers in use
    lent_bytes: int
    held_bytes: int         # memory of the pool, in use or not
    high_water_bytes: int   # the most that was in use at a time
    trimmed_bytes: int      # given back to the heap so far
    limit: int              # bytes that the pool may hold

    @property
    def hit_rate(self):
        """The share of requests that were served from what was kept; 1.0 if there were none."""
        asked = self.hits + self.misses + self.overflows
        return self.hits / asked if asked else 1.0


cdef class Pool:
    """What the pools of `fastgen.memory` have in common."""

    def __cinit__(self, *args, limit=None, name=None, **kwargs):
        cdef int i
        for i in range(CLASSES):
            self.classes[i].size = (<size_t>2 if i % 2 == 0 else 3) << (SMALLEST - 1 + i // 2)
        self.limit = integer_of(1 << 26 if limit is None else limit, "limit", 0, MAX_BYTES)
        if name is not None and not isinstance(name, str):
            raise InvalidParameterError("a name is a string", type=type(name).__name__)
        self.name = type(self).__name__ if name is None else str(name)
        pools.add(self)

    def __init__(self):
        raise TypeError("make a TokenPool, TextPool or TensorPool")

    def __dealloc__(self):
        cdef SizeClass *size_class
        cdef int i
        for i in range(CLASSES):
            size_class = &self.classes[i]
            if size_class.pool != NULL:
                self.drop(size_class, size_class.held)
                pool_leave(size_class.pool, size_class.handle)
                pool_free(size_class.pool)
                PyMem_RawFree(size_class.memory)
                PyMem_RawFree(size_class.vacant)

    def __reduce__(self):
        raise TypeError("a pool can't be copied or pickled")

    # Blocks.

    cdef void *draw(self, size_t size) except NULL:
        cdef SizeClass *size_class
        cdef uint32_t block
        cdef void *data
        if size > <size_t>1 << LARGEST:
            return self.overflow(size)
        size_class = &self.classes[class_of(size)]
        if size_class.pool == NULL and not self.open_class(size_class):
            return self.overflow(size)
        block = pool_acquire(size_class.pool, size_class.handle)
        if block == FG_POOL_NONE:
            data = self.miss(size_class)
            if header_of(data).size_class == NULL:
                return data
        else:
            data = size_class.memory[block]
            self.hits += 1
            if self.hits % SWEEP == 0:
                self.sweep()
        size_class.lent += 1
        if size_class.lent > size_class.peak:
            size_class.peak = size_class.lent
        self.lent += 1
        self.lent_bytes += size_class.size
        if self.lent_bytes > self.high_water:
            self.high_water = self.lent_bytes
        return data

    cdef void restore(self, void *data) noexcept:
        cdef Header *header = header_of(data)
        cdef SizeClass *size_class = header.size_class
        self.lent -= 1
        self.lent_bytes -= header.size
        if size_class == NULL:
            PyMem_RawFree(header.whole)
            return
        size_class.lent -= 1
        pool_release(size_class.pool, size_class.handle, header.block)
        if pressed:
            self.drop(size_class, 1)

    cdef int open_class(self, SizeClass *size_class) except -1:
        """Return 0 if not even one block fits under the limit."""
        cdef size_t capacity = min(self.limit // size_class.size, <size_t>MOST_BLOCKS)
        cdef fg_pool *pool
        cdef uint32_t block
        if capacity == 0:
            return 0
        size_class.memory = <void **>PyMem_RawCalloc(capacity, sizeof(void *))
        size_class.vacant = <uint32_t *>PyMem_RawCalloc(capacity, sizeof(uint32_t))
        try:
            if size_class.memory == NULL or size_class.vacant == NULL:
                raise MemoryError
            pool = pool_make(<uint32_t>capacity, <uint32_t>capacity, 1, CACHE)
        except MemoryError:
            PyMem_RawFree(size_class.memory)
            PyMem_RawFree(size_class.vacant)
            size_class.memory, size_class.vacant = NULL, NULL
            raise
        for block in range(<uint32_t>capacity):
            size_class.vacant[block] = <uint32_t>capacity - 1 - block
        size_class.vacant_count = <uint32_t>capacity
        size_class.handle = pool_join(pool)
        size_class.pool = pool
        return 1

    cdef void *miss(self, SizeClass *size_class) except NULL:
        """Return new memory, of a block that has none; from the heap if there is no such block or no room."""
        global new_bytes
        cdef void *data = NULL
        cdef size_t size = size_class.size
        cdef uint32_t block
        if self.held_bytes + size > self.limit:
            self.sweep()
        if size_class.vacant_count and self.held_bytes + size <= self.limit and not pressed:
            data = allocate(size)
        if data == NULL:
            return self.overflow(size)
        size_class.vacant_count -= 1
        block = size_class.vacant[size_class.vacant_count]
        header_of(data).size_class, header_of(data).block = size_class, block
        size_class.memory[block] = data
        size_class.held += 1
        self.held_bytes += size
        self.misses += 1
        new_bytes += size
        return data

    cdef void *overflow(self, size_t size) except NULL:
        global new_bytes
        cdef void *data = allocate(size)
        if data == NULL and size > MAX_BYTES:
            raise MemoryError
        if data == NULL:
            for pool in list(pools):
                (<Pool>pool).drop_idle()
            data = allocate(size)
            if data == NULL:
                raise MemoryError
        self.overflows += 1
        self.lent += 1
        self.lent_bytes += size
        if self.lent_bytes > self.high_water:
            self.high_water = self.lent_bytes
        new_bytes += size
        return data

    cdef int look_at_pressure(self) except -1:
        global new_bytes, pressed
        if new_bytes < CHECK_BYTES:
            return 0
        new_bytes = 0
        pressed = pressure() >= HIGH_PRESSURE
        if pressed:
            trim()
        return 0

    # Shrinking. Nothing here runs Python code.

    cdef size_t drop(self, SizeClass *size_class, size_t count) noexcept:
        """Give the memory of up to so many idle blocks back to the heap and return how many bytes that are."""
        cdef size_t dropped = 0
        cdef uint32_t block
        while count:
            block = pool_acquire(size_class.pool, size_class.handle)
            if block == FG_POOL_NONE:
                break
            PyMem_RawFree(header_of(size_class.memory[block]).whole)
            size_class.memory[block] = NULL
            size_class.vacant[size_class.vacant_count] = block
            size_class.vacant_count += 1
            size_class.held -= 1
            dropped += size_class.size
            count -= 1
        self.held_bytes -= dropped
        self.trimmed += dropped
        return dropped

    cdef void sweep(self) noexcept:
        """Shrink each class to the most that was in use at a time since the last sweep but one."""
        cdef SizeClass *size_class
        cdef size_t needed
        cdef int i
        for i in range(CLASSES):
            size_class = &self.classes[i]
            needed = max(size_class.peak, size_class.past_peak)
            if size_class.pool != NULL and size_class.held > needed:
                self.drop(size_class, size_class.held - needed)
            size_class.past_peak, size_class.peak = size_class.peak, size_class.lent

    cdef size_t drop_idle(self) noexcept:
        cdef size_t dropped = 0
        cdef int i
        for i in range(CLASSES):
            if self.classes[i].pool != NULL:
                dropped += self.drop(&self.classes[i], self.classes[i].held - self.classes[i].lent)
        return dropped

    def trim(self):
        """Give all memory that is not in use back to the heap and return how many bytes that are."""
        return self.drop_idle()

    def stats(self):
        """Return a `PoolStats`."""
        return PoolStats(self.hits, self.misses, self.overflows, self.lent, self.lent_bytes, self.held_bytes,
                         self.high_water, self.trimmed, self.limit)


def stats():
    """Return the `PoolStats` of every pool there is, by its name; pools of one name are added up."""
    found = {}
    for pool in sorted(pools, key=lambda pool: pool.name):
        one = pool.stats()
        found[pool.name] = PoolStats(*map(sum, zip(one, found[pool.name], strict=True))) if pool.name in found else one
    return found


def trim():
    """Give the memory of all pools that is not in use back to the heap and return how many bytes that are."""
    return sum(pool.trim() for pool in list(pools))
