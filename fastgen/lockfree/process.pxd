cdef size_t forks() noexcept nogil          # between the first process and this one: what a handle keeps to compare
cdef int raise_forked() except -1
