from __future__ import annotations

import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastgen.errors import CheckpointError, PromptError
from fastgen.gguf import GGUFFile
from fastgen.tokenizer import disk, vocabulary
from fastgen.tokenizer.bpe import BackendTokenizer

tokenizers = pytest.importorskip("tokenizers")

Write = Callable[..., Path]
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


def load(path: Path) -> BackendTokenizer:
    with GGUFFile.open(path) as file:
        return vocabulary.load(file)


@pytest.fixture
def byte_level(byte_level_json: str) -> dict[str, Any]:
    """Return the metadata of the trained byte-level vocabulary."""
    spec = json.loads(byte_level_json)
    tokens = dict(spec["model"]["vocab"])
    types = {}
    for token in spec["added_tokens"]:
        tokens[token["content"]] = token["id"]
        types[token["id"]] = CONTROL if token["special"] else USER_DEFINED
    return {
        "model": "gpt2",
        "pre": "gpt-2",
        "tokens": sorted(tokens, key=lambda token: tokens[token]),
        "token_type": [types.get(token, NORMAL) for token in range(len(tokens))],
        "merges": [" ".join(pair) for pair in spec["model"]["merges"]],
        "bos_token_id": 1,
        "eos_token_id": 0,
    }


@pytest.fixture
def sentencepiece(sentencepiece_model: bytes) -> Any:
    processor = pytest.importorskip("sentencepiece").SentencePieceProcessor()
    processor.LoadFromSerializedProto(sentencepiece_model)
    return processor


@pytest.fixture
def scored(sentencepiece: Any) -> dict[str, Any]:
    """Return the metadata of the trained SentencePiece vocabulary, as llama.cpp converts it."""
    every = range(sentencepiece.GetPieceSize())

    def kind(token: int) -> int:
        if sentencepiece.IsUnknown(token):
            return UNKNOWN
        if sentencepiece.IsControl(token):
            return CONTROL
        if sentencepiece.IsByte(token):
            return BYTE
        return USER_DEFINED if sentencepiece.IdToPiece(token) == "<tool>" else NORMAL

    return {
        "model": "llama",
        "tokens": [sentencepiece.IdToPiece(token) for token in every],
        "scores": [float(sentencepiece.GetScore(token)) for token in every],
        "token_type": [kind(token) for token in every],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
    }


def test_byte_level_is_the_tokenizer_it_came_from(
    write_vocabulary: Write, byte_level: dict[str, Any], byte_level_json: str, texts: list[str]
) -> None:
    tokenizer = load(write_vocabulary(**byte_level))
    source = tokenizers.Tokenizer.from_str(byte_level_json)
    for text in texts:
        assert tokenizer.encode(text, control_tokens=True) == source.encode(text).ids
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.name == "vocabulary"
    assert tokenizer.vocab_size == source.get_vocab_size()
    assert tokenizer.bos_id == 1
    assert tokenizer.eos_ids[0] == 0
    assert tokenizer.special_strings == ("<|end|>", "<|begin|>", "<|im_start|>", "<|im_end|>")
    assert not tokenizer.special_ids.intersection(tokenizer.encode("<|end|><|im_end|>"))
    assert tokenizer.token_id("<tool call>") in tokenizer.encode("x<tool call>")
    assert tokenizer.chat_template is None
    assert not tokenizer.add_bos


def test_sentencepiece_is_the_model_it_came_from(
    write_vocabulary: Write, scored: dict[str, Any], sentencepiece: Any, texts: list[str]
) -> None:
    tokenizer = load(write_vocabulary(**scored))
    assert tokenizer.strip_leading_space
    assert tokenizer.add_bos
    assert tokenizer.special_ids == {0, 1, 2}
    for text in texts:
        ids = tokenizer.encode(text)
        assert ids == sentencepiece.EncodeAsIds(text), text
        assert tokenizer.decode(ids) == sentencepiece.DecodeIds(ids) == tokenizer.backend.decode(ids)
    for token in range(1, tokenizer.vocab_size):
        assert tokenizer.token_bytes(token) == (
            bytes([int(scored["tokens"][token][3:5], 16)])
            if sentencepiece.IsByte(token)
            else scored["tokens"][token].replace("▁", " ").encode()
        )


