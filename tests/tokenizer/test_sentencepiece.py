from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fastgen.errors import CheckpointError, MissingDependencyError, PromptError
from fastgen.tokenizer.sentencepiece import SentencePieceTokenizer, load

sentencepiece = pytest.importorskip("sentencepiece")


@pytest.fixture
def tokenizer(tmp_path: Path, sentencepiece_model: bytes) -> SentencePieceTokenizer:
    (tmp_path / "tiny.model").write_bytes(sentencepiece_model)
    return load(tmp_path / "tiny.model")


@pytest.fixture
def library(sentencepiece_model: bytes) -> Any:
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(sentencepiece_model)
    return processor


def test_traits(tokenizer: SentencePieceTokenizer, library: Any) -> None:
    assert tokenizer.name == "tiny"
    assert tokenizer.vocab_size == library.GetPieceSize()
    assert (tokenizer.bos_id, tokenizer.eos_ids) == (1, (2,))
    assert tokenizer.special_ids == {0, 1, 2}
    assert tokenizer.special_strings == ("<unk>", "<s>", "</s>")
    assert tokenizer.add_bos is True
    assert tokenizer.strip_leading_space is True
    assert tokenizer.chat_template is None
    assert tokenizer.token_id("<tool>") == 3
    assert tokenizer.token_id("<unk>") == 0
    assert tokenizer.token_id("no such piece") is None
    assert tokenizer.token_id("\ud800") is None


def test_texts_are_the_librarys(tokenizer: SentencePieceTokenizer, library: Any, texts: list[str]) -> None:
    for text in texts:
        ids = tokenizer.encode(text)
        assert ids == library.EncodeAsIds(text)
        assert tokenizer.decode(ids) == library.DecodeIds(ids) == text.replace("▁", " ")


def test_any_ids_decode_as_in_the_library(tokenizer: SentencePieceTokenizer, library: Any) -> None:
    # Not: the unknown token, and bytes, of which the library replaces each that is not part of a character.
    plain = [i for i in range(1, tokenizer.vocab_size) if not library.IsByte(i)]
    random.seed(2)
    for length in (1, 2, 5, 40) * 50:
        ids = random.choices(plain, k=length)
        assert tokenizer.decode(ids) == library.DecodeIds(ids)


def test_differences_to_the_library(tokenizer: SentencePieceTokenizer, library: Any) -> None:
    euro = [library.PieceToId(f"<0x{byte:02X}>") for byte in "€".encode()]
    assert tokenizer.decode(euro) == "€"
    assert tokenizer.decode(euro[:2]) == "\ufffd"
    assert tokenizer.decode([0]) == ""
    assert tokenizer.decode([1, 0, 2], skip_special_tokens=False) == "<s><unk></s>"


def test_control_tokens(tokenizer: SentencePieceTokenizer) -> None:
    plain = tokenizer.encode("<s>hi</s>")
    assert not tokenizer.special_ids.intersection(plain)
    assert tokenizer.decode(plain) == "<s>hi</s>"
    assert tokenizer.encode("<s>hi</s>", control_tokens=True) == [1, *tokenizer.encode("hi"), 2]
    assert tokenizer.encode("<s></s>", control_tokens=True) == [1, 2]
    assert 3 in tokenizer.encode("a<tool>b")


def test_lone_surrogates(tokenizer: SentencePieceTokenizer) -> None:
    with pytest.raises(PromptError):
        tokenizer.encode("\udfff")


def test_companions(tmp_path: Path, sentencepiece_model: bytes) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "tokenizer.model").write_bytes(sentencepiece_model)
    size = load(folder / "tokenizer.model").vocab_size
    config = {
        "add_bos_token": False,
        "eos_token": "<|eot|>",
        "chat_template": "T",
        "added_tokens_decoder": {
            "1": {"content": "<s>", "special": True},
            str(size): {"content": "<|eot|>", "special": True},
            str(size + 2): {"content": "<extra>"},
        },
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, size, 10**6]}))
    tokenizer = load(folder / "tokenizer.model")
    assert tokenizer.name == "model"
    assert tokenizer.vocab_size == size + 3
    assert tokenizer.eos_ids == (size, 2)
    assert tokenizer.add_bos is False
    assert tokenizer.chat_template == "T"
    assert tokenizer.token_id("<extra>") == size + 2
    assert tokenizer.token_bytes(size + 1) == b""
    assert size + 2 in tokenizer.encode("a<extra>b<|eot|>")
    assert size not in tokenizer.encode("a<extra>b<|eot|>")
    assert tokenizer.encode("<|eot|>", control_tokens=True) == [size]
    assert tokenizer.decode([size, size + 2]) == "<extra>"


@pytest.mark.parametrize("content", [b"", b"garbage", bytes(100), b"{}"])
def test_foreign_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert caught.value.details["path"] == str(path)


def test_cut_files_are_refused(tmp_path: Path, sentencepiece_model: bytes) -> None:
    # Where a cut falls between two entries the rest is a sound model: cut within one.
    path = tmp_path / "tokenizer.model"
    path.write_bytes(sentencepiece_model[:-1])
    with pytest.raises(CheckpointError):
        load(path)


def test_pieces_that_are_not_utf8(tmp_path: Path, sentencepiece_model: bytes) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(sentencepiece_model.replace(b"<tool>", b"<\xff\x81ol>"))
    with pytest.raises(CheckpointError, match="SentencePiece"):
        load(path)


def test_no_file_and_absurd_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="can't be read"):
        load(tmp_path / "none.model")
    monkeypatch.setattr("fastgen.tokenizer.sentencepiece.MAX_BYTES", 3)
    (tmp_path / "big.model").write_bytes(b"1234")
    with pytest.raises(CheckpointError, match="absurdly large"):
        load(tmp_path / "big.model")


def test_sixteen_threads(tokenizer: SentencePieceTokenizer, texts: list[str]) -> None:
    work = [(text, marked) for text in texts for marked in (False, True)] * 8
    alone = [tokenizer.encode(*item) for item in work]
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda item: tokenizer.encode(*item), work)) == alone


def test_without_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sentencepiece", None)
    with pytest.raises(MissingDependencyError, match="sentencepiece"):
        load(tmp_path / "tokenizer.model")
