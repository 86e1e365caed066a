# cython: language_level=3, cdivision=True
"""Typed pools of memory: token ids, text, tensors. What is given back is kept for the next one who asks.

Memory is aligned to 64 bytes and not cleared. Pools are bounded, follow use and shrink under pressure; what does not
fit comes from the heap: see `fastgen.blocks`. Taking and giving back hold the GIL; what is in a buffer may be read and
written without it. In the child of a fork() pools and buffers go on with the child's copy of the memory.
"""

cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid, PyCapsule_New
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t

from fastgen.blocks cimport DIMENSIONS, MAX_BYTES, Header, Pool, header_of
from fastgen.kernels.tokens cimport integer_of

from fastgen.blocks import PoolStats, stats, trim
from fastgen.errors import InvalidParameterError, missing_dependency
from fastgen.pressure import memory_limit, pressure, set_memory_limit

__all__ = ["Buffer", "PoolStats", "TensorPool", "TextPool", "TokenPool", "memory_limit", "pressure",
           "set_memory_limit", "stats", "trim"]


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
    pool.look_at_pressure()
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
