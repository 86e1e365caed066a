"""GGUF files: the metadata, the table of tensors, and each tensor's bytes in place.

A file is data from strangers: every length is checked against what is left of the file before anything is read or
allocated, and whatever does not add up is a `CheckpointError` that names the file and the byte.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
from itertools import pairwise
from pathlib import Path
from struct import Struct
from types import TracebackType
from typing import Any, Final, NamedTuple, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from fastgen.errors import CheckpointError, InvalidParameterError, ModelNotFoundError

__all__ = ["TENSOR_TYPES", "GGUFFile", "TensorInfo", "TensorType"]

MAX_HEADER: Final = 1 << 26  # bytes; the largest vocabularies in use need about 2**24
MAX_ENTRIES: Final = 1 << 16  # metadata keys, and tensors
MAX_ITEMS: Final = 1 << 22  # of one array; the largest vocabularies in use have about 2**19 merges
MAX_NAME: Final = 1 << 16  # bytes of a key or of a tensor's name
MAX_DIMS: Final = 4
MAX_DEPTH: Final = 4  # arrays within arrays

STRING: Final = 8
ARRAY: Final = 9
ALIGNMENT_KEY: Final = "general.alignment"


class TensorType(NamedTuple):
    """How the numbers of a tensor are stored: `block` elements in `nbytes` bytes."""

    name: str
    block: int
    nbytes: int


# What a file may hold. Which of these can be turned into numbers is the business of the dequantization kernels.
TENSOR_TYPES: Final[dict[int, TensorType]] = {
    0: TensorType("F32", 1, 4),
    1: TensorType("F16", 1, 2),
    2: TensorType("Q4_0", 32, 18),
    3: TensorType("Q4_1", 32, 20),
    6: TensorType("Q5_0", 32, 22),
    7: TensorType("Q5_1", 32, 24),
    8: TensorType("Q8_0", 32, 34),
    9: TensorType("Q8_1", 32, 40),
    10: TensorType("Q2_K", 256, 84),
    11: TensorType("Q3_K", 256, 110),
    12: TensorType("Q4_K", 256, 144),
    13: TensorType("Q5_K", 256, 176),
    14: TensorType("Q6_K", 256, 210),
    15: TensorType("Q8_K", 256, 292),
    16: TensorType("IQ2_XXS", 256, 66),
    17: TensorType("IQ2_XS", 256, 74),
    18: TensorType("IQ3_XXS", 256, 98),
    19: TensorType("IQ1_S", 256, 50),
    20: TensorType("IQ4_NL", 32, 18),
    21: TensorType("IQ3_S", 256, 110),
    22: TensorType("IQ2_S", 256, 82),
    23: TensorType("IQ4_XS", 256, 136),
    24: TensorType("I8", 1, 1),
    25: TensorType("I16", 1, 2),
    26: TensorType("I32", 1, 4),
    27: TensorType("I64", 1, 8),
    28: TensorType("F64", 1, 8),
    29: TensorType("IQ1_M", 256, 56),
    30: TensorType("BF16", 1, 2),
    34: TensorType("TQ1_0", 256, 54),
    35: TensorType("TQ2_0", 256, 66),
    39: TensorType("MXFP4", 32, 17),
}

# Metadata value types: NumPy's name of the scalar. 8 is a string, 9 an array.
SCALARS: Final[dict[int, np.dtype[Any]]] = {
    0: np.dtype("<u1"),
    1: np.dtype("<i1"),
    2: np.dtype("<u2"),
    3: np.dtype("<i2"),
    4: np.dtype("<u4"),
    5: np.dtype("<i4"),
    6: np.dtype("<f4"),
    7: np.dtype("?"),
    10: np.dtype("<u8"),
    11: np.dtype("<i8"),
    12: np.dtype("<f8"),
}

U32: Final = Struct("<I")
U64: Final = Struct("<Q")
PREAMBLE: Final = Struct("<4sIQQ")
TYPE_AND_COUNT: Final = Struct("<IQ")
TYPE_AND_OFFSET: Final = Struct("<IQ")


class TensorInfo(NamedTuple):
    """One entry of the table of tensors.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Row-major, outermost dimension first (the file has them innermost first).
    type_id : int
        Key of `TENSOR_TYPES`.
    type_name : str
        ``"Q4_1"``, for example.
    offset : int
        Bytes from the start of the file.
    nbytes : int
    """

    name: str
    shape: tuple[int, ...]
    type_id: int
    type_name: str
    offset: int
    nbytes: int


class _Header:
    """A cursor over the header. Every method checks that the bytes it wants are there."""

    __slots__ = ("end", "path", "position", "view")

    def __init__(self, view: mmap.mmap, path: Path) -> None:
        self.view = view
        self.path = path
        self.position = 0
        self.end = min(len(view), MAX_HEADER)

    def fail(self, message: str, offset: int | None = None, **details: Any) -> NoReturn:
        """Refuse a file that is broken; `offset` is the byte at fault, by default where the cursor stands."""
        offset = self.position if offset is None else offset
        raise CheckpointError(message, hint="download the file again", path=str(self.path), offset=offset, **details)

    def unsupported(self, message: str, offset: int, **details: Any) -> NoReturn:
        """Refuse a file that is sound, as far as one can tell, but of a kind that fastgen does not read."""
        hint = "convert the model to another type with a recent llama.cpp"
        raise CheckpointError(
            message, code="checkpoint_unsupported", hint=hint, path=str(self.path), offset=offset, **details
        )

    def ended(self, offset: int) -> NoReturn:
        if self.end < len(self.view):
            self.fail("the GGUF header is absurdly long", offset)
        self.fail("the GGUF file ends within its header", offset)

    def need(self, nbytes: int) -> None:
        if nbytes > self.end - self.position:
            self.ended(self.position)

    def take(self, layout: Struct) -> tuple[Any, ...]:
        self.need(layout.size)
        values = layout.unpack_from(self.view, self.position)
        self.position += layout.size
        return values

    def name(self, what: str) -> str:
        start = self.position
        (length,) = self.take(U64)
        if length > MAX_NAME:
            self.fail(f"the length of a {what} is absurd", start, length=length)
        self.need(length)
        raw = self.view[self.position : self.position + length]
        self.position += length
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.fail(f"a {what} is not UTF-8", start)

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind == STRING:
            return self.strings(1)[0]
        if kind == ARRAY:
            return self.array(depth + 1)
        dtype = SCALARS.get(kind)
        if dtype is None:
            self.fail("an unknown type of metadata", type=kind)
        return self.numbers(dtype, 1)[0].item()

    def array(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            self.fail("arrays are nested too deeply", depth=depth)
        start = self.position
        kind, count = self.take(TYPE_AND_COUNT)
        if count > MAX_ITEMS:
            self.fail("the length of an array is absurd", start, length=count)
        if kind == STRING:
            return self.strings(count)
        if kind == ARRAY:
            self.need(count * TYPE_AND_COUNT.size)
            return [self.array(depth + 1) for _ in range(count)]
        dtype = SCALARS.get(kind)
        if dtype is None:
            self.fail("an unknown type of metadata", start, type=kind)
        return self.numbers(dtype, count)

    def numbers(self, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
        self.need(count * dtype.itemsize)
        raw = self.view[self.position : self.position + count * dtype.itemsize]
        self.position += len(raw)
        if dtype.kind == "b":
            flags: NDArray[np.bool_] = np.frombuffer(raw, np.uint8) != 0
            return flags
        return np.frombuffer(raw, dtype)

    def strings(self, count: int) -> list[str]:
        """Read `count` strings. The hot path: vocabularies have several hundred thousand."""
        self.need(count * U64.size)
        view, position, end = self.view, self.position, self.end
        length_at = U64.unpack_from
        last = end - U64.size
        raw: list[bytes] = []
        append = raw.append
        for _ in range(count):
            if position > last:
                self.ended(position)
            start = position + 8
            position = start + length_at(view, position)[0]
            if position > end:
                self.ended(start - 8)
            append(view[start:position])
        self.position = position
        try:
            return [text.decode() for text in raw]
        except UnicodeDecodeError:
            # Strings of GGUF are bytes, and some vocabularies hold pieces of characters. Escaped, they can be had back
            # with .encode(errors="surrogateescape"); what is UTF-8 decodes as ever.
            return [text.decode(errors="surrogateescape") for text in raw]


class GGUFFile:
    """A GGUF file of version 2 or 3, little endian, mapped into memory.

    Attributes
    ----------
    path : pathlib.Path
    version : int
    metadata : dict
        Scalars as Python values, arrays of numbers as NumPy arrays, arrays of strings as lists. A string that is not
        UTF-8 holds surrogate escapes for the odd bytes.
    tensors : dict of TensorInfo
        By name, in the order of the file.

    Notes
    -----
    The bytes of tensors are read as they are touched: do not truncate or overwrite the file in the meantime. Replacing
    it by renaming another file to its name is safe.
    """

    __slots__ = ("_data", "_header_size", "_map", "_spans", "metadata", "path", "tensors", "version")

    def __init__(self, path: Path, view: mmap.mmap) -> None:
        """Read the header of a mapped file; `GGUFFile.open` maps one."""
        self.path = path
        self._map: mmap.mmap | None = view
        self._data: NDArray[np.uint8] | None = np.frombuffer(view, np.uint8)
        self._spans: dict[str, tuple[int, int]] = {}
        header = _Header(view, path)
        tensor_count, entry_count = self._read_preamble(header)
        self.metadata = self._read_metadata(header, entry_count)
        self.tensors = self._read_tensors(header, tensor_count)
        self._header_size = header.position

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open and check a file.

        Raises
        ------
        ModelNotFoundError
            There is no such file.
        CheckpointError
            ``checkpoint_corrupt`` if it is not a GGUF file, ends early or contradicts itself;
            ``checkpoint_unsupported`` for other versions, big-endian files and unknown types of tensors. Names the
            path and the byte.
        """
        where = Path(path)
        try:
            with where.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size >= PREAMBLE.size else None
        except FileNotFoundError as error:
            raise ModelNotFoundError("there is no such file", hint="check the path", path=str(where)) from error
        except OSError as error:
            raise CheckpointError("the file can't be read", hint=error.strerror, path=str(where)) from error
        if view is None:
            hint = "the download may have been cut short" if size else "the file is empty"
            raise CheckpointError("not a GGUF file: too short", hint=hint, path=str(where), offset=size)
        return cls(where, view)

    def _read_preamble(self, header: _Header) -> tuple[int, int]:
        magic, self.version, tensor_count, entry_count = header.take(PREAMBLE)
        if magic != b"GGUF":
            raise CheckpointError(
                "not a GGUF file",
                hint="text here is often an error page or a Git LFS pointer that was saved under the model's name",
                path=str(self.path),
                offset=0,
                found=magic,
            )
        if self.version not in (2, 3):
            swapped = 0 < int.from_bytes(self.version.to_bytes(4, "little"), "big") < 1 << 16
            message = "a big-endian GGUF file" if swapped else "a version of GGUF that is not supported"
            header.unsupported(message, 4, version=self.version)
        if tensor_count > MAX_ENTRIES:
            header.fail("the number of tensors is absurd", 8, count=tensor_count)
        if entry_count > MAX_ENTRIES:
            header.fail("the number of metadata entries is absurd", 16, count=entry_count)
        return tensor_count, entry_count

    def _read_metadata(self, header: _Header, count: int) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        for _ in range(count):
            start = header.position
            key = header.name("metadata key")
            if key in metadata:
                header.fail("a metadata key appears twice", start, key=key)
            (kind,) = header.take(U32)
            first = header.position
            metadata[key] = header.value(kind)
            self._spans[key] = first, header.position
        return metadata

    def _read_tensors(self, header: _Header, count: int) -> dict[str, TensorInfo]:
        alignment = self.metadata.get(ALIGNMENT_KEY, 32)
        if type(alignment) is not int or alignment <= 0 or alignment & (alignment - 1):
            header.fail("the alignment is not a power of two", alignment=alignment)
        entries = [self._read_tensor(header) for _ in range(count)]
        base = -(-header.position // alignment) * alignment
        size = len(header.view)
        tensors: dict[str, TensorInfo] = {}
        for start, info in entries:
            if info.name in tensors:
                header.fail("a tensor appears twice", start, tensor=info.name)
            if info.offset % alignment:
                header.fail("a tensor's data is not aligned", start, tensor=info.name)
            placed = info._replace(offset=base + info.offset)
            if placed.offset + placed.nbytes > size:
                header.fail("a tensor's data lies outside the file", start, tensor=info.name)
            tensors[info.name] = placed
        for before, after in pairwise(sorted(tensors.values(), key=lambda info: info.offset)):
            if before.offset + before.nbytes > after.offset:
                header.fail("the data of two tensors overlap", after.offset, tensor=after.name)
        return tensors

    def _read_tensor(self, header: _Header) -> tuple[int, TensorInfo]:
        start = header.position
        name = header.name("tensor's name")
        (dims,) = header.take(U32)
        if not 1 <= dims <= MAX_DIMS:
            header.fail("a tensor's number of dimensions is absurd", start, tensor=name)
        shape = tuple(header.take(U64)[0] for _ in range(dims))[::-1]
        type_id, offset = header.take(TYPE_AND_OFFSET)
        kind = TENSOR_TYPES.get(type_id)
        if kind is None:
            header.unsupported("an unknown type of tensor", start, type=type_id)
        count = math.prod(shape)
        if not 0 < count < 1 << 60:
            header.fail("a tensor's shape is absurd", start, tensor=name)
        if shape[-1] % kind.block:
            header.fail("a tensor's rows are not whole blocks of its type", start, tensor=name)
        return start, TensorInfo(name, shape, type_id, kind.name, offset, count // kind.block * kind.nbytes)

    def data(self, name: str) -> NDArray[np.uint8]:
        """Return the stored bytes of a tensor: uint8, one-dimensional, read-only, not copied.

        Raises
        ------
        CheckpointError
            The file has no tensor of this name.
        InvalidParameterError
            The file is closed.
        """
        if self._data is None:
            raise InvalidParameterError("the GGUF file is closed", hint="open it again", path=str(self.path))
        info = self.tensors.get(name)
        if info is None:
            hint = "the model may be of another architecture than the file says"
            raise CheckpointError("the file lacks a tensor", hint=hint, path=str(self.path), tensor=name)
        return self._data[info.offset : info.offset + info.nbytes]

    def raw(self, key: str) -> bytes:
        """Return the bytes that encode a metadata value, ``b""`` for a key that is missing: for hashing."""
        if self._map is None:
            raise InvalidParameterError("the GGUF file is closed", hint="open it again", path=str(self.path))
        first, last = self._spans.get(key, (0, 0))
        return self._map[first:last]

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits of the header (metadata and table of tensors) and the size of the file."""
        if self._map is None:
            raise InvalidParameterError("the GGUF file is closed", hint="open it again", path=str(self.path))
        digest = hashlib.sha256(self._map[: self._header_size])
        digest.update(U64.pack(len(self._map)))
        return digest.hexdigest()

    def close(self) -> None:
        """Let go of the file. Arrays that `data` returned stay valid and keep the mapping alive."""
        self._data = None
        self._map = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"GGUFFile({str(self.path)!r}, {len(self.metadata)} metadata entries, {len(self.tensors)} tensors)"
