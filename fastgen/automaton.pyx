# cython: language_level=3
"""StopAutomaton: stop strings compiled, however many they are, and the cache that streams share them from.

`csrc/automaton.h` has the details; `fastgen.stop` has the matcher, one for each stream.
"""

from collections.abc import Iterable

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_GET_LENGTH

from fastgen cimport cpu
from fastgen.errors import InvalidParameterError

cdef extern from "automaton.h" nogil:
    enum: FG_STOP_BYTES_MOST
    ctypedef struct fg_stop_source:
        const uint8_t *text
        uint32_t size, index
    ctypedef struct fg_stop_kernels:
        pass
    fg_stop_kernels fg_stop_select(uint32_t features)
    size_t fg_stops_size(size_t count, size_t bytes)
    size_t fg_stops_scratch(size_t count)
    fg_stops *fg_stops_build(fg_stop_source *sources, size_t count, size_t bytes, void *scratch, void *block)
    size_t fg_stop_held(const fg_stops *stops, uint32_t state)
    void fg_stop_feed(const fg_stops *stops, const fg_stop_kernels *kernels, uint32_t *state, const uint8_t *text,
                      size_t size, bint keeps_stop, fg_stop_step *step)
    void fg_stop_flush(const fg_stops *stops, uint32_t *state, fg_stop_step *step)

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)

cdef enum:
    CACHE_MOST = 64             # automata
    CACHE_BYTES_MOST = 1 << 24  # of their memory and their strings

cdef fg_stop_kernels table


cdef void select(uint32_t features) noexcept:
    global table
    table = fg_stop_select(features)


cpu.on_change(select)


cdef const uint8_t *utf8_of(str text, size_t *size) except NULL:
    cdef Py_ssize_t count = 0
    cdef const char *data = PyUnicode_AsUTF8AndSize(text, &count)
    size[0] = count
    return <const uint8_t *>data


@cython.final
@cython.no_gc                   # holds strings only, so it is in no cycle
@cython.auto_pickle(False)
cdef class StopAutomaton:
    """Stop strings, compiled; never changes, and any number of matchers and threads share it.

    Parameters
    ----------
    stops : iterable of str
        The stop strings, any number; a plain ``str`` is one stop. `compile` does the same, but looks into a cache
        first.

    Raises
    ------
    InvalidParameterError
        A stop is empty, not a string, or holds a lone surrogate; or they have more than 2**29 - 2 bytes in all.

    Notes
    -----
    Compiling is linear in the bytes of the stops, but for their sorting. Memory is at most 9 bytes for a byte of the
    stops and 88 for a stop beside 1.2 KiB, and is taken in one block: see `nbytes`.
    """

    def __cinit__(self, stops):
        self.stops = strings(stops)
        self.build()

    def __dealloc__(self):
        PyMem_Free(self.c)

    cdef int build(self) except -1:
        cdef size_t count = len(self.stops), total = 0, size = 0, place = 0
        cdef fg_stop_source *sources = <fg_stop_source *>PyMem_Malloc(count * sizeof(fg_stop_source))
        cdef void *scratch = NULL
        try:
            if sources == NULL:
                raise MemoryError
            for place in range(count):
                sources[place].text = utf8_of(<str>self.stops[place], &size)
                total += size
                if total > FG_STOP_BYTES_MOST:
                    raise InvalidParameterError("the stop strings are too long", hint="leave some out", place=place,
                                                most=FG_STOP_BYTES_MOST)
                sources[place].size, sources[place].index = <uint32_t>size, <uint32_t>place
            scratch = PyMem_Malloc(fg_stops_scratch(count))
            self.nbytes = fg_stops_size(count, total)
            self.c = <fg_stops *>PyMem_Malloc(self.nbytes)
            if scratch == NULL or self.c == NULL:
                raise MemoryError
            if total < LONG:
                fg_stops_build(sources, count, total, scratch, self.c)
            else:
                with nogil:
                    fg_stops_build(sources, count, total, scratch, self.c)
        finally:
            PyMem_Free(scratch)
            PyMem_Free(sources)
        return 0

    @staticmethod
    def compile(stops):
        """Return the automaton of these stops in this order, the same object while the cache holds it.

        The cache keeps what was used last: 64 automata, and of their memory and strings 16 MiB.
        """
        return compiled(stops)

    @property
    def states(self):
        """How many states a text can reach, the start included: at most one for each byte of the stops and one more."""
        return self.c.states

    def __repr__(self):
        return f"StopAutomaton({len(self.stops)} stops, {self.c.states} states, {self.nbytes} bytes)"

    cdef void feed(self, uint32_t *state, const uint8_t *text, size_t size, bint keeps_stop,
                   fg_stop_step *step) noexcept nogil:
        fg_stop_feed(self.c, &table, state, text, size, keeps_stop, step)

    cdef void flush(self, uint32_t *state, fg_stop_step *step) noexcept nogil:
        fg_stop_flush(self.c, state, step)

    cdef size_t held(self, uint32_t state) noexcept nogil:
        return fg_stop_held(self.c, state)


