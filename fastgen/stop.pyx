# cython: language_level=3
"""StopMatcher: finds stop strings in a stream of text and holds back no more of it than it must.

The stops are an automaton that matchers share (`fastgen.automaton`). What is held back stands in it: a matcher keeps
where, and no text.
"""

cimport cython
from cpython.buffer cimport PyBUF_FULL_RO, PyBuffer_IsContiguous, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

from fastgen.automaton cimport LONG, compiled, utf8_of
from fastgen.errors import FastgenError, InvalidParameterError, StreamClosedError


@cython.final
@cython.freelist(16)
@cython.no_gc
@cython.auto_pickle(False)
cdef class Match:
    """What a step of a `StopMatcher` yields; never changes.

    Parameters
    ----------
    text : bytes
        What is now safe to emit.
    stopped : bool
        Whether the text has ended with a stop.
    stop : str, optional
        The stop string that ended it.
    index : int, optional
        Its place in the list of stops; of equal strings the first.
    offset : int, optional
        Bytes of the whole stream before the stop.
    """

    __match_args__ = ("text", "stopped", "stop", "index", "offset")

    def __cinit__(self):
        self.place = self.start = -1

    def __init__(self, bytes text not None, bint stopped, str stop=None, index=None, offset=None):
        if self.text is not None:
            raise TypeError("a Match never changes")
        if index is not None:
            self.place = index
        if offset is not None:
            self.start = offset
        self.text, self.stopped, self.stop = text, stopped, stop

    @property
    def index(self):
        return None if self.place < 0 else self.place

    @property
    def offset(self):
        return None if self.start < 0 else self.start

    cdef tuple fields(self):
        return self.text, self.stopped, self.stop, self.index, self.offset

    def __eq__(self, other):
        return self.fields() == (<Match>other).fields() if isinstance(other, Match) else NotImplemented

    def __hash__(self):
        return hash(self.fields())

    def __repr__(self):
        return "Match(text={!r}, stopped={!r}, stop={!r}, index={!r}, offset={!r})".format(*self.fields())


cdef Match NOTHING = Match(b"", False)      # the answer of every step that emits nothing and goes on


