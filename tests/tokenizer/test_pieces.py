"""Pieces between control tokens, encoded one by one and remembered, are the tokens of the whole text."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastgen.control import control_strings, encode_apart
from fastgen.tokenizer import load_tokenizer
from fastgen.tokenizer.base import LONGEST, TableTokenizer


def byte_level(tmp_path: Path, text: str, change: Callable[[dict[str, Any]], None] = lambda _: None) -> TableTokenizer:
    spec = json.loads(text)
    change(spec)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(spec))
    tokenizer = load_tokenizer(path)
    assert isinstance(tokenizer, TableTokenizer)
    return tokenizer


def check(tokenizer: TableTokenizer, texts: list[str]) -> None:
    """Compare prompts of texts and control strings, encoded piece by piece, with the whole and with its runs."""
    source = random.Random(5)
    control = control_strings(tokenizer.special_strings)
    assert tokenizer.cuts_at_control
    for _ in range(300):
        parts = source.choices([*tokenizer.special_strings, "\n", " ", ""], k=5) + source.choices(texts, k=3)
        source.shuffle(parts)
        text = "".join(parts)
        assert encode_apart(text, text, control, tokenizer) == tokenizer.encode(text, control_tokens=True)
        skeleton = "".join(part if part in tokenizer.special_strings else "\0" * len(part) for part in parts)
        found = encode_apart(text, skeleton, control, tokenizer)
        expected: list[int] = []
        run = ""
        for part in [*parts, None]:
            if part is None or part in tokenizer.special_strings:
                expected += tokenizer.encode(run) if run else []
                run = ""
                expected += [] if part is None else tokenizer.encode(part, control_tokens=True)
            else:
                run += part
        assert found == expected


def test_byte_level(byte_level_json: str, texts: list[str], tmp_path: Path) -> None:
    check(byte_level(tmp_path, byte_level_json), texts)


def test_byte_level_with_a_prefix_space(byte_level_json: str, texts: list[str], tmp_path: Path) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["pre_tokenizer"]["add_prefix_space"] = True

    check(byte_level(tmp_path, byte_level_json, change), texts)


def test_byte_level_with_a_normalizer(byte_level_json: str, texts: list[str], tmp_path: Path) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Prepend", "prepend": "a"}]}

    check(byte_level(tmp_path, byte_level_json, change), texts)


@pytest.mark.parametrize("scheme", ["always", "never"])
def test_metaspace(scheme: str, byte_level_json: str, texts: list[str], tmp_path: Path) -> None:
    def change(spec: dict[str, Any]) -> None:
        for part in ("pre_tokenizer", "decoder"):
            spec[part] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": True}

    check(byte_level(tmp_path, byte_level_json, change), texts)


def test_sentencepiece(sentencepiece_model: bytes, texts: list[str], tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(sentencepiece_model)
    tokenizer = load_tokenizer(path)
    assert isinstance(tokenizer, TableTokenizer)
    check(tokenizer, texts)


@pytest.mark.demo
def test_the_demo_vocabulary(demo_path: Path, texts: list[str]) -> None:
    tokenizer = load_tokenizer(demo_path)
    assert isinstance(tokenizer, TableTokenizer)
    check(tokenizer, texts)


@pytest.mark.parametrize("prefix", [True, False])
def test_a_sentencepiece_vocabulary_in_gguf(
    prefix: bool, texts: list[str], write_vocabulary: Callable[..., Path]
) -> None:
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "▁a", "ab", "▁ab"]
    types = [2, 3, 3, *[6] * 256, *[1] * 6]
    scores = [0.0] * 259 + [-float(place) for place in range(6)]
    tokenizer = load_tokenizer(
        write_vocabulary("llama", tokens, token_type=types, scores=scores, add_space_prefix=prefix)
    )
    assert isinstance(tokenizer, TableTokenizer)
    check(tokenizer, [*texts, "a", "ab a", " ab"])


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec["added_tokens"][0].update(lstrip=True),
        lambda spec: spec["added_tokens"][1].update(rstrip=True),
        lambda spec: spec["added_tokens"][2].update(single_word=True),
        lambda spec: spec["added_tokens"][0].update(normalized=True),
        lambda spec: spec["added_tokens"][-1].update(content="|><"),
        lambda spec: spec["added_tokens"][-1].update(content="a<|im_end|>"),
        lambda spec: spec["added_tokens"][-1].update(content="im_end"),
        lambda spec: spec.update(
            pre_tokenizer={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}
        ),
    ],
)
def test_where_pieces_depend_on_their_surroundings_they_are_not_cut(
    change: Callable[[dict[str, Any]], None], byte_level_json: str, tmp_path: Path
) -> None:
    tokenizer = byte_level(tmp_path, byte_level_json, change)
    assert not tokenizer.cuts_at_control
    text = "<|im_start|>user\na |>< b<|im_end|> \n<|im_start|>"
    control = control_strings(tokenizer.special_strings)
    assert encode_apart(text, text, control, tokenizer) == tokenizer.encode(text, control_tokens=True)


def test_what_is_remembered_is_bounded(byte_level_json: str, tmp_path: Path) -> None:
    tokenizer = byte_level(tmp_path, byte_level_json)
    for number in range(1000):
        assert list(tokenizer.encode_piece(str(number))) == tokenizer.encode(str(number))
    tokenizer.encode_piece("a" * (LONGEST + 1))
    info = tokenizer._remembered.cache_info()
    assert (info.currsize, info.misses) == (512, 1000)


def test_control_ids(byte_level_json: str, tmp_path: Path) -> None:
    tokenizer = byte_level(tmp_path, byte_level_json)
    assert tokenizer.control_id("<|im_end|>") == tokenizer.token_id("<|im_end|>")
    with pytest.raises(KeyError):
        tokenizer.control_id("no token of this name")
