from fastgen.blocks cimport Pool


cdef class Buffer:
    cdef Pool pool
    cdef void *data             # NULL after it went back
    cdef Py_ssize_t count       # elements
    cdef Py_ssize_t viewed
    cdef unsigned char kind, ndim
    cdef bint given_back

    cdef int check(self) except -1
    cdef void finish(self) noexcept


cdef class TokenPool(Pool):
    cdef int kind


cdef class TextPool(Pool):
    pass


cdef class TensorPool(Pool):
    cdef int kind