def test_sentencepiece_segments_begin_with_the_prefix(write_vocabulary: Write, scored: dict[str, Any]) -> None:
    tokenizer = load(write_vocabulary(**scored))
    assert tokenizer.encode("<s>hi</s>", control_tokens=True) == [1, *tokenizer.encode("hi"), 2]
    bare = load(write_vocabulary(**scored, add_space_prefix=False))
    assert not bare.strip_leading_space
    assert bare.decode(bare.encode("hi there")) == "hi there" == bare.backend.decode(bare.encode("hi there"))
    assert bare.encode(" hi") == tokenizer.encode("hi")


@pytest.mark.parametrize("kind", ["byte_level", "scored"])
def test_decode_of_any_ids_is_the_librarys(request: pytest.FixtureRequest, write_vocabulary: Write, kind: str) -> None:
    values = request.getfixturevalue(kind)
    tokenizer = load(write_vocabulary(**values))
    # Bytes that are no character are replaced one for one by the library if they come from byte tokens.
    plain = [token for token, typed in enumerate(values["token_type"]) if typed != BYTE]
    random.seed(3)
    for length in (1, 2, 5, 40) * 25:
        ids = random.choices(plain, k=length)
        for skip in (True, False):
            assert tokenizer.decode(ids, skip) == tokenizer.backend.decode(ids, skip_special_tokens=skip)


