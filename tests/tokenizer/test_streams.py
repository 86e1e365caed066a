"""Detokenizers of real tokenizers: what they stream is what the tokenizer decodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fastgen.detokenizer import Detokenizer
from fastgen.tokenizer import Tokenizer, load_tokenizer


@pytest.fixture(params=["byte level", "sentencepiece", pytest.param("demo", marks=pytest.mark.demo)])
def tokenizer(request: pytest.FixtureRequest, tmp_path: Path) -> Tokenizer:
    match request.param:
        case "byte level":
            (tmp_path / "tokenizer.json").write_text(request.getfixturevalue("byte_level_json"))
        case "sentencepiece":
            (tmp_path / "tokenizer.model").write_bytes(request.getfixturevalue("sentencepiece_model"))
        case "demo":
            return load_tokenizer(request.getfixturevalue("demo_path"))
    return load_tokenizer(tmp_path)


def check(tokenizer: Tokenizer, ids: list[int]) -> None:
    """Compare with the bytes of the tokens, joined by hand, and with `decode`."""
    for skip in (True, False):
        data = b"".join(tokenizer.token_bytes(token) for token in ids if not (skip and token in tokenizer.special_ids))
        expected = (data.removeprefix(b" ") if tokenizer.strip_leading_space else data).decode(errors="replace")
        assert tokenizer.decode(ids, skip_special_tokens=skip) == expected
        for hold in ("codepoint", "grapheme"):
            detokenizer = Detokenizer(tokenizer, skip, hold=hold)  # type: ignore[arg-type]
            for _ in range(2):
                pieces = [detokenizer.push(token) for token in ids]
                assert "".join(pieces) + detokenizer.flush() == expected
            assert detokenizer.push_many(ids) + detokenizer.flush() == expected


def test_texts_stream_as_they_are(tokenizer: Tokenizer, texts: list[str]) -> None:
    for text in texts:
        for control_tokens in (False, True):
            ids = tokenizer.encode(text, control_tokens)
            check(tokenizer, ids)
            assert Detokenizer(tokenizer, control_tokens is False).push_many(ids) == tokenizer.decode(
                ids, skip_special_tokens=control_tokens is False
            )


def test_31_random_ids(tokenizer: Tokenizer, rng: np.random.Generator) -> None:
    for size in (1, 2, 5, 50, 500):
        for _ in range(20):
            check(tokenizer, rng.integers(0, tokenizer.vocab_size, size).tolist())


def test_every_token_at_the_start_and_after_half_a_character(tokenizer: Tokenizer) -> None:
    """The space in front is taken off the first token with text, and never off another."""
    half = next(token for token in range(tokenizer.vocab_size) if tokenizer.token_bytes(token) in (b"\xe2", b"\xc3"))
    start, after = Detokenizer(tokenizer, False), Detokenizer(tokenizer, False)
    for token in range(min(tokenizer.vocab_size, 2000)):
        assert start.push(token) + start.flush() == tokenizer.decode([token], skip_special_tokens=False)
        ids = [half, token, half]
        assert after.push_many(ids) + after.flush() == tokenizer.decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize("hold", ["codepoint", "grapheme"])
def test_the_first_token_of_sentencepiece_loses_one_space(
    sentencepiece_model: bytes, tmp_path: Path, hold: str
) -> None:
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_model)
    tokenizer = load_tokenizer(tmp_path)
    detokenizer = Detokenizer(tokenizer, hold=hold)  # type: ignore[arg-type]
    ids = tokenizer.encode("Hello  world")
    for _ in range(2):
        first = detokenizer.push(1)  # <s>, which has no text
        assert first + "".join(map(detokenizer.push, ids)) + detokenizer.flush() == "Hello  world"
