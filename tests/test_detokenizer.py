"""Detokenizer: the joined pieces are the decode of all ids, and each character leaves as soon as it is whole."""

from __future__ import annotations

import array
import copy
import itertools
import sys
import threading
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from fakes import FakeTokenizer
from hypothesis import given
from hypothesis import strategies as st

from fastgen.detokenizer import Detokenizer
from fastgen.errors import FastgenError, InvalidParameterError
from fastgen.tokenizer.table import ByteTable

HANGUL = "안".encode()
WORDS = [b"", b" ", b"  ", b" the", HANGUL, HANGUL[:2], HANGUL[2:] + b"x", b"\xf0\x9f", b"\x80\x80", b"\xed\xa0"]
IDS = st.lists(st.one_of(st.integers(0, 255 + len(WORDS) + 3), st.integers(256, 255 + len(WORDS) + 3)), max_size=24)

Hold = Literal["codepoint", "grapheme"]
HOLDS: list[Hold] = ["codepoint", "grapheme"]


def pieces(detokenizer: Detokenizer, ids: list[int]) -> list[str]:
    return [*(detokenizer.push(token) for token in ids), detokenizer.flush()]


@given(ids=IDS, skip=st.booleans(), strip=st.booleans())
def test_joined_pieces_are_the_decode(ids: list[int], skip: bool, strip: bool) -> None:
    tokenizer = FakeTokenizer(words=WORDS, strip_leading_space=strip)
    detokenizer = Detokenizer(tokenizer, skip_special_tokens=skip)
    expected = tokenizer.decode(ids, skip_special_tokens=skip)
    assert "".join(pieces(detokenizer, ids)) == expected
    assert "".join(pieces(detokenizer, ids)) == expected  # as new after flush


@given(text=st.text(max_size=30))
def test_each_code_point_leaves_with_its_last_byte(text: str) -> None:
    detokenizer = Detokenizer(FakeTokenizer())
    for char in text:
        *first, last = char.encode()
        assert [detokenizer.push(byte) for byte in first] == [""] * len(first)
        assert detokenizer.pending == len(first)
        assert detokenizer.push(last) == char
        assert detokenizer.pending == 0
    assert detokenizer.flush() == ""


@pytest.mark.parametrize(
    "text", ["🙂", "👩‍👩‍👧‍👦", "🇩🇪", "안녕하세요 세계", "カタカナ", "Donaudampfschifffahrtsgesellschaft"]
)
def test_no_replacement_is_streamed_for_sound_text(text: str) -> None:
    streamed = pieces(Detokenizer(FakeTokenizer()), list(text.encode()))
    assert [piece for piece in streamed if piece] == list(text)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xff", ["\ufffd", ""]),
        (b"\x80a", ["\ufffd", "a", ""]),
        (b"\xe2\x82", ["", "", "\ufffd"]),  # an unfinished character: one for all its bytes
        (b"\xe2\x82a", ["", "", "\ufffda", ""]),
        (b"\xf0\x80\x80", ["", "\ufffd\ufffd", "\ufffd", ""]),  # overlong
        (b"\xf4\x90", ["", "\ufffd\ufffd", ""]),  # beyond U+10FFFF
        (b"\xf0\x9f\x99\xf0\x9f\x99\x82", ["", "", "", "\ufffd", "", "", "🙂", ""]),
    ],
)
def test_malformed_bytes(data: bytes, expected: list[str]) -> None:
    assert pieces(Detokenizer(FakeTokenizer()), list(data)) == expected


def test_an_encoded_surrogate_is_three_replacements() -> None:
    assert "".join(pieces(Detokenizer(FakeTokenizer()), list(b"\xed\xa0\x80a"))) == "\ufffd\ufffd\ufffda"


