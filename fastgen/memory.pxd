from libc.stdint cimport uint32_t

from fastgen.lockfree.pool cimport fg_pool, fg_pool_handle

cdef enum:
    CLASSES = 45            # 64, 96, 128, 192, ... bytes; the largest is 256 MiB

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


cdef class Pool:
    cdef SizeClass classes[CLASSES]
    cdef readonly size_t limit
    cdef readonly str name
    cdef size_t hits, misses, overflows, lent, lent_bytes, held_bytes, high_water, trimmed
    cdef object __weakref__

    # Memory of at least so many bytes, aligned to 64; what was in it stays in it. With the GIL held.
    cdef void *draw(self, size_t size) except NULL
    cdef void restore(self, void *data) noexcept

    cdef int open_class(self, SizeClass *size_class) except -1
    cdef void *miss(self, SizeClass *size_class) except NULL
    cdef void *overflow(self, size_t size) except NULL
    cdef size_t drop(self, SizeClass *size_class, size_t count) noexcept
    cdef void sweep(self) noexcept
    cdef size_t drop_idle(self) noexcept

cdef size_t room_of(void *data) noexcept    # bytes that fit in what `draw` returned


cdef class Buffer:
    cdef Pool pool
    cdef void *data             # NULL after it went back
    cdef Py_ssize_t count       # elements
    cdef Py_ssize_t viewed
    cdef unsigned char kind, ndim
    cdef bint given_back

    cdef int check(self) except -1
    cdef void finish(self) noexcept


cdef class TokenPool(Pool):
    cdef int kind


cdef class TextPool(Pool):
    pass


cdef class TensorPool(Pool):
    cdef int kind
