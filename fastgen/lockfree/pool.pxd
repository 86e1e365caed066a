from libc.stdint cimport uint32_t, uint64_t

cdef extern from "lockfree/pool.h" nogil:
    ctypedef struct fg_pool:
        pass
    ctypedef struct fg_pool_handle:
        pass
    const uint32_t FG_POOL_NONE

# A thread without a handle passes NULL. Nothing is checked; csrc/lockfree/pool.h says what holds.
cdef fg_pool *pool_make(uint32_t capacity, uint32_t taken, uint32_t handles, uint32_t cache) except NULL
cdef void pool_free(fg_pool *pool) noexcept
cdef fg_pool_handle *pool_join(fg_pool *pool) noexcept nogil
cdef void pool_leave(fg_pool *pool, fg_pool_handle *handle) noexcept nogil
cdef uint32_t pool_acquire(fg_pool *pool, fg_pool_handle *handle) noexcept nogil
cdef void pool_release(fg_pool *pool, fg_pool_handle *handle, uint32_t block) noexcept nogil


cdef class Blocks:
    """The memory of a pool: what a thread's handle keeps alive, and which knows no thread, so there is no cycle."""

    cdef fg_pool *c
    cdef unsigned char *taken
    cdef size_t capacity


cdef class BlockPool:
    cdef Blocks blocks
    cdef object local


cdef class BlockHandle:
    cdef Blocks blocks
    cdef fg_pool_handle *c
