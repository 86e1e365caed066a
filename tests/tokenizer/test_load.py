"""`fastgen.tokenizer` itself: which file is read how."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fastgen.errors import CheckpointError, ModelNotFoundError
from fastgen.gguf import GGUFFile
from fastgen.tokenizer import load_tokenizer


def test_tokenizer_json_goes_before_the_model(tmp_path: Path, byte_level_json: str, sentencepiece_model: bytes) -> None:
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_model)
    assert load_tokenizer(tmp_path).token_id("<tool>") == 3
    (tmp_path / "tokenizer.json").write_text(byte_level_json)
    assert load_tokenizer(tmp_path).token_id("<tool call>") is not None
    assert load_tokenizer(str(tmp_path / "tokenizer.json")).token_id("<tool call>") is not None
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": 1}))
    assert load_tokenizer(tmp_path).eos_ids == (1,)
    (tmp_path / "other.model").write_bytes(sentencepiece_model)
    assert load_tokenizer(tmp_path / "other.model").eos_ids == (2,)


def test_gguf_by_path_and_by_file(write_vocabulary: Callable[..., Path]) -> None:
    pytest.importorskip("tokenizers")
    path = write_vocabulary("gpt2", ["a", "b", "ab"], pre="gpt-2", merges=["a b"])
    assert load_tokenizer(path).encode("ab") == [2]
    with GGUFFile.open(path) as file:
        assert load_tokenizer(file).encode("abba") == [2, 1, 0]


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no such file"):
        load_tokenizer(tmp_path / "none.gguf")
    with pytest.raises(ModelNotFoundError, match="no tokenizer"):
        load_tokenizer(tmp_path)


def test_what_is_of_no_known_kind(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(CheckpointError) as caught:
        load_tokenizer(tmp_path / "vocab.txt")
    assert caught.value.code == "checkpoint_unsupported"


def test_importing_loads_no_library() -> None:
    heavy = {"tokenizers", "sentencepiece", "transformers", "torch", "gguf", "jinja2"}
    program = f"import sys, fastgen.tokenizer; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
