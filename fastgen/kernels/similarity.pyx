# cython: language_level=3, cdivision=True
"""How alike two texts are: edit distance, shared beginnings, shingles, token sets.

Texts are ``str`` (measured in code points), ``bytes`` (in bytes) or sequences of token ids; both of a pair must be of
one kind. Results are the same on every SIMD level.
"""

import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastgen cimport cpu

from fastgen.errors import InvalidParameterError

cdef extern from "Python.h":
    int PyUnicode_KIND(object text)
    void *PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)

cdef extern from "kernels/similarity.h" nogil:
    ctypedef enum fg_width:
        FG_WIDTH8
        FG_WIDTH16
        FG_WIDTH32
    enum: FG_NEEDLE_ROWS
    ctypedef size_t fg_prefix_fn(const void *a, const void *b, size_t count)
    ctypedef struct fg_similarity_kernels:
        fg_prefix_fn *prefix
    ctypedef struct fg_edit:
        pass
    ctypedef struct fg_text:
        const uint8_t *data
        size_t count
        size_t index
    ctypedef struct fg_needle:
        pass
    ctypedef struct fg_interner:
        uint64_t *words
        uint32_t *numbers
        int bits
        uint64_t multiplier
    ctypedef struct fg_shared:
        size_t a
        size_t b
        size_t both
    fg_similarity_kernels fg_similarity_select(uint32_t features)
    fg_edit fg_edit_begin(const fg_similarity_kernels *kernels, fg_width width, const void *a, size_t a_count,
                          const void *b, size_t b_count, size_t limit)
    double fg_edit_cells(const fg_edit *edit)
    int fg_edit_at_once(const fg_similarity_kernels *kernels, const fg_edit *edit, size_t *distance)
    size_t fg_edit_room(const fg_edit *edit)
    void fg_edit_lay_out(fg_edit *edit, void *room, uint64_t multiplier)
    int fg_edit_step(const fg_similarity_kernels *kernels, fg_edit *edit, size_t *distance)
    void fg_needle_make(fg_needle *needle, const uint8_t *pattern, size_t rows)
    void fg_edit_many(const fg_similarity_kernels *kernels, const fg_needle *needle, const fg_text *texts,
                      size_t count, fg_text *room, int64_t *distances)
    fg_shared fg_shingle(fg_width width, const void *a, size_t a_count, const void *b, size_t b_count, size_t n,
                         fg_interner *interner, uint32_t *a_numbers, uint32_t *b_numbers)

cdef fg_similarity_kernels table
cdef uint64_t multiplier = int.from_bytes(os.urandom(8), "little") | 1

cdef enum:
    STR, BYTES, IDS             # kinds of text
    SMALL = 4096                # symbols of two texts up to which the GIL is kept: a few microseconds
cdef double CELLS_MAX = 2.0 ** 38       # of the table of an edit distance: seconds
cdef size_t SYMBOLS_MAX = 1 << 31       # of two texts whose n-grams are numbered


cdef void select(uint32_t features) noexcept:
    global table
    table = fg_similarity_select(features)


cpu.on_change(select)


@cython.final
@cython.freelist(8)
cdef class Room:
    """Memory that is freed with the object, and grows on demand."""

    cdef void *data
    cdef size_t size

    def __dealloc__(self):
        PyMem_RawFree(self.data)

    cdef void *take(self, size_t size) except NULL:
        if size > self.size or self.data == NULL:
            PyMem_RawFree(self.data)
            self.size = 0
            self.data = PyMem_RawMalloc(size)
            if self.data == NULL:
                raise MemoryError
            self.size = size
        return self.data


cdef struct Symbols:
    const void *data
    size_t count
    fg_width width
    int kind


cdef object read_ids(object text):
    """Return token ids as an int32 array of our own."""
    import numpy as np
    try:
        ids = np.asarray(text)
    except Exception as error:      # whatever the object's own conversion raises
        raise not_a_text(text) from error
    if ids.ndim != 1 or (ids.dtype.kind not in "iu" and ids.size):
        raise not_a_text(text)
    if ids.size and (ids.min() < 0 or ids.max() > 0x7FFFFFFF):
        raise InvalidParameterError("a token id is negative or above 2**31 - 1", code="token_out_of_range")
    return np.array(ids, dtype=np.int32, order="C")


