# cython: language_level=3, boundscheck=False, wraparound=False
"""The bytes of every token of a vocabulary, in one stretch of memory that C code reads without Python."""

from operator import index

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uintptr_t
from libc.string cimport memcpy, memset

import numpy as np

from fastgen.errors import InvalidParameterError

cdef enum:
    ALIGNMENT = 64


@cython.final
cdef class ByteTable:
    """The bytes of the tokens, one after the other.

    Parameters
    ----------
    blob : bytes or contiguous uint8 array
        The bytes of all tokens; copied.
    lengths : iterable of int
        How many of them each token has.
    count : int
        Number of tokens.

    Attributes
    ----------
    blob : bytes
    offsets : ndarray of uint32, [vocabulary + 1]
        The bytes of token ``i`` are ``blob[offsets[i]:offsets[i + 1]]``. Both are copies, made when asked for.

    Raises
    ------
    InvalidParameterError
        The lengths are not `count` in number, or not those of the blob; 2**32 bytes and more, or 2**31 tokens and more.

    Notes
    -----
    The table takes 4 bytes for each token and its bytes once; 64 zero bytes stand behind the last, so that C code may
    read whole registers.
    """

    def __cinit__(self, const uint8_t[::1] blob not None, lengths, count):
        cdef size_t size = blob.shape[0], end = 0, token = 0
        cdef Py_ssize_t length
        cdef uint8_t *bytes
        cdef uint32_t *offsets
        if not 0 <= count < 1 << 31:
            raise InvalidParameterError("a table of tokens has fewer than 2**31 of them", count=count)
        bytes = self.reserve(count, size)
        offsets = <uint32_t *>self.begins
        for one in lengths:
            length = one
            if token == self.count or length < 0 or <size_t>length > size - end:
                break
            end += length
            token += 1
            offsets[token] = <uint32_t>end
        else:
            if token == self.count and end == size:
                if size:
                    memcpy(bytes, &blob[0], size)
                return
        raise InvalidParameterError("the lengths of the tokens are not those of their bytes", bytes=size, count=count)

    def __dealloc__(self):
        PyMem_Free(self.memory)

    cdef uint8_t *reserve(self, size_t count, size_t size) except NULL:
        """Take memory, zeroed but for the tokens' bytes, which start where this returns."""
        cdef size_t room = ALIGNMENT + size + BYTES_PADDING
        if size >= <size_t>1 << 32:
            raise InvalidParameterError("a table of tokens has fewer than 2**32 bytes", bytes=size)
        room += -room % sizeof(uint32_t)
        self.memory = PyMem_Malloc(room + (count + 1) * sizeof(uint32_t))
        if self.memory == NULL:
            raise MemoryError
        self.count = <uint32_t>count
        cdef uint8_t *bytes = <uint8_t *>((<uintptr_t>self.memory + ALIGNMENT - 1) & ~<uintptr_t>(ALIGNMENT - 1))
        memset(bytes + size, 0, BYTES_PADDING)
        self.data = bytes
        self.begins = <const uint32_t *>(<uint8_t *>self.memory + room)
        memset(<void *>self.begins, 0, (count + 1) * sizeof(uint32_t))
        return bytes

    @staticmethod
    def of(pieces):
        """Make a table of the bytes of each token."""
        return ByteTable(b"".join(pieces), map(len, pieces), len(pieces))

    def __len__(self):
        return self.count

    def __reduce__(self):
        return ByteTable, (self.blob, np.diff(self.offsets).tolist(), self.count)

    @property
    def blob(self):
        return PyBytes_FromStringAndSize(<const char *>self.data, self.begins[self.count])

    @property
    def offsets(self):
        return np.frombuffer(PyBytes_FromStringAndSize(<const char *>self.begins, (self.count + 1) * 4), np.uint32)

    def __getitem__(self, token_id):
        """Return the bytes of a token.

        Raises
        ------
        InvalidParameterError
            ``token_out_of_range``.
        """
        cdef object token = token_id if type(token_id) is int else index(token_id)
        cdef uint32_t place
        if not 0 <= token < self.count:
            raise InvalidParameterError(
                "a token id is outside the vocabulary",
                code="token_out_of_range",
                hint="the ids may come from another model's tokenizer",
                token=token,
                vocab_size=self.count,
            )
        place = token
        return PyBytes_FromStringAndSize(<const char *>self.data + self.begins[place],
                                         self.begins[place + 1] - self.begins[place])
