from libc.stdint cimport uint32_t, uint64_t

cdef extern from "sampler.h" nogil:
    ctypedef struct fg_candidate:
        pass
    ctypedef struct fg_list:
        size_t capacity
        float *scores
        float *weights
        float *groups
        uint32_t *ids
        uint32_t *order
        uint64_t *keys
        uint64_t *other_keys
    ctypedef struct fg_workspace:
        size_t capacity
        float *lane_maxima
        float *cleansed
        double *block_mass
        double *other_mass
        uint32_t *mask
        uint32_t *patch_starts
        fg_candidate *candidates
        fg_list list


cdef class Workspace:
    """Memory for one row at a time. One thread uses it at a time; samplers may share it."""

    cdef fg_workspace c

    cdef int reserve(self, size_t count, size_t k, bint cleansed, bint candidates) except -1
    cdef void release(self) noexcept

cdef void *taken(void *memory) except NULL
