# cython: language_level=3, boundscheck=False, wraparound=False
"""Detokenizer: token ids to text, one whole character after the other, each as soon as its last byte is there."""

from operator import index

cimport cython
from cpython.buffer cimport PyObject_CheckBuffer
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_CheckExact
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport INT32_MAX, int64_t

from fastgen.errors import FastgenError, InvalidParameterError

__all__ = ["Detokenizer"]

cdef extern from "detokenizer.h" nogil:
    enum: FG_TEXT_PADDING, FG_TOKEN_BROKEN, FG_TOKEN_SPECIAL
    size_t fg_mark_tokens(const uint8_t *bytes, const uint32_t *offsets, size_t count, uint8_t *marks)
    size_t fg_detokenizer_room(size_t longest)
    void fg_detokenizer_reset(fg_detokenizer *detokenizer)
    int fg_detokenizer_advance(fg_detokenizer *detokenizer, int32_t token, const uint8_t **text, size_t *size)
    void fg_detokenizer_finish(fg_detokenizer *detokenizer, const uint8_t **text, size_t *size)
    size_t fg_detokenizer_pending(const fg_detokenizer *detokenizer)
    void fg_text_copy(uint8_t *to, const uint8_t *text, size_t size)

cdef enum:
    WORTH_LETTING_GO = 4096         # tokens for which the GIL is given up: some ten microseconds


cdef object outside(object token, ByteTable table):
    return InvalidParameterError(
        "a token id is outside the vocabulary",
        code="token_out_of_range",
        hint="the ids may come from another model's tokenizer",
        token=token,
        vocab_size=table.count,
    )


cdef object integer(object token_id):
    try:
        return index(token_id)
    except TypeError as error:
        raise InvalidParameterError(
            "a token id must be an integer", hint="give ids, in a flat sequence", type=type(token_id).__name__
        ) from error


cdef list listed(object token_ids):
    """Return a list of one's own."""
    try:
        return list(token_ids.tolist() if hasattr(token_ids, "tolist") else token_ids)
    except TypeError as error:
        raise InvalidParameterError("token ids come in a sequence", type=type(token_ids).__name__) from error


cdef int32_t id_of(object token_id) except? -1:
    """Return a token id; -1 for one that no vocabulary has."""
    cdef int overflow
    cdef int64_t value
    if not PyLong_CheckExact(token_id):
        token_id = integer(token_id)
    value = PyLong_AsLongLongAndOverflow(token_id, &overflow)
    return -1 if overflow or value < 0 or value > INT32_MAX else <int32_t>value


@cython.final
cdef class Marks:
    def __cinit__(self, ByteTable table not None, special_ids):
        cdef object token
        self.c = <uint8_t *>PyMem_Malloc(table.count + 1)
        if self.c == NULL:
            raise MemoryError
        self.longest = fg_mark_tokens(table.data, table.begins, table.count, self.c)
        self.special_ids = frozenset(special_ids)
        for token in self.special_ids:
            if 0 <= token < table.count:
                self.c[<uint32_t>token] |= FG_TOKEN_SPECIAL

    def __dealloc__(self):
        PyMem_Free(self.c)


cdef Marks marks_of(ByteTable table, object special_ids):
    """Return the marks of a table, which keeps the last that were asked for."""
    if table.marks is None or (<Marks>table.marks).special_ids != special_ids:
        table.marks = Marks(table, special_ids)
    return table.marks


