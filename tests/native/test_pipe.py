"""Pipes under ThreadSanitizer: no report, no suppression. ``FASTGEN_TEST_CASES=1000000`` makes 3e7 pieces of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"


def test_pipe_under_thread_sanitizer(tmp_path: Path) -> None:
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("gcc is not installed")
    program = tmp_path / "pipe"
    options = ["-std=c11", "-O1", "-g", "-fsanitize=thread", f"-I{CSRC}"]
    sources = [str(HERE / "pipe.c"), str(CSRC / "pipe.c")]
    built = subprocess.run([gcc, *options, *sources, "-o", str(program), "-lpthread"], capture_output=True, check=False)
    if built.returncode and b"tsan" in built.stderr:
        pytest.skip("this gcc has no sanitizer runtime")
    assert built.returncode == 0, built.stderr
    environment = {"FASTGEN_TEST_CASES": "5000", **os.environ}
    done = subprocess.run([str(program)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("ok")
    assert "WARNING" not in done.stderr
