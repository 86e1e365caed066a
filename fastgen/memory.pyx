# cython: language_level=3, cdivision=True
"""Typed pools of memory: token ids, text, tensors. What is given back is kept for the next one who asks.

A request is rounded up to a size class: powers of two and the halves between them. Each class has a lock-free pool of
blocks (`fastgen.lockfree.pool`) and shrinks to what was in use lately. Memory is aligned to 64 bytes and not cleared.
Pools are bounded; what does not fit comes from the heap and goes back to it. Taking and giving back hold the GIL;
what is in a buffer may be read and written without it.
"""

cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid, PyCapsule_New
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t, uintptr_t

from fastgen.kernels.tokens cimport integer_of
from fastgen.lockfree.pool cimport (
    FG_POOL_NONE, pool_acquire, pool_free, pool_join, pool_leave, pool_make, pool_release,
)

import weakref
from typing import NamedTuple

from fastgen.errors import InvalidParameterError, missing_dependency
from fastgen.pressure import memory_limit, pressure, set_memory_limit

__all__ = ["Buffer", "Pool", "PoolStats", "TensorPool", "TextPool", "TokenPool", "memory_limit", "pressure",
           "set_memory_limit", "stats", "trim"]

cdef extern from *:
    """
    #if defined(_MSC_VER) && !defined(__clang__)
    static int fg_log2_of(size_t size) { int power = 0; while (power < 63 && (size_t)1 << power < size) power++; return power; }
    #else
    static int fg_log2_of(size_t size) { return size <= 1 ? 0 : 64 - __builtin_clzll((unsigned long long)size - 1); }
    #endif
    """
    int fg_log2_of(size_t size) noexcept nogil      # of the next power of two

cdef enum:
    ALIGNMENT = 64
    HEADER = 192
    DIMENSIONS = 8
    SMALLEST = 6                    # log2 of bytes
    LARGEST = SMALLEST + (CLASSES - 1) // 2
    CACHE = 128                     # blocks
    MOST_BLOCKS = 1 << 15           # of a class
    SWEEP = 4096                    # draws between two looks at which classes are used

HIGH_PRESSURE = 0.9
"""The share of the memory limit from which on pools keep nothing that is not in use."""

cdef size_t CHECK_BYTES = 1 << 24   # of new memory, between two looks at the pressure
cdef size_t MAX_BYTES = <size_t>1 << 46
cdef size_t new_bytes = 1 << 24     # since the last look; the first allocation looks
cdef bint pressed = False
pools = weakref.WeakSet()


cdef struct Header:                 # stands before the data: HEADER bytes
    Py_ssize_t shape[DIMENSIONS]    # of a tensor; those of one dimension have it in the object
    Py_ssize_t strides[DIMENSIONS]
    void *whole
    SizeClass *size_class           # NULL: from the heap
    size_t size
    uint32_t block
    uint32_t padding[9]


cdef Header *header_of(void *data) noexcept:
    return <Header *>(<char *>data - HEADER)


cdef size_t room_of(void *data) noexcept:
    return header_of(data).size


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
    """What `TokenPool`, `TextPool` and `TensorPool` have in common."""

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


cdef int look_at_pressure() except -1:
    """Now and then, before new memory: whether pools may keep anything. Runs Python code, so other threads too."""
    global new_bytes, pressed
    new_bytes = 0
    pressed = pressure() >= HIGH_PRESSURE
    if pressed:
        trim()
    return 0


# Types.

cdef struct Kind:
    const char *form        # of the struct module
    Py_ssize_t size
    unsigned char code      # of DLPack

cdef Kind[7] KINDS
KINDS[0] = Kind(b"i", 4, 0)
KINDS[1] = Kind(b"q", 8, 0)
KINDS[2] = Kind(b"B", 1, 1)
KINDS[3] = Kind(b"f", 4, 2)
KINDS[4] = Kind(b"e", 2, 2)
KINDS[5] = Kind(b"H", 2, 4)         # the buffer protocol has no bfloat16: its bits
KINDS[6] = Kind(b"d", 8, 2)
TOKENS = {"int32": 0, "int64": 1}
TENSORS = {"int32": 0, "int64": 1, "uint8": 2, "float32": 3, "float16": 4, "bfloat16": 5, "float64": 6}


cdef int kind_of(object dtype, dict known) except -1:
    if isinstance(dtype, str) and dtype in known:
        return known[dtype]
    raise InvalidParameterError("no such dtype", hint="one of " + ", ".join(known), dtype=repr(dtype))


cdef Py_ssize_t count_of(object count) except -1:
    cdef Py_ssize_t number
    if type(count) is int:
        try:
            number = count
        except OverflowError:
            number = -1
        if 0 <= number <= <Py_ssize_t>MAX_BYTES:
            return number
    return integer_of(count, "count", 0, MAX_BYTES)


