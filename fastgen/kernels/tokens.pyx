# cython: language_level=3
"""Kernels over sequences of token ids: check at the door, drop the GIL, call the table.

Ids are taken as int32 without a copy from anything with the buffer protocol whose elements are adjacent, and with one
from other integers of 32 or 64 bits, strided views, tensors and iterables of integers. They are only compared, so
whatever fits int32 is an id here, padding such as -1 included.
"""

from numbers import Integral

cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy

from fastgen cimport cpu
from fastgen.errors import InvalidParameterError

cdef extern from "kernels/tokens.h" nogil:
    ctypedef size_t (*fg_tokens_find_fn)(const int32_t *tokens, size_t count, const int32_t *needle, size_t size)
    ctypedef size_t (*fg_tokens_recall_fn)(const int32_t *tokens, size_t count, const int32_t *pattern, size_t size,
                                           size_t least, size_t *length)
    ctypedef size_t (*fg_tokens_agree_fn)(const int32_t *left, const int32_t *right, size_t count)
    ctypedef size_t (*fg_tokens_recur_fn)(const int32_t *earlier, size_t count, int32_t token, int32_t *missing,
                                          int32_t first, int32_t step)
    ctypedef struct fg_tokens_kernels:
        fg_tokens_find_fn find
        fg_tokens_recall_fn recall
        fg_tokens_agree_fn agree
        fg_tokens_recur_fn recur
    fg_tokens_kernels fg_tokens_select(uint32_t features)

cdef enum:
    LARGEST = 0x7FFFFFFF
    TINY = 1024         # tokens that are searched in less time than dropping the GIL takes

cdef fg_tokens_kernels table


cdef void select(uint32_t features) noexcept:
    global table
    table = fg_tokens_select(features)


cpu.on_change(select)


# What other modules cimport.

cdef size_t recall(const int32_t *tokens, size_t count, const int32_t *pattern, size_t size, size_t least,
                   size_t *length) noexcept nogil:
    return table.recall(tokens, count, pattern, size, least, length)


cdef size_t recur(const int32_t *earlier, size_t count, int32_t token, int32_t *missing, int32_t first,
                  int32_t step) noexcept nogil:
    return table.recur(earlier, count, token, missing, first, step)


# The door.

cdef object shown(object value):
    """Return what an error may tell of a value: integers of thousands of digits have no text."""
    if isinstance(value, Integral):
        value = int(value)
        if -(1 << 63) <= value < 1 << 64:
            return value
    return type(value).__name__


cdef object out_of_range(object token):
    return InvalidParameterError("a token id does not fit its range", code="token_out_of_range",
                                 hint="ids are integers of at least 0 and below 2**31", token=shown(token))


cdef int64_t integer_at(object item) except? -1:
    cdef int overflow = 0
    cdef int64_t value
    if type(item) is not int:
        if isinstance(item, bool) or not isinstance(item, Integral):
            raise InvalidParameterError("a token id must be an integer", type=type(item).__name__)
        item = int(item)
    value = PyLong_AsLongLongAndOverflow(item, &overflow)
    if overflow or not -<int64_t>LARGEST - 1 <= value <= LARGEST:
        raise out_of_range(item)
    return value


cdef int32_t id_of(object token) except -1:
    """Return one id, at least 0."""
    cdef int64_t value = integer_at(token)
    if value < 0:
        raise out_of_range(token)
    return <int32_t>value


