# cython: language_level=3
"""Kernels over quantized weights: check at the door, drop the GIL, call the table.

The block types are ggml's, as GGUF files hold them. Results have the same bits on every SIMD level.
"""

from types import MappingProxyType

from libc.stdint cimport uint8_t, uint32_t, uintptr_t

from fastgen cimport cpu
from fastgen.errors import CheckpointError, InvalidParameterError

cdef extern from "kernels/quant.h" nogil:
    enum:
        FG_F16, FG_BF16, FG_Q4_0, FG_Q4_1, FG_Q5_0, FG_Q5_1, FG_Q8_0, FG_QUANT_BLOCK
    ctypedef struct fg_q4_0:
        pass
    ctypedef struct fg_q4_1:
        pass
    ctypedef struct fg_q5_0:
        pass
    ctypedef struct fg_q5_1:
        pass
    ctypedef struct fg_q8_0:
        pass
    ctypedef void (*fg_dequantize_fn)(const void *blocks, size_t count, float *values)
    ctypedef struct fg_quant_kernels:
        fg_dequantize_fn *dequantize
    fg_quant_kernels fg_quant_select(uint32_t features)

cdef extern from "base/fpenv.h" nogil:
    ctypedef unsigned long long fg_fpenv
    fg_fpenv fg_fpenv_enter()
    void fg_fpenv_leave(fg_fpenv before)

cdef fg_quant_kernels table


cdef void select(uint32_t features) noexcept:
    global table
    table = fg_quant_select(features)


cpu.on_change(select)

cdef dict TYPES = {
    "F16": FG_F16, "BF16": FG_BF16, "Q4_0": FG_Q4_0, "Q4_1": FG_Q4_1, "Q5_0": FG_Q5_0, "Q5_1": FG_Q5_1, "Q8_0": FG_Q8_0,
}

BLOCKS = MappingProxyType({
    "F16": (1, 2),
    "BF16": (1, 2),
    "Q4_0": (FG_QUANT_BLOCK, sizeof(fg_q4_0)),
    "Q4_1": (FG_QUANT_BLOCK, sizeof(fg_q4_1)),
    "Q5_0": (FG_QUANT_BLOCK, sizeof(fg_q5_0)),
    "Q5_1": (FG_QUANT_BLOCK, sizeof(fg_q5_1)),
    "Q8_0": (FG_QUANT_BLOCK, sizeof(fg_q8_0)),
})
"""Values and bytes of a block, for each type: ``BLOCKS["Q4_1"] == (32, 20)``."""


cdef void dequantize_blocks(int kind, const void *blocks, size_t count, float *values) noexcept nogil:
    cdef fg_fpenv before = fg_fpenv_enter()
    table.dequantize[kind](blocks, count, values)
    fg_fpenv_leave(before)


cdef object as_bytes(object source, str name, str element, str wanted):
    """Return a flat byte view of a contiguous buffer whose elements have the format `element`."""
    try:
        view = memoryview(source)
    except (TypeError, BufferError) as error:
        raise InvalidParameterError(
            "an argument is not a buffer", hint=f"pass {wanted}", argument=name, found=type(source).__name__
        ) from error
    if view.format != element or not view.c_contiguous:
        raise InvalidParameterError(
            "a buffer has the wrong elements or is not contiguous",
            hint=f"pass {wanted}",
            argument=name,
            format=view.format,
            contiguous=view.c_contiguous,
        )
    if view.nbytes == 0:  # cast() refuses shapes that hold a 0
        return memoryview(bytearray())
    return view.cast("B")


def supported():
    """Return the types that `dequantize` knows.

    Returns
    -------
    tuple of str
        ``("F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")``
    """
    return tuple(BLOCKS)


def dequantize(str type_name not None, data, out):
    """Widen quantized blocks to float32.

    Nothing is written unless all arguments fit each other. The GIL is released while the values are computed.

    Parameters
    ----------
    type_name : str
        One of `supported()`.
    data : buffer of uint8, contiguous, any shape, any alignment
        Whole blocks, one after the other.
    out : buffer of float32, contiguous, writable, any shape
        Gets the values; exactly as many as the blocks hold.

    Raises
    ------
    CheckpointError
        If the type is not supported.
    InvalidParameterError
        If a buffer is of the wrong kind or size, or the two overlap.
    """
    if type_name not in TYPES:
        raise CheckpointError(
            "weights of this type are not supported",
            code="checkpoint_unsupported",
            hint=f"convert the model to one of {', '.join(supported())}",
            type_name=type_name,
        )
    source = as_bytes(data, "data", "B", "contiguous uint8, for example numpy.uint8 or bytes")
    target = as_bytes(out, "out", "f", "contiguous float32, for example numpy.empty(count, numpy.float32)")
    values_each, bytes_each = BLOCKS[type_name]
    count, rest = divmod(source.nbytes, bytes_each)
    if rest:
        raise InvalidParameterError(
            "data does not end at the end of a block",
            hint="pass whole blocks",
            type_name=type_name,
            block_bytes=bytes_each,
            bytes=source.nbytes,
        )
    if target.nbytes != count * values_each * sizeof(float):
        raise InvalidParameterError(
            "out does not have as many values as data",
            hint="make out exactly as long as expected",
            type_name=type_name,
            expected=count * values_each,
            found=target.nbytes // sizeof(float),
        )
    if target.readonly:
        raise InvalidParameterError("out is read-only", hint="pass a writable buffer", argument="out")
    if count == 0:
        return
    cdef const uint8_t[::1] blocks = source
    cdef uint8_t[::1] values = target
    cdef const uint8_t *first_block = &blocks[0]
    cdef uint8_t *first_value = &values[0]
    if <uintptr_t>first_value % sizeof(float):
        raise InvalidParameterError("out is not aligned", hint="its address must be a multiple of 4", argument="out")
    if first_value < first_block + blocks.shape[0] and first_block < first_value + values.shape[0]:
        raise InvalidParameterError("data and out share memory", hint="pass a separate out", argument="out")
    cdef int kind = TYPES[type_name]
    cdef size_t block_count = count
    with nogil:
        dequantize_blocks(kind, first_block, block_count, <float *>first_value)
