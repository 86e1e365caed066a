"""Detokenizer: the joined pieces are the decode of all ids, and each character leaves as soon as it is whole."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeTokenizer
from hypothesis import given
from hypothesis import strategies as st

from fastgen.detokenizer import Detokenizer
from fastgen.errors import InvalidParameterError

HANGUL = "안".encode()
WORDS = [b"", b" ", b"  ", b" the", HANGUL, HANGUL[:2], HANGUL[2:] + b"x", b"\xf0\x9f", b"\x80\x80", b"\xed\xa0"]
IDS = st.lists(st.one_of(st.integers(0, 255 + len(WORDS) + 3), st.integers(256, 255 + len(WORDS) + 3)), max_size=24)


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