cdef Buffer lend(Pool pool, int kind, Py_ssize_t count):
    """Return a buffer of one dimension."""
    cdef Buffer buffer
    if new_bytes >= CHECK_BYTES:
        look_at_pressure()
    buffer = Buffer.__new__(Buffer)
    buffer.data = pool.draw(count * KINDS[kind].size)       # at most 2^49 bytes, more than there are
    buffer.pool = pool
    buffer.count = count
    buffer.kind = kind
    buffer.ndim = 1
    return buffer


@cython.final
cdef class TokenPool(Pool):
    """Buffers of token ids.

    Parameters
    ----------
    dtype : {"int32", "int64"}
    limit : int, default 64 MiB
        Bytes that the pool may hold; what is asked for beyond comes from the heap.
    name : str, optional
        Under which `fastgen.memory.stats` has it; the class's by default.

    Raises
    ------
    InvalidParameterError
        An argument is out of its range.

    Examples
    --------
    >>> pool = TokenPool(dtype="int64")
    >>> with pool.take(4096) as buffer:
    ...     ids = memoryview(buffer)
    ...     ids[0] = 17
    """

    def __init__(self, dtype="int32", *, limit=None, name=None):
        self.kind = kind_of(dtype, TOKENS)

    def take(self, count):
        """Return a `Buffer` of so many ids, whose values are left from before.

        Raises
        ------
        InvalidParameterError
            The count is negative or no integer.
        MemoryError
            There is no memory, not even after all pools were trimmed.
        """
        return lend(self, self.kind, count_of(count))

    def take_many(self, count, buffers):
        """Return a list of so many buffers of `count` ids each, in less time than as many calls of `take`."""
        cdef Py_ssize_t size = count_of(count), i
        cdef list taken = [None] * count_of(buffers)
        for i in range(len(taken)):
            taken[i] = lend(self, self.kind, size)
        return taken


@cython.final
cdef class TextPool(Pool):
    """Buffers of bytes.

    Parameters
    ----------
    limit : int, default 64 MiB
        Bytes that the pool may hold; what is asked for beyond comes from the heap.
    name : str, optional
        Under which `fastgen.memory.stats` has it; the class's by default.

    Raises
    ------
    InvalidParameterError
        An argument is out of its range.
    """

    def __init__(self, *, limit=None, name=None):
        pass

    def take(self, size):
        """Return a `Buffer` of so many bytes, whose values are left from before; raises as `TokenPool.take`."""
        return lend(self, 2, count_of(size))


@cython.final
cdef class TensorPool(Pool):
    """Buffers of one or more dimensions in CPU memory, which torch and NumPy can view: caches, staging of logits.

    Parameters
    ----------
    dtype : {"float32", "float16", "bfloat16", "float64", "int32", "int64", "uint8"}
    limit : int, default 64 MiB
        Bytes that the pool may hold; what is asked for beyond comes from the heap.
    name : str, optional
        Under which `fastgen.memory.stats` has it; the class's by default.

    Raises
    ------
    InvalidParameterError
        An argument is out of its range.
    """

    def __init__(self, dtype="float32", *, limit=None, name=None):
        self.kind = kind_of(dtype, TENSORS)

    def take(self, *shape):
        """Return a `Buffer` of this shape, in C order, whose values are left from before.

        Raises
        ------
        InvalidParameterError
            There are no dimensions or more than eight, one is negative or no integer, or all are too many elements.
        MemoryError
            There is no memory, not even after all pools were trimmed.
        """
        cdef Py_ssize_t sizes[DIMENSIONS]
        cdef Py_ssize_t count = 1, stride = KINDS[self.kind].size, i, ndim = len(shape)
        cdef Header *header
        cdef Buffer buffer
        if not 1 <= ndim <= DIMENSIONS:
            raise InvalidParameterError("a tensor has one to eight dimensions", dimensions=ndim)
        for i in range(ndim):
            sizes[i] = count_of(shape[i])
            if count > <Py_ssize_t>MAX_BYTES // max(sizes[i], 1):
                raise InvalidParameterError("too many elements", limit=MAX_BYTES)
            count *= sizes[i]
        buffer = lend(self, self.kind, count)
        buffer.ndim = <unsigned char>ndim
        header = header_of(buffer.data)
        for i in range(ndim - 1, -1, -1):
            header.shape[i], header.strides[i] = sizes[i], stride
            stride *= max(sizes[i], 1)
        return buffer


# Buffers.

cdef struct DLTensor:               # dlpack.h, version 0.8
    void *data
    int32_t device_type
    int32_t device_id
    int32_t ndim
    uint8_t code
    uint8_t bits
    uint16_t lanes
    int64_t *shape
    int64_t *strides
    uint64_t byte_offset

cdef struct DLManagedTensor:
    DLTensor tensor
    void *manager
    void (*deleter)(DLManagedTensor *) noexcept


cdef struct Export:
    DLManagedTensor managed
    int64_t shape[DIMENSIONS]


cdef void end_export(DLManagedTensor *managed) noexcept with gil:
    cdef Buffer buffer = <Buffer>managed.manager
    buffer.viewed -= 1
    buffer.finish()
    PyMem_RawFree(managed)
    Py_DECREF(buffer)


