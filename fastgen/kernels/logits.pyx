# cython: language_level=3
"""Kernels over rows of logits: check at the door, drop the GIL, call the table.

`fastgen.kernels.rows` says which arrays are accepted.
"""

from numbers import Integral

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.math cimport INFINITY, log, sqrt
from libc.stdint cimport uint32_t

from fastgen cimport cpu
from fastgen.kernels.rows cimport Rows, borrow, fg_dtype
from fastgen.errors import InvalidParameterError, LogitsError

cdef extern from "kernels/logits.h" nogil:
    ctypedef float (*fg_scan_fn)(const void *row, size_t count, const uint32_t *mask, float *lane_maxima)
    ctypedef size_t (*fg_find_fn)(const void *row, size_t count, float value)
    ctypedef double (*fg_mass_fn)(const void *row, size_t count, const uint32_t *mask, const float *lane_maxima,
                                  const fg_domain *domain, double *block_mass)
    ctypedef double (*fg_surprisal_fn)(const void *row, size_t count, const uint32_t *mask, const float *lane_maxima,
                                       const fg_domain *domain, double *block_mass, double *surprisal)
    ctypedef void (*fg_weigh_fn)(const void *block, size_t count, const fg_domain *domain, float *weights)
    ctypedef size_t (*fg_filter_fn)(const void *row, size_t count, const float *lane_maxima, float threshold,
                                    float *scores, uint32_t *indices, size_t capacity)
    ctypedef fg_moments (*fg_moments_fn)(const void *row, size_t count, float shift)
    ctypedef void (*fg_lift_fn)(const void *block, size_t count, const uint32_t *mask, float ceiling, float *scores)
    ctypedef struct fg_logits_kernels:
        fg_scan_fn *scan
        fg_find_fn *find
        fg_mass_fn *mass
        fg_surprisal_fn *surprisal
        fg_weigh_fn *weigh
        fg_filter_fn *filter
        fg_moments_fn *moments
        fg_lift_fn *lift
    fg_logits_kernels fg_logits_select(uint32_t features)
    size_t fg_logits_argmax(const fg_logits_kernels *kernels, fg_dtype dtype, const void *row, size_t count,
                            float *largest)
    size_t fg_logits_cut_capacity(size_t count, size_t k)
    void fg_logits_cut(const fg_logits_kernels *kernels, fg_dtype dtype, const void *row, size_t count,
                       const float *lane_maxima, size_t k, fg_cut_room *room, fg_domain *domain)
    size_t fg_block_count(size_t count)
    float fg_load_score(const void *row, size_t index, fg_dtype dtype)
    const void *fg_row_at(const void *row, size_t index, fg_dtype dtype)

cdef extern from "base/fpenv.h" nogil:
    ctypedef unsigned long long fg_fpenv
    fg_fpenv fg_fpenv_enter()
    void fg_fpenv_leave(fg_fpenv before)

cdef fg_logits_kernels table


cdef void select(uint32_t features) noexcept:
    global table
    table = fg_logits_select(features)


cpu.on_change(select)


# What other modules cimport. They hold the floating-point mode themselves (base/fpenv.h).

cdef const fg_logits_kernels *kernels_in_use() noexcept nogil:
    return &table


cdef float scan(fg_dtype dtype, const void *row, size_t count, const uint32_t *mask,
                float *lane_maxima) noexcept nogil:
    return table.scan[<int>dtype](row, count, mask, lane_maxima)


cdef size_t find(fg_dtype dtype, const void *row, size_t count, float value) noexcept nogil:
    return table.find[<int>dtype](row, count, value)


cdef double mass(fg_dtype dtype, const void *row, size_t count, const float *lane_maxima, const fg_domain *domain,
                 double *block_mass) noexcept nogil:
    return table.mass[<int>dtype](row, count, NULL, lane_maxima, domain, block_mass)


