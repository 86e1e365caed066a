# cython: language_level=3
"""The door for logits: which arrays are taken, and the pointer behind them.

Rows come from NumPy, from torch (CPU), from anything with the buffer protocol or DLPack, without a copy, as float32,
bfloat16 or float16. The scores of a row must be adjacent in memory; rows of a batch may lie any distance apart.
"""

import sys

cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastgen.errors import InvalidParameterError, LogitsError

cdef extern from *:
    """
    /* DLPack's stable C layout: github.com/dmlc/dlpack, include/dlpack/dlpack.h, version 0.x "dltensor" capsules. */
    typedef struct { int32_t type, id; } fg_dl_device;
    typedef struct { uint8_t code, bits; uint16_t lanes; } fg_dl_dtype;
    typedef struct {
        void *data; fg_dl_device device; int32_t ndim; fg_dl_dtype dtype;
        int64_t *shape, *strides; uint64_t byte_offset;
    } fg_dl_tensor;
    """
    ctypedef struct fg_dl_device:
        int32_t type, id
    ctypedef struct fg_dl_dtype:
        uint8_t code, bits
        uint16_t lanes
    ctypedef struct fg_dl_tensor:
        void *data
        fg_dl_device device
        int32_t ndim
        fg_dl_dtype dtype
        int64_t *shape
        int64_t *strides
        uint64_t byte_offset

cdef enum:
    DL_CPU = 1
    DL_FLOAT = 2
    DL_BFLOAT = 4
    ROWS_MAX = 1 << 20
    COUNT_MAX = 0x7FFFFFFF

cdef object tensor_type = None      # torch.Tensor, once somebody has imported torch
cdef dict tensor_dtypes = {}


def _invalid(text, hint=None, **details):
    return LogitsError(text, code="logits_invalid", hint=hint, **details)


cdef int see_torch() except -1:
    """Learn torch's classes if torch is loaded; importing it is the caller's business."""
    global tensor_type
    torch = sys.modules.get("torch")
    if tensor_type is None and torch is not None and hasattr(torch, "Tensor"):
        tensor_dtypes[torch.float32] = <int>FG_FLOAT32
        tensor_dtypes[torch.bfloat16] = <int>FG_BFLOAT16
        tensor_dtypes[torch.float16] = <int>FG_FLOAT16
        tensor_type = torch.Tensor
    return 0


