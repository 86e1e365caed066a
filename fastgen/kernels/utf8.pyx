# cython: language_level=3
"""Kernels over UTF-8 text: check at the door, drop the GIL where that pays, call the table.

Text is any contiguous bytes-like object: ``bytes``, ``bytearray``, ``memoryview``, an array. Its bytes are what counts,
whatever its elements are. Well-formed is what ``bytes.decode`` accepts: no overlong form, no surrogate, nothing above
U+10FFFF. Results are the same on every SIMD level, and all take time linear in the length.

The method is that of J. Keiser and D. Lemire, "Validating UTF-8 in less than one instruction per byte", Software:
Practice and Experience 51 (2021).
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint32_t

from fastgen cimport cpu
from fastgen.errors import InvalidParameterError

cdef extern from "kernels/utf8.h" nogil:
    ctypedef size_t (*fg_utf8_validate_fn)(const uint8_t *text, size_t size)
    ctypedef size_t (*fg_utf8_count_fn)(const uint8_t *text, size_t size)
    ctypedef struct fg_utf8_kernels:
        fg_utf8_validate_fn validate
        fg_utf8_count_fn count
    fg_utf8_kernels fg_utf8_select(uint32_t features)

cdef fg_utf8_kernels table


cdef void select(uint32_t features) noexcept:
    global table
    table = fg_utf8_select(features)


cpu.on_change(select)

cdef enum:
    SHORT = 16384       # bytes that take less time than to give the GIL away and get it back


cdef size_t validate_utf8(const uint8_t *text, size_t size) noexcept nogil:
    return table.validate(text, size)


cdef size_t count_utf8(const uint8_t *text, size_t size) noexcept nogil:
    return table.count(text, size)


cdef size_t measure(object text, fg_utf8_validate_fn kernel) except? <size_t>-1:
    """Return what a kernel says of the bytes of an object; these stay where they are as long as it runs."""
    cdef Py_buffer view
    cdef size_t result
    try:
        PyObject_GetBuffer(text, &view, PyBUF_SIMPLE)
    except (TypeError, BufferError, ValueError) as error:
        hint = "encode it first" if isinstance(text, str) else "pass bytes"
        raise InvalidParameterError(
            "text must be a contiguous bytes-like object", hint=hint, type=type(text).__name__
        ) from error
    if view.len <= SHORT:
        result = kernel(<const uint8_t *>view.buf, <size_t>view.len)
    else:
        with nogil:
            result = kernel(<const uint8_t *>view.buf, <size_t>view.len)
    PyBuffer_Release(&view)
    return result


cdef size_t rest(const uint8_t *text, size_t size) noexcept nogil:
    """Return how many bytes there are from the first ill-formed sequence on: none if there is none."""
    return size - table.validate(text, size)


cdef size_t tail_utf8(const uint8_t *text, size_t size) noexcept nogil:
    return fg_utf8_tail(text, size)


def validate(text):
    """Return how many bytes at the start of a text are well-formed UTF-8.

    That is all of them, or as many as come before the first sequence that is ill-formed or that the text's end cuts
    short: what ``UnicodeDecodeError.start`` is. ``text[:validate(text)]`` can always be decoded.

    Parameters
    ----------
    text : bytes-like, contiguous

    Returns
    -------
    int
        0 to the number of bytes.

    Raises
    ------
    InvalidParameterError
        If `text` is not a contiguous bytes-like object.
    """
    return measure(text, table.validate)


def valid(text):
    """Return whether a text is well-formed UTF-8 from start to end; see `validate` for the argument and the errors."""
    return measure(text, rest) == 0


def count(text):
    """Return how many code points a well-formed text has: the number of its bytes that are not 10xxxxxx.

    An ill-formed text is counted in the same way; see `validate` for the argument and the errors.
    """
    return measure(text, table.count)


def tail(text):
    """Return how many bytes at the end of a text are a sequence that more bytes could make well-formed.

    A stream is decoded piece by piece by holding these bytes back: the first bytes of a character, but not ``E0 80`` or
    ``ED A0``, which nothing can mend. What comes before them is not looked at.

    Parameters
    ----------
    text : bytes-like, contiguous

    Returns
    -------
    int
        0 to 3.

    Raises
    ------
    InvalidParameterError
        If `text` is not a contiguous bytes-like object.
    """
    return measure(text, tail_utf8)