cdef double surprisal(fg_dtype dtype, const void *row, size_t count, const float *lane_maxima, const fg_domain *domain,
                      double *block_mass, double *surprisal_sum) noexcept nogil:
    return table.surprisal[<int>dtype](row, count, NULL, lane_maxima, domain, block_mass, surprisal_sum)


cdef fg_moments moments(fg_dtype dtype, const void *row, size_t count, float shift) noexcept nogil:
    return table.moments[<int>dtype](row, count, shift)


cdef void lift(fg_dtype dtype, const void *block, size_t count, const uint32_t *mask, float ceiling,
               float *scores) noexcept nogil:
    table.lift[<int>dtype](block, count, mask, ceiling, scores)


cdef void weigh(fg_dtype dtype, const void *block, size_t count, const fg_domain *domain,
                float *weights) noexcept nogil:
    table.weigh[<int>dtype](block, count, domain, weights)


cdef void cut(fg_dtype dtype, const void *row, size_t count, const float *lane_maxima, size_t k, fg_cut_room *room,
              fg_domain *domain) noexcept nogil:
    fg_logits_cut(&table, dtype, row, count, lane_maxima, k, room, domain)


cdef size_t cut_capacity(size_t count, size_t k) noexcept nogil:
    return fg_logits_cut_capacity(count, k)


cdef float score_at(fg_dtype dtype, const void *row, size_t index) noexcept nogil:
    return fg_load_score(row, index, dtype)


cdef const void *row_at(fg_dtype dtype, const void *row, size_t index) noexcept nogil:
    return fg_row_at(row, index, dtype)


# The functions of Python.

cdef Rows borrow_row(object logits):
    cdef Rows rows = borrow(logits)
    if rows.is_batch:
        raise LogitsError("this takes one row, [vocab]", code="logits_invalid", rows=rows.rows)
    return rows


cdef int check_finite(Rows rows, float largest) except -1:
    if not largest < INFINITY:
        raise nonfinite(rows.dtype, rows.data, rows.count, {})
    return 0


cdef object nonfinite(fg_dtype dtype, const void *row, size_t count, dict where):
    """Return the error for a row that holds NaN or +inf. It is read again: faults are rare, and told in full."""
    cdef size_t index, first = count, nans = 0, infinities = 0
    cdef float score
    for index in range(count):
        score = fg_load_score(row, index, dtype)
        if not score < INFINITY:
            first = min(first, index)
            nans += score != score
            infinities += score == INFINITY
    counts = {"nan": nans, "inf": infinities}
    return LogitsError("the row of logits holds NaN or +inf", **where, index=first, counts=counts)


cdef object no_candidates(dict where):
    return LogitsError("every logit of the row is -inf", code="no_candidates", **where)


def argmax(logits):
    """Return the index of the largest logit; the lowest index wins a tie.

    Parameters
    ----------
    logits : array of float32, bfloat16 or float16, shape [vocab]

    Raises
    ------
    LogitsError
        If the row holds NaN or +inf, or the array is not one row of logits.
    """
    cdef Rows rows = borrow_row(logits)
    cdef float largest
    cdef size_t index
    cdef fg_fpenv mode
    with nogil:
        mode = fg_fpenv_enter()
        index = fg_logits_argmax(&table, rows.dtype, rows.data, rows.count, &largest)
        fg_fpenv_leave(mode)
    check_finite(rows, largest)
    return index


def maximum(logits):
    """Return the largest logit of a row; see `argmax` for the argument and the errors."""
    cdef Rows rows = borrow_row(logits)
    cdef float largest
    cdef fg_fpenv mode
    with nogil:
        mode = fg_fpenv_enter()
        largest = scan(rows.dtype, rows.data, rows.count, NULL, NULL)
        fg_fpenv_leave(mode)
    check_finite(rows, largest)
    return largest


