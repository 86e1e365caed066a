from __future__ import annotations

import pytest

from fastgen.errors import InvalidParameterError, PromptError
from fastgen.tokenizer.base import TableTokenizer, Traits, check_text
from fastgen.tokenizer.table import ByteTable


def tokenizer(strip: bool) -> TableTokenizer:
    traits = Traits(
        name="tiny",
        bos_id=0,
        eos_ids=(0,),
        special_ids=frozenset({0}),
        special_strings=("<s>",),
        add_bos=True,
        strip_leading_space=strip,
        chat_template=None,
    )
    return TableTokenizer(ByteTable.of([b"<s>", b" a", b"b", b"\xc3", b"\xa9", b"  "]), traits, cuts_at_control=False)


def test_decode_joins_bytes() -> None:
    tiny = tokenizer(strip=False)
    assert tiny.decode([0, 1, 2, 3, 4]) == " abé"
    assert tiny.decode([0, 1], skip_special_tokens=False) == "<s> a"
    assert tiny.decode([3, 2, 4]) == "\ufffdb\ufffd"
    assert tiny.decode([]) == ""
    assert tiny.decode(iter([1])) == " a"
    assert tiny.token_bytes(3) == b"\xc3"


def test_decode_strips_one_space_of_the_whole() -> None:
    tiny = tokenizer(strip=True)
    assert tiny.decode([1, 1]) == "a a"
    assert tiny.decode([5, 1]) == "  a"
    assert tiny.decode([0, 1]) == "a"
    assert tiny.decode([0, 1], skip_special_tokens=False) == "<s> a"


@pytest.mark.parametrize("ids", [[6], [-1], [0, 99]])
@pytest.mark.parametrize("skip", [True, False])
def test_decode_refuses_foreign_ids(ids: list[int], skip: bool) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        tokenizer(strip=False).decode(ids, skip_special_tokens=skip)
    assert caught.value.code == "token_out_of_range"


@pytest.mark.parametrize(("text", "offset"), [("\ud800", 0), ("é\udfffx", 2), ("😀ab\udc80", 6)])
def test_lone_surrogates_are_named(text: str, offset: int) -> None:
    with pytest.raises(PromptError) as caught:
        check_text(text)
    assert caught.value.code == "prompt_not_utf8"
    assert caught.value.details["offset"] == offset


def test_sound_texts_pass(texts: list[str]) -> None:
    for text in texts:
        check_text(text)
