from fastgen.pipe cimport fg_atomic


cdef class CancellationToken:
    cdef fg_atomic state        # 1 once it is cancelled
    cdef readonly object reason
    cdef CancellationToken parent
    cdef dict observers         # key -> callable(reason)
    cdef object key, clock
    cdef double deadline        # by the clock; infinite if there is none
    cdef object __weakref__

    cdef bint is_cancelled(self) noexcept nogil     # without a look at the clock
