from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from fastgen.history cimport History, fg_edits
from fastgen.kernels.logits cimport fg_logits_kernels
from fastgen.kernels.rows cimport Rows, Words, fg_dtype
from fastgen.workspace cimport Workspace, fg_workspace

cdef extern from "sampler.h" nogil:
    enum: FG_LOGPROBS_NONE
    ctypedef struct fg_op:
        int kind, flags
        double a, b, c
    ctypedef struct fg_plan:
        fg_op *ops
        int count, greedy, replay, logprobs, entropy, mask_nan
        int mode
    ctypedef struct fg_report:
        int failed
        uint32_t id
        double token, entropy, probability
        size_t count
        uint32_t *ids
        float *values
    ctypedef struct fg_passes:
        uint64_t scanned, weighed, filtered, lifted, visited
    ctypedef struct fg_mt19937:
        pass
    ctypedef struct fg_replay:
        fg_mt19937 token, xtc
    ctypedef struct fg_sampler:
        fg_plan plan
        uint64_t seed
        fg_edits *edits
        const uint32_t *allowed
        double mu
        fg_replay *generators
        fg_passes passes
        uint64_t masked
    ctypedef enum fg_fault:
        FG_FAULT_NONE
        FG_FAULT_NONFINITE
        FG_FAULT_NO_CANDIDATES
    ctypedef struct fg_row:
        const fg_logits_kernels *kernels
        const void *data
        fg_dtype dtype
        size_t count
        const uint32_t *mask
        uint32_t choice, position
        double total

cdef class Sampler:
    cdef readonly object params, plan, vocab_size
    cdef fg_sampler c
    cdef History history
    cdef uint32_t _position, _choice
    cdef bint busy                  # a call is running; others are refused, for they would share its scratch
    cdef size_t checked             # row length that all ids of the parameters were checked against
    cdef size_t list_k              # the largest k that a list is needed for
    cdef double total               # mass of the row, if the caller of `_sample` knew it
    cdef Workspace workspace
    # what the last call reported: one entry for each row, `width` of the best in each
    cdef fg_report *reports
    cdef uint32_t *report_ids
    cdef float *report_values
    cdef size_t report_rows, report_width, reported

    cdef int set_plan(self) except -1
    cdef int begin(self, size_t count) except -1
    cdef int enter(self, size_t count) except -1
    cdef void leave(self) noexcept
    cdef fg_fault choose(self, Workspace workspace, Rows rows, size_t row, const uint32_t *mask,
                         uint32_t choice, size_t *token, fg_report *report) noexcept nogil
    cdef object sample_rows(self, object logits, object out, object mask, double total, const double[::1] totals)
    cdef object sample_row(self, Rows rows, Words words)
    cdef object sample_batch(self, Rows rows, Words words, object out, const double[::1] totals)
    cdef int reserve_reports(self, size_t rows, size_t count) except -1
    cdef int check_ids(self, size_t count) except -1

cdef object error_of(fg_fault fault, Rows rows, size_t row, object step)
cdef object report_of(Sampler sampler, size_t row)
cdef tuple tokens_for(size_t rows, object out)
cdef object batch_error(list faults, object tokens, size_t rows)