def test_merges_of_scores_are_kept(
    write_vocabulary: Write, scored: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_vocabulary(**scored)
    first = load(path).encode("The quick brown fox")
    (stored,) = disk.directory().iterdir()
    content = stored.read_bytes()
    stored.write_bytes(b"damaged" + content[7:])
    assert load(path).encode("The quick brown fox") == first
    assert stored.read_bytes() == content
    disk.store(stored.name, np.full((1, 2), 10**9, "<u4").tobytes())
    assert load(path).encode("The quick brown fox") == first
    assert stored.read_bytes() == content
    monkeypatch.delattr(vocabulary, "_merges_of_scores")
    assert load(path).encode("The quick brown fox") == first
    monkeypatch.setenv("FASTGEN_CACHE_DIR", "/dev/null/nowhere")
    with pytest.raises(NameError, match="_merges_of_scores"):  # nothing kept there: it would have to be worked out
        load(path)


def test_other_scores_are_other_merges(write_vocabulary: Write, scored: dict[str, Any]) -> None:
    load(write_vocabulary(**scored))
    load(write_vocabulary(**{**scored, "scores": scored["scores"][::-1]}))
    assert len(list(disk.directory().iterdir())) == 2


def test_listed_merges_go_before_scores(write_vocabulary: Write) -> None:
    values = {"tokens": ["<unk>", "a", "b", "ab", "▁"], "token_type": [UNKNOWN, 1, 1, 1, 1], "unknown_token_id": 0}
    tokenizer = load(write_vocabulary("llama", **values, merges=["a b"]))
    assert tokenizer.encode("ab") == [4, 3]
    assert tokenizer.encode("aé") == [4, 1, 0]


def test_settings(write_vocabulary: Write, byte_level: dict[str, Any]) -> None:
    values = byte_level | {"pre": "llama-bpe", "chat_template": "T", "eot_token_id": 3, "eom_token_id": 2}
    tokenizer = load(write_vocabulary(**values))
    assert tokenizer.add_bos is True
    assert tokenizer.eos_ids == (0, 3, 2)
    assert tokenizer.chat_template == "T"
    assert load(write_vocabulary(**values, add_bos_token=False)).add_bos is False
    del values["bos_token_id"]
    assert load(write_vocabulary(**values)).add_bos is False


def test_end_of_turn_by_name_in_older_files(write_vocabulary: Write, byte_level: dict[str, Any]) -> None:
    tokens = list(byte_level["tokens"])
    end = tokens.index("<|im_end|>")
    assert load(write_vocabulary(**byte_level)).eos_ids == (0, end)
    types = list(byte_level["token_type"])
    types[end] = NORMAL
    assert load(write_vocabulary(**{**byte_level, "token_type": types})).eos_ids == (0,)


def test_ids_outside_the_vocabulary_are_nobody(write_vocabulary: Write, byte_level: dict[str, Any]) -> None:
    tokenizer = load(write_vocabulary(**{**byte_level, "bos_token_id": 10**6, "eos_token_id": 2**32 - 1}))
    assert tokenizer.bos_id is None
    assert tokenizer.token_id("<|end|>") not in tokenizer.eos_ids


def test_steering_tokens_that_are_marked_ordinary(write_vocabulary: Write, byte_level: dict[str, Any]) -> None:
    types = [NORMAL] * len(byte_level["tokens"])
    tokenizer = load(write_vocabulary(**{**byte_level, "token_type": types}))
    assert tokenizer.special_ids == {0, 1}
    assert tokenizer.encode("<|end|>", control_tokens=True) == [0]
    assert 0 not in tokenizer.encode("<|end|>")


def test_tokens_that_are_empty_or_not_utf8(write_vocabulary: Write, byte_level: dict[str, Any]) -> None:
    tokens: list[Any] = [*byte_level["tokens"], b"\xff\xfe", "", b"\xe2\x82"]
    types = [*byte_level["token_type"], NORMAL, UNUSED, CONTROL]
    tokenizer = load(write_vocabulary(**{**byte_level, "tokens": tokens, "token_type": types}))
    size = len(tokens)
    assert tokenizer.token_bytes(size - 3) == b"\xff\xfe"
    assert tokenizer.token_bytes(size - 2) == b""
    assert tokenizer.token_bytes(size - 1) == b"\xe2\x82"
    assert size - 1 in tokenizer.special_ids
    assert tokenizer.decode(tokenizer.encode("hello \0 world")) == "hello \0 world"


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"model": "bert"}, "checkpoint_unsupported", "kind of vocabulary"),
        ({"pre": "brand-new"}, "checkpoint_unsupported", "cutting text"),
        ({"tokens": []}, "checkpoint_corrupt", "no vocabulary"),
        ({"tokens": [1, 2]}, "checkpoint_corrupt", "no vocabulary"),
        ({"tokens": ["a", "a"], "token_type": [1, 1]}, "checkpoint_corrupt", "appears twice"),
        ({"token_type": [1, 1]}, "checkpoint_corrupt", "do not fit"),
        ({"token_type": ["x"]}, "checkpoint_corrupt", "do not fit"),
        ({"merges": [1]}, "checkpoint_corrupt", "lists no merges"),
        ({"merges": ["ab"]}, "checkpoint_corrupt", "not a pair"),
        ({"merges": [b"\xff a"]}, "checkpoint_corrupt", "not UTF-8"),
        ({"merges": ["no-such token"]}, "checkpoint_corrupt", "not a sound tokenizer"),
        ({"eos_token_id": "x"}, "checkpoint_corrupt", "wrong type"),
        ({"add_bos_token": 1}, "checkpoint_corrupt", "wrong type"),
        ({"chat_template": 1}, "checkpoint_corrupt", "wrong type"),
    ],
)
def test_broken_vocabularies_are_named(
    write_vocabulary: Write, byte_level: dict[str, Any], change: dict[str, Any], code: str, message: str
) -> None:
    path = write_vocabulary(**{**byte_level, **change})
    with pytest.raises(CheckpointError, match=message) as caught:
        load(path)
    assert caught.value.code == code
    assert caught.value.details["path"] == str(path)
    assert caught.value.hint


