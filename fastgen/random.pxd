from libc.stdint cimport uint32_t, uint64_t

cdef double uniform_at(uint64_t seed, uint32_t choice, uint32_t position, uint32_t purpose,
                       uint32_t attempt) noexcept nogil
