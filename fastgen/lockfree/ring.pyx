# cython: language_level=3
"""Ring: integers from one thread to another, in order, without a lock."""

from numbers import Integral

cimport cython
from cpython.buffer cimport PyBUF_CONTIG, PyBUF_CONTIG_RO, PyBUF_FORMAT
from cpython.buffer cimport PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_FromLong, PyLong_FromLongLong
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_RawFree, PyMem_RawMalloc
from cpython.ref cimport Py_INCREF, PyObject
from libc.stdint cimport uintptr_t

from fastgen.errors import InvalidParameterError, StreamClosedError

from fastgen.kernels.tokens cimport integer_of
from fastgen.lockfree.process cimport forks, raise_forked

cdef extern from "Python.h":
    void Py_SET_SIZE(PyObject *list, Py_ssize_t size)

cdef extern from "base/base.h" nogil:
    size_t FG_DESTRUCTIVE_INTERFERENCE

MAX_CAPACITY = 1 << 24
"""The most items that a ring or a bounded queue can have room for."""

cdef size_t MAX_COUNT = <size_t>-1 >> 4


cdef size_t capacity_of(object capacity, size_t least) except 0:
    cdef size_t wanted = integer_of(capacity, "capacity", 1, MAX_CAPACITY), rounded = least
    while rounded < wanted:
        rounded *= 2
    return rounded


cdef void *aligned(void *memory) noexcept nogil:
    return <void *>((<uintptr_t>memory + FG_DESTRUCTIVE_INTERFERENCE - 1) & ~(FG_DESTRUCTIVE_INTERFERENCE - 1))


cdef int64_t int64_of(object value) except? -1:
    cdef int overflow = 0
    cdef int64_t number
    if type(value) is not int:
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise InvalidParameterError("a value must be an integer", type=type(value).__name__)
        value = int(value)
    number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow:
        raise InvalidParameterError("a value must fit into 64 bits, with a sign")
    return number


cdef inline object int_of(uint64_t word):
    # of the two functions this has a short way for values of one digit
    return PyLong_FromLong(<long>word) if sizeof(long) == 8 else PyLong_FromLongLong(<int64_t>word)


cdef bint is_int64(Py_buffer *view) noexcept:
    """Whether the elements of a buffer are native int64."""
    cdef char kind
    if view.itemsize != 8 or view.format == NULL:
        return False
    kind = view.format[1] if view.format[0] in (b"@", b"=") else view.format[0]
    return kind == b"q" or kind == b"l"


