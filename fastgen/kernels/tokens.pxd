from libc.stdint cimport int32_t

from cpython.buffer cimport Py_buffer

cdef class Tokens:
    """Token ids that somebody else owns, or a copy as int32 where they are something else."""

    cdef const int32_t *ids
    cdef size_t count
    cdef int32_t *copied
    cdef Py_buffer view
    cdef bint has_view

    cdef int from_buffer(self, object buffer) except -1
    cdef int from_items(self, tuple items) except -1

cdef Tokens borrow(object tokens)                           # any values of int32
cdef Tokens borrow_ids(object tokens)                       # none below 0
cdef int32_t id_of(object token) except -1
cdef size_t integer_of(object value, str name, size_t low, size_t high) except? 0

# Nothing is checked below; csrc/kernels/tokens.h says what holds.
cdef size_t recall(const int32_t *tokens, size_t count, const int32_t *pattern, size_t size, size_t least,
                   size_t *length) noexcept nogil
cdef size_t recur(const int32_t *earlier, size_t count, int32_t token, int32_t *missing, int32_t first,
                  int32_t step) noexcept nogil
