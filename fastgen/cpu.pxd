from libc.stdint cimport uint32_t

ctypedef void (*on_change_fn)(uint32_t features) noexcept

cdef int on_change(on_change_fn select) except -1
