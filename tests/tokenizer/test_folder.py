from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fastgen.errors import CheckpointError
from fastgen.tokenizer.folder import Companions, read


def write(folder: Path, name: str, value: Any) -> None:
    (folder / name).write_text(value if isinstance(value, str) else json.dumps(value), "utf-8")


def test_nothing_beside_it(tmp_path: Path) -> None:
    assert read(tmp_path / "tokenizer.json") == Companions()


def test_a_file_of_another_name_stands_alone(tmp_path: Path) -> None:
    write(tmp_path, "tokenizer_config.json", {"bos_token": "<s>"})
    assert read(tmp_path / "other.json") == Companions()
    assert read(tmp_path / "tokenizer.model").bos == "<s>"


def test_all_files(tmp_path: Path) -> None:
    config = {
        "bos_token": {"content": "<s>", "lstrip": False},
        "eos_token": "</s>",
        "add_bos_token": True,
        "chat_template": "{{ messages }}",
        "added_tokens_decoder": {"7": {"content": "<pad>", "special": True}, "8": {"content": "x"}},
    }
    write(tmp_path, "tokenizer_config.json", config)
    write(tmp_path, "generation_config.json", {"eos_token_id": [2, 7]})
    write(tmp_path, "config.json", {"eos_token_id": 2})
    assert read(tmp_path / "tokenizer.json") == Companions(
        bos="<s>",
        eos=("</s>", 2, 7, 2),
        add_bos=True,
        chat_template="{{ messages }}",
        added={7: ("<pad>", True), 8: ("x", False)},
    )


def test_special_tokens_map_fills_gaps(tmp_path: Path) -> None:
    write(tmp_path, "tokenizer_config.json", {"bos_token": None, "eos_token": "<a>"})
    write(tmp_path, "special_tokens_map.json", {"bos_token": "<b>", "eos_token": {"content": "<c>"}})
    companions = read(tmp_path / "tokenizer.json")
    assert (companions.bos, companions.eos) == ("<b>", ("<a>",))


def test_chat_templates(tmp_path: Path) -> None:
    named = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
    write(tmp_path, "tokenizer_config.json", {"chat_template": named})
    assert read(tmp_path / "tokenizer.json").chat_template == "D"
    write(tmp_path, "tokenizer_config.json", {"chat_template": named[:1]})
    assert read(tmp_path / "tokenizer.json").chat_template is None
    write(tmp_path, "chat_template.jinja", "J é")
    assert read(tmp_path / "tokenizer.json").chat_template == "J é"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tokenizer_config.json", "{"),
        ("tokenizer_config.json", "[]"),
        ("tokenizer_config.json", "[" * 100_000),
        ("tokenizer_config.json", {"bos_token": 1}),
        ("tokenizer_config.json", {"eos_token": {"content": 1}}),
        ("tokenizer_config.json", {"add_bos_token": "yes"}),
        ("tokenizer_config.json", {"chat_template": 7}),
        ("tokenizer_config.json", {"chat_template": [1]}),
        ("tokenizer_config.json", {"added_tokens_decoder": []}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"-1": {"content": "x"}}}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"4194304": {"content": "x"}}}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"1": {"content": ""}}}),
        ("special_tokens_map.json", {"bos_token": []}),
        ("generation_config.json", {"eos_token_id": "2"}),
        ("generation_config.json", {"eos_token_id": [2, True]}),
        ("config.json", {"eos_token_id": 1.5}),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, name: str, value: Any) -> None:
    write(tmp_path, name, value)
    with pytest.raises(CheckpointError) as caught:
        read(tmp_path / "tokenizer.json")
    assert caught.value.code == "checkpoint_corrupt"
    assert caught.value.details["path"] == str(tmp_path / name)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "chat_template.jinja"])
def test_files_that_are_not_utf8(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"{}\xff")
    with pytest.raises(CheckpointError, match="not UTF-8"):
        read(tmp_path / "tokenizer.json")


def test_absurd_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastgen.tokenizer.folder.MAX_BYTES", 10)
    write(tmp_path, "config.json", {"model_type": "llama"})
    with pytest.raises(CheckpointError, match="absurdly large"):
        read(tmp_path / "tokenizer.json")
