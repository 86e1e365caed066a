# cython: language_level=3, boundscheck=False, wraparound=False
"""Chunk: what a reader of a stream gets at a time."""

cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uintptr_t


@cython.final
@cython.freelist(512)
@cython.auto_pickle(False)
cdef class Chunk:
    """What a reader gets at a time: one piece as it was put, or several that were merged.

    Attributes
    ----------
    text : str
    token_ids : tuple of int
    payloads : tuple
        The payloads of its pieces, in order; those without one are left out.
    ended : bool
        Whether it is the last of its stream; only sinks and callbacks get one that says so, perhaps without text.
    """

    @property
    def ended(self):
        return self.over

    @property
    def token_ids(self):
        return (self.token,) if self.ids is None else self.ids

    def __repr__(self):
        return f"Chunk({self.text!r}, token_ids={self.token_ids}, payloads={self.payloads}, ended={self.over})"


cdef Chunk ending():
    """Return a chunk that says no more than that this is the end."""
    cdef Chunk chunk = Chunk.__new__(Chunk)
    chunk.text, chunk.ids, chunk.payloads, chunk.over = "", (), (), True
    return chunk


cdef Chunk chunk_of(const uint64_t *words, size_t count):
    """Make a chunk of records, whose payloads it owns from then on."""
    cdef Chunk chunk = Chunk.__new__(Chunk)
    cdef fg_piece sizes
    cdef uint64_t *payloads
    cdef int32_t *tokens
    cdef uint8_t *text
    cdef uint64_t small[SCRATCH]
    cdef size_t i
    fg_records_measure(words, count, &sizes)
    payloads = &small[0]
    if count > SCRATCH:
        payloads = <uint64_t *>PyMem_RawMalloc(count * sizeof(uint64_t))
        if payloads == NULL:
            raise MemoryError
    try:                        # all of a record fits into the words it had
        tokens = <int32_t *>(payloads + sizes.payload_count)
        text = <uint8_t *>(tokens + sizes.token_count)
        fg_records_join(words, count, tokens, payloads, text)
        chunk.payloads = ()
        if sizes.payload_count:
            chunk.payloads = PyTuple_New(sizes.payload_count)
            for i in range(sizes.payload_count):
                PyTuple_SET_ITEM(chunk.payloads, i, <object><PyObject *><uintptr_t>payloads[i])
        if sizes.token_count == 1:
            chunk.token = tokens[0]
        else:
            chunk.ids = tuple([tokens[i] for i in range(sizes.token_count)])
        chunk.text = PyUnicode_DecodeUTF8(<const char *>text, sizes.size, NULL)
    finally:
        if count > SCRATCH:
            PyMem_RawFree(payloads)
    return chunk


cdef void forget(const uint64_t *words, size_t count) noexcept:
    """Let go of the payloads of records that nobody will read."""
    cdef fg_piece sizes
    fg_records_measure(words, count, &sizes)
    if sizes.payload_count:
        try:
            chunk_of(words, count)
        except MemoryError:
            pass