cdef object not_a_text(object text):
    return InvalidParameterError(
        "not a text", hint="pass str, bytes, or a flat sequence of token ids", type=type(text).__name__
    )


cdef object read(object text, Symbols *symbols):
    """Fill `symbols`; they are valid while the caller holds `text` and what is returned."""
    cdef const int[::1] ids
    if isinstance(text, str):
        symbols.data, symbols.count, symbols.kind = PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text), STR
        symbols.width = <fg_width>(PyUnicode_KIND(text) >> 1)
        return None
    if isinstance(text, (bytearray, memoryview)):
        text = bytes(text)
    if isinstance(text, bytes):
        symbols.data, symbols.count, symbols.kind = PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), BYTES
        symbols.width = FG_WIDTH8
        return text
    ids = owner = read_ids(text)
    symbols.data, symbols.count, symbols.kind = &ids[0] if ids.shape[0] else NULL, ids.shape[0], IDS
    symbols.width = FG_WIDTH32
    return owner


cdef void copy_wider(const Symbols *source, void *target, fg_width width) noexcept nogil:
    cdef size_t i
    if width == FG_WIDTH16:
        for i in range(source.count):
            (<uint16_t *>target)[i] = (<const uint8_t *>source.data)[i]
    elif source.width == FG_WIDTH8:
        for i in range(source.count):
            (<uint32_t *>target)[i] = (<const uint8_t *>source.data)[i]
    else:
        for i in range(source.count):
            (<uint32_t *>target)[i] = (<const uint16_t *>source.data)[i]


cdef int match_widths(Symbols *a, Symbols *b, Room room) except -1:
    """Give both texts symbols of one width; the narrower one moves into `room`."""
    cdef Symbols *narrow = a if a.width < b.width else b
    cdef fg_width width = max(a.width, b.width)
    if a.kind != b.kind:
        raise InvalidParameterError("texts of different kinds can't be compared", hint="encode or decode one of them")
    if a.width != b.width:
        target = room.take((narrow.count << <int>width) + 1)
        copy_wider(narrow, target, width)
        narrow.data, narrow.width = target, width
    return 0


cdef int64_t check_limit(object limit) except -1:
    if limit is None:
        return INT64_MAX
    if isinstance(limit, bool) or not hasattr(limit, "__index__") or not 0 <= limit.__index__() < 1 << 62:
        raise InvalidParameterError("limit must be None or an integer of at least 0", limit=limit)
    return limit.__index__()


cdef int64_t distance(const Symbols *a, const Symbols *b, size_t limit, Room room) except -1:
    """Return the edit distance of texts of one width, or a number above the limit."""
    cdef fg_edit edit
    cdef size_t found = 0
    cdef bint small = a.count + b.count <= SMALL, done
    if small:
        edit = fg_edit_begin(&table, a.width, a.data, a.count, b.data, b.count, limit)
        done = fg_edit_at_once(&table, &edit, &found)
    else:
        with nogil:
            edit = fg_edit_begin(&table, a.width, a.data, a.count, b.data, b.count, limit)
            done = fg_edit_cells(&edit) > CELLS_MAX or fg_edit_at_once(&table, &edit, &found)
        if fg_edit_cells(&edit) > CELLS_MAX:
            raise InvalidParameterError("the texts are too long for an edit distance",
                                        hint="pass a limit, or compare parts", a=a.count, b=b.count)
    if done:
        return <int64_t>found
    fg_edit_lay_out(&edit, room.take(fg_edit_room(&edit)), multiplier)
    while not done:
        if small:
            done = fg_edit_step(&table, &edit, &found)
        else:
            with nogil:
                done = fg_edit_step(&table, &edit, &found)
            PyErr_CheckSignals()
    return <int64_t>found


cdef int64_t distance_of(object a, object b, object limit, size_t *longer) except -1:
    """Return the edit distance of two objects, or limit + 1, and the length of the longer one."""
    cdef Symbols p, q
    cdef int64_t most = check_limit(limit), found
    _owners = read(a, &p), read(b, &q)      # held until the end, as all that `read` returns must be
    cdef Room wider = Room() if p.width != q.width else None
    match_widths(&p, &q, wider)
    longer[0] = max(p.count, q.count)
    found = distance(&p, &q, <size_t>most, Room())
    return found if found <= most else most + 1


