from __future__ import annotations

import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fastgen.errors import CheckpointError, MissingDependencyError, PromptError
from fastgen.tokenizer import from_transformers
from fastgen.tokenizer.bpe import BackendTokenizer, load

tokenizers = pytest.importorskip("tokenizers")

LoadJson = Callable[..., BackendTokenizer]


@pytest.fixture
def load_json(tmp_path: Path) -> LoadJson:
    def load_json(text: str, **companions: Any) -> BackendTokenizer:
        folder = tmp_path / "some model"
        folder.mkdir(exist_ok=True)
        (folder / "tokenizer.json").write_text(text, "utf-8")
        for name, value in companions.items():
            (folder / f"{name}.json").write_text(json.dumps(value), "utf-8")
        return load(folder / "tokenizer.json")

    return load_json


@pytest.fixture
def tokenizer(load_json: LoadJson, byte_level_json: str) -> BackendTokenizer:
    config = {"eos_token": "<|end|>", "bos_token": "<|begin|>", "chat_template": "T"}
    return load_json(byte_level_json, tokenizer_config=config, generation_config={"eos_token_id": [403, 0, 9999, -1]})


def changed(text: str, **parts: Any) -> str:
    return json.dumps({**json.loads(text), **parts})


def test_traits(tokenizer: BackendTokenizer) -> None:
    assert tokenizer.name == "some model"
    assert tokenizer.vocab_size == len(tokenizer.bytes_table)
    assert tokenizer.special_strings == ("<|end|>", "<|begin|>", "<|im_start|>", "<|im_end|>")
    assert tokenizer.special_ids == {tokenizer.token_id(token) for token in tokenizer.special_strings}
    assert tokenizer.bos_id == 1
    assert tokenizer.eos_ids[0] == 0
    assert all(0 <= token < tokenizer.vocab_size for token in tokenizer.eos_ids)
    assert tokenizer.add_bos is False
    assert tokenizer.strip_leading_space is False
    assert tokenizer.chat_template == "T"
    assert tokenizer.token_id("Ġthe") is not None
    assert tokenizer.token_id("nothing of the kind") is None
    assert tokenizer.token_id("\ud800") is None


def test_round_trip_and_the_librarys_decode(tokenizer: BackendTokenizer, texts: list[str]) -> None:
    for text in texts:
        ids = tokenizer.encode(text)
        assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()
        assert tokenizer.decode(ids) == text == tokenizer.backend.decode(ids)


@pytest.mark.parametrize("skip", [True, False])
def test_decode_of_any_ids_is_the_librarys(tokenizer: BackendTokenizer, skip: bool) -> None:
    random.seed(1)
    for length in (1, 2, 5, 40) * 50:
        ids = random.choices(range(tokenizer.vocab_size), k=length)
        assert tokenizer.decode(ids, skip) == tokenizer.backend.decode(ids, skip_special_tokens=skip)


def test_control_tokens_are_text_unless_asked_for(tokenizer: BackendTokenizer) -> None:
    text = "<|im_start|>user\nhi<|im_end|>"
    plain, marked = tokenizer.encode(text), tokenizer.encode(text, control_tokens=True)
    assert not tokenizer.special_ids.intersection(plain)
    assert tokenizer.decode(plain) == text
    start, end = map(tokenizer.token_id, ("<|im_start|>", "<|im_end|>"))
    assert marked == [start, *tokenizer.encode("user\nhi"), end]
    assert tokenizer.decode(marked) == "user\nhi"
    assert tokenizer.decode(marked, skip_special_tokens=False) == text


def test_added_tokens_are_found_in_any_text(tokenizer: BackendTokenizer) -> None:
    token = tokenizer.token_id("<tool call>")
    assert tokenizer.encode("a<tool call>b").count(token) == 1
    assert tokenizer.decode([token]) == "<tool call>"


def test_added_tokens_are_literal_bytes(load_json: LoadJson, byte_level_json: str) -> None:
    backend = tokenizers.Tokenizer.from_str(byte_level_json)
    backend.add_tokens(["<é>"])
    tokenizer = load_json(backend.to_str())
    token = tokenizer.token_id("<é>")
    assert tokenizer.decode([token]) == "<é>"
    assert backend.decode([token]) == "<\ufffd>"  # why decode is not the library's


def test_nothing_is_put_around_a_text(load_json: LoadJson, byte_level_json: str) -> None:
    backend = tokenizers.Tokenizer.from_str(byte_level_json)
    template = tokenizers.processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", 1)])
    backend.post_processor = template
    backend.enable_truncation(3)
    backend.enable_padding(length=3)
    config = {"bos_token": "<|begin|>"}
    tokenizer = load_json(backend.to_str(), tokenizer_config=config)
    assert tokenizer.decode(tokenizer.encode("hello world again")) == "hello world again"
    assert 1 not in tokenizer.encode("hello")
    assert tokenizer.add_bos is True
    assert load_json(backend.to_str(), tokenizer_config=config | {"add_bos_token": False}).add_bos is False