@cython.final
cdef class Detokenizer:
    """Text of a stream of token ids.

    The joined results of `push` and of the final `flush` equal ``tokenizer.decode(ids, skip_special_tokens)`` of all
    ids, whatever bytes the tokens hold. A character whose bytes are spread over several tokens is held back until it is
    whole; malformed bytes become one U+FFFD for each maximal subpart, as in ``bytes.decode(errors="replace")``.

    Parameters
    ----------
    tokenizer : Tokenizer
        Where the bytes of the tokens come from.
    skip_special_tokens : bool, default True
        Whether special tokens have no text.
    spaces_between_special_tokens : bool, default False
        Whether a space stands between a special token that is shown and the text beside it, as in the slow tokenizers
        of transformers 4 (there the default, which its fast tokenizers ignored; transformers 5 ignores it altogether).
        With it the joined text has these spaces more than ``tokenizer.decode``.
    hold : {"codepoint", "grapheme"}
        What is never torn apart. With ``"grapheme"`` every piece is made of whole extended grapheme clusters, what
        readers take for one character: a family emoji, a flag, a letter with its marks, a Hangul or Indic syllable.
        A cluster is known to be whole by what follows it, so the last one comes with the next token, unless it is a
        line feed or another control character. Of a cluster of more than 64 bytes parts leave early, cut between code
        points.

    Attributes
    ----------
    most : int
        No piece of one token has more bytes of UTF-8.

    Raises
    ------
    InvalidParameterError
        Not a tokenizer; another `hold`.

    Notes
    -----
    A token takes time in proportion to its own bytes, and no memory beyond its ``str``. The tables are those of
    Unicode 18.0: UAX #29, extended grapheme clusters. One detokenizer serves one thread at a time.
    """

    def __cinit__(self, tokenizer, skip_special_tokens=True, *, spaces_between_special_tokens=False,
                  hold="codepoint"):
        if hold not in ("codepoint", "grapheme"):
            raise InvalidParameterError("hold is codepoint or grapheme", hold=hold)
        table = getattr(tokenizer, "bytes_table", None)
        if not isinstance(table, ByteTable):
            raise InvalidParameterError("a detokenizer needs a tokenizer", hint="load_tokenizer() returns one",
                                        type=type(tokenizer).__name__)
        self.table = table
        self.marks = marks_of(self.table, tokenizer.special_ids)
        self.c.bytes, self.c.offsets, self.c.count = self.table.data, self.table.begins, self.table.count
        self.c.marks = self.marks.c
        self.c.skip_special = bool(skip_special_tokens)
        self.c.spaces = bool(spaces_between_special_tokens) and not skip_special_tokens
        self.c.strip = bool(tokenizer.strip_leading_space)
        self.c.clusters = hold == "grapheme"
        self.c.text = <uint8_t *>PyMem_Malloc(fg_detokenizer_room(self.marks.longest))
        if self.c.text == NULL:
            raise MemoryError
        self.most = fg_detokenizer_room(self.marks.longest) - FG_TEXT_PADDING
        fg_detokenizer_reset(&self.c)

    def __dealloc__(self):
        PyMem_Free(self.c.text)

    cdef int advance(self, int32_t token, const uint8_t **text, size_t *size) noexcept nogil:
        return fg_detokenizer_advance(&self.c, token, text, size)

    cdef void finish(self, const uint8_t **text, size_t *size) noexcept nogil:
        fg_detokenizer_finish(&self.c, text, size)

    cdef int enter(self) except -1:
        if self.busy:
            raise FastgenError("two threads use one detokenizer at a time", code="concurrent_use",
                               hint="give each thread a detokenizer of its own")
        return 0

    @property
    def pending(self):
        """How many bytes are held back: of an unfinished character 0 to 3, of an unfinished cluster up to 64 more."""
        self.enter()
        return fg_detokenizer_pending(&self.c)

    def push(self, token_id):
        """Add a token and return the text that it completes, often its own, sometimes none.

        Parameters
        ----------
        token_id : int
            A token id, 0 <= id < vocabulary size.

        Returns
        -------
        str
            Whole code points, or whole clusters.

        Raises
        ------
        InvalidParameterError
            The id is not an integer, or outside the vocabulary (``code="token_out_of_range"``); nothing has changed.
        FastgenError
            ``concurrent_use``: another thread is inside `push_many`.
        """
        cdef const uint8_t *text
        cdef size_t size
        cdef int32_t token = id_of(token_id)
        self.enter()
        if fg_detokenizer_advance(&self.c, token, &text, &size):
            raise outside(index(token_id), self.table)
        return PyUnicode_DecodeUTF8(<const char *>text, size, NULL)

    def push_many(self, token_ids):
        """Add tokens and return the text that they complete, as `push` one after the other.

        Parameters
        ----------
        token_ids : sequence of int, or an array of integers, shape [tokens]

        Returns
        -------
        str

        Raises
        ------
        InvalidParameterError, FastgenError
            As `push`; none of the tokens is added then.
        """
        cdef list own
        cdef const int32_t[::1] small = None
        cdef const int64_t[::1] wide = None
        cdef int32_t *tokens
        cdef size_t count, place
        given = memoryview(token_ids) if PyObject_CheckBuffer(token_ids) else None
        if given is not None and given.ndim == 1 and given.c_contiguous and given.format in ("i", "l", "q"):
            if given.itemsize == 4:
                small, count = given, len(given)
            else:
                wide, count = given, len(given)
        else:
            given = own = listed(token_ids)
            count = len(own)
        tokens = <int32_t *>PyMem_Malloc((count + 1) * sizeof(int32_t))
        if tokens == NULL:
            raise MemoryError
        try:
            for place in range(count):
                if small is not None:
                    tokens[place] = small[place]
                elif wide is not None:
                    tokens[place] = <int32_t>wide[place] if 0 <= wide[place] <= INT32_MAX else -1
                else:
                    tokens[place] = id_of(own[place])
                if <uint32_t>tokens[place] >= self.c.count:
                    raise outside(index(given[place]), self.table)
            self.enter()        # here: what is no plain int may have run other threads
            return self.push_all(tokens, count)
        finally:
            PyMem_Free(tokens)

    cdef str push_all(self, const int32_t *tokens, size_t count):
        """`push_many` for ids of the vocabulary."""
        cdef size_t room = self.most + FG_TEXT_PADDING, length, size, end = 0, place
        cdef const uint8_t *text
        cdef uint8_t *out
        for place in range(count):
            length = self.c.offsets[tokens[place] + 1] - self.c.offsets[tokens[place]]
            room += (3 * length if self.c.marks[tokens[place]] & FG_TOKEN_BROKEN else length) + self.c.spaces
        out = <uint8_t *>PyMem_Malloc(room)
        if out == NULL:
            raise MemoryError
        try:
            if count < WORTH_LETTING_GO:
                for place in range(count):
                    fg_detokenizer_advance(&self.c, tokens[place], &text, &size)
                    fg_text_copy(out + end, text, size)
                    end += size
            else:
                self.busy = True
                with nogil:
                    for place in range(count):
                        fg_detokenizer_advance(&self.c, tokens[place], &text, &size)
                        fg_text_copy(out + end, text, size)
                        end += size
                self.busy = False
            return PyUnicode_DecodeUTF8(<const char *>out, end, NULL)
        finally:
            PyMem_Free(out)

    def flush(self):
        """End the text: return what is held back (one U+FFFD for an unfinished character, else nothing or a cluster).

        Afterwards the detokenizer is as new, ready for another text.
        """
        cdef const uint8_t *text
        cdef size_t size
        self.enter()
        fg_detokenizer_finish(&self.c, &text, &size)
        return PyUnicode_DecodeUTF8(<const char *>text, size, NULL)