@cython.final
@cython.freelist(16)
cdef class Rows:
    def __dealloc__(self):
        if self.has_view:
            PyBuffer_Release(&self.view)

    cdef int set_shape(self, tuple shape, tuple strides) except -1:
        """Take shape and strides, both in elements."""
        if min(shape, default=1) < 1:     # a lying producer may even say -1
            raise _invalid("logits are empty", shape=shape)
        if len(shape) == 1:
            self.is_batch, self.rows, self.count, self.row_stride = False, 1, shape[0], 0
        elif len(shape) == 2:
            self.is_batch, self.rows, self.count = True, shape[0], shape[1]
            self.row_stride = strides[0] * (4 if self.dtype == FG_FLOAT32 else 2)
        else:
            raise _invalid("logits must be [vocab] or [rows, vocab]", shape=shape)
        if self.count > COUNT_MAX or self.rows > ROWS_MAX:
            raise _invalid("logits are too large", shape=shape)
        if self.count > 1 and strides[-1] != 1:
            raise _invalid("the scores of a row must be adjacent in memory", "pass a contiguous copy", strides=strides)
        if self.data == NULL:
            raise _invalid("logits have no memory behind them", shape=shape)
        return 0

    cdef int from_tensor(self, object tensor) except -1:
        if not tensor.is_cpu:
            raise _invalid("logits must be in CPU memory", "call .cpu() first", device=str(tensor.device))
        dtype = tensor_dtypes.get(tensor.dtype)
        if dtype is None:
            raise _invalid("logits must be float32, bfloat16 or float16", "convert them first", dtype=str(tensor.dtype))
        if tensor.is_neg():
            raise _invalid("logits are a lazily negated view", "call .resolve_neg() first")
        self.dtype = <fg_dtype><int>dtype
        try:
            self.data = <const char *><size_t>tensor.data_ptr()
            shape, strides = tuple(tensor.shape), tensor.stride()
        except RuntimeError as error:
            raise _invalid("logits must be a dense tensor", layout=str(tensor.layout)) from error
        return self.set_shape(shape, strides)

    cdef int from_buffer(self, object buffer) except -1:
        try:
            PyObject_GetBuffer(buffer, &self.view, PyBUF_STRIDES | PyBUF_FORMAT)
        except (BufferError, ValueError, TypeError) as error:
            raise _invalid("logits do not give their memory away", type=type(buffer).__name__) from error
        self.has_view = True
        if (self.view.ndim == 1 and self.view.itemsize == 4 and self.view.strides[0] == 4 and self.view.format != NULL
                and self.view.format[0] == b"f" and self.view.format[1] == 0 and 0 < self.view.shape[0] <= COUNT_MAX):
            # the usual row, without a detour through Python's objects
            self.dtype, self.data = FG_FLOAT32, <const char *>self.view.buf
            self.is_batch, self.rows, self.count, self.row_stride = False, 1, self.view.shape[0], 0
            return 0
        form = (<bytes>self.view.format).decode() if self.view.format != NULL else "B"
        if form in ("f", "<f", "=f", "@f") and self.view.itemsize == 4:
            self.dtype = FG_FLOAT32
        elif form in ("e", "<e", "=e", "@e") and self.view.itemsize == 2:
            self.dtype = FG_FLOAT16
        else:
            raise _invalid("logits must be float32, bfloat16 or float16", "convert them first", format=form)
        shape = tuple([self.view.shape[axis] for axis in range(self.view.ndim)])
        strides = tuple([self.view.strides[axis] for axis in range(self.view.ndim)])
        if any([stride % self.view.itemsize for stride in strides]):
            raise _invalid("the rows of logits are not a whole number of scores apart", strides=strides)
        self.data = <const char *>self.view.buf
        return self.set_shape(shape, tuple([stride // self.view.itemsize for stride in strides]))

    cdef int from_dlpack(self, object producer) except -1:
        cdef fg_dl_tensor *tensor
        try:
            if hasattr(producer, "__dlpack_device__"):      # asked first: an export from a GPU may wait for its work
                device = producer.__dlpack_device__()
                if device[0] != DL_CPU:
                    raise _invalid("logits must be in CPU memory", device_type=int(device[0]))
            capsule = producer.__dlpack__()
        except LogitsError:
            raise
        except Exception as error:
            raise _invalid("logits do not give their memory away", type=type(producer).__name__) from error
        if not PyCapsule_IsValid(capsule, "dltensor"):
            raise _invalid("logits came in a DLPack capsule of an unknown version", type=type(producer).__name__)
        self.owner = capsule
        tensor = <fg_dl_tensor *>PyCapsule_GetPointer(capsule, "dltensor")
        if tensor.device.type != DL_CPU:
            raise _invalid("logits must be in CPU memory", device_type=tensor.device.type)
        if tensor.dtype.lanes == 1 and tensor.dtype.code == DL_FLOAT and tensor.dtype.bits == 32:
            self.dtype = FG_FLOAT32
        elif tensor.dtype.lanes == 1 and tensor.dtype.code == DL_FLOAT and tensor.dtype.bits == 16:
            self.dtype = FG_FLOAT16
        elif tensor.dtype.lanes == 1 and tensor.dtype.code == DL_BFLOAT and tensor.dtype.bits == 16:
            self.dtype = FG_BFLOAT16
        else:
            raise _invalid("logits must be float32, bfloat16 or float16", "convert them first",
                           dlpack_code=tensor.dtype.code, bits=tensor.dtype.bits)
        if not 1 <= tensor.ndim <= 2:
            raise _invalid("logits must be [vocab] or [rows, vocab]", dimensions=tensor.ndim)
        shape = tuple([tensor.shape[axis] for axis in range(tensor.ndim)])
        strides = (tuple([tensor.strides[axis] for axis in range(tensor.ndim)]) if tensor.strides != NULL
                   else (shape[-1], 1)[2 - tensor.ndim:])
        self.data = <const char *>tensor.data + tensor.byte_offset
        return self.set_shape(shape, strides)


cdef bint is_remote(object logits) except -1:
    """Return whether `logits` is a tensor whose memory is not the host's."""
    if tensor_type is None:
        see_torch()
    return tensor_type is not None and isinstance(logits, tensor_type) and not logits.is_cpu


cdef Rows borrow(object logits):
    """Return the rows behind `logits`; the memory lives as long as the result does."""
    cdef Rows rows = Rows.__new__(Rows)
    if tensor_type is None:
        see_torch()
    if tensor_type is not None and isinstance(logits, tensor_type):
        rows.owner = logits
        rows.from_tensor(logits)
    elif PyObject_CheckBuffer(logits):
        rows.from_buffer(logits)
    elif hasattr(logits, "__dlpack__"):
        rows.from_dlpack(logits)
    else:
        hint = "NumPy, torch, the buffer protocol or DLPack"
        raise _invalid("logits must be an array", hint, type=type(logits).__name__)
    return rows


@cython.final
cdef class Words:
    def __dealloc__(self):
        if self.has_view:
            PyBuffer_Release(&self.view)


cdef Words borrow_words(object mask, size_t words, size_t rows):
    """Return the bitmask behind `mask`: int32 or uint32, [words] or [rows, words], rows of adjacent words.

    Raises
    ------
    InvalidParameterError
        It is something else, or has fewer words or another number of rows.
    """
    cdef Words found = Words.__new__(Words)
    if not PyObject_CheckBuffer(mask) and hasattr(mask, "numpy"):      # a tensor: its memory, by way of an array
        mask = mask.numpy()
    try:
        PyObject_GetBuffer(mask, &found.view, PyBUF_STRIDES | PyBUF_FORMAT)
    except (BufferError, ValueError, TypeError) as error:
        raise InvalidParameterError("a mask must be an array of 32-bit words", type=type(mask).__name__) from error
    found.has_view = True
    if (found.view.ndim == 1 and found.view.itemsize == 4 and found.view.strides[0] == 4 and found.view.format != NULL
            and found.view.format[0] in b"iI" and found.view.format[1] == 0 and <size_t>found.view.shape[0] >= words):
        found.data, found.stride = <const uint32_t *>found.view.buf, 0      # the usual one
        return found
    form = (<bytes>found.view.format).decode() if found.view.format != NULL else "B"
    shape = tuple([found.view.shape[axis] for axis in range(found.view.ndim)])
    if form.lstrip("<=@") not in ("i", "I", "l", "L") or found.view.itemsize != 4:
        raise InvalidParameterError("a mask must hold int32 or uint32 words", format=form)
    if found.view.ndim not in (1, 2) or <size_t>shape[-1] < words or (len(shape) == 2 and <size_t>shape[0] != rows):
        raise InvalidParameterError("a mask must be [words] or [rows, words]", shape=shape, words=words, rows=rows)
    if found.view.strides[found.view.ndim - 1] != 4 or (len(shape) == 2 and found.view.strides[0] % 4):
        raise InvalidParameterError("the words of a mask must be adjacent in memory", hint="pass a contiguous copy")
    if len(shape) == 2 and found.view.strides[0] < 0:
        raise InvalidParameterError("the rows of a mask are in reverse order", hint="pass a contiguous copy")
    found.data = <const uint32_t *>found.view.buf
    found.stride = <size_t>found.view.strides[0] // 4 if len(shape) == 2 else 0
    return found


cdef const uint32_t *words_of(Words words, size_t row) noexcept nogil:
    if words is None:
        return NULL
    return words.data + row * words.stride
