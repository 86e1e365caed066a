from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from fastgen.errors import InvalidParameterError
from fastgen.tokenizer.table import ByteTable, byte_level_table, sentencepiece_table


def pieces(table: ByteTable) -> list[bytes]:
    return [table[token] for token in range(len(table))]


def test_layout() -> None:
    table = ByteTable.of([b"ab", b"", b"\xff"])
    assert table.blob == b"ab\xff"
    assert table.offsets.dtype == np.uint32
    assert table.offsets.tolist() == [0, 2, 2, 3]
    assert not table.offsets.flags.writeable
    assert pieces(table) == [b"ab", b"", b"\xff"]
    assert pieces(ByteTable.of([])) == []


def test_tables_can_be_copied_and_pickled() -> None:
    table = ByteTable.of([b"ab", b"", b"\xff"])
    assert pieces(pickle.loads(pickle.dumps(table))) == pieces(copy.deepcopy(table)) == pieces(table)


@pytest.mark.parametrize("lengths", [[1], [1, 1, 1], [2, 1], [4, -1], [0, 0], [2**40, 0], [-1, 4]])
def test_lengths_that_are_not_those_of_the_bytes(lengths: list[int]) -> None:
    with pytest.raises(InvalidParameterError):
        ByteTable(b"ab\xff"[:2], lengths, 2)


@pytest.mark.parametrize("count", [-1, 2**31, 2**70])
def test_absurd_counts(count: int) -> None:
    with pytest.raises(InvalidParameterError):
        ByteTable(b"", [], count)


@pytest.mark.parametrize("token", [-1, 3, 2**40])
def test_ids_outside(token: int) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        ByteTable.of([b"a", b"b", b"c"])[token]
    assert caught.value.code == "token_out_of_range"
    assert caught.value.details == {"token": token, "vocab_size": 3}


def test_ids_may_be_numpy_integers_but_not_floats() -> None:
    table = ByteTable.of([b"a", b"b"])
    assert table[np.int64(1)] == b"b"
    with pytest.raises(TypeError):
        table[1.0]  # type: ignore[index]


def test_byte_level_spelling() -> None:
    tokens = ["a", "Ġworld", "Ċ", "Ã©", "Ā", "Ń", "ÿ", "<|end|>"]
    expected = [b"a", b" world", b"\n", "é".encode(), b"\0", b"\xad", b"\xff", b"<|end|>"]
    assert pieces(byte_level_table(tokens, {7: b"<|end|>"})) == expected


@pytest.mark.parametrize("word", ["<é>", "two words", "Ġ", "日本"])
def test_byte_level_added_tokens_are_literal(word: str) -> None:
    table = byte_level_table(["Ġa", word, "b"], {1: word.encode()})
    assert pieces(table) == [b" a", word.encode(), b"b"]


def test_byte_level_token_outside_the_alphabet_stands_for_itself() -> None:
    assert pieces(byte_level_table(["Ġa", "日", "é", "\udcff"], {})) == [b" a", "日".encode(), b"\xe9", b"\xff"]


def test_sentencepiece_spelling() -> None:
    tokens = ["<unk>", "<0x0A>", "<0xfF>", "▁the", "▁▁", "é", "<0x41>", "▁x"]
    table = sentencepiece_table(tokens, {0: b"<unk>", 7: "▁x".encode()}, [1, 2, 3])
    assert pieces(table) == [b"<unk>", b"\n", b"\xff", b" the", b"  ", "é".encode(), b"<0x41>", "▁x".encode()]


def test_sentencepiece_tokens_with_nul_and_stray_bytes() -> None:
    assert pieces(sentencepiece_table(["a\0b", "▁c", "\udcff"], {}, [])) == [b"a\0b", b" c", b"\xff"]
    assert pieces(sentencepiece_table([], {}, [])) == []
