# cython: language_level=3, cdivision=True
"""From a row of logits to a token: temperature, top-k, top-p, min-p, without a sort, a copy or an allocation.

A token set such as "the k most likely" or "the nucleus of top-p" is a *prefix* of the row in descending order, lowest
id first among equals. Any prefix is described by its last score and the ids it lets in there (`fg_domain`), so no order
is ever computed. The passes over a row:

1. *scan*: maximum, maxima of lanes, NaN and +inf.
2. *cut*, for top-k: reads the few blocks that can hold one of the k largest.
3. *mass*: the softmax denominator over the prefix, and the sums of its blocks of 256. One uniform number then selects a
   block by its sum and a token in it by its weight.
4. *check*, for top-p: the mass of the tokens before the drawn one, as far as the answer needs it, mostly a small part
   of the row. Below top_p of the whole, the token is in the nucleus. Otherwise the nucleus lies wholly before it, so
   the draw is repeated there with a fresh number. What comes out is distributed as the renormalized nucleus, exactly;
   the expected number of rounds is at most 1 + ln(1 / top_p).

Step 4 is rejection sampling with a shrinking domain, after Z. Ye et al., "Sorting-Free GPU Kernels for LLM Sampling",
FlashInfer blog, 2025. Passes 3 and 4 skip blocks whose maximum lies outside the prefix: peaked rows are hardly read.
"""

import secrets
from numbers import Integral

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.math cimport INFINITY, log
from libc.stdint cimport int32_t, int64_t, uint32_t

from fastgen.errors import FastgenError, InvalidParameterError, LogitsError
from fastgen.kernels.logits cimport (
    FG_BLOCK, FG_LANES, cut, cut_capacity, fg_domain, fg_whole_row, find, mass, no_candidates, nonfinite, row_at, scan,
    score_at, weigh,
)
from fastgen.kernels.rows cimport FG_FLOAT32, Rows, borrow, fg_dtype
from fastgen.params import GREEDY_BELOW, SamplingParams
from fastgen.random cimport uniform_at

cdef extern from "base/fpenv.h" nogil:
    ctypedef unsigned long long fg_fpenv
    fg_fpenv fg_fpenv_enter()
    void fg_fpenv_leave(fg_fpenv before)

cdef extern from "base/random.h" nogil:
    enum: FG_PURPOSE_SAMPLE

cdef enum:
    CHECKED_BLOCKS = 16     # of a row between two looks whether the answer is known

cdef extern from "kernels/logits.h" nogil:
    size_t fg_block_count(size_t count)
    float fg_bound_at(double value)


cdef object error_of(Fault fault, fg_dtype dtype, const void *row, size_t count, size_t index, int64_t step):
    where = {"row": index, "step": step}
    return no_candidates(where) if fault == FAULT_NO_CANDIDATES else nonfinite(dtype, row, count, where)


