from libc.stdint cimport uint32_t

from fastgen.lockfree.pool cimport fg_pool, fg_pool_handle

cdef enum:
    CLASSES = 45            # 64, 96, 128, 192, ... bytes; the largest is 256 MiB
    DIMENSIONS = 8

cdef extern from *:
    """
    #define FG_MOST_BYTES ((size_t)1 << 46)
    """
    size_t MAX_BYTES "FG_MOST_BYTES"        # of one block

cdef struct SizeClass:
    size_t size             # bytes of a block
    fg_pool *pool           # of the idle blocks that have memory; NULL until the class is used
    fg_pool_handle *handle  # of whoever holds the GIL
    void **memory           # of each block, or NULL
    uint32_t *vacant        # the blocks without memory; a class has `vacant_count` of them
    uint32_t vacant_count
    size_t held             # blocks that have memory
    size_t lent
    size_t peak             # the most that were lent since the last sweep, and between the two before
    size_t past_peak


cdef struct Header:         # stands before the data; 192 bytes
    Py_ssize_t shape[DIMENSIONS]    # for whoever has the block
    Py_ssize_t strides[DIMENSIONS]
    void *whole
    SizeClass *size_class   # NULL: from the heap
    size_t size             # bytes that fit
    uint32_t block
    uint32_t padding[9]


cdef class Pool:
    cdef SizeClass classes[CLASSES]
    cdef readonly size_t limit
    cdef readonly str name
    cdef size_t hits, misses, overflows, lent, lent_bytes, held_bytes, high_water, trimmed
    cdef object __weakref__

    # Memory of at least so many bytes, aligned to 64; what was in it stays in it. With the GIL held.
    cdef void *draw(self, size_t size) except NULL
    cdef void restore(self, void *data) noexcept

    # Whether pools may keep anything: to be called before `draw` where other threads may run, as this runs Python code.
    cdef int look_at_pressure(self) except -1

    cdef int open_class(self, SizeClass *size_class) except -1
    cdef void *miss(self, SizeClass *size_class) except NULL
    cdef void *overflow(self, size_t size) except NULL
    cdef size_t drop(self, SizeClass *size_class, size_t count) noexcept
    cdef void sweep(self) noexcept
    cdef size_t drop_idle(self) noexcept

cdef Header *header_of(void *data) noexcept     # of what `draw` returned