def test_one_space_is_stripped_at_the_start_of_the_whole_decode_only() -> None:
    tokenizer = FakeTokenizer(words=[b"", b"  a", b" b"], strip_leading_space=True)
    start, empty, spaced, word = tokenizer.eos_ids[0], 256, 257, 258
    assert pieces(Detokenizer(tokenizer), [start, empty, spaced, word]) == ["", "", " a", " b", ""]
    shown = Detokenizer(tokenizer, skip_special_tokens=False)
    assert pieces(shown, [start, word]) == ["<|endoftext|>", " b", ""]


def test_special_tokens_are_hidden_or_shown() -> None:
    tokenizer = FakeTokenizer()
    end = tokenizer.token_id("<|im_end|>")
    assert end is not None
    assert pieces(Detokenizer(tokenizer), [104, end, 105]) == ["h", "", "i", ""]
    assert pieces(Detokenizer(tokenizer, skip_special_tokens=False), [104, end]) == ["h", "<|im_end|>", ""]
    # a hidden token does not tear a character apart, as in the decode of all ids
    assert pieces(Detokenizer(tokenizer), [0xC3, end, 0xA9]) == ["", "", "é", ""]


@pytest.mark.parametrize("token", [-1, 259, 2**32, 2**70, -(2**70)])
def test_ids_out_of_range_are_named_and_change_nothing(token: int) -> None:
    detokenizer = Detokenizer(FakeTokenizer())
    detokenizer.push(0xC3)
    with pytest.raises(InvalidParameterError) as caught:
        detokenizer.push(token)
    assert caught.value.code == "token_out_of_range"
    assert caught.value.details == {"token": token, "vocab_size": 259}
    assert detokenizer.push(0xA9) == "é"


@pytest.mark.parametrize("token", ["a", None, 1.0, b"a", [1]])
def test_ids_of_a_wrong_type_are_refused(token: object) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        Detokenizer(FakeTokenizer()).push(token)  # type: ignore[arg-type]
    assert caught.value.code == "invalid_value"


def test_numpy_ids_are_ids() -> None:
    assert Detokenizer(FakeTokenizer()).push(np.int32(65)) == "A"  # type: ignore[arg-type]


# Every cut of malformed bytes.

TELLING = bytes(
    [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF1, 0xF4]
)


def test_all_short_byte_strings_cut_everywhere() -> None:
    strings = [bytes(s) for size in (1, 2, 3) for s in itertools.product(TELLING, repeat=size)]
    id_of = {piece: token for token, piece in enumerate(strings)}
    tokenizer = FakeTokenizer([])
    tokenizer.bytes_table = ByteTable.of(strings)
    detokenizers = Detokenizer(tokenizer), Detokenizer(tokenizer, hold="grapheme")
    for data in strings:
        expected = data.decode(errors="replace")
        for cuts in itertools.product([False, True], repeat=len(data) - 1):
            bounds = [0, *(place for place, cut in enumerate(cuts, 1) if cut), len(data)]
            ids = [id_of[data[begin:end]] for begin, end in itertools.pairwise(bounds)]
            for detokenizer in detokenizers:
                assert detokenizer.push_many(ids) + detokenizer.flush() == expected, (data, ids)


# Many tokens in one call.

ARRAYS: dict[str, Callable[[list[int]], Any]] = {
    "list": list,
    "tuple": tuple,
    "iterator": iter,
    "int32": lambda ids: np.array(ids, np.int32),
    "int64": lambda ids: np.array(ids, np.int64),
    "uint16": lambda ids: np.array(ids, np.uint16),
    "strided": lambda ids: np.repeat(np.array(ids, np.int32), 2)[::2],
    "read-only": lambda ids: memoryview(np.array(ids, np.int32).tobytes()).cast("i"),
    "array": lambda ids: array.array("i", ids),
}


