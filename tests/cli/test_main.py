"""The command line as a whole: help, exit codes, colors, what is imported."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import fastgen
from fastgen.cli import common
from fastgen.errors import (
    CODES,
    CheckpointError,
    FastgenError,
    InvalidParameterError,
    LogitsError,
    ModelNotFoundError,
    missing_dependency,
)

from .conftest import Run

Program = Callable[..., "subprocess.Popen[bytes]"]


def test_alone_it_prints_help_with_examples(run: Run) -> None:
    result = run()
    assert result.exit_code == 0
    assert "fastgen generate" in result.stdout
    assert "Examples:" in result.stdout
    assert all(command in result.stdout for command in ("generate", "chat", "doctor", "models"))


def test_version(run: Run) -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"fastgen {fastgen.__version__}\n")


@pytest.mark.parametrize("command", [(), ("generate",), ("chat",), ("doctor",), ("models",), ("models", "info")])
def test_every_command_has_help(run: Run, command: tuple[str, ...]) -> None:
    result = run(*command, "-h")
    assert result.exit_code == 0
    assert "Usage: fastgen" in result.stdout


def test_help_imports_nothing_heavy() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "fastgen", "generate", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = set(re.findall(r"\|\s+([\w.]+)$", done.stderr, re.MULTILINE))
    assert "fastgen.cli.generate" in imported
    assert not imported & {"torch", "numpy", "rich", "jinja2", "tokenizers", "transformers", "huggingface_hub"}
    assert "Usage: fastgen generate" in done.stdout


@pytest.mark.parametrize(
    "args", [("nonsense",), ("generate", "hi", "--nonsense"), ("generate", "hi", "--temp", "banana")]
)
def test_wrong_usage_is_2(run: Run, args: tuple[str, ...]) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidParameterError("x"), 2),
        (ModelNotFoundError("x"), 3),
        (CheckpointError("x"), 3),
        (missing_dependency("torch", "torch", "loading"), 3),
        (LogitsError("x"), 1),
        (FastgenError("x"), 1),
    ],
)
def test_exit_code_of_an_error(error: FastgenError, code: int) -> None:
    assert common.exit_code(error) == code


def test_every_code_of_an_error_has_an_exit_code() -> None:
    assert {common.exit_code(FastgenError("x", code=code)) for code in CODES} == {1, 2, 3}


class Refusing:
    """In the place of a generator: raises when it is used."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    @property
    def tokenizer(self) -> Any:
        raise self.error


def test_an_error_is_one_line_and_a_hint(run: Run) -> None:
    error = CheckpointError("the file ends early", hint="download it again", path="x.gguf", offset=7)
    result = run("generate", "hi", model=Refusing(error))
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr == "Error: the file ends early (path='x.gguf', offset=7)\nHint: download it again\n"


@pytest.mark.parametrize("args", [("-v", "generate", "hi"), ("generate", "hi", "-v")])
def test_verbose_adds_the_traceback(run: Run, args: tuple[str, ...]) -> None:
    result = run(*args, model=Refusing(CheckpointError("the file ends early")))
    assert result.exit_code == 3
    assert "Traceback" in result.stderr
    assert "Error: the file ends early" in result.stderr


def test_an_unexpected_error_is_1_without_traceback(run: Run) -> None:
    result = run("generate", "hi", model=Refusing(RuntimeError("no\nmemory")))
    assert result.exit_code == 1
    assert result.stderr == "Error: RuntimeError: no memory\nHint: run it again with -v to see where\n"


def test_an_os_error_is_1(run: Run) -> None:
    result = run("generate", "hi", model=Refusing(OSError(28, "No space left on device")))
    assert (result.exit_code, result.stderr) == (1, "Error: [Errno 28] No space left on device\n")


def test_interrupted_before_the_answer(run: Run) -> None:
    result = run("generate", "hi", model=Refusing(KeyboardInterrupt()))
    assert (result.exit_code, result.output) == (130, "")


@pytest.mark.parametrize(
    ("environment", "args", "colored"),
    [
        ({"FORCE_COLOR": "1", "TERM": "xterm"}, (), True),
        ({"FORCE_COLOR": "1", "TERM": "xterm", "NO_COLOR": "1"}, (), False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, (), False),
        ({"FORCE_COLOR": "1", "TERM": "xterm"}, ("--no-color",), False),
        ({"TERM": "xterm"}, (), False),
    ],
)
def test_colors(run: Run, environment: dict[str, str], args: tuple[str, ...], colored: bool) -> None:
    result = run(*args, "generate", "hi", "--temp", "-1", env=environment)
    assert ("\x1b[" in result.stderr) is colored
    assert "Error:" in result.stderr


def test_warnings_are_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    common.show_warning(RuntimeWarning("FASTGEN_SIMD=x: there is no such level"), RuntimeWarning, "cpu.pyx", 1)
    assert capsys.readouterr().err == "Warning: FASTGEN_SIMD=x: there is no such level\n"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (98_362_432, "98 MB"), (999_600_000, "1.0 GB"), (5e15, "5000 TB")],
)
def test_sizes(count: float, text: str) -> None:
    assert common.size_of(count) == text


def test_a_closed_pipe_is_silent(program: Program) -> None:
    process = program("generate", "hello", "--max-tokens", "1000000", standin=True, PARROT_FOREVER="1")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(4) == b"user"
    process.stdout.close()
    assert process.wait(60) == common.BROKEN_PIPE
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.stdin is not None
    process.stdin.close()
