"""GGUF: what is written is what is read, and what is broken is refused by name."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastgen.errors import CheckpointError, InvalidParameterError, ModelNotFoundError
from fastgen.gguf import MAX_ITEMS, TENSOR_TYPES, GGUFFile

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
LAYOUTS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q", I64: "q", F64: "d"}


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def value(kind: int, content: Any) -> bytes:
    if kind == STRING:
        return text(content)
    if kind == ARRAY:
        inner, items = content
        return struct.pack("<IQ", inner, len(items)) + b"".join(value(inner, item) for item in items)
    return struct.pack("<" + LAYOUTS[kind], content)


def entry(key: str | bytes, kind: int, content: Any) -> bytes:
    return text(key) + struct.pack("<I", kind) + value(kind, content)


def tensor(name: str | bytes, dims: tuple[int, ...], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def gguf(
    entries: list[bytes] | None = None,
    tensors: list[bytes] | None = None,
    data: bytes = b"",
    *,
    version: int = 3,
    counts: tuple[int, int] | None = None,
    alignment: int = 32,
) -> bytes:
    entries, tensors = entries or [], tensors or []
    counts = counts or (len(tensors), len(entries))
    header = struct.pack("<4sIQQ", b"GGUF", version, *counts) + b"".join(entries) + b"".join(tensors)
    return header + bytes(-len(header) % alignment) + data


ENTRIES = [
    entry("general.architecture", STRING, "llama"),
    entry("a.byte", U8, 200),
    entry("a.flag", BOOL, True),
    entry("a.big", U64, 2**63),
    entry("a.small", I64, -(2**62)),
    entry("a.real", F64, 0.1),
    entry("a.words", ARRAY, (STRING, ["", "é", "two words"])),
    entry("a.numbers", ARRAY, (I32, [-1, 0, 7])),
    entry("a.reals", ARRAY, (F32, [0.5, -2.0])),
    entry("a.flags", ARRAY, (BOOL, [True, False])),
    entry("a.nested", ARRAY, (ARRAY, [(U8, [1, 2]), (STRING, ["x"]), (U8, [])])),
]
TENSORS = [tensor("one", (4, 2), 0, 0), tensor("two", (32, 3), 3, 32)]
DATA = np.arange(8, dtype="<f4").tobytes() + bytes(range(60)) + bytes(4)
SOUND = gguf(ENTRIES, TENSORS, DATA)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "model.gguf"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("version", [2, 3])
def test_read_what_was_written(write: Callable[[bytes], Path], version: int) -> None:
    path = write(gguf(ENTRIES, TENSORS, DATA, version=version))
    with GGUFFile.open(path) as file:
        assert file.path == path
        assert file.version == version
        metadata = file.metadata
        assert metadata["general.architecture"] == "llama"
        assert metadata["a.byte"] == 200
        assert metadata["a.flag"] is True
        assert metadata["a.big"] == 2**63
        assert metadata["a.small"] == -(2**62)
        assert metadata["a.real"] == 0.1
        assert metadata["a.words"] == ["", "é", "two words"]
        assert metadata["a.numbers"].dtype == np.int32
        assert metadata["a.numbers"].tolist() == [-1, 0, 7]
        assert metadata["a.reals"].tolist() == [0.5, -2.0]
        assert metadata["a.flags"].tolist() == [True, False]
        assert metadata["a.nested"][0].tolist() == [1, 2]
        assert metadata["a.nested"][1] == ["x"]
        assert list(file.tensors) == ["one", "two"]
        one, two = file.tensors.values()
        assert (one.shape, one.type_name, one.nbytes) == ((2, 4), "F32", 32)
        assert (two.shape, two.type_name, two.nbytes) == ((3, 32), "Q4_1", 60)
        assert two.offset == one.offset + 32
        assert file.data("one").view("<f4").tolist() == list(range(8))
        assert file.data("two").tolist() == list(range(60))
        assert file.raw("a.numbers") == struct.pack("<IQ3i", I32, 3, -1, 0, 7)
        assert file.raw("missing") == b""


def test_data_is_read_only_and_outlives_the_file(write: Callable[[bytes], Path]) -> None:
    file = GGUFFile.open(write(SOUND))
    data = file.data("two")
    assert not data.flags.writeable
    file.close()
    assert data.tolist() == list(range(60))
    for use in (lambda: file.data("two"), lambda: file.raw("a.byte"), lambda: file.fingerprint):
        with pytest.raises(InvalidParameterError, match="closed"):
            use()


def test_data_of_a_tensor_that_is_not_there(write: Callable[[bytes], Path]) -> None:
    with GGUFFile.open(write(SOUND)) as file, pytest.raises(CheckpointError, match="lacks a tensor") as caught:
        file.data("three")
    assert caught.value.details["tensor"] == "three"


def test_fingerprint_is_of_header_and_size(write: Callable[[bytes], Path]) -> None:
    def fingerprint(content: bytes) -> str:
        with GGUFFile.open(write(content)) as file:
            return file.fingerprint

    first = fingerprint(SOUND)
    assert len(bytes.fromhex(first)) == 32
    assert fingerprint(SOUND[:-1] + b"x") == first
    assert fingerprint(SOUND + b"x") != first
    assert fingerprint(SOUND.replace(b"llama", b"lhama")) != first


def test_alignment_of_its_own(write: Callable[[bytes], Path]) -> None:
    head = [entry("general.alignment", U32, 256)]
    with GGUFFile.open(write(gguf(head, [tensor("t", (4,), 24, 0)], b"abcd", alignment=256))) as file:
        assert file.tensors["t"].offset == 256
        assert file.data("t").tobytes() == b"abcd"


def test_vocabulary_alone_needs_no_data_section(write: Callable[[bytes], Path]) -> None:
    content = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + ENTRIES[0]
    with GGUFFile.open(write(content)) as file:
        assert file.tensors == {}


def test_strings_that_are_not_utf8_keep_their_bytes(write: Callable[[bytes], Path]) -> None:
    words = [b"\xff\xfe", "é".encode(), b"\xe2\x82"]
    with GGUFFile.open(write(gguf([entry("w", ARRAY, (STRING, words)), entry("s", STRING, b"\xc3")]))) as file:
        assert [word.encode(errors="surrogateescape") for word in file.metadata["w"]] == words
        assert file.metadata["w"][1] == "é"
        assert file.metadata["s"].encode(errors="surrogateescape") == b"\xc3"


def test_every_truncation_is_refused(write: Callable[[bytes], Path]) -> None:
    end = len(SOUND) - 4  # the last four bytes are padding
    for length in range(end):
        path = write(SOUND[:length])
        with pytest.raises(CheckpointError) as caught:
            GGUFFile.open(path)
        assert caught.value.details["path"] == str(path)
        assert 0 <= caught.value.details["offset"] <= len(SOUND)
    GGUFFile.open(write(SOUND[:end])).close()


HUGE = 2**64 - 1
BROKEN = {
    "text": (b"version https://git-lfs.github.com/spec/v1\n", "not a GGUF file"),
    "empty": (b"", "too short"),
    "big endian": (struct.pack(">4sIQQ", b"GGUF", 3, 0, 0), "big-endian"),
    "version 1": (gguf(version=1), "version of GGUF"),
    "version 99": (gguf(version=99), "version of GGUF"),
    "version 0": (gguf(version=0), "version of GGUF"),
    "tensor count": (gguf(counts=(HUGE, 0)), "number of tensors"),
    "entry count": (gguf(counts=(0, HUGE)), "number of metadata"),
    "key length": (gguf([struct.pack("<Q", HUGE)]), "length of a metadata key"),
    "key bytes": (gguf([entry(b"\xff", U8, 1)]), "not UTF-8"),
    "string length": (gguf([text("k") + struct.pack("<IQ", STRING, HUGE)]), "ends within"),
    "array length": (gguf([text("k") + struct.pack("<IIQ", ARRAY, F64, HUGE)]), "length of an array"),
    "array too long": (gguf([text("k") + struct.pack("<IIQ", ARRAY, STRING, MAX_ITEMS)]), "ends within"),
    "value type": (gguf([text("k") + struct.pack("<II", 13, 0)]), "unknown type of metadata"),
    "array type": (gguf([text("k") + struct.pack("<IIQ", ARRAY, 99, 1)]), "unknown type of metadata"),
    "nesting": (gguf([text("k") + struct.pack("<I", ARRAY) + struct.pack("<IQ", ARRAY, 1) * 50]), "nested too deeply"),
    "key twice": (gguf([ENTRIES[0], ENTRIES[0]]), "key appears twice"),
    "tensor twice": (gguf(tensors=[TENSORS[0], tensor("one", (4,), 0, 32)], data=bytes(64)), "tensor appears twice"),
    "tensor outside": (gguf(tensors=[tensor("t", (64,), 0, 0)], data=bytes(64)), "outside the file"),
    "tensor far away": (gguf(tensors=[tensor("t", (8,), 0, 2**64 - 32)], data=bytes(64)), "outside the file"),
    "overlap": (gguf(tensors=[TENSORS[0], tensor("t", (16,), 0, 0)], data=bytes(64)), "overlap"),
    "misaligned": (gguf(tensors=[tensor("t", (4,), 0, 4)], data=bytes(64)), "not aligned"),
    "dimensions": (gguf(tensors=[tensor("t", (1, 1, 1, 1, 1), 0, 0)], data=bytes(64)), "number of dimensions"),
    "no dimensions": (gguf(tensors=[tensor("t", (), 0, 0)], data=bytes(64)), "number of dimensions"),
    "zero": (gguf(tensors=[tensor("t", (4, 0), 0, 0)], data=bytes(64)), "shape is absurd"),
    "overflow": (gguf(tensors=[tensor("t", (2**32, 2**32), 0, 0)], data=bytes(64)), "shape is absurd"),
    "half a block": (gguf(tensors=[tensor("t", (16, 2), 3, 0)], data=bytes(64)), "whole blocks"),
    "tensor type": (gguf(tensors=[tensor("t", (32,), 4, 0)], data=bytes(64)), "unknown type of tensor"),
    "alignment 0": (gguf([entry("general.alignment", U32, 0)]), "power of two"),
    "alignment 24": (gguf([entry("general.alignment", U32, 24)]), "power of two"),
    "alignment text": (gguf([entry("general.alignment", STRING, "32")]), "power of two"),
}
UNSUPPORTED = {"big endian", "version 1", "version 99", "version 0", "tensor type"}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_named(write: Callable[[bytes], Path], case: str) -> None:
    content, message = BROKEN[case]
    path = write(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        GGUFFile.open(path)
    error = caught.value
    assert error.code == ("checkpoint_unsupported" if case in UNSUPPORTED else "checkpoint_corrupt")
    assert error.details["path"] == str(path)
    assert isinstance(error.details["offset"], int)
    assert error.hint


def test_a_header_beyond_the_limit(write: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastgen.gguf.MAX_HEADER", 100)
    with pytest.raises(CheckpointError, match="absurdly long"):
        GGUFFile.open(write(SOUND))


def test_no_file_and_no_plain_file(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        GGUFFile.open(tmp_path / "none.gguf")
    with pytest.raises(CheckpointError, match="can't be read"):
        GGUFFile.open(tmp_path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, len(SOUND)),
)
def test_mutations_never_raise_anything_else(tmp_path: Path, changes: list[tuple[int, int]], cut: int) -> None:
    content = bytearray(SOUND)
    for position, byte in changes:
        content[position] = byte
    path = tmp_path / "mutant.gguf"
    path.write_bytes(content[:cut] if cut % 2 else content)
    refused: CheckpointError | None = None
    try:
        with GGUFFile.open(path) as file:
            for name, info in file.tensors.items():
                assert len(file.data(name)) == info.nbytes
            assert len(file.fingerprint) == 64
    except CheckpointError as error:
        refused = error
    assert refused is None or refused.details["path"] == str(path)


def test_types_agree_with_the_library() -> None:
    constants = pytest.importorskip("gguf.constants")
    sizes = {int(kind): (kind.name, *size) for kind, size in constants.GGML_QUANT_SIZES.items()}
    assert {kind: sizes[kind] for kind in TENSOR_TYPES if kind in sizes} == {
        kind: tuple(row) for kind, row in TENSOR_TYPES.items() if kind in sizes
    }


@pytest.mark.demo
def test_demo_header_agrees_with_the_library(demo_path: Path) -> None:
    library = pytest.importorskip("gguf")
    reader = library.GGUFReader(demo_path)
    with GGUFFile.open(demo_path) as file:
        fields = {key: field for key, field in reader.fields.items() if not key.startswith("GGUF.")}
        assert list(file.metadata) == list(fields)
        for key, field in fields.items():
            ours = file.metadata[key]
            assert (ours.tolist() if isinstance(ours, np.ndarray) else ours) == field.contents(), key
        assert list(file.tensors) == [theirs.name for theirs in reader.tensors]
        for theirs in reader.tensors:
            mine = file.tensors[theirs.name]
            assert mine.shape == tuple(int(n) for n in theirs.shape[::-1])
            assert (mine.type_id, mine.type_name) == (int(theirs.tensor_type), theirs.tensor_type.name)
            assert (mine.offset, mine.nbytes) == (theirs.data_offset, theirs.n_bytes)
        last = reader.tensors[-1]
        assert file.data(last.name).tobytes() == last.data.tobytes()


@pytest.mark.demo
@pytest.mark.slow
def test_demo_header_cut_at_every_page(demo_path: Path, tmp_path: Path) -> None:
    with GGUFFile.open(demo_path) as file:
        header = min(info.offset for info in file.tensors.values())
    path = tmp_path / "cut.gguf"
    shutil.copyfile(demo_path, path)
    for length in range(header // 4096 * 4096, -1, -4096):
        os.truncate(path, length)
        with pytest.raises(CheckpointError) as caught:
            GGUFFile.open(path)
        assert caught.value.details["path"] == str(path)
        assert 0 <= caught.value.details["offset"] <= header