def levenshtein(a, b, *, limit=None):
    """Return the edit distance: how many symbols must be inserted, deleted or replaced to turn one text into the other.

    Parameters
    ----------
    a, b : str, bytes, or sequence of int
        Both of one kind. Code points of a ``str`` are compared (not graphemes, and not normalized), bytes of ``bytes``,
        ids of anything else.
    limit : int, optional
        The largest distance that is of interest. Where the true one is above it, the result is ``limit + 1``, and time
        is saved: less, the smaller the limit.

    Returns
    -------
    int

    Raises
    ------
    InvalidParameterError
        The texts are not texts, are of different kinds, or would take more than 2**38 cells: lengths multiplied, or the
        longer length by the limit.

    Notes
    -----
    Time is O(len(a) * len(b) / 64), a word or a register of bits at a time (Myers 1999, Hyyrö 2003), after equal
    beginnings and ends are cut off; with a limit it is O(max(len(a), len(b)) * limit / 64) (Ukkonen 1985). Memory is
    O(len(a) + len(b)).

    Examples
    --------
    >>> levenshtein("kitten", "sitting")
    3
    """
    cdef size_t longer
    return distance_of(a, b, limit, &longer)


def similarity(a, b):
    """Return ``1 - levenshtein(a, b) / max(len(a), len(b))``, in [0, 1]; 1.0 for two empty texts.

    Parameters and errors are those of `levenshtein`.
    """
    cdef size_t longer
    cdef int64_t found = distance_of(a, b, None, &longer)
    return 1.0 - <double>found / <double>longer if longer else 1.0


@cython.boundscheck(False)
@cython.wraparound(False)
def levenshtein_many(text, texts, *, limit=None):
    """Return the edit distances of one text to many.

    Parameters
    ----------
    text : str, bytes, or sequence of int
    texts : iterable of the same
    limit : int, optional
        As for `levenshtein`.

    Returns
    -------
    int64 array, shape [len(texts)]

    Raises
    ------
    InvalidParameterError
        As `levenshtein`.

    Notes
    -----
    Texts of bytes or of code points below 256 are compared with a `text` of at most 512 of them up to 16 at a time;
    others one by one.
    """
    import numpy as np
    if isinstance(texts, (str, bytes, bytearray, memoryview)):
        raise InvalidParameterError("texts must be a collection of texts, not one text", type=type(texts).__name__)
    cdef tuple items = tuple(texts)
    cdef size_t most = check_limit(limit), count = len(items), together = 0, i
    distances = np.empty(count, np.int64)
    cdef int64_t[::1] view = distances
    cdef Symbols one, other, first
    cdef fg_needle needle
    cdef Room batch = Room(), room = Room(), wider = Room()
    _owner = read(text, &first)
    cdef fg_text *lanes = <fg_text *>batch.take((2 * count + 1) * sizeof(fg_text))
    cdef bint has_needle = first.width == FG_WIDTH8 and 1 <= first.count <= FG_NEEDLE_ROWS
    if has_needle:
        fg_needle_make(&needle, <const uint8_t *>first.data, first.count)
    kept = []
    for i in range(count):
        item = items[i]
        if has_needle and first.kind == STR and type(item) is str and PyUnicode_KIND(item) == 1:    # the usual one
            lanes[together].data, lanes[together].count = <uint8_t *>PyUnicode_DATA(item), PyUnicode_GET_LENGTH(item)
            lanes[together].index = i
            together += 1
            continue
        other_owner = read(item, &other)
        if has_needle and other.width == FG_WIDTH8 and other.kind == first.kind:
            lanes[together].data, lanes[together].count = <const uint8_t *>other.data, other.count
            lanes[together].index = i
            together += 1
            if other_owner is not None:
                kept.append(other_owner)
            continue
        one = first
        match_widths(&one, &other, wider)
        view[i] = distance(&one, &other, most, room)
    if together:
        with nogil:
            fg_edit_many(&table, &needle, lanes, together, lanes + count, &view[0])
    return distances if limit is None else np.minimum(distances, limit + 1)


def common_prefix(a, b):
    """Return how many symbols two texts have in common at their beginning.

    Parameters and errors are those of `levenshtein`. Time is O(result), after texts of different inner width (such as
    ``str`` with and without characters beyond Latin-1) are brought to one.
    """
    cdef Symbols p, q
    cdef size_t length, found
    _owners = read(a, &p), read(b, &q)      # held until the end, as all that `read` returns must be
    cdef Room wider = Room() if p.width != q.width else None
    match_widths(&p, &q, wider)
    length = min(p.count, q.count) << <int>p.width
    if length <= SMALL:
        found = table.prefix(p.data, q.data, length)
    else:
        with nogil:
            found = table.prefix(p.data, q.data, length)
    return found >> <int>p.width