@cython.final
cdef class Ring:
    """A bounded queue of 64-bit integers from one producer to one consumer.

    Nothing waits: what doesn't fit is not pushed, and an empty ring has nothing to pop. Under the GIL any thread may be
    producer or consumer for a call; C code that uses the ring without the GIL must keep to one of each.

    Parameters
    ----------
    capacity : int
        Room for at least so many values, in [1, 2^24]; rounded up to a power of two.

    Raises
    ------
    InvalidParameterError
        The capacity is out of its range.

    Notes
    -----
    After a ``fork()`` the child's calls raise `ForkedError`. All operations are wait-free; memory is 8 bytes for each
    value that there is room for, and 400 bytes. L. Lamport, "Specifying concurrent program modules", ACM TOPLAS 5(2),
    1983.

    Examples
    --------
    >>> ring = Ring(4)
    >>> ring.push_many([1, 2, 3])
    3
    >>> ring.pop()
    1
    >>> ring.close()
    True
    >>> ring.pop_many()
    [2, 3]
    """

    def __cinit__(self, capacity):
        cdef size_t bytes
        self.born = forks()
        self.room = capacity_of(capacity, 1)
        bytes = fg_ring_bytes(self.room, 1)
        self.memory = PyMem_RawMalloc(sizeof(fg_ring) + bytes + FG_DESTRUCTIVE_INTERFERENCE)
        if self.memory == NULL:
            raise MemoryError
        self.c = <fg_ring *>aligned(self.memory)
        fg_ring_init(self.c, self.room, 1, self.c + 1)

    def __dealloc__(self):
        PyMem_RawFree(self.memory)

    cdef size_t put(self, const int64_t *values, size_t count) noexcept nogil:
        return fg_ring_offer(self.c, <const uint64_t *>values, count)

    cdef size_t take(self, int64_t *values, size_t count) noexcept nogil:
        return fg_ring_pop(self.c, <uint64_t *>values, count)

    cdef int enter(self) except -1:
        if self.born != forks():
            raise_forked()
        return 0

    cdef int refuse_if_closed(self) except -1:
        if fg_ring_is_closed(self.c):
            raise StreamClosedError("the ring is closed")
        return 0

    cdef int refuse_if_drained(self) except -1:
        if fg_ring_is_drained(self.c):
            raise StreamClosedError("the ring is closed, and everything has been popped")
        return 0

    def push(self, value, /):
        """Append a value.

        Parameters
        ----------
        value : int
            In [-2^63, 2^63).

        Returns
        -------
        bool
            Whether there was room.

        Raises
        ------
        StreamClosedError
            The ring is closed.
        InvalidParameterError
            The value is no integer, or out of range.
        """
        cdef int64_t word = int64_of(value)
        self.enter()
        if self.put(&word, 1):
            return True
        self.refuse_if_closed()
        return False

    def push_many(self, values, /):
        """Append values, as many as there is room for, the first ones.

        Parameters
        ----------
        values : sequence of int, or a contiguous buffer of int64
            A NumPy array or ``array("q")`` is copied as it is.

        Returns
        -------
        int
            How many were appended.

        Raises
        ------
        StreamClosedError
            The ring is closed.
        InvalidParameterError
            A value is no integer, or out of range; nothing has been appended.
        """
        cdef Py_buffer view
        cdef size_t pushed
        self.enter()
        if type(values) is not list and type(values) is not tuple:
            if PyObject_CheckBuffer(values):
                PyObject_GetBuffer(values, &view, PyBUF_CONTIG_RO | PyBUF_FORMAT)
                try:
                    if is_int64(&view):
                        pushed = self.put(<const int64_t *>view.buf, view.len // 8)
                        if not pushed:
                            self.refuse_if_closed()
                        return pushed
                finally:
                    PyBuffer_Release(&view)
            values = list(values)
        return self.push_items(values)

    cdef size_t push_items(self, object values) except? 0:
        cdef size_t count = min(<size_t>len(values), self.room), i, pushed
        cdef int64_t few[64]
        cdef int64_t *words = few
        if count > 64:
            words = <int64_t *>PyMem_Malloc(count * sizeof(int64_t))
            if words == NULL:
                raise MemoryError
        try:
            for i in range(count):      # before the first is pushed: what an item does when asked for its value
                words[i] = int64_of(values[i])      # may shorten the list, or use the ring
            pushed = self.put(words, count)
        finally:
            if words != few:
                PyMem_Free(words)
        if not pushed:
            self.refuse_if_closed()
        return pushed

    def pop(self):
        """Remove the oldest value.

        Returns
        -------
        int or None
            None if the ring is empty.

        Raises
        ------
        StreamClosedError
            The ring is closed, and everything has been popped.
        """
        cdef const uint64_t *words
        self.enter()
        if not fg_ring_peek(self.c, &words, 1):
            self.refuse_if_drained()
            return None
        value = int_of(words[0])        # if there is no memory for it, it stays in the ring
        fg_ring_skip(self.c, 1)
        return value

    def pop_many(self, limit=None, /):
        """Remove the oldest values: at most `limit`, or all there are.

        Returns
        -------
        list of int
            Oldest first, empty if the ring is.

        Raises
        ------
        StreamClosedError
            The ring is closed, and everything has been popped.
        InvalidParameterError
            The limit is no integer of at least 1.
        """
        cdef size_t count = self.room if limit is None else integer_of(limit, "limit", 1, MAX_COUNT)
        cdef size_t filled = 0, found, i
        cdef const uint64_t *words
        self.enter()
        count = min(count, fg_ring_count(self.c))
        if not count:
            self.refuse_if_drained()
        values = PyList_New(count)      # may run a collector, and that anything: so there may be fewer now
        while filled < count:
            found = fg_ring_peek(self.c, &words, count - filled)
            if not found:
                Py_SET_SIZE(<PyObject *>values, filled)
                break
            i = 0
            try:
                while i < found:
                    value = int_of(words[i])
                    Py_INCREF(value)
                    PyList_SET_ITEM(values, filled + i, value)
                    i += 1
            except MemoryError:         # what has been made is returned, the rest stays in the ring
                if filled + i == 0:
                    raise
                found = i
                count = filled + i
                Py_SET_SIZE(<PyObject *>values, count)
            filled += found
            fg_ring_skip(self.c, found)
        return values

    def pop_into(self, target, /):
        """Remove the oldest values and write them to a buffer.

        Parameters
        ----------
        target : contiguous, writable buffer of int64

        Returns
        -------
        int
            How many were written: at most what the buffer holds.

        Raises
        ------
        StreamClosedError
            The ring is closed, and everything has been popped.
        InvalidParameterError
            The elements of the buffer are not int64.
        """
        cdef Py_buffer view
        cdef size_t popped
        self.enter()
        PyObject_GetBuffer(target, &view, PyBUF_CONTIG | PyBUF_FORMAT)
        try:
            if not is_int64(&view):
                raise InvalidParameterError("the buffer must hold int64")
            popped = self.take(<int64_t *>view.buf, view.len // 8)
        finally:
            PyBuffer_Release(&view)
        if not popped:
            self.refuse_if_drained()
        return popped

    def close(self):
        """Refuse further values; those inside can still be popped. Any thread may close.

        Returns
        -------
        bool
            Whether it was open.
        """
        self.enter()
        return fg_ring_close(self.c)

    @property
    def closed(self):
        """Whether nothing can be pushed any more."""
        self.enter()
        return fg_ring_is_closed(self.c)

    @property
    def capacity(self):
        """How many values there is room for."""
        return self.room

    def __len__(self):
        self.enter()
        return fg_ring_count(self.c)