cdef class Scratch:
    """Memory for one row's passes: 16 maxima and one sum for each block of 256 scores."""

    cdef float *lane_maxima
    cdef double *block_mass

    def __cinit__(self, size_t count):
        cdef size_t blocks = fg_block_count(count)
        self.lane_maxima = <float *>PyMem_Malloc(blocks * FG_LANES * sizeof(float))
        self.block_mass = <double *>PyMem_Malloc(blocks * sizeof(double))
        if self.lane_maxima == NULL or self.block_mass == NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.lane_maxima)
        PyMem_Free(self.block_mass)


cdef double check_temperature(object temperature) except -1.0:
    if not 1e-5 <= temperature <= 100.0:
        raise InvalidParameterError("temperature must be in [1e-5, 100]", temperature=temperature)
    return temperature


cdef double sums_of(object logits, object temperature, double *bits) except -1.0:
    """Return the sum of the weights of a row, and in `bits` (may be NULL) that of weight times surprise."""
    cdef Rows rows = borrow_row(logits)
    cdef Scratch scratch = Scratch(rows.count)
    cdef fg_domain domain
    cdef double total = 0.0, scale_by = check_temperature(temperature)
    cdef float largest
    cdef fg_fpenv mode
    with nogil:
        mode = fg_fpenv_enter()
        largest = scan(rows.dtype, rows.data, rows.count, NULL, scratch.lane_maxima)
        if -INFINITY < largest < INFINITY:
            domain = fg_whole_row(largest, scale_by, rows.count)
            if bits == NULL:
                total = mass(rows.dtype, rows.data, rows.count, scratch.lane_maxima, &domain, scratch.block_mass)
            else:
                total = surprisal(rows.dtype, rows.data, rows.count, scratch.lane_maxima, &domain, scratch.block_mass,
                                  bits)
        fg_fpenv_leave(mode)
    check_finite(rows, largest)
    if largest == -INFINITY:
        raise no_candidates({})
    return total


def exp_sum(logits, temperature=1.0):
    """Return the sum over the row of exp((logit - max) / temperature), the denominator of a softmax.

    The sum has the same bits on every SIMD level. Its relative error is below 2e-6.

    Parameters
    ----------
    logits : array of float32, bfloat16 or float16, shape [vocab]
    temperature : float
        In [1e-5, 100].

    Raises
    ------
    LogitsError
        As `argmax`; ``no_candidates`` if every logit is -inf.
    InvalidParameterError
        If the temperature is out of its range.
    """
    return sums_of(logits, temperature, NULL)


def entropy(logits, temperature=1.0):
    """Return the entropy of softmax(logits / temperature), in nats.

    It has the same bits on every SIMD level of a machine. Probabilities below 2**-125 of the largest count as 0.

    Parameters
    ----------
    logits : array of float32, bfloat16 or float16, shape [vocab]
    temperature : float
        In [1e-5, 100].

    Raises
    ------
    LogitsError
        As `argmax`; ``no_candidates`` if every logit is -inf.
    InvalidParameterError
        If the temperature is out of its range.
    """
    cdef double bits, nats, total = sums_of(logits, temperature, &bits)
    cdef fg_fpenv mode = fg_fpenv_enter()
    nats = log(total) + bits / total * 0.6931471805599453       # ln 2
    fg_fpenv_leave(mode)
    return nats


def mean_and_deviation(logits):
    """Return the mean and the population standard deviation of the logits above -inf.

    Parameters
    ----------
    logits : array of float32, bfloat16 or float16, shape [vocab]

    Returns
    -------
    mean, deviation : float
        With the same bits on every SIMD level. The variance is off by at most 2e-6 of the mean square distance from the
        first logit above -inf. Squares are summed in float32: both numbers may be infinite or NaN where logits lie
        further than 1e18 apart.

    Raises
    ------
    LogitsError
        As `argmax`; ``no_candidates`` if every logit is -inf.
    """
    cdef Rows rows = borrow_row(logits)
    cdef fg_moments sums
    cdef float largest, shift
    cdef double offset, variance, mean = 0.0, deviation = 0.0
    cdef size_t first = 0
    cdef fg_fpenv mode
    with nogil:
        mode = fg_fpenv_enter()
        largest = scan(rows.dtype, rows.data, rows.count, NULL, NULL)
        if -INFINITY < largest < INFINITY:
            while score_at(rows.dtype, rows.data, first) == -INFINITY:
                first += 1
            shift = score_at(rows.dtype, rows.data, first)
            sums = moments(rows.dtype, rows.data, rows.count, shift)
            offset = sums.sum / sums.count
            variance = sums.squares / sums.count - offset * offset
            mean = shift + offset
            deviation = 0.0 if variance < 0.0 else sqrt(variance)       # below 0 by rounding
        fg_fpenv_leave(mode)
    check_finite(rows, largest)
    if largest == -INFINITY:
        raise no_candidates({})
    return mean, deviation