@given(ids=IDS, skip=st.booleans(), strip=st.booleans(), spaces=st.booleans(), hold=st.sampled_from(HOLDS))
def test_push_many_is_push(ids: list[int], skip: bool, strip: bool, spaces: bool, hold: Hold) -> None:
    tokenizer = FakeTokenizer(words=WORDS, strip_leading_space=strip)
    one, many = (Detokenizer(tokenizer, skip, spaces_between_special_tokens=spaces, hold=hold) for _ in range(2))
    for _ in range(2):
        assert many.push_many(ids) == "".join(map(one.push, ids))
        assert many.pending == one.pending
    assert many.flush() == one.flush()


@pytest.mark.parametrize("kind", ARRAYS)
def test_push_many_takes_sequences_and_arrays(kind: str) -> None:
    detokenizer = Detokenizer(FakeTokenizer())
    assert detokenizer.push_many(ARRAYS[kind](list("안녕 ab".encode()))) == "안녕 ab"
    assert detokenizer.push_many(ARRAYS[kind]([])) == ""


def test_push_many_without_the_gil() -> None:
    text = "안녕 ab\n" * 3000
    assert Detokenizer(FakeTokenizer()).push_many(list(text.encode())) == text


@pytest.mark.parametrize("wrong", [-1, 259, 2**31, 2**32, 2**63 - 1])
@pytest.mark.parametrize("kind", ["list", "int64"])
def test_push_many_adds_all_tokens_or_none(kind: str, wrong: int) -> None:
    detokenizer = Detokenizer(FakeTokenizer())
    detokenizer.push(0xC3)
    with pytest.raises(InvalidParameterError) as caught:
        detokenizer.push_many(ARRAYS[kind]([0xA9, wrong]))
    assert caught.value.details == {"token": wrong, "vocab_size": 259}
    assert detokenizer.pending == 1
    assert detokenizer.push(0xA9) == "é"


@pytest.mark.parametrize("ids", [5, None, ["a"], [1.0], "ab", np.zeros((2, 2), np.int32), np.zeros(2), np.int32(1)])
def test_push_many_refuses_what_are_no_ids(ids: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        Detokenizer(FakeTokenizer()).push_many(ids)
    assert caught.value.code == "invalid_value"


# Special tokens and spaces.


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (["a", "b"], "ab"),
        (["<|im_start|>", "a", "b", "<|im_end|>"], "<|im_start|> ab <|im_end|>"),
        (["a", "<|im_end|>", "<|im_end|>", "", "b"], "a <|im_end|> <|im_end|> b"),
        (["\xc3", "<|im_end|>"], "\ufffd <|im_end|>"),  # each stretch is decoded by itself
    ],
)
def test_spaces_between_special_tokens(tokens: list[str], expected: str) -> None:
    tokenizer = FakeTokenizer(words=[b""])
    ids = [tokenizer.token_id(token) or 256 if len(token) != 1 else ord(token) for token in tokens]
    shown = Detokenizer(tokenizer, False, spaces_between_special_tokens=True)
    assert "".join(pieces(shown, ids)) == expected
    assert "".join(pieces(shown, ids)) == expected
    hidden = Detokenizer(tokenizer, True, spaces_between_special_tokens=True)
    assert "".join(pieces(hidden, ids)) == tokenizer.decode(ids)


# Tricky cases, by the numbers of the project's list.


@pytest.mark.parametrize("text", ["🙂", "👩‍👩‍👧‍👦", "🇩🇪"])
@pytest.mark.parametrize("hold", ["codepoint", "grapheme"])
def test_29_emoji_of_tokens_of_one_byte(text: str, hold: Hold) -> None:
    found = pieces(Detokenizer(FakeTokenizer(), hold=hold), list(text.encode()))
    assert [piece for piece in found if piece] == (list(text) if hold == "codepoint" else [text])


def test_30_a_prompt_that_ends_in_half_a_character() -> None:
    """The prompt's tokens are not part of the text: the second half alone is no character."""
    first, *rest = "é".encode()
    tokenizer = FakeTokenizer()
    assert tokenizer.decode([first, *rest]) == "é"
    assert pieces(Detokenizer(tokenizer), [*rest, ord("x")]) == ["\ufffd", "x", ""]


