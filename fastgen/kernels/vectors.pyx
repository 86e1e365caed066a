# cython: language_level=3
"""How alike two vectors are: the cosine of the angle between them. It has the same bits on every SIMD level."""

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from libc.stdint cimport uint32_t

from fastgen cimport cpu
from fastgen.kernels.rows cimport FG_BFLOAT16, FG_FLOAT16, FG_FLOAT32, Rows, borrow, fg_dtype

from fastgen.errors import InvalidParameterError, LogitsError

cdef extern from "kernels/vectors.h" nogil:
    ctypedef struct fg_vectors_kernels:
        pass
    fg_vectors_kernels fg_vectors_select(uint32_t features)
    double fg_cosine(const fg_vectors_kernels *kernels, fg_dtype dtype, const void *u, const void *v, size_t count)

cdef extern from "base/fpenv.h" nogil:
    ctypedef unsigned long long fg_fpenv
    fg_fpenv fg_fpenv_enter()
    void fg_fpenv_leave(fg_fpenv before)

cdef fg_vectors_kernels table


cdef void select(uint32_t features) noexcept:
    global table
    table = fg_vectors_select(features)


cpu.on_change(select)

cdef enum:
    SMALL = 16384       # numbers up to which the GIL is kept: a microsecond


cdef struct Vector:
    const void *data
    size_t count
    fg_dtype dtype
    Py_buffer view
    bint has_view


cdef object not_a_vector(object source, str why):
    return InvalidParameterError(
        "not a vector",
        hint="pass a one-dimensional array of adjacent float32, float16 or bfloat16 numbers in CPU memory",
        why=why, type=type(source).__name__,
    )


cdef int set_dtype(Vector *vector, object source, bint as_bfloat16) except -1:
    """Read the format of an open buffer."""
    cdef Py_buffer *view = &vector.view
    cdef const char *form = view.format
    if form == NULL:            # bytes
        raise not_a_vector(source, "dtype")
    if form[0] in b"<=@":
        form += 1
    if form[0] == b"f" and view.itemsize == 4 and not as_bfloat16:
        vector.dtype = FG_FLOAT32
    elif form[0] == b"e" and view.itemsize == 2 and not as_bfloat16:
        vector.dtype = FG_FLOAT16
    elif form[0] in b"hH" and view.itemsize == 2 and as_bfloat16:
        vector.dtype = FG_BFLOAT16
    else:
        raise not_a_vector(source, "dtype")
    if form[1] != 0:            # a structure
        raise not_a_vector(source, "dtype")
    return 0


cdef object open_vector(object source, Vector *vector, bint as_bfloat16):
    """Fill `vector`; it is valid while the caller holds what is returned, and until its view is released."""
    cdef Rows rows
    cdef Py_buffer *view = &vector.view
    if not PyObject_CheckBuffer(source):
        try:
            rows = borrow(source)
        except LogitsError as error:
            raise not_a_vector(source, error.message) from error
        if rows.is_batch or (as_bfloat16 and rows.dtype != FG_BFLOAT16):
            raise not_a_vector(source, "shape" if rows.is_batch else "dtype")
        vector.data, vector.count, vector.dtype = rows.data, rows.count, rows.dtype
        return rows
    try:
        PyObject_GetBuffer(source, view, PyBUF_STRIDES | PyBUF_FORMAT)
    except (BufferError, ValueError, TypeError) as error:
        raise not_a_vector(source, "buffer") from error
    vector.has_view = True
    if view.ndim != 1 or view.shape[0] < 1:
        raise not_a_vector(source, "shape")
    if view.shape[0] > 1 and view.strides[0] != view.itemsize:
        raise not_a_vector(source, "strides")
    vector.data, vector.count = view.buf, view.shape[0]
    set_dtype(vector, source, as_bfloat16)
    return None


def cosine(u, v, dtype=None):
    """Return the cosine of the angle between two vectors.

    Parameters
    ----------
    u, v : array of float32, float16 or bfloat16, shape [count]
        NumPy, torch on the CPU, the buffer protocol or DLPack; not copied. At least one number, both of one dtype. The
        numbers must be adjacent in memory, which may be unaligned.
    dtype : "bfloat16", optional
        What 16-bit integers are to be read as: NumPy has no bfloat16 of its own.

    Returns
    -------
    float
        In [-1, 1]; 0.0 if either vector is zero, NaN if either holds a NaN or an infinity.

    Raises
    ------
    InvalidParameterError
        An argument is not such a vector, or the two differ in dtype or length.

    Notes
    -----
    float32 is summed in float64: the error is below ``(count / 8 + 20) * 2**-53``. The others are summed in float32, in
    blocks of 4,096 numbers, and the blocks in float64: the error is below ``2**-15``, whatever the length, and about
    ``2**-23`` for what is usual.
    """
    cdef Vector p, q
    cdef double result
    cdef fg_fpenv mode
    cdef bint as_bfloat16 = dtype is not None
    if as_bfloat16 and dtype != "bfloat16":
        raise InvalidParameterError("dtype must be None or 'bfloat16'", dtype=dtype)
    p.has_view = q.has_view = False
    try:
        _owner = open_vector(u, &p, as_bfloat16)
        _other = open_vector(v, &q, as_bfloat16)
        if p.dtype != q.dtype:
            raise InvalidParameterError("two vectors of different dtypes", hint="convert one of them")
        if p.count != q.count:
            raise InvalidParameterError("two vectors of different lengths", u=p.count, v=q.count)
        if p.count <= SMALL:
            mode = fg_fpenv_enter()
            result = fg_cosine(&table, p.dtype, p.data, q.data, p.count)
            fg_fpenv_leave(mode)
        else:
            with nogil:
                mode = fg_fpenv_enter()
                result = fg_cosine(&table, p.dtype, p.data, q.data, p.count)
                fg_fpenv_leave(mode)
    finally:
        if p.has_view:
            PyBuffer_Release(&p.view)
        if q.has_view:
            PyBuffer_Release(&q.view)
    return result