cdef fg_shared shared_of(object a, object b, object n) except *:
    """Count n-grams. A text shorter than n counts as one n-gram that is itself; an empty one has none."""
    cdef Symbols p, q
    cdef fg_interner interner
    cdef fg_shared shared
    cdef size_t slots, length, bytes_equal
    if isinstance(n, bool) or not hasattr(n, "__index__") or n.__index__() < 1:
        raise InvalidParameterError("n must be an integer of at least 1", n=n)
    length = min(n.__index__(), SYMBOLS_MAX)
    _owners = read(a, &p), read(b, &q)      # held until the end, as all that `read` returns must be
    cdef Room wider = Room() if p.width != q.width else None
    match_widths(&p, &q, wider)
    if p.count + q.count > SYMBOLS_MAX:
        raise InvalidParameterError("the texts are too long", hint="compare parts", a=p.count, b=q.count)
    if p.count < length or q.count < length:
        bytes_equal = table.prefix(p.data, q.data, p.count << <int>p.width) if p.count == q.count else 0
        shared.a, shared.b = p.count > 0, q.count > 0
        shared.both = p.count == q.count > 0 and bytes_equal == p.count << <int>p.width
        return shared
    interner.bits = 1
    while <size_t>1 << interner.bits < 2 * (p.count + q.count):
        interner.bits += 1
    slots = <size_t>1 << interner.bits
    interner.multiplier = multiplier
    cdef Room room = Room()
    interner.words = <uint64_t *>room.take(slots * 12 + (p.count + q.count) * 4)
    interner.numbers = <uint32_t *>(interner.words + slots)
    if p.count + q.count <= SMALL:
        shared = fg_shingle(p.width, p.data, p.count, q.data, q.count, length, &interner, interner.numbers + slots,
                            interner.numbers + slots + p.count)
    else:
        with nogil:
            shared = fg_shingle(p.width, p.data, p.count, q.data, q.count, length, &interner, interner.numbers + slots,
                                interner.numbers + slots + p.count)
    return shared


def jaccard(a, b, n=3):
    """Return the Jaccard index of two texts' sets of n-grams: how many are in both, of those that are in either.

    Exact: n-grams are compared, not only their hashes. A text shorter than n counts as a single n-gram, itself; two
    empty texts have index 1.0, an empty and another one 0.0.

    Parameters
    ----------
    a, b : str, bytes, or sequence of int
        Both of one kind; n-grams are of code points, bytes or ids.
    n : int, default 3
        At least 1; with 1, texts are compared as sets of symbols.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    InvalidParameterError
        As `levenshtein`, but for the cells; or n is not a positive integer, or both texts together have more than 2**31
        symbols.

    Notes
    -----
    Time is O(len * log(n)) expected, memory O(len).

    Examples
    --------
    >>> jaccard("abcd", "abce")
    0.3333333333333333
    """
    cdef fg_shared shared = shared_of(a, b, n)
    cdef size_t either = shared.a + shared.b - shared.both
    return <double>shared.both / <double>either if either else 1.0


def token_overlap(a_ids, b_ids):
    """Return the overlap coefficient of two sets of token ids: how many are in both, of those in the smaller set.

    Parameters
    ----------
    a_ids, b_ids : sequence of int, or integer array, shape [count]
        Order and repetition do not matter. Two empty sets have coefficient 1.0, an empty and another one 0.0.

    Returns
    -------
    float
        In [0, 1]. ``jaccard(a_ids, b_ids, n=1)`` is the Jaccard index of the same sets.

    Raises
    ------
    InvalidParameterError
        An argument is not a flat sequence of ids from 0 to 2**31 - 1.
    """
    for ids in (a_ids, b_ids):
        if isinstance(ids, (str, bytes, bytearray, memoryview)):
            raise InvalidParameterError("token ids must be integers", type=type(ids).__name__)
    cdef fg_shared shared = shared_of(a_ids, b_ids, 1)
    cdef size_t smaller = min(shared.a, shared.b)
    if smaller == 0:
        return 1.0 if shared.a == shared.b else 0.0
    return <double>shared.both / <double>smaller
