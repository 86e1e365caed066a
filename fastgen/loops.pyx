# cython: language_level=3
"""LoopDetector: sees that a model has begun to say the same again and again."""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.string cimport memcpy

from fastgen.kernels.tokens cimport id_of, integer_of, recur

MAX_PATTERN_SIZE = 1 << 16
"""The longest pattern that can be looked for."""

MAX_COUNT = 1 << 15
"""The most repetitions that can be asked for."""


@cython.final
cdef class LoopDetector:
    """Whether tokens end with a pattern that stands there several times in a row.

    The decision of vLLM's ``repetition_detection``, after each token: for some size p in [`min_pattern_size`,
    `max_pattern_size`] the last p * `min_count` tokens are `min_count` times the same p tokens. What it is told are the
    tokens of an answer, without those of its prompt.

    That is so exactly if each of the last p * (`min_count` - 1) tokens equals the one that stands p tokens before it.
    So a counter for each p, set anew where a token differs, says how many are missing. A token costs one pass over the
    counters, 8 or 16 at a time, whatever the tokens and however many there have been.

    Parameters
    ----------
    max_pattern_size : int
        The longest pattern, in [1, 65,536] tokens.
    min_pattern_size : int, default 1
        The shortest, in [1, `max_pattern_size`].
    min_count : int, default 2
        How many times the pattern must stand there, in [2, 32,768].

    Raises
    ------
    InvalidParameterError
        A number is out of its range.

    Notes
    -----
    Memory is at most 12 bytes for each token of `max_pattern_size`. One thread at a time, or the GIL, must be inside.

    Examples
    --------
    >>> detector = LoopDetector(max_pattern_size=4, min_count=3)
    >>> [detector.push(token) for token in [9, 5, 6, 5, 6, 5, 6, 6]]
    [0, 0, 0, 0, 0, 0, 2, 0]
    """

    def __cinit__(self, max_pattern_size, min_pattern_size=1, min_count=2):
        self.longest = integer_of(max_pattern_size, "max_pattern_size", 1, MAX_PATTERN_SIZE)
        self.shortest = integer_of(min_pattern_size, "min_pattern_size", 1, self.longest)
        self.again = <int32_t>integer_of(min_count, "min_count", 2, MAX_COUNT) - 1
        self.room = 2 * self.longest
        self.window = <int32_t *>PyMem_Malloc(self.room * sizeof(int32_t))
        self.missing = <int32_t *>PyMem_Malloc((self.longest - self.shortest + 1) * sizeof(int32_t))
        if self.window == NULL or self.missing == NULL:
            raise MemoryError
        self.reset()

    def __dealloc__(self):
        PyMem_Free(self.window)
        PyMem_Free(self.missing)

    cdef size_t feed(self, int32_t token) noexcept nogil:
        cdef size_t periods = self.longest - self.shortest + 1
        cdef size_t place = recur(self.window + self.end - self.longest, periods, token, self.missing,
                                  <int32_t>self.longest * self.again, self.again)
        if self.end == self.room:
            self.end = self.longest
            memcpy(self.window, self.window + self.end, self.longest * sizeof(int32_t))
        self.window[self.end] = token
        self.end += 1
        return self.longest - place if place < periods else 0

    def push(self, token):
        """Take the next token.

        Parameters
        ----------
        token : int
            An id, at least 0.

        Returns
        -------
        int
            The size of the shortest pattern that now stands at the end often enough, or 0: as long as a loop goes on,
            every further token says so again.

        Raises
        ------
        InvalidParameterError
            The token is no integer or out of range.
        """
        return self.feed(id_of(token))

    def reset(self):
        """Forget all tokens."""
        cdef size_t i
        for i in range(self.longest):
            self.window[i] = -1             # equals no token, so no period holds before there are tokens
        self.end = self.longest
        for i in range(self.longest - self.shortest + 1):
            self.missing[i] = <int32_t>(self.longest - i) * self.again
