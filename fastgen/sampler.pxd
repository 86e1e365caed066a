from libc.stdint cimport uint32_t, uint64_t

from fastgen.kernels.logits cimport fg_cut_room, fg_domain
from fastgen.kernels.rows cimport Rows, fg_dtype

cdef enum Fault:
    FAULT_NONE = 0
    FAULT_NONFINITE = 1
    FAULT_NO_CANDIDATES = 2

cdef class Sampler:
    cdef readonly object params
    cdef readonly object vocab_size
    cdef uint64_t _seed
    cdef uint32_t _position, _choice
    cdef bint busy                  # a call is running; others are refused, for they would share its scratch
    cdef double temperature, top_p, min_p
    cdef size_t top_k
    # scratch for rows of up to `capacity` scores
    cdef size_t capacity
    cdef float *lane_maxima
    cdef double *block_mass
    cdef double *next_block_mass
    cdef fg_cut_room room

    cdef object sample_row(self, Rows rows)
    cdef object sample_batch(self, Rows rows, object out)
    cdef int raise_faults(self, Rows rows, object tokens) except -1
    cdef void release(self) noexcept
    cdef int reserve(self, size_t count) except -1
    cdef Fault pick(self, fg_dtype dtype, const void *row, size_t count, uint32_t choice, uint32_t position,
                    size_t *token) noexcept nogil
    cdef size_t draw(self, fg_dtype dtype, const void *row, size_t count, float largest, uint32_t choice,
                     uint32_t position) noexcept nogil
    cdef size_t first_of(self, fg_dtype dtype, const void *row, size_t count, float score) noexcept nogil
    cdef size_t locate(self, fg_dtype dtype, const void *row, size_t count, const fg_domain *domain,
                       double target) noexcept nogil
    cdef bint is_in_nucleus(self, fg_dtype dtype, const void *row, size_t count, const fg_domain *before, double limit,
                            double *held) noexcept nogil