def test_31_tokens_in_no_order_that_a_tokenizer_makes() -> None:
    detokenizer = Detokenizer(FakeTokenizer(words=WORDS))
    plain = FakeTokenizer(words=WORDS)
    rng = np.random.default_rng(31)
    for _ in range(20):
        ids = rng.integers(0, plain.vocab_size, 500).tolist()
        assert "".join(pieces(detokenizer, ids)) == plain.decode(ids)


@pytest.mark.parametrize("text", ["안녕하세요", "カタカナ", "Donaudampfschifffahrtsgesellschaft"])
def test_32_each_code_point_leaves_at_once(text: str) -> None:
    detokenizer = Detokenizer(FakeTokenizer(words=[char.encode() for char in text]))
    assert [detokenizer.push(256 + place) for place in range(len(text))] == list(text)


@pytest.mark.parametrize("hold", ["codepoint", "grapheme"])
def test_33_a_line_of_2000_tokens_keeps_nothing_of_them(hold: Hold) -> None:
    """No memory grows and no more than one character is kept: what is not kept can't be decoded again."""
    detokenizer = Detokenizer(FakeTokenizer(words=[b" word", "é".encode()]), hold=hold)
    size, found = sys.getsizeof(detokenizer), []
    for place in range(2000):
        found.append(detokenizer.push(256 + place % 2))
        assert detokenizer.pending <= 2
    assert sys.getsizeof(detokenizer) == size
    assert "".join(found) + detokenizer.flush() == " wordé" * 1000


# What must not crash.


@pytest.mark.parametrize("tokenizer", [None, "a", object(), type("T", (), {"bytes_table": [b"a"]})()])
def test_what_is_no_tokenizer_is_refused(tokenizer: Any) -> None:
    with pytest.raises(InvalidParameterError):
        Detokenizer(tokenizer)


def test_another_hold_is_refused() -> None:
    with pytest.raises(InvalidParameterError):
        Detokenizer(FakeTokenizer(), hold="word")  # type: ignore[arg-type]


def test_no_copies_and_no_empty_objects() -> None:
    with pytest.raises(TypeError):
        copy.copy(Detokenizer(FakeTokenizer()))
    with pytest.raises(TypeError):
        Detokenizer.__new__(Detokenizer)  # type: ignore[call-arg]


def test_marks_follow_the_special_tokens_of_each_tokenizer() -> None:
    """Two tokenizers may share a table."""
    first, second = FakeTokenizer(), FakeTokenizer()
    second.bytes_table, second.special_ids = first.bytes_table, frozenset({ord("a"), -5, 10**10})
    assert pieces(Detokenizer(first), [97, 258]) == ["a", "", ""]
    assert pieces(Detokenizer(second), [97, 258]) == ["", "<|endoftext|>", ""]
    assert pieces(Detokenizer(first), [97, 258]) == ["a", "", ""]


def test_ids_that_call_back() -> None:
    detokenizer = Detokenizer(FakeTokenizer())

    class Id:
        def __index__(self) -> int:
            ids.clear()
            detokenizer.push(0xC3)
            return 0xA9

    ids: list[Any] = [Id(), 97]
    assert detokenizer.push_many(ids) == "éa"


def test_two_threads_on_one_detokenizer() -> None:
    """Each call is whole, or refused: text may mix, memory may not."""
    detokenizer = Detokenizer(FakeTokenizer(), hold="grapheme")
    many = np.frombuffer(("ab👩‍👩‍👧‍👦" * 2000).encode(), np.uint8).astype(np.int32)
    codes: set[str] = set()

    def work() -> None:
        for _ in range(30):
            try:
                detokenizer.push_many(many)
                detokenizer.push(97)
                detokenizer.flush()
            except FastgenError as error:
                codes.add(error.code)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes <= {"concurrent_use"}
    detokenizer.flush()
    assert detokenizer.push_many(many[:3]) == "a"