def test_ids_that_the_library_would_move_are_refused(load_json: LoadJson, byte_level_json: str) -> None:
    spec = json.loads(byte_level_json)
    for token in spec["added_tokens"]:
        if token["content"] == "<|im_end|>":
            token["id"] = 1000
    with pytest.raises(CheckpointError, match="gaps") as caught:
        load_json(json.dumps(spec))
    assert caught.value.code == "checkpoint_unsupported"
    assert caught.value.details["token"] == "<|im_end|>"


def test_sentencepiece_decoders(load_json: LoadJson) -> None:
    vocabulary = {"<unk>": 0, "▁": 1, "a": 2, "▁a": 3, "<0xC3>": 4, "<0xA9>": 5}
    backend = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocabulary, [("▁", "a")], unk_token="<unk>", byte_fallback=True)
    )
    backend.add_special_tokens(["<unk>"])
    backend.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.Prepend("▁"), tokenizers.normalizers.Replace(" ", "▁")]
    )
    steps = tokenizers.decoders
    fallback = [steps.Replace("▁", " "), steps.ByteFallback(), steps.Fuse(), steps.Strip(" ", 1, 0)]
    backend.decoder = steps.Sequence(fallback)
    tokenizer = load_json(backend.to_str())
    assert tokenizer.strip_leading_space
    for text in ("a a", " a", "é", "aé a"):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text == backend.decode(ids)
    assert tokenizer.token_bytes(4) == b"\xc3"
    backend.decoder = steps.Metaspace("▁", "never")
    unstripped = load_json(backend.to_str())
    assert not unstripped.strip_leading_space
    assert unstripped.token_bytes(4) == b"<0xC3>"
    assert unstripped.decode([3, 3]) == " a a" == backend.decode([3, 3])
    backend.decoder = steps.Metaspace("▁", "first")
    assert load_json(backend.to_str()).decode([3, 3]) == "a a" == backend.decode([3, 3])


def test_decoders_that_need_context_are_refused(load_json: LoadJson, byte_level_json: str) -> None:
    replace = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    level = json.loads(byte_level_json)["decoder"]
    for decoder in (
        None,
        {"type": "WordPiece", "prefix": "##", "cleanup": True},
        {"type": "Sequence", "decoders": [replace, level]},
        {"type": "Sequence", "decoders": []},
        {"type": "Sequence", "decoders": [replace, {"type": "Strip", "content": " ", "start": 2, "stop": 0}]},
        {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always", "split": True},
    ):
        with pytest.raises(CheckpointError) as caught:
            load_json(changed(byte_level_json, decoder=decoder))
        assert caught.value.code == "checkpoint_unsupported"
        assert caught.value.details["path"].endswith("tokenizer.json")


@pytest.mark.parametrize("content", ["", "{}", "garbage", "[" * 1000, '{"version": "1.0", "model": {"type": "BPE"}}'])
def test_corrupt_files_are_named(load_json: LoadJson, content: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_json(content)
    assert caught.value.code == "checkpoint_corrupt"
    assert caught.value.details["path"].endswith("tokenizer.json")


def test_absurd_ids_are_refused(load_json: LoadJson, byte_level_json: str) -> None:
    spec = json.loads(byte_level_json)
    spec["model"]["vocab"]["!"] = 2**32 - 1
    with pytest.raises(CheckpointError):
        load_json(json.dumps(spec))


def test_cut_files_are_refused(load_json: LoadJson, byte_level_json: str) -> None:
    for length in range(0, len(byte_level_json) - 1, 499):
        with pytest.raises(CheckpointError):
            load_json(byte_level_json[:length])


def test_lone_surrogates(tokenizer: BackendTokenizer) -> None:
    with pytest.raises(PromptError) as caught:
        tokenizer.encode("ab\ud800")
    assert caught.value.code == "prompt_not_utf8"


def test_sixteen_threads(tokenizer: BackendTokenizer, texts: list[str]) -> None:
    work = [(text + suffix, marked) for text in texts for suffix in ("", "<|im_end|>") for marked in (False, True)] * 8
    alone = [tokenizer.encode(*item) for item in work]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda item: tokenizer.encode(*item), work))
        decoded = list(pool.map(tokenizer.decode, together))
    assert together == alone
    assert decoded == [tokenizer.decode(ids) for ids in alone]


def test_foreign_objects_are_refused() -> None:
    class Slow:
        name_or_path = "slow"

    with pytest.raises(CheckpointError) as caught:
        from_transformers(Slow())
    assert caught.value.code == "checkpoint_unsupported"


def test_without_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(MissingDependencyError, match="tokenizers"):
        load(tmp_path / "tokenizer.json")
