# cython: language_level=3
"""TokenStops: which of many stop sequences of token ids the tokens so far end with."""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc

from fastgen.kernels.tokens cimport Tokens, borrow, borrow_ids
from fastgen.errors import InvalidParameterError

cdef extern from "token_stops.h" nogil:
    size_t fg_token_stops_ended(const fg_token_stops *stops, const int32_t *tokens, size_t count)

cdef enum:
    LARGEST = 0x7FFFFFFF


@cython.final
cdef class TokenStops:
    """Stop sequences of token ids, any number of any length.

    They are kept in the order of their last tokens, then of those before, so that a question costs two binary searches
    for each token that agrees: nearly always for the last one only, and never for more than the longest sequence has.

    Parameters
    ----------
    sequences : iterable of arrays or sequences of int
        Ids of at least 0. A sequence that comes twice counts where it comes first.

    Attributes
    ----------
    longest : int
        Tokens of the longest sequence: no more of the last tokens matter.

    Raises
    ------
    InvalidParameterError
        A sequence is empty, a token is no integer or out of range, or there are 2**31 tokens.

    Examples
    --------
    >>> stops = TokenStops([[1, 2], [2], [3, 4]])
    >>> stops.ended([9, 1, 2]), stops.ended([9, 2]), stops.ended([4, 3])
    (0, 1, None)
    """

    def __cinit__(self, sequences):
        cdef Tokens one
        cdef size_t index, used = 0
        found = {}
        try:
            given = list(sequences)
        except TypeError as error:
            raise InvalidParameterError("stop sequences must be a list of sequences of token ids",
                                        type=type(sequences).__name__) from error
        for place, sequence in enumerate(given):
            one = borrow_ids(sequence)
            if one.count == 0:
                raise InvalidParameterError("a stop sequence is empty", place=place)
            found.setdefault(tuple([one.ids[one.count - 1 - index] for index in range(one.count)]), place)
            self.longest = max(self.longest, one.count)
        total = sum(map(len, found))
        if total > LARGEST:
            raise InvalidParameterError("there are too many tokens", hint="keep below 2**31", tokens=total)
        self.ids = <int32_t *>PyMem_Malloc(max(total, 1) * sizeof(int32_t))
        self.starts = <uint32_t *>PyMem_Malloc((len(found) + 1) * sizeof(uint32_t))
        self.places = <int32_t *>PyMem_Malloc(max(len(found), 1) * sizeof(int32_t))
        if self.ids == NULL or self.starts == NULL or self.places == NULL:
            raise MemoryError
        for index, (backward, place) in enumerate(sorted(found.items())):
            self.starts[index], self.places[index] = <uint32_t>used, place
            for token in backward:
                self.ids[used] = token
                used += 1
        self.starts[len(found)] = <uint32_t>used
        self.c.ids, self.c.starts, self.c.count = self.ids, self.starts, len(found)

    def __dealloc__(self):
        PyMem_Free(self.ids)
        PyMem_Free(self.starts)
        PyMem_Free(self.places)

    def __len__(self):
        return self.c.count

    cdef int32_t match(self, const int32_t *tokens, size_t count) noexcept nogil:
        cdef size_t index = fg_token_stops_ended(&self.c, tokens, count)
        return self.places[index] if index < self.c.count else -1

    def ended(self, tokens):
        """Return which sequence the tokens end with.

        Parameters
        ----------
        tokens : array or sequence of int
            The tokens so far, [count]; of a list or tuple only the last `longest` are looked at.

        Returns
        -------
        int or None
            The place of the sequence in the list that was given; of several the longest.

        Raises
        ------
        InvalidParameterError
            The tokens are no integers, have other dimensions or do not fit int32.
        """
        if isinstance(tokens, (list, tuple)):
            tokens = tokens[-self.longest:] if self.longest else ()
        cdef Tokens last = borrow(tokens)
        cdef int32_t place = self.match(last.ids, last.count)
        return place if place >= 0 else None