cdef tuple strings(object stops):
    """Return the stops as an exact tuple of exact strings that encode, or raise."""
    cdef Py_ssize_t place
    cdef tuple found
    if isinstance(stops, str):
        found = (stops,)
    else:
        try:
            found = tuple(stops if isinstance(stops, (list, tuple)) else iter(stops))
        except TypeError as error:
            if isinstance(stops, Iterable):     # the fault is in what it yields
                raise
            raise InvalidParameterError("stops must be strings", hint="pass a list of str",
                                        type=type(stops).__name__) from error
    cdef bint are_plain = True
    for place, stop in enumerate(found):
        if type(stop) is not str:
            if not isinstance(stop, str):
                raise InvalidParameterError("a stop must be a string", hint="decode bytes first", place=place,
                                            type=type(stop).__name__)
            are_plain = False
        if PyUnicode_GET_LENGTH(stop) == 0:
            raise InvalidParameterError("a stop string is empty", hint="leave it out: it would stop at once",
                                        place=place)
        if not PyUnicode_IS_ASCII(stop):
            check_encodes(<str>stop, place)
    return found if are_plain else tuple([str.__str__(stop) for stop in found])


cdef int check_encodes(str stop, Py_ssize_t place) except -1:
    cdef size_t size = 0
    try:
        utf8_of(stop, &size)
    except UnicodeEncodeError as error:
        raise InvalidParameterError("a stop string holds a lone surrogate", hint="no text can contain it", place=place,
                                    offset=error.start) from error
    return 0


cdef dict cache = {}        # tuple of the stops -> automaton, the one used longest ago first
cdef size_t cache_bytes = 0


cdef size_t cost_of(StopAutomaton automaton):
    """Bytes that the cache answers for: the automaton, and the strings with about what Python adds to them."""
    return automaton.nbytes + automaton.nbytes // 9 + 64 * <size_t>len(automaton.stops)


cdef StopAutomaton compiled(object stops):
    global cache_bytes
    cdef StopAutomaton automaton, other
    cdef tuple key = strings(stops)
    automaton = cache.pop(key, None)
    if automaton is not None:
        cache[key] = automaton
        return automaton
    automaton = StopAutomaton(key)
    other = cache.get(key)      # another thread was faster
    if other is not None:
        return other
    if cost_of(automaton) > CACHE_BYTES_MOST:
        return automaton
    cache[key] = automaton
    cache_bytes += cost_of(automaton)
    while len(cache) > CACHE_MOST or cache_bytes > CACHE_BYTES_MOST:
        cache_bytes -= cost_of(cache.pop(next(iter(cache))))
    return automaton


def cache_info():
    """Return how many automata the cache of `StopAutomaton.compile` holds, and the bytes it answers for."""
    return {"automata": len(cache), "nbytes": cache_bytes}


def cache_clear():
    """Empty the cache; automata in use live on."""
    global cache_bytes
    cache.clear()
    cache_bytes = 0
