from libc.stdint cimport uint8_t

cdef enum:
    INLINE_BYTES = 256
    INLINE_STRETCHES = 16

cdef struct Stretch:  # of bytes that are trusted alike
    size_t end
    bint trusted

cdef struct Mark:
    size_t length
    size_t count

cdef class PromptBuilder:
    cdef uint8_t inline_bytes[INLINE_BYTES]
    cdef Stretch inline_stretches[INLINE_STRETCHES]
    cdef uint8_t *data
    cdef Stretch *stretches  # the last ends at `length`; neighbors differ in trust, none is empty
    cdef size_t length, capacity
    cdef size_t count, room
    cdef Py_ssize_t messages  # so far
    cdef Py_ssize_t views
    cdef bint replace

    cdef void release(self) noexcept
    cdef int refuse_views(self) except -1
    cdef Mark mark(self) noexcept
    cdef void go_back(self, Mark mark) noexcept
    cdef void truncate(self, size_t length) noexcept
    cdef int have_room(self, size_t more) except -1
    cdef int commit(self, size_t size, bint trusted) except -1
    cdef int put(self, const uint8_t *source, size_t size, bint trusted) except -1
    cdef Py_ssize_t put_str(self, object text, bint trusted) except? -1
    cdef Py_ssize_t put_bytes(self, object text, bint trusted) except? -1
    cdef int put_object(self, object text, bint trusted, Py_ssize_t message) except -1
    cdef int put_turn(self, object role, object content, bint closed) except -1
    cdef int strip(self, size_t start, bint left, bint right) noexcept