@cython.final
@cython.no_gc
@cython.auto_pickle(False)
cdef class StopMatcher:
    """Streaming search for stop strings.

    The stop that completes first wins; of several that complete at the same byte, the longest. Held back is the longest
    end of the text that is the beginning of a stop, and it leaves as soon as it no longer is; so at most the longest
    stop less one byte is kept, however long the stream.

    The search runs on UTF-8 bytes. If every piece fed ends with a whole character (as any ``str`` does), so does every
    `Match.text`: a stop starts with the first byte of a character, hence so does what is held back, the beginning of a
    stop. Pieces of bytes that are cut inside a character may leave cut at the same place.

    Parameters
    ----------
    stops : iterable of str, or StopAutomaton
        The stop strings, any number; a plain ``str`` is one stop. They are compiled once: matchers of the same stops in
        the same order share an automaton (`StopAutomaton.compile`).
    include : bool, default False
        Whether the text keeps the stop that ended it.

    Raises
    ------
    InvalidParameterError
        A stop is empty, not a string, or holds a lone surrogate.

    Notes
    -----
    A matcher takes no memory for the text: what is held back is the beginning of a stop, and read from there. A step
    is linear in the bytes fed, amortized over the stream, whatever the number of stops. One thread feeds a matcher at
    a time.
    """

    def __cinit__(self, stops, *rest, **named):
        # `include` is a word of Cython's own: no parameter can have the name
        if len(rest) + len(named) > 1 or (named and "include" not in named):
            raise TypeError("StopMatcher() takes stops and include")
        self.automaton = stops if isinstance(stops, StopAutomaton) else compiled(stops)
        self.keeps_stop = rest[0] if rest else named.get("include", False)
        self.stop = -1

    @property
    def stops(self):
        """The stop strings, a tuple."""
        return self.automaton.stops

    @property
    def states(self):
        """States of the automaton."""
        return self.automaton.states

    @property
    def nbytes(self):
        """Bytes of the automaton's memory, which all matchers of these stops share."""
        return self.automaton.nbytes

    @property
    def held(self):
        """Bytes that are held back now."""
        return self.automaton.held(self.state)

    def __repr__(self):
        return f"StopMatcher({len(self.automaton.stops)} stops, include={self.keeps_stop}, held={self.held})"

    def feed(self, text):
        """Add text and return what is safe to emit.

        Parameters
        ----------
        text : str, or bytes-like
            The next piece; of a buffer the bytes in C order, elements of one byte. What follows a stop in it is
            dropped.

        Returns
        -------
        Match
            Nothing that comes later can make `Match.text` part of a stop.

        Raises
        ------
        StreamClosedError
            A stop was found before, or the matcher was flushed.
        InvalidParameterError
            The text is of another type or holds a lone surrogate; nothing has changed.
        FastgenError
            Another thread is feeding the matcher (``concurrent_use``).
        """
        cdef size_t size = 0
        cdef const uint8_t *data
        cdef Py_buffer view
        if isinstance(text, bytes):
            return self.step(<const uint8_t *>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
        if isinstance(text, str):
            try:
                data = utf8_of(<str>text, &size)
            except UnicodeEncodeError as error:
                raise InvalidParameterError("the text holds a lone surrogate", hint="decode the bytes as UTF-8",
                                            offset=error.start) from error
            return self.step(data, size)
        try:
            PyObject_GetBuffer(text, &view, PyBUF_FULL_RO)
        except (TypeError, ValueError, BufferError) as error:
            raise InvalidParameterError("the text must be str or bytes", hint="decode it first",
                                        type=type(text).__name__) from error
        try:
            if view.itemsize != 1:
                raise InvalidParameterError("the text must be str or bytes", hint="elements have one byte",
                                            type=type(text).__name__, itemsize=view.itemsize)
            if PyBuffer_IsContiguous(&view, b"C"):
                return self.step(<const uint8_t *>view.buf, view.len)
            copied = memoryview(text).tobytes()
        finally:
            PyBuffer_Release(&view)
        return self.step(<const uint8_t *>PyBytes_AS_STRING(copied), PyBytes_GET_SIZE(copied))

    def flush(self):
        """End the text: return what was held back, which is no stop after all. After a stop there is nothing left."""
        cdef fg_stop_step step
        cdef uint32_t state
        self.enter()
        try:
            state = self.state
            self.automaton.flush(&state, &step)
            result = self.match_of(&step, NULL, self.stop, self.stop_start)
            self.state, self.flushed = state, True
        finally:
            self.busy = False
        return result

    def reset(self):
        """Begin another stream."""
        self.enter()
        self.state, self.stop, self.fed, self.flushed = 0, -1, 0, False
        self.busy = False

    cdef int enter(self) except -1:
        if self.busy:
            raise FastgenError("two threads use one matcher at a time", code="concurrent_use",
                               hint="give each stream a matcher of its own")
        self.busy = True
        return 0

    cdef Match step(self, const uint8_t *data, size_t size):
        """Read a piece. What has changed is set last: without memory for the result nothing has."""
        cdef fg_stop_step step
        cdef uint32_t state
        cdef Match result
        self.enter()
        try:
            state = self.state
            if self.flushed or self.stop >= 0:
                raise StreamClosedError("the text has already ended", hint="use a new StopMatcher, or reset() this one")
            if size < LONG:
                self.automaton.feed(&state, data, size, self.keeps_stop, &step)
            else:
                with nogil:
                    self.automaton.feed(&state, data, size, self.keeps_stop, &step)
            result = self.match_of(&step, data, step.stop, self.fed + step.consumed - step.stop_size)
            self.state = state
            self.note(&step)
        finally:
            self.busy = False
        return result

    cdef Match match_of(self, const fg_stop_step *step, const uint8_t *data, int32_t stop, uint64_t stop_start):
        """Return the text of a step as an object, and the stop that ended the stream."""
        cdef Match result
        cdef bytes text
        if stop < 0 and step.head_size + step.body_size == 0:
            return NOTHING
        text = PyBytes_FromStringAndSize(NULL, step.head_size + step.body_size)
        memcpy(PyBytes_AS_STRING(text), step.head, step.head_size)
        if step.body_size:
            memcpy(PyBytes_AS_STRING(text) + step.head_size, data, step.body_size)
        result = Match.__new__(Match)
        result.text = text
        if stop >= 0:
            result.stopped, result.stop = True, <str>self.automaton.stops[stop]
            result.place, result.start = stop, stop_start
        return result

    cdef void note(self, const fg_stop_step *step) noexcept nogil:
        self.fed += step.consumed
        if step.stop >= 0:
            self.stop, self.stop_start = step.stop, self.fed - step.stop_size

    cdef void advance(self, const uint8_t *text, size_t size, fg_stop_step *step) noexcept nogil:
        self.automaton.feed(&self.state, text, size, self.keeps_stop, step)
        self.note(step)

    cdef void finish(self, fg_stop_step *step) noexcept nogil:
        self.automaton.flush(&self.state, step)
        self.flushed = True
