# cython: language_level=3
"""BlockPool: numbers of blocks, taken and given by many threads without a lock."""

cimport cython
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree

from fastgen.kernels.tokens cimport integer_of
from fastgen.lockfree.lines cimport give_lines, take_lines

import threading

from fastgen.errors import InvalidParameterError

cdef extern from "lockfree/pool.h" nogil:
    size_t fg_pool_bytes(uint32_t capacity, uint32_t handles, uint32_t cache)
    void fg_pool_init(fg_pool *pool, uint32_t capacity, uint32_t taken, uint32_t handles, uint32_t cache, void *memory)
    fg_pool_handle *fg_pool_join(fg_pool *pool)
    void fg_pool_leave(fg_pool *pool, fg_pool_handle *handle)
    void fg_pool_recall(fg_pool *pool)
    uint64_t fg_pool_lent(const fg_pool *pool)
    uint32_t fg_pool_acquire_loose(fg_pool *pool)
    void fg_pool_release_loose(fg_pool *pool, uint32_t block)
    uint32_t fg_pool_acquire(fg_pool *pool, fg_pool_handle *handle)
    void fg_pool_release(fg_pool *pool, fg_pool_handle *handle, uint32_t block)

cdef size_t round_up(size_t size) noexcept:
    return (size + 127) & ~<size_t>127


cdef fg_pool *pool_make(uint32_t capacity, uint32_t taken, uint32_t handles, uint32_t cache) except NULL:
    cdef size_t header = round_up(sizeof(fg_pool))
    cdef char *memory = <char *>take_lines(header + fg_pool_bytes(capacity, handles, cache))
    fg_pool_init(<fg_pool *>memory, capacity, taken, handles, cache, memory + header)
    return <fg_pool *>memory


cdef void pool_free(fg_pool *pool) noexcept:
    give_lines(pool)


cdef fg_pool_handle *pool_join(fg_pool *pool) noexcept nogil:
    return fg_pool_join(pool)


cdef void pool_leave(fg_pool *pool, fg_pool_handle *handle) noexcept nogil:
    if handle != NULL:
        fg_pool_leave(pool, handle)


cdef uint32_t pool_acquire(fg_pool *pool, fg_pool_handle *handle) noexcept nogil:
    return fg_pool_acquire_loose(pool) if handle == NULL else fg_pool_acquire(pool, handle)


cdef void pool_release(fg_pool *pool, fg_pool_handle *handle, uint32_t block) noexcept nogil:
    if handle == NULL:
        fg_pool_release_loose(pool, block)
    else:
        fg_pool_release(pool, handle, block)


@cython.final
cdef class Blocks:
    def __cinit__(self, size_t capacity, size_t handles, size_t cache):
        self.capacity = capacity
        self.taken = <unsigned char *>PyMem_RawCalloc(capacity, 1)
        if self.taken == NULL:
            raise MemoryError
        self.c = pool_make(<uint32_t>capacity, 0, <uint32_t>handles, <uint32_t>cache)

    def __dealloc__(self):
        pool_free(self.c)
        PyMem_RawFree(self.taken)


@cython.final
cdef class BlockPool:
    """A bounded pool of numbers in [0, capacity), each of which one taker has at a time.

    `acquire` and `release` use a cache of the calling thread; when the thread ends, what is in it comes back. From C
    the same pool works without the GIL, at about a nanosecond a call.

    Parameters
    ----------
    capacity : int
        How many blocks there are, in [1, 2^31].
    cache : int, default 64
        How many blocks a thread keeps for itself at most; even, in [2, 4096]. Half of them move at a time.
    handles : int, default 64
        How many threads can have a cache at a time, in [1, 4096]; more threads work without, at the price of an atomic
        operation or two for each call.

    Raises
    ------
    InvalidParameterError
        A number is out of its range.

    Notes
    -----
    Treiber's stack with a tag against ABA, Bonwick's magazines: see csrc/lockfree/pool.h. In the child of a fork() the
    pool goes on working; what other threads of the parent had cached is not found again.
    """

    def __cinit__(self, capacity, *, cache=64, handles=64):
        cdef size_t most = integer_of(cache, "cache", 2, 4096)
        if most % 2:
            raise InvalidParameterError("the cache must be an even number of blocks", cache=most)
        self.blocks = Blocks(integer_of(capacity, "capacity", 1, <size_t>1 << 31),
                             integer_of(handles, "handles", 1, 4096), most)
        self.local = threading.local()

    def __reduce__(self):
        raise TypeError("a pool can't be copied or pickled")

    def handle(self):
        """Return a `BlockHandle`: a cache that one thread at a time uses."""
        return BlockHandle(self)

    @property
    def capacity(self):
        """How many blocks there are."""
        return self.blocks.capacity

    def acquire(self):
        """Take a block; None if there is none, caches of other threads aside."""
        return own_handle(self).acquire()

    def release(self, block):
        """Give a block back, whichever thread took it.

        Raises
        ------
        InvalidParameterError
            It is no block of this pool, or not taken.
        """
        own_handle(self).release(block)

    def recall(self):
        """Ask every thread to empty its cache at its next call."""
        fg_pool_recall(self.blocks.c)

    @property
    def lent(self):
        """How many blocks are taken."""
        return fg_pool_lent(self.blocks.c)


cdef BlockHandle own_handle(BlockPool pool):
    """The thread's own: thread-local data go with the thread, or with the pool if that is sooner."""
    handle = getattr(pool.local, "handle", None)
    if handle is None:
        handle = pool.local.handle = BlockHandle(pool)
    return handle


@cython.final
@cython.no_gc_clear             # its memory is the pool's
cdef class BlockHandle:
    """A cache before a `BlockPool`, for one thread at a time. When it goes, or at `close`, its blocks return to all.

    Parameters
    ----------
    pool : BlockPool
    """

    def __cinit__(self, BlockPool pool not None):
        if pool.blocks is None:
            raise InvalidParameterError("the pool was not made by its constructor")
        self.blocks = pool.blocks
        self.c = fg_pool_join(pool.blocks.c)

    def __dealloc__(self):
        if self.blocks is not None:
            pool_leave(self.blocks.c, self.c)

    def __reduce__(self):
        raise TypeError("a handle can't be copied or pickled")

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()

    def acquire(self):
        """Take a block; None if there is none, caches of other threads aside."""
        cdef uint32_t block = pool_acquire(self.blocks.c, self.c)
        if block == FG_POOL_NONE:
            return None
        try:
            number = <object>block
        except MemoryError:
            pool_release(self.blocks.c, self.c, block)
            raise
        self.blocks.taken[block] = 1
        return number

    def release(self, block):
        """Give a block back, whoever took it.

        Raises
        ------
        InvalidParameterError
            It is no block of this pool, or not taken.
        """
        cdef int overflow = 0
        cdef long long number = -1
        if type(block) is int:
            number = PyLong_AsLongLongAndOverflow(block, &overflow)     # -1 if it overflows
        if not 0 <= number < <long long>self.blocks.capacity:
            number = integer_of(block, "block", 0, self.blocks.capacity - 1)
        if not self.blocks.taken[number]:
            raise InvalidParameterError("the block is not taken: it was given back already", block=number)
        self.blocks.taken[number] = 0
        pool_release(self.blocks.c, self.c, <uint32_t>number)

    def close(self):
        """Give up the cache; the handle goes on working without one."""
        pool_leave(self.blocks.c, self.c)
        self.c = NULL
