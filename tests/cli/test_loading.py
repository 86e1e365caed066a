"""Loading a model for a command: what is said about it, and to whom."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fastgen import cpu
from fastgen.cli import common
from fastgen.cli.loading import load, model_name, progress_bar
from fastgen.generator import Generator
from fastgen.models.checkpoint import ModelInfo

from .standin import parrot

INFO = ModelInfo("Parrot 1 of 7", "llama", 10, 98_000_000, "Q4_1", 100, 259, Path("Parrot.Q4_1.gguf"))


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def watch(monkeypatch: pytest.MonkeyPatch, terminal: str = "xterm") -> Screen:
    """Put a screen in the place of stderr; called in the test, because pytest sets stderr anew for each phase."""
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", terminal)
    return screen


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Put stand-ins in the place of torch and of the loader; return how many threads torch was told to use."""
    chosen = [2]
    torch = SimpleNamespace(set_num_threads=chosen.append, get_num_threads=lambda: chosen[-1])
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")

    def from_pretrained(model: Any, *, device: Any, dtype: Any, progress: Any) -> Generator:
        assert (model, device, dtype) == ("demo", "cpu", "auto")
        if progress is not None:
            progress("weights", 0.5)
        generator = parrot()
        generator.model.name = "Parrot.Q4_1"
        generator.info, generator.load_seconds = INFO, 1.94
        return generator

    monkeypatch.setattr(Generator, "from_pretrained", from_pretrained)
    return chosen


def start(count: int | None = None) -> Generator:
    return load("demo", device="cpu", dtype="auto", threads=count)


def test_a_person_sees_progress_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watch(monkeypatch)
    start()
    assert "loading weights" in screen.getvalue()
    assert f"Loaded Parrot (Q4_1, 98 MB) in 1.9 s · {cpu.active()} · 2 threads\n" in screen.getvalue()


def test_quiet_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watch(monkeypatch)
    common.settings.verbosity = -1
    start()
    assert screen.getvalue() == ""


def test_a_dumb_terminal_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = watch(monkeypatch, "dumb")
    start()
    assert screen.getvalue().startswith("Loaded")


def test_a_pipe_gets_nothing_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    start()
    assert capsys.readouterr() == ("", "")
    common.settings.verbosity = 1
    start()
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err[:6]) == ("", 1, "Loaded")


def test_threads(threads: list[int]) -> None:
    start(5)
    assert threads == [2, 5]
    assert os.environ["OMP_NUM_THREADS"] == "5"


def test_a_bar_for_nobody() -> None:
    with progress_bar("working") as update:
        assert update is None


def test_name_of_a_model_without_a_checkpoint() -> None:
    assert model_name(parrot()) == "parrot"