def apply_bitmask(logits, mask, out=None):
    """Return the logits as float32, with -inf where the mask does not allow the token.

    Parameters
    ----------
    logits : array of float32, bfloat16 or float16, shape [vocab]
    mask : array of int32 or uint32, shape [(vocab + 31) // 32]
        Bit ``i % 32`` of word ``i // 32`` allows token i. Bits behind the last token mean nothing.
    out : float32 array, shape [vocab], optional
        Where to put the result: writable and contiguous. It may be `logits` itself.

    Returns
    -------
    float32 array, shape [vocab]
        `out`, or a new one.

    Raises
    ------
    LogitsError
        As `argmax`; of NaN and +inf also where the mask does not allow them.
    InvalidParameterError
        If the mask or `out` has another length or type.
    """
    import numpy as np
    cdef Rows rows = borrow_row(logits)
    cdef size_t block, start
    cdef float largest
    cdef fg_fpenv mode
    words = np.asarray(mask)
    if words.ndim != 1 or words.dtype not in (np.dtype(np.int32), np.dtype(np.uint32)):
        raise InvalidParameterError("the mask must be int32 or uint32, [words]", dtype=str(words.dtype),
                                    shape=words.shape)
    if <size_t>words.size != (rows.count + 31) // 32:
        raise InvalidParameterError("the mask has a wrong length", expected=(rows.count + 31) // 32, found=words.size)
    cdef const uint32_t[::1] word_view = np.require(words, requirements="CA").view(np.uint32)
    if out is None:
        out = np.empty(rows.count, np.float32)
    cdef float[::1] view
    try:
        view = out
    except (TypeError, ValueError, BufferError) as error:
        hint = "a writable, contiguous float32 buffer"
        raise InvalidParameterError("out can't take the logits", hint=hint, type=type(out).__name__) from error
    if <size_t>view.shape[0] != rows.count:
        raise InvalidParameterError("out has a wrong length", expected=rows.count, found=view.shape[0])
    with nogil:
        mode = fg_fpenv_enter()
        largest = scan(rows.dtype, rows.data, rows.count, &word_view[0], NULL)
        if largest < INFINITY:
            for block in range(fg_block_count(rows.count)):
                start = block * <size_t>FG_BLOCK
                lift(rows.dtype, row_at(rows.dtype, rows.data, start), min(<size_t>FG_BLOCK, rows.count - start),
                     &word_view[start // 32], INFINITY, &view[start])
        fg_fpenv_leave(mode)
    check_finite(rows, largest)
    return out


def weights(logits, temperature=1.0):
    """Return exp((logit - max) / temperature) for each logit of the row, as a float32 array; errors as `exp_sum`."""
    import numpy as np
    cdef Rows rows = borrow_row(logits)
    cdef fg_domain domain
    cdef double scale_by = check_temperature(temperature)
    cdef float largest
    cdef fg_fpenv mode
    out = np.empty(rows.count, np.float32)
    cdef float[::1] view = out
    cdef size_t block, start
    with nogil:
        mode = fg_fpenv_enter()
        largest = scan(rows.dtype, rows.data, rows.count, NULL, NULL)
        if -INFINITY < largest < INFINITY:
            domain = fg_whole_row(largest, scale_by, FG_BLOCK)
            for block in range(fg_block_count(rows.count)):
                start = block * <size_t>FG_BLOCK
                weigh(rows.dtype, row_at(rows.dtype, rows.data, start), min(<size_t>FG_BLOCK, rows.count - start),
                      &domain, &view[start])
        fg_fpenv_leave(mode)
    check_finite(rows, largest)
    if largest == -INFINITY:
        raise no_candidates({})
    return out


cdef object pair_of_arrays(size_t count):
    import numpy as np
    return np.empty(count + FG_LANES, np.float32), np.empty(count + FG_LANES, np.uint32)


def filter(logits, float threshold):
    """Return the logits that are at least `threshold`, and their indices, in index order.

    Parameters
    ----------
    logits : array of float32, bfloat16 or float16, shape [vocab]
    threshold : float

    Returns
    -------
    scores : float32 array
    indices : uint32 array
    """
    cdef Rows rows = borrow_row(logits)
    cdef size_t stored
    cdef fg_fpenv mode
    scores, indices = pair_of_arrays(rows.count)
    cdef float[::1] score_view = scores
    cdef uint32_t[::1] index_view = indices
    with nogil:
        mode = fg_fpenv_enter()
        stored = table.filter[<int>rows.dtype](rows.data, rows.count, NULL, threshold, &score_view[0], &index_view[0],
                                               rows.count)
        fg_fpenv_leave(mode)
    return scores[:stored], indices[:stored]


def top_k(logits, k):
    """Return the k largest logits and their indices, largest first, equal logits by lowest index; never -inf.

    Parameters
    ----------
    logits : array of float32, bfloat16 or float16, shape [vocab]
    k : int
        At least 1; more than the row holds means all of it.

    Returns
    -------
    scores : float32 array
    indices : uint32 array

    Raises
    ------
    LogitsError
        As `argmax`.
    InvalidParameterError
        If k is less than 1.
    """
    import numpy as np
    cdef Rows rows = borrow_row(logits)
    if isinstance(k, bool) or not isinstance(k, Integral) or k < 1:
        raise InvalidParameterError("k must be an integer of at least 1", k=k)
    cdef size_t wanted = min(k, rows.count), stored = 0
    cdef Scratch scratch = Scratch(rows.count)
    cdef fg_domain domain
    cdef fg_cut_room room
    cdef fg_fpenv mode
    cdef float largest
    room.capacity = fg_logits_cut_capacity(rows.count, wanted)
    scores, indices = pair_of_arrays(room.capacity)
    copy = np.empty(room.capacity + FG_LANES, np.float32)
    found_scores, found_indices = pair_of_arrays(rows.count)
    cdef float[::1] score_view = scores, copy_view = copy, found_score_view = found_scores
    cdef uint32_t[::1] index_view = indices, found_index_view = found_indices
    room.scores, room.copy, room.indices = &score_view[0], &copy_view[0], &index_view[0]
    with nogil:
        mode = fg_fpenv_enter()
        largest = scan(rows.dtype, rows.data, rows.count, NULL, scratch.lane_maxima)
        if largest < INFINITY:
            domain = fg_whole_row(largest, 1.0, rows.count)
            domain.bound = -3.4028234663852886e38   # the weights do not matter here: every score but -inf may be chosen
            cut(rows.dtype, rows.data, rows.count, scratch.lane_maxima, wanted, &room, &domain)
            stored = table.filter[<int>rows.dtype](rows.data, rows.count, scratch.lane_maxima, domain.bound,
                                                   &found_score_view[0], &found_index_view[0], rows.count)
        fg_fpenv_leave(mode)
    check_finite(rows, largest)
    scores, indices = found_scores[:stored], found_indices[:stored]
    inside = ((scores > domain.bound) | (indices < domain.end_tie)) & (scores > -INFINITY)
    scores, indices = scores[inside], indices[inside]
    order = np.lexsort((indices, -scores))
    return scores[order], indices[order]