def test_the_unknown_rule_is_named(write_vocabulary: Write, byte_level: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError) as caught:
        load(write_vocabulary(**{**byte_level, "pre": "brand-new"}))
    assert caught.value.details["pre"] == "brand-new"


def test_without_scores_and_merges(write_vocabulary: Write, scored: dict[str, Any]) -> None:
    del scored["scores"]
    with pytest.raises(CheckpointError, match="neither scores nor merges"):
        load(write_vocabulary(**scored))


def test_scores_that_are_not_numbers(write_vocabulary: Write, scored: dict[str, Any]) -> None:
    tokenizer = load(write_vocabulary(**{**scored, "scores": [float("nan")] * len(scored["tokens"])}))
    assert tokenizer.decode(tokenizer.encode("hello world")) == "hello world"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutations_never_raise_anything_else(
    write_vocabulary: Write, scored: dict[str, Any], byte_level: dict[str, Any], data: st.DataObject
) -> None:
    path = write_vocabulary(**data.draw(st.sampled_from([scored, byte_level])))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    refused: CheckpointError | None = None
    try:
        tokenizer = load(path)
        tokenizer.decode(tokenizer.encode("hello world, é", control_tokens=True))
    except CheckpointError as error:
        refused = error
    assert refused is None or refused.details["path"] == str(path)


@pytest.fixture(scope="module")
def demo(demo_path: Path) -> BackendTokenizer:
    return load(demo_path)


@pytest.mark.demo
def test_demo(demo: BackendTokenizer) -> None:
    assert demo.vocab_size == 49152
    assert (demo.bos_id, demo.eos_ids, demo.add_bos) == (1, (2,), False)
    assert demo.special_ids == frozenset(range(17))
    assert demo.special_strings[:3] == ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    assert demo.chat_template is not None
    assert demo.chat_template.startswith("{% for message in messages %}")
    assert [demo.token_bytes(token) for token in demo.encode("Hello 123")] == [b"Hello", b" ", b"1", b"2", b"3"]
    assert demo.encode("<|im_start|>", control_tokens=True) == [1]
    with pytest.raises(PromptError):
        demo.encode("\ud83d")


@pytest.mark.demo
def test_demo_round_trips(demo: BackendTokenizer, texts: list[str]) -> None:
    for text in texts:
        ids = demo.encode(text)
        assert not demo.special_ids.intersection(ids)
        assert demo.decode(ids) == text == demo.backend.decode(ids)


@pytest.mark.demo
def test_demo_decodes_any_ids_as_the_library(demo: BackendTokenizer) -> None:
    random.seed(4)
    for length in (1, 2, 3, 10, 100) * 60:
        ids = random.choices(range(demo.vocab_size), k=length)
        for skip in (True, False):
            assert demo.decode(ids, skip) == demo.backend.decode(ids, skip_special_tokens=skip)
            joined = b"".join(demo.token_bytes(token) for token in ids if not skip or token not in demo.special_ids)
            assert demo.decode(ids, skip) == joined.decode(errors="replace")


@pytest.mark.demo
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=("Cs", "Cc", "Co", "Cn"))))
def test_demo_keeps_texts(demo: BackendTokenizer, text: str) -> None:
    # The vocabulary lacks some control characters and the lead bytes of planes that hold no characters.
    for control_tokens in (False, True):
        assert demo.decode(demo.encode(text, control_tokens), skip_special_tokens=False) == text


@pytest.mark.demo
def test_demo_in_sixteen_threads(demo: BackendTokenizer, texts: list[str]) -> None:
    work = [(text + end, marked) for text in texts for end in ("", "<|im_end|>") for marked in (False, True)] * 8
    alone = [demo.encode(*item) for item in work]
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda item: demo.encode(*item), work)) == alone
