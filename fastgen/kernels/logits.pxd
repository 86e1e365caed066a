from libc.stdint cimport uint32_t

from fastgen.kernels.rows cimport fg_dtype

cdef extern from "kernels/logits.h" nogil:
    enum: FG_LANES, FG_BLOCK
    ctypedef struct fg_domain:
        float max
        float scale
        float bound
        size_t first_tie
        size_t end_tie
    ctypedef struct fg_cut_room:
        float *scores
        float *copy
        uint32_t *indices
        size_t capacity
    ctypedef struct fg_moments:
        double count
        double sum
        double squares
    ctypedef struct fg_logits_kernels
    fg_domain fg_whole_row(float max, double temperature, size_t count)

cdef const fg_logits_kernels *kernels_in_use() noexcept nogil       # the table itself: a change of level is seen
cdef float scan(fg_dtype dtype, const void *row, size_t count, const uint32_t *mask, float *lane_maxima) noexcept nogil
cdef size_t find(fg_dtype dtype, const void *row, size_t count, float value) noexcept nogil
cdef double mass(fg_dtype dtype, const void *row, size_t count, const float *lane_maxima, const fg_domain *domain,
                 double *block_mass) noexcept nogil
cdef double surprisal(fg_dtype dtype, const void *row, size_t count, const float *lane_maxima, const fg_domain *domain,
                      double *block_mass, double *surprisal_sum) noexcept nogil
cdef fg_moments moments(fg_dtype dtype, const void *row, size_t count, float shift) noexcept nogil
cdef void lift(fg_dtype dtype, const void *block, size_t count, const uint32_t *mask, float ceiling,
               float *scores) noexcept nogil
cdef void weigh(fg_dtype dtype, const void *block, size_t count, const fg_domain *domain, float *weights) noexcept nogil
cdef void cut(fg_dtype dtype, const void *row, size_t count, const float *lane_maxima, size_t k, fg_cut_room *room,
              fg_domain *domain) noexcept nogil
cdef size_t cut_capacity(size_t count, size_t k) noexcept nogil
cdef float score_at(fg_dtype dtype, const void *row, size_t index) noexcept nogil
cdef const void *row_at(fg_dtype dtype, const void *row, size_t index) noexcept nogil
cdef object nonfinite(fg_dtype dtype, const void *row, size_t count, dict where)
cdef object no_candidates(dict where)