cdef void end_capsule(object capsule) noexcept:
    """A capsule that nobody made a tensor of."""
    if PyCapsule_IsValid(capsule, b"dltensor"):
        end_export(<DLManagedTensor *>PyCapsule_GetPointer(capsule, b"dltensor"))


@cython.final
@cython.no_gc
@cython.freelist(256)
cdef class Buffer:
    """Memory of a pool, for as long as the object or a view of it lives: made by a pool's `take`.

    It is viewed as ``memoryview(buffer)``, ``numpy.asarray(buffer)``, ``numpy.from_dlpack(buffer)``, and by `tensor`.
    It goes back to its pool at the end of a ``with`` block, by `release`, or when it is dropped. While views exist the
    memory stays theirs: it goes back when the last of them does, and never sooner. After `release` no view can be made.
    """

    def __init__(self):
        raise TypeError("buffers are taken from a pool")

    def __dealloc__(self):
        if self.data != NULL:
            self.pool.restore(self.data)

    def __reduce__(self):
        raise TypeError("a buffer can't be copied or pickled")

    cdef int check(self) except -1:
        if self.data == NULL or self.given_back:
            raise InvalidParameterError("the buffer was given back", hint="take another one from its pool")
        return 0

    cdef void finish(self) noexcept:
        """Give the memory back if that is due."""
        cdef void *data = self.data
        if self.given_back and self.viewed == 0 and data != NULL:
            self.data = NULL
            self.pool.restore(data)

    def release(self):
        """Give the memory back, now or when the last view of it goes. May be called again.

        Returns
        -------
        bool
            Whether it is back in the pool: False while there are views.
        """
        self.given_back = True
        self.finish()
        return self.data == NULL

    def __enter__(self):
        self.check()
        return self

    def __exit__(self, kind, error, trace):
        self.release()

    @property
    def shape(self):
        """Its dimensions, as a tuple."""
        if self.ndim <= 1 or self.data == NULL:
            return (self.count,)
        return tuple([header_of(self.data).shape[i] for i in range(self.ndim)])

    def __len__(self):
        return self.shape[0]

    @property
    def nbytes(self):
        """Its size in bytes."""
        return self.count * KINDS[self.kind].size

    @property
    def views(self):
        """How many views of it there are."""
        return self.viewed

    def __getbuffer__(self, Py_buffer *view, int flags):
        if self.data == NULL or self.given_back:
            view.obj = None
            self.check()
        cdef Kind *kind = &KINDS[self.kind]
        view.buf = self.data
        view.obj = self
        view.len = self.count * kind.size
        view.itemsize = kind.size
        view.readonly = 0
        view.ndim = self.ndim
        view.format = <char *>kind.form if flags & PyBUF_FORMAT else NULL
        view.shape = view.strides = NULL
        if flags & PyBUF_ND:
            view.shape = &self.count if self.ndim == 1 else header_of(self.data).shape
        if flags & PyBUF_STRIDES == PyBUF_STRIDES:
            view.strides = &kind.size if self.ndim == 1 else header_of(self.data).strides
        view.suboffsets = NULL
        view.internal = NULL
        self.viewed += 1

    def __releasebuffer__(self, Py_buffer *view):
        self.viewed -= 1
        self.finish()

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        """Return a capsule for ``from_dlpack`` of NumPy, torch and others.

        Raises
        ------
        InvalidParameterError
            The buffer was given back.
        BufferError
            Another device or a copy is wanted.
        """
        cdef Export *made
        cdef int i
        self.check()
        if copy or (dl_device is not None and tuple(dl_device) != (1, 0)):
            raise BufferError("a buffer is viewed where it is, in CPU memory")
        made = <Export *>PyMem_RawCalloc(1, sizeof(Export))
        if made == NULL:
            raise MemoryError
        for i in range(self.ndim):
            made.shape[i] = self.count if self.ndim == 1 else header_of(self.data).shape[i]
        made.managed.tensor.data = self.data
        made.managed.tensor.device_type = 1
        made.managed.tensor.ndim = self.ndim
        made.managed.tensor.code = KINDS[self.kind].code
        made.managed.tensor.bits = <uint8_t>(8 * KINDS[self.kind].size)
        made.managed.tensor.lanes = 1
        made.managed.tensor.shape = made.shape          # no strides: C order
        made.managed.manager, made.managed.deleter = <void *>self, end_export
        try:
            capsule = PyCapsule_New(made, b"dltensor", end_capsule)
        except MemoryError:
            PyMem_RawFree(made)
            raise
        Py_INCREF(self)
        self.viewed += 1
        return capsule

    def __dlpack_device__(self):
        return 1, 0

    def tensor(self):
        """Return a torch tensor that views the buffer; torch is imported now.

        Raises
        ------
        MissingDependencyError
            torch is not installed.
        InvalidParameterError
            The buffer was given back.
        """
        self.check()
        try:
            from torch.utils.dlpack import from_dlpack
        except ImportError as error:
            raise missing_dependency("torch", "torch", "a tensor") from error
        return from_dlpack(self)
