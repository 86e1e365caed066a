cdef size_t block_size(size_t size) noexcept
cdef void *take(size_t size) except NULL
cdef void give(void *block, size_t size) noexcept