cdef object integer(str name, object value, object low, object high):
    """Return `value` if it is an integer in [low, high)."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= value < high:
        raise InvalidParameterError("an argument must be an integer in [low, high)", argument=name, value=value,
                                    low=low, high=high)
    return int(value)


@cython.final
cdef class Sampler:
    """Chooses tokens from logits.

    The same seed and logits give the same tokens on every SIMD level, batch size and machine: the uniform number is a
    pure function of (seed, choice, position). `position` counts the calls of `sample`; row r of a batch is choice
    ``choice + r``.

    Parameters
    ----------
    params : SamplingParams, optional
        Neutral without one: temperature 1, nothing cut off.
    vocab_size : int, optional
        Scores in a row. With it, all memory is taken now and rows of another length are refused; without it, memory
        grows when a longer row comes.
    choice : int
        Number of this continuation of its request, below 2**32.

    Notes
    -----
    Memory is 80 bytes for each 256 scores of a row, and with top-k 12 bytes more or 3 KiB k, whichever is larger. One
    sampler serves one thread at a time.
    """

    def __cinit__(self, params=None, vocab_size=None, *, choice=0):
        if params is None:
            params = SamplingParams()
        if not isinstance(params, SamplingParams):
            raise InvalidParameterError("params must be SamplingParams", type=type(params).__name__)
        self.params = params
        self.vocab_size = None if vocab_size is None else integer("vocab_size", vocab_size, 1, 1 << 31)
        self._seed = (secrets.randbits(63) if params.seed is None else params.seed) & 0xFFFFFFFFFFFFFFFF
        self._choice = integer("choice", choice, 0, 1 << 32)
        self.temperature = 0.0 if params.temperature < GREEDY_BELOW else params.temperature
        self.top_k, self.top_p, self.min_p = params.top_k, params.top_p, params.min_p
        if vocab_size is not None:
            self.reserve(vocab_size)

    def __dealloc__(self):
        self.release()

    @property
    def seed(self):
        """The seed in use: the one in `params`, or the one that was drawn."""
        return self._seed if self.params.seed is None else self.params.seed

    @property
    def position(self):
        """How many calls of `sample` came before, failed ones included; set it to repeat or to skip tokens."""
        return self._position

    @position.setter
    def position(self, value):
        self._position = integer("position", value, 0, 1 << 32)

    def __repr__(self):
        return f"Sampler({self.params!r}, vocab_size={self.vocab_size})"

    def sample(self, logits, out=None):
        """Choose a token for each row.

        Parameters
        ----------
        logits : array of float32, bfloat16 or float16, shape [vocab] or [rows, vocab]
            NumPy, torch on the CPU, the buffer protocol or DLPack; not copied and not changed. -inf bars a token.
        out : writable int32 buffer of shape [rows], optional
            Takes the tokens of a batch, and is returned.

        Returns
        -------
        int, or int32 array of shape [rows] for a batch

        Raises
        ------
        LogitsError
            ``logits_nonfinite`` (NaN or +inf; names row, step, first index and counts), ``no_candidates`` (every logit
            is -inf), or ``logits_invalid`` (shape, dtype, device, layout). In a batch all other rows are sampled first:
            ``error.tokens`` holds them, -1 where a row failed, and ``error.rows`` one error for each of those.
        FastgenError
            ``concurrent_use``: another thread is inside this sampler.
        """
        cdef Rows rows = borrow(logits)
        if self.vocab_size is not None and rows.count != <size_t>self.vocab_size:
            raise LogitsError("rows of logits have a wrong length", code="logits_invalid", expected=self.vocab_size,
                              found=rows.count)
        if out is not None and not rows.is_batch:
            raise InvalidParameterError("out is for batches of rows")
        if self.busy:
            raise FastgenError("two threads use one sampler at a time", code="concurrent_use",
                               hint="give each thread a sampler of its own")
        self.busy = True
        try:
            if rows.count > self.capacity:
                self.reserve(rows.count)
            return self.sample_batch(rows, out) if rows.is_batch else self.sample_row(rows)
        finally:
            self.busy = False

    cdef object sample_row(self, Rows rows):
        cdef size_t token
        cdef Fault fault
        cdef fg_fpenv mode
        with nogil:
            mode = fg_fpenv_enter()
            fault = self.pick(rows.dtype, rows.data, rows.count, self._choice, self._position, &token)
            fg_fpenv_leave(mode)
        self._position += 1
        if fault != FAULT_NONE:
            raise error_of(fault, rows.dtype, rows.data, rows.count, 0, <int64_t>self._position - 1)
        return token

    cdef object sample_batch(self, Rows rows, object out):
        cdef size_t row, token
        cdef int32_t[::1] tokens
        cdef Fault fault
        cdef bint any_fault = False
        cdef fg_fpenv mode
        if out is None:
            import numpy as np
            out = np.empty(rows.rows, np.int32)
        try:
            tokens = out
        except (TypeError, ValueError, BufferError) as error:
            hint = "a writable, contiguous int32 buffer"
            raise InvalidParameterError("out can't take the tokens", hint=hint, type=type(out).__name__) from error
        if <size_t>tokens.shape[0] != rows.rows:
            raise InvalidParameterError("out has a wrong length", expected=rows.rows, found=tokens.shape[0])
        with nogil:
            mode = fg_fpenv_enter()
            for row in range(rows.rows):
                fault = self.pick(rows.dtype, rows.data + <int64_t>row * rows.row_stride, rows.count,
                                  self._choice + <uint32_t>row, self._position, &token)
                tokens[row] = -1 if fault != FAULT_NONE else <int32_t>token
                any_fault = any_fault or fault != FAULT_NONE
            fg_fpenv_leave(mode)
        self._position += 1
        if any_fault:
            self.raise_faults(rows, out)
        return out

    cdef int raise_faults(self, Rows rows, object tokens) except -1:
        cdef size_t row
        cdef Fault fault
        cdef const char *data
        faults = []
        for row in range(rows.rows):
            if tokens[row] >= 0:
                continue
            data = rows.data + <int64_t>row * rows.row_stride
            fault = FAULT_NONFINITE if not scan(rows.dtype, data, rows.count, NULL) < INFINITY else FAULT_NO_CANDIDATES
            faults.append(error_of(fault, rows.dtype, data, rows.count, row, <int64_t>self._position - 1))
        error = LogitsError(faults[0].message, code=faults[0].code, **faults[0].details)
        if len(faults) > 1:
            error.hint = f"{len(faults)} of {rows.rows} rows failed; .rows has the error of each"
        error.tokens, error.rows = tokens, tuple(faults)
        raise error

    cdef void release(self) noexcept:
        PyMem_Free(self.lane_maxima)
        PyMem_Free(self.block_mass)
        PyMem_Free(self.next_block_mass)
        PyMem_Free(self.room.scores)
        PyMem_Free(self.room.copy)
        PyMem_Free(self.room.indices)
        self.lane_maxima = self.room.scores = self.room.copy = NULL
        self.block_mass = self.next_block_mass = NULL
        self.room.indices = NULL
        self.capacity = self.room.capacity = 0

    cdef int reserve(self, size_t count) except -1:
        """Take the memory for rows of `count` scores; after a failure the sampler holds none and can try again."""
        cdef size_t blocks = fg_block_count(count), k = min(self.top_k, count)
        cdef size_t room = cut_capacity(count, k) if k else 0
        self.release()
        self.lane_maxima = <float *>PyMem_Malloc(blocks * FG_LANES * sizeof(float))
        self.block_mass = <double *>PyMem_Malloc(blocks * sizeof(double))
        self.next_block_mass = <double *>PyMem_Malloc(blocks * sizeof(double))
        self.room.scores = <float *>PyMem_Malloc((room + FG_LANES) * sizeof(float))
        self.room.copy = <float *>PyMem_Malloc((room + FG_LANES) * sizeof(float))
        self.room.indices = <uint32_t *>PyMem_Malloc((room + FG_LANES) * sizeof(uint32_t))
        if (self.lane_maxima == NULL or self.block_mass == NULL or self.next_block_mass == NULL
                or self.room.scores == NULL or self.room.copy == NULL or self.room.indices == NULL):
            self.release()
            raise MemoryError
        self.capacity, self.room.capacity = count, room
        return 0

    cdef Fault pick(self, fg_dtype dtype, const void *row, size_t count, uint32_t choice, uint32_t position,
                    size_t *token) noexcept nogil:
        """Choose a token from a row of at most `capacity` scores. The caller holds the floating-point mode."""
        cdef float largest = scan(dtype, row, count, self.lane_maxima)
        if not largest < INFINITY:
            return FAULT_NONFINITE
        if largest == -INFINITY:
            return FAULT_NO_CANDIDATES
        if self.temperature == 0.0 or self.top_k == 1:
            token[0] = self.first_of(dtype, row, count, largest)
        else:
            token[0] = self.draw(dtype, row, count, largest, choice, position)
        return FAULT_NONE

    cdef size_t first_of(self, fg_dtype dtype, const void *row, size_t count, float score) noexcept nogil:
        """Return the lowest index whose score is `score`, the largest of the row: the lane maxima tell the block."""
        cdef size_t block = find(FG_FLOAT32, self.lane_maxima, fg_block_count(count) * FG_LANES, score) // FG_LANES
        cdef size_t start = block * FG_BLOCK
        return start + find(dtype, row_at(dtype, row, start), count - start, score)

    cdef size_t draw(self, fg_dtype dtype, const void *row, size_t count, float largest, uint32_t choice,
                     uint32_t position) noexcept nogil:
        cdef fg_domain domain = fg_whole_row(largest, self.temperature, count)
        cdef double total, held, limit, floor
        cdef uint32_t attempt = 0
        cdef size_t token
        if 0 < self.top_k < count:
            cut(dtype, row, count, self.lane_maxima, self.top_k, &self.room, &domain)
        total = held = mass(dtype, row, count, self.lane_maxima, &domain, self.block_mass)
        limit = self.top_p * total
        if self.min_p > 0.0:
            floor = largest + self.temperature * log(self.min_p)
            if floor > domain.bound:
                domain.bound, domain.ties = fg_bound_at(floor), count
                held = mass(dtype, row, count, self.lane_maxima, &domain, self.block_mass)
        while True:
            token = self.locate(dtype, row, count, &domain,
                                held * uniform_at(self._seed, choice, position, FG_PURPOSE_SAMPLE, attempt))
            domain.bound, domain.ties = score_at(dtype, row, token), token      # what comes before the token
            if self.top_p >= 1.0 or self.is_in_nucleus(dtype, row, count, &domain, limit, &held):
                return token
            self.block_mass, self.next_block_mass = self.next_block_mass, self.block_mass
            attempt += 1

    cdef bint is_in_nucleus(self, fg_dtype dtype, const void *row, size_t count, const fg_domain *before, double limit,
                            double *held) noexcept nogil:
        """Return whether the mass of the tokens before the drawn one is below `limit`.

        The draw was from blocks with the sums `block_mass`, together `held`. What of them does not come before the
        token adds up as the row is read: once it exceeds ``held - limit``, the rest can't matter. So a token drawn from
        a nucleus of 0.95 costs a fifth of a pass on average: the integral of 0.05 / q over q. If the answer is no,
        `held` and `next_block_mass` are those of the tokens before the token.
        """
        cdef fg_domain part = before[0]
        cdef double spare = held[0] - limit, left = 0.0, sum_before = 0.0, chunk
        cdef size_t first = 0, block, blocks = fg_block_count(count), start
        if spare < 0.0:
            return True
        while first < blocks:
            start = first * FG_BLOCK
            part.ties = before.ties - start if before.ties > start else 0
            chunk = mass(dtype, row_at(dtype, row, start), min(count - start, <size_t>CHECKED_BLOCKS * FG_BLOCK),
                         self.lane_maxima + first * FG_LANES, &part, self.next_block_mass + first)
            sum_before += chunk
            for block in range(first, min(first + <size_t>CHECKED_BLOCKS, blocks)):
                left += self.block_mass[block]
            left -= chunk
            first += CHECKED_BLOCKS
            if left > spare:
                return True
        held[0] = sum_before
        return sum_before < limit

    cdef size_t locate(self, fg_dtype dtype, const void *row, size_t count, const fg_domain *domain,
                       double target) noexcept nogil:
        """Return the token at `target` on the line of weights in id order; `block_mass` has the sums of the blocks."""
        cdef size_t block, found = 0, length, i, last = 0
        cdef float weights[FG_BLOCK]
        cdef double passed = 0.0, exact = 0.0
        cdef fg_domain local = domain[0]
        for block in range(fg_block_count(count)):
            if self.block_mass[block] > 0.0:
                found = block
                if passed + self.block_mass[block] > target:
                    break
                passed += self.block_mass[block]
        else:       # rounding put the target behind the end: the last block it is, at its end
            passed -= self.block_mass[found]
        block = found * FG_BLOCK
        length = min(<size_t>FG_BLOCK, count - block)
        local.ties = domain.ties - block if domain.ties > block else 0
        weigh(dtype, row_at(dtype, row, block), length, &local, weights)
        for i in range(length):
            exact += weights[i]
        # The sum of the block was rounded to float32 on its way. Stretching the target to the exact sum keeps the share
        # of every token in its block right, however small the token.
        target = (target - passed) / self.block_mass[found] * exact
        passed = 0.0
        for i in range(length):
            if weights[i] > 0.0:
                last = i
                passed += weights[i]
                if passed > target:
                    break
        return block + last
