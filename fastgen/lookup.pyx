# cython: language_level=3
"""PromptLookup: proposes the next tokens by what followed the last few earlier in the text."""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.string cimport memcpy

from fastgen.kernels.tokens cimport Tokens, borrow_ids, id_of, integer_of, recall
from fastgen.errors import InvalidParameterError

cdef enum:
    MAX_PROPOSED = 1 << 16
    FEW = 64            # proposals that need no memory of their own
    MAX_TOKENS = 0x7FFFFFFF

MAX_NGRAM = 256
"""The longest n-gram that can be looked for."""


@cython.final
cdef class PromptLookup:
    """A proposer for speculative decoding that needs no second model.

    Looks for the place earlier in prompt and answer that agrees with the last tokens in as many tokens as possible, at
    most `max_ngram`, and of several with the latest; proposes what followed there. Where fewer than k tokens have
    followed, it goes on with what it has just proposed, so a text that repeats itself is continued the way it repeats
    (as LZ77 copies).

    Parameters
    ----------
    tokens : array or sequence of int, optional
        The prompt, as `extend` takes it.
    max_ngram : int, default 8
        The most tokens that are compared, in [1, 256].
    min_ngram : int, default 1
        The fewest tokens that must agree, in [1, `max_ngram`].

    Raises
    ------
    InvalidParameterError
        A number or a token is out of its range.

    Notes
    -----
    A proposal is one pass from the end of the tokens, which ends where `max_ngram` agree: O(count) and no index, so a
    token costs nothing when it is appended, and taking tokens back is free. Memory is 4 to 8 bytes a token. One thread
    at a time, or the GIL, must be inside.

    The idea is A. Saxena's, "Prompt Lookup Decoding" (2023); his code, and transformers, take the first place where the
    longest of 3 or 2 tokens agree. The latest place is the better guess in text that goes on to change, and comparing
    more tokens finds the place that a copy has got to (asv_benchmarks/benchmarks/lookup.py measures both).

    Examples
    --------
    >>> PromptLookup([7, 1, 2, 3, 4, 1, 2]).propose(3)
    [3, 4, 1]
    >>> PromptLookup([5, 6, 5, 6]).propose(5)
    [5, 6, 5, 6, 5]
    """

    def __cinit__(self, tokens=(), *, max_ngram=8, min_ngram=1):
        self.max_ngram = integer_of(max_ngram, "max_ngram", 1, MAX_NGRAM)
        self.min_ngram = integer_of(min_ngram, "min_ngram", 1, self.max_ngram)
        self.extend(tokens)

    def __dealloc__(self):
        PyMem_Free(self.tokens)

    def __len__(self):
        return self.length

    cdef int reserve(self, size_t more) except -1:
        """Have room for `more` tokens."""
        cdef size_t capacity = max(self.capacity, <size_t>64)
        cdef void *memory
        if more <= self.capacity - self.length:
            return 0
        if more > MAX_TOKENS - self.length:
            raise InvalidParameterError("there are too many tokens", hint="keep below 2**31")
        while capacity < self.length + more:
            capacity *= 2
        memory = PyMem_Realloc(self.tokens, capacity * sizeof(int32_t))
        if memory == NULL:
            raise MemoryError
        self.tokens, self.capacity = <int32_t *>memory, capacity
        return 0

    cdef size_t propose_into(self, int32_t *out, size_t k, size_t least) noexcept nogil:
        """Write k tokens, or none: then 0 is returned."""
        cdef size_t size, place, i, agreed = 0
        if self.length <= least:
            return 0
        size = min(self.max_ngram, self.length - 1)
        place = recall(self.tokens, self.length - 1, self.tokens + self.length - size, size, least, &agreed)
        if place == 0:
            return 0
        for i in range(k):
            out[i] = self.tokens[place + i] if place + i < self.length else out[place + i - self.length]
        return k

    def append(self, token):
        """Add one token.

        Parameters
        ----------
        token : int
            An id, at least 0.

        Raises
        ------
        InvalidParameterError
            The token is no integer or out of range, or there are 2**31 - 1 already.
        """
        cdef int32_t value = id_of(token)
        self.reserve(1)
        self.tokens[self.length] = value
        self.length += 1

    def extend(self, tokens):
        """Add tokens: all of them, or none if one is refused.

        Parameters
        ----------
        tokens : array or sequence of int
            Ids of at least 0, [count]: anything that `fastgen.kernels.tokens.find` takes.

        Raises
        ------
        InvalidParameterError
            A token is no integer or out of range, or there would be more than 2**31 - 1.
        """
        cdef Tokens more = borrow_ids(tokens)
        self.reserve(more.count)
        if more.count:
            memcpy(self.tokens + self.length, more.ids, more.count * sizeof(int32_t))
        self.length += more.count

    def truncate(self, length):
        """Take back all tokens but the first `length`, in O(1).

        Raises
        ------
        InvalidParameterError
            There are not that many.
        """
        self.length = integer_of(length, "length", 0, self.length)

    def propose(self, k, min_ngram=None):
        """Return a guess at the next `k` tokens.

        Parameters
        ----------
        k : int
            In [1, 65,536].
        min_ngram : int, optional
            For this guess alone the fewest tokens that must agree, in [1, `max_ngram`].

        Returns
        -------
        list of int
            `k` ids, or none if the last `min_ngram` tokens stand nowhere else.

        Raises
        ------
        InvalidParameterError
            A number is out of its range.
        """
        cdef size_t wanted = integer_of(k, "k", 1, MAX_PROPOSED), count, i, least = self.min_ngram
        cdef int32_t[FEW] few
        cdef int32_t *out = few
        if min_ngram is not None:
            least = integer_of(min_ngram, "min_ngram", 1, self.max_ngram)
        if wanted > FEW:
            out = <int32_t *>PyMem_Malloc(wanted * sizeof(int32_t))
            if out == NULL:
                raise MemoryError
        try:
            count = self.propose_into(out, wanted, least)   # with the GIL: no thread may move the tokens now
            return [out[i] for i in range(count)]
        finally:
            if out != few:
                PyMem_Free(out)
