# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Histogram: how often which values came. Many threads record, anybody reads, without a lock."""

cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.math cimport isfinite, llrint

from fastgen.kernels.tokens cimport integer_of
from fastgen.lockfree.counter cimport (
    fg_count, fg_count_shared, fg_histogram_bucket, fg_histogram_buckets, fg_histogram_high, number_of, quantile_of,
)

from fastgen.errors import InvalidParameterError


@cython.final
cdef class Histogram(Sharded):
    """How often which values came, each known within a share of 2^-precision.

    Parameters
    ----------
    unit : float, default 1e-9
        Values are rounded to whole multiples of it: seconds to nanoseconds, for instance.
    bits : int, default 44
        The largest value is (2^bits - 1) * unit, and what is larger counts as that; in [1, 62]. The default reaches
        4.9 hours.
    precision : int, default 5
        In [0, 10].
    shards : int, default 1
        Copies, in [1, 4096]: one more than threads that record from C. Each takes about 8 * (bits - precision + 1) *
        2^precision bytes, 10 KiB by default.

    Raises
    ------
    InvalidParameterError
        A number is out of its range.

    Notes
    -----
    Buckets are those of HdrHistogram (G. Tene): 2^precision of equal width in each power of two. `count` is the sum of
    the buckets, so the two never disagree. Quantiles are the upper ends of buckets: too high by at most a share of
    2^-precision, and never too low. Reading takes no memory but for the result.
    """

    def __cinit__(self, *, unit=1e-9, bits=44, precision=5, shards=1):
        cdef unsigned int width = <unsigned int>integer_of(bits, "bits", 1, 62)
        self.precision = <unsigned int>integer_of(precision, "precision", 0, 10)
        self.unit = number_of(unit, "unit")
        if self.unit < 1e-300:
            raise InvalidParameterError("the unit must be positive", unit=self.unit)
        self.most = (<uint64_t>1 << width) - 1
        self.buckets = fg_histogram_buckets(self.precision, width)
        self.make(self.buckets + 1, shards)         # the last one is the sum of the values
        self.sums = <uint64_t *>PyMem_RawMalloc(self.counters * sizeof(uint64_t))
        if self.sums == NULL:
            raise MemoryError

    def __init__(self, *, unit=1e-9, bits=44, precision=5, shards=1):
        pass

    def __dealloc__(self):
        PyMem_RawFree(self.sums)

    cdef uint64_t count_of_sums(self) noexcept nogil:
        cdef uint64_t count = 0
        cdef size_t i
        for i in range(self.buckets):
            count += self.sums[i]
        return count

    cdef void record_ticks(self, fg_atomic *shard, uint64_t ticks) noexcept nogil:
        if ticks > self.most:
            ticks = self.most
        fg_count(shard, fg_histogram_bucket(self.precision, ticks), 1)
        fg_count(shard, self.buckets, ticks)

    cdef uint64_t ticks_of(self, double value) noexcept nogil:
        cdef double ticks = value / self.unit
        return <uint64_t>llrint(ticks) if ticks < <double>self.most else self.most

    cdef void add_ticks(self, uint64_t ticks) noexcept nogil:
        fg_count_shared(self.everybodys, fg_histogram_bucket(self.precision, ticks), 1)
        fg_count_shared(self.everybodys, self.buckets, ticks)

    def record(self, value):
        """Count a value.

        Raises
        ------
        InvalidParameterError
            It is no number, negative, infinite or NaN; nothing is counted.
        """
        self.add_ticks(self.ticks_of(number_of(value, "value")))

    def record_many(self, const double[::1] values not None):
        """Count each value of a one-dimensional float64 array, without the GIL.

        Raises
        ------
        InvalidParameterError
            One is negative, infinite or NaN; nothing is counted.
        """
        cdef Py_ssize_t i, count = values.shape[0], bad = -1
        with nogil:
            for i in range(count):
                if not isfinite(values[i]) or values[i] < 0:
                    bad = i
                    break
        if bad >= 0:
            raise InvalidParameterError("a value must be finite and not negative", index=bad)
        with nogil:
            for i in range(count):
                if isfinite(values[i]) and values[i] >= 0:      # another thread may write to the array
                    self.add_ticks(self.ticks_of(values[i]))

    def merge(self, Histogram other not None):
        """Add what another histogram holds now.

        Raises
        ------
        InvalidParameterError
            Its unit, bits or precision differ.
        """
        cdef size_t i
        if self.unit != other.unit or self.precision != other.precision or self.most != other.most:
            raise InvalidParameterError("histograms must have the same unit, bits and precision to be merged")
        other.read_all(other.sums)
        for i in range(self.counters):
            if other.sums[i]:
                fg_count_shared(self.everybodys, i, other.sums[i])

    def quantile(self, quantile):
        """Return the value that so large a share of the values does not exceed; 0.0 if there are none.

        Parameters
        ----------
        quantile : float
            In [0, 1]: 0.5 is the median.

        Raises
        ------
        InvalidParameterError
            It is out of its range.
        """
        cdef double share = number_of(quantile, "quantile")
        if share > 1:
            raise InvalidParameterError("a quantile is at most 1", quantile=share)
        self.read_all(self.sums)
        return quantile_of(self.precision, self.sums, self.buckets, share) * self.unit

    def read(self):
        """Return the buckets that are not empty, as pairs of an upper end and a count, and whether all counts are of
        one instant.

        Returns
        -------
        buckets : list of (float, int)
        consistent : bool
        """
        consistent = bool(self.read_all(self.sums))
        return [(fg_histogram_high(self.precision, i) * self.unit, self.sums[i])
                for i in range(self.buckets) if self.sums[i]], consistent

    @property
    def count(self):
        """How many values there were."""
        self.read_all(self.sums)
        return self.count_of_sums()

    @property
    def sum(self):
        """Their sum, as rounded; it wraps at 2^64 units."""
        return self.value_of(self.buckets) * self.unit

    @property
    def mean(self):
        """Their mean; 0.0 if there are none."""
        self.read_all(self.sums)
        cdef uint64_t count = self.count_of_sums()
        return self.sums[self.buckets] * self.unit / count if count else 0.0