cdef size_t integer_of(object value, str name, size_t low, size_t high) except? 0:
    """Return an argument that must be an integer in [low, high]."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        exact = int(value)          # a subclass may say anything when it is compared
        if low <= exact <= high:
            return exact
    raise InvalidParameterError("an argument must be an integer in its range", argument=name, value=shown(value),
                                low=low, high=high)


@cython.final
@cython.freelist(8)
cdef class Tokens:
    def __dealloc__(self):
        PyMem_Free(self.copied)
        if self.has_view:
            PyBuffer_Release(&self.view)

    cdef int from_buffer(self, object buffer) except -1:
        cdef size_t index
        cdef int32_t narrow
        cdef uint32_t unsigned_narrow
        cdef int64_t wide
        cdef const char *element
        try:
            PyObject_GetBuffer(buffer, &self.view, PyBUF_STRIDES | PyBUF_FORMAT)
        except (BufferError, ValueError, TypeError) as error:
            raise InvalidParameterError("token ids do not give their memory away",
                                        type=type(buffer).__name__) from error
        self.has_view = True
        form = (<bytes>self.view.format).decode() if self.view.format != NULL else "B"
        kind = form.lstrip("@=<")
        if kind not in ("i", "l", "q", "I", "L", "Q") or self.view.itemsize not in (4, 8):
            raise InvalidParameterError("token ids must be integers of 32 or 64 bits", hint="convert them first",
                                        format=form)
        if self.view.ndim != 1:
            raise InvalidParameterError("token ids must be one sequence", dimensions=self.view.ndim)
        self.count = self.view.shape[0]
        if (self.view.itemsize == 4 and kind in ("i", "l") and (self.view.strides[0] == 4 or self.count < 2)
                and <uintptr_t>self.view.buf % 4 == 0):
            self.ids = <const int32_t *>self.view.buf
            return 0
        self.copied = <int32_t *>PyMem_Malloc(max(self.count, <size_t>1) * sizeof(int32_t))
        if self.copied == NULL:
            raise MemoryError
        self.ids = self.copied
        is_signed = kind in ("i", "l", "q")
        for index in range(self.count):
            element = <const char *>self.view.buf + <Py_ssize_t>index * self.view.strides[0]
            if self.view.itemsize == 8:
                memcpy(&wide, element, 8)
                if wide < 0 and not is_signed:
                    raise out_of_range(<uint64_t>wide)
            elif is_signed:
                memcpy(&narrow, element, 4)
                wide = narrow
            else:
                memcpy(&unsigned_narrow, element, 4)
                wide = unsigned_narrow
            if not -<int64_t>LARGEST - 1 <= wide <= LARGEST:
                raise out_of_range(wide)
            self.copied[index] = <int32_t>wide
        return 0

    cdef int from_items(self, tuple items) except -1:
        cdef size_t index
        self.count = len(items)
        self.copied = <int32_t *>PyMem_Malloc(max(self.count, <size_t>1) * sizeof(int32_t))
        if self.copied == NULL:
            raise MemoryError
        self.ids = self.copied
        for index in range(self.count):
            self.copied[index] = <int32_t>integer_at(items[index])
        return 0


cdef Tokens borrow(object tokens):
    """Return the ids behind `tokens`; the memory lives as long as the result does."""
    cdef Tokens found = Tokens.__new__(Tokens)
    if isinstance(tokens, (list, tuple)):
        found.from_items(tuple(tokens))
        return found
    if not PyObject_CheckBuffer(tokens) and hasattr(tokens, "numpy"):      # a tensor: its memory, by way of an array
        try:
            tokens = tokens.numpy()
        except (TypeError, RuntimeError) as error:
            raise InvalidParameterError("token ids do not give their memory away", hint="call .cpu() first",
                                        type=type(tokens).__name__) from error
    if PyObject_CheckBuffer(tokens):
        found.from_buffer(tokens)
        return found
    try:
        items = tuple(tokens)
    except TypeError as error:
        raise InvalidParameterError("token ids must be a sequence of integers", type=type(tokens).__name__) from error
    found.from_items(items)
    return found


cdef Tokens borrow_ids(object tokens):
    """Return the ids behind `tokens`, of which none may be below 0."""
    cdef Tokens found = borrow(tokens)
    cdef size_t index
    for index in range(found.count):
        if found.ids[index] < 0:
            raise out_of_range(found.ids[index])
    return found


# The functions of Python.

def find(tokens, ngram):
    """Return the first index at which an n-gram stands, or -1.

    Nearly always two compares a place, on 8 or 16 places at once (W. Mula, "SIMD-friendly algorithms for substring
    searching", 2016): O(count). At most ``len(ngram)`` of them, where the n-gram nearly stands everywhere.

    Parameters
    ----------
    tokens, ngram : array or sequence of int
        Ids, [count] and [size]; int32 is taken without a copy. An empty n-gram stands at 0.

    Returns
    -------
    int

    Raises
    ------
    InvalidParameterError
        Something is no integer, has other dimensions or does not fit int32.
    """
    cdef Tokens haystack = borrow(tokens), needle = borrow(ngram)
    cdef size_t place
    if needle.count == 0:
        return 0
    if haystack.count <= TINY:
        place = table.find(haystack.ids, haystack.count, needle.ids, needle.count)
    else:
        with nogil:
            place = table.find(haystack.ids, haystack.count, needle.ids, needle.count)
    return place if place < haystack.count else -1


def find_last(tokens, ngram):
    """Return the last index at which an n-gram stands, or -1; an empty one stands at the end.

    Arguments, cost and errors are those of `find`; the search begins at the end.
    """
    cdef Tokens haystack = borrow(tokens), needle = borrow(ngram)
    cdef size_t behind, length
    if needle.count == 0:
        return haystack.count
    if haystack.count <= TINY:
        behind = table.recall(haystack.ids, haystack.count, needle.ids, needle.count, needle.count, &length)
    else:
        with nogil:
            behind = table.recall(haystack.ids, haystack.count, needle.ids, needle.count, needle.count, &length)
    return behind - needle.count if behind else -1


def common_prefix(left, right):
    """Return how many tokens two sequences share from the start on: what a cache of one is worth to the other.

    Parameters
    ----------
    left, right : array or sequence of int
        Ids, as `find` takes them; the lengths may differ.

    Returns
    -------
    int

    Raises
    ------
    InvalidParameterError
        Something is no integer, has other dimensions or does not fit int32.
    """
    cdef Tokens one = borrow(left), other = borrow(right)
    cdef size_t count = min(one.count, other.count)
    if count <= TINY:
        return table.agree(one.ids, other.ids, count)
    with nogil:
        count = table.agree(one.ids, other.ids, count)
    return count
