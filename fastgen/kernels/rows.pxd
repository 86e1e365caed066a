from libc.stdint cimport int64_t, uint32_t

from cpython.buffer cimport Py_buffer

cdef extern from "base/base.h" nogil:
    ctypedef enum fg_dtype:
        FG_FLOAT32
        FG_BFLOAT16
        FG_FLOAT16

cdef class Rows:
    """Logits that somebody else owns: a borrowed pointer, kept valid by what the object holds."""

    cdef const char *data
    cdef size_t rows, count
    cdef int64_t row_stride         # bytes from row to row
    cdef fg_dtype dtype
    cdef bint is_batch              # the caller gave [rows, vocab], not [vocab]
    cdef object owner               # a tensor or a DLPack capsule
    cdef Py_buffer view             # or an open export, from PyObject_GetBuffer
    cdef bint has_view

    cdef int set_shape(self, tuple shape, tuple strides) except -1
    cdef int from_tensor(self, object tensor) except -1
    cdef int from_buffer(self, object buffer) except -1
    cdef int from_dlpack(self, object producer) except -1

cdef class Words:
    """A bitmask that somebody else owns: 32-bit words, of one row or of each."""

    cdef const uint32_t *data
    cdef size_t stride              # words from row to row; 0 if all rows share one
    cdef Py_buffer view
    cdef bint has_view

cdef bint is_remote(object logits) except -1
cdef Rows borrow(object logits)
cdef Words borrow_words(object mask, size_t words, size_t rows)
cdef const uint32_t *words_of(Words words, size_t row) noexcept nogil        # NULL for None
