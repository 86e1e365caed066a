# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Counters and rates that many threads write and anybody reads, without a lock.

Python code adds to a shard that all threads share, by an atomic addition. A thread that counts from C without the GIL
claims a shard of its own (`Sharded.join`), where adding is a load and a store.
"""

cimport cython
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.math cimport isfinite

from fastgen.kernels.tokens cimport integer_of
from fastgen.lockfree.lines cimport give_lines, take_lines

from fastgen.errors import InvalidParameterError

cdef extern from "lockfree/counter.h" nogil:
    size_t fg_counters_bytes(size_t count, size_t shards)
    void fg_counters_init(fg_counters *counters, size_t count, size_t shards, void *memory)
    fg_atomic *fg_counters_join(fg_counters *counters)
    void fg_counters_leave(fg_atomic *shard)
    fg_atomic *fg_counters_shared(const fg_counters *counters)
    uint64_t fg_counters_sum(const fg_counters *counters, size_t counter)
    int fg_counters_read(const fg_counters *counters, uint64_t *sums, size_t count, unsigned int attempts)
    uint64_t fg_histogram_quantile(unsigned int precision, const uint64_t *counts, size_t buckets, double quantile)
    void fg_rate_init(fg_rate *rate, double time_constant, uint64_t total, uint64_t time_ns)
    double fg_rate_fold(fg_rate *rate, uint64_t total, uint64_t time_ns)
    double fg_rate_last(const fg_rate *rate)

cdef enum:
    ATTEMPTS = 4        # to read everything at one instant
    MAX_SHARDS = 4096
    MAX_COUNTERS = 1 << 20


cdef uint64_t amount_of(object amount) except? 0:
    """Return what is added: an int in [0, 2^63)."""
    cdef int overflow = 0
    cdef long long value
    if type(amount) is not int:
        return integer_of(amount, "amount", 0, <size_t>(-1) >> 1)
    value = PyLong_AsLongLongAndOverflow(amount, &overflow)
    if overflow or value < 0:
        raise InvalidParameterError("a counter never goes down, and adds less than 2^63 at a time", amount=str(amount))
    return <uint64_t>value


cdef double number_of(object value, str name) except? -1:
    """Return a finite float that is not negative."""
    cdef double number
    try:
        number = value
    except (TypeError, OverflowError):
        raise InvalidParameterError("an argument must be a number", argument=name, type=type(value).__name__) from None
    if not isfinite(number) or number < 0:
        raise InvalidParameterError("an argument must be finite and not negative", argument=name, value=number)
    return number


cdef uint64_t quantile_of(unsigned int precision, const uint64_t *counts, size_t buckets,
                          double quantile) noexcept nogil:
    return fg_histogram_quantile(precision, counts, buckets, quantile)


cdef class Sharded:
    def __init__(self):
        if self.cells == NULL:
            raise TypeError("Sharded is the part that Counter, Counters, Histogram and Rate have in common")

    def __dealloc__(self):
        give_lines(self.cells)

    def __reduce__(self):
        raise TypeError("counters can't be copied or pickled")

    cdef int make(self, size_t counters, object shards) except -1:
        cdef size_t copies = integer_of(shards, "shards", 1, MAX_SHARDS)
        self.cells = take_lines(fg_counters_bytes(counters, copies))
        fg_counters_init(&self.c, counters, copies, self.cells)
        self.everybodys = fg_counters_shared(&self.c)
        self.counters = counters
        return 0

    cdef uint64_t value_of(self, size_t counter) noexcept nogil:
        return fg_counters_sum(&self.c, counter)

    cdef bint read_all(self, uint64_t *sums) noexcept nogil:
        return fg_counters_read(&self.c, sums, self.counters, ATTEMPTS)

    cdef fg_atomic *join(self) noexcept nogil:
        return fg_counters_join(&self.c)

    cdef void leave(self, fg_atomic *shard) noexcept nogil:
        fg_counters_leave(shard)


@cython.final
cdef class Counter(Sharded):
    """A number that only grows, modulo 2^64.

    Parameters
    ----------
    shards : int, default 1
        Copies, in [1, 4096]: one more than threads that count from C.

    Raises
    ------
    InvalidParameterError
        `shards` is out of its range.

    Notes
    -----
    Any thread may add and read at any time. No increment is lost; `value` lies between the true values at the begin
    and at the end of the call. The child of a fork() goes on from the parent's values.
    """

    def __cinit__(self, *, shards=1):
        self.make(1, shards)

    def __init__(self, *, shards=1):
        pass

    def add(self, amount=1):
        """Add an integer in [0, 2^63).

        Raises
        ------
        InvalidParameterError
            It is something else.
        """
        fg_count_shared(self.everybodys, 0, amount_of(amount))

    @property
    def value(self):
        """What has been added."""
        return self.value_of(0)


@cython.final
cdef class Counters(Sharded):
    """Counters side by side, which are read as one.

    Parameters
    ----------
    count : int
        How many, in [1, 1,048,576].
    shards : int, default 1
        Copies, in [1, 4096]: one more than threads that count from C.

    Raises
    ------
    InvalidParameterError
        A number is out of its range.
    """

    def __cinit__(self, count, *, shards=1):
        self.make(integer_of(count, "count", 1, MAX_COUNTERS), shards)
        self.sums = <uint64_t *>PyMem_RawMalloc(self.counters * sizeof(uint64_t))
        if self.sums == NULL:
            raise MemoryError

    def __init__(self, count, *, shards=1):
        pass

    def __dealloc__(self):
        PyMem_RawFree(self.sums)

    def __len__(self):
        return self.counters

    def add(self, counter, amount=1):
        """Add an integer in [0, 2^63) to one counter.

        Raises
        ------
        InvalidParameterError
            There is no such counter, or the amount is something else.
        """
        fg_count_shared(self.everybodys, integer_of(counter, "counter", 0, self.counters - 1), amount_of(amount))

    def value(self, counter):
        """Return what has been added to one counter."""
        return self.value_of(integer_of(counter, "counter", 0, self.counters - 1))

    def read(self):
        """Return all counters, and whether they all had these values at one instant.

        Returns
        -------
        values : tuple of int
        consistent : bool
            False: other threads counted without pause, and each value is of an instant of its own.
        """
        consistent = bool(self.read_all(self.sums))
        return tuple([self.sums[i] for i in range(self.counters)]), consistent


@cython.final
cdef class Rate(Sharded):
    """Events per second, of which the recent ones weigh most.

    Parameters
    ----------
    time_constant : float
        Seconds in which an event's weight falls to 1/e; positive.
    now : float
        The time of the beginning, in seconds: of ``time.monotonic()``, say.
    shards : int, default 1
        Copies, in [1, 4096]: one more than threads that count from C.

    Raises
    ------
    InvalidParameterError
        A number is out of its range.

    Notes
    -----
    An exponentially weighted moving average over time, which steps by any intervals; a steady stream has its exact rate
    from the first reading on.
    """

    def __cinit__(self, time_constant, now, *, shards=1):
        cdef double constant = number_of(time_constant, "time_constant")
        if constant < 1e-9:
            raise InvalidParameterError("the time constant must be positive", time_constant=constant)
        self.make(1, shards)
        fg_rate_init(&self.rate, constant, 0, nanoseconds_of(now))

    def __init__(self, time_constant, now, *, shards=1):
        pass

    def add(self, amount=1):
        """Count events: an integer in [0, 2^63).

        Raises
        ------
        InvalidParameterError
            It is something else.
        """
        fg_count_shared(self.everybodys, 0, amount_of(amount))

    def read(self, now):
        """Return events per second up to a time. A time that is not after the last one changes nothing.

        Raises
        ------
        InvalidParameterError
            The time is no finite number, or negative.
        """
        return fg_rate_fold(&self.rate, self.value_of(0), nanoseconds_of(now))

    @property
    def last(self):
        """The rate of the last reading."""
        return fg_rate_last(&self.rate)

    @property
    def total(self):
        """How many events there were."""
        return self.value_of(0)


cdef uint64_t nanoseconds_of(object now) except? 0:
    cdef double seconds = number_of(now, "now")
    if seconds > 9e9:
        raise InvalidParameterError("a time is less than 285 years", now=seconds)
    return <uint64_t>(seconds * 1e9)
