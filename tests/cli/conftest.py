"""Running commands: in this process with a stand-in for the model, or as a program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import fastgen
from fastgen.cli import app, common
from fastgen.generator import Generator

from .standin import parrot

TESTS = Path(__file__).parents[1]
Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start each test with the global options and the environment of a fresh process."""
    for name in ("NO_COLOR", "FORCE_COLOR", "FASTGEN_MODEL", "PYTHONWARNINGS"):
        monkeypatch.delenv(name, raising=False)
    yield
    common.settings.verbosity, common.settings.color = 0, True


@pytest.fixture(autouse=True, scope="session")
def interrupts() -> Iterator[None]:
    """Let programs started here hear Ctrl-C: background jobs of a shell ignore SIGINT, and so do their children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command in this process: ``run("generate", "hi", model=parrot())``."""

    def invoke(*args: str, model: Generator | None = None, stdin: str | bytes | None = None, **options: Any) -> Result:
        generator = model or parrot()
        for command in ("generate", "chat"):
            monkeypatch.setattr(f"fastgen.cli.{command}.load", lambda *_, **__: generator)
        return CliRunner().invoke(app, list(args), input=stdin, prog_name="fastgen", **options)

    return invoke


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Return a function that starts a program: the command line itself, or the one with the stand-in."""

    def start(*args: str, standin: bool = False, **environment: str) -> subprocess.Popen[bytes]:
        what = [str(TESTS / "cli" / "standin.py")] if standin else ["-m", "fastgen"]
        paths = [str(Path(fastgen.__file__).parents[1]), str(TESTS)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "XDG_STATE_HOME": str(tmp_path), **environment}
        pipe = subprocess.PIPE
        return subprocess.Popen([sys.executable, *what, *args], stdin=pipe, stdout=pipe, stderr=pipe, env=env)

    return start
