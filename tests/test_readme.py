"""The README: its Python runs, its commands exist, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
EXEMPT = "<!-- no-test -->"
PROGRAMS = ("fastgen", ".venv/bin/fastgen", "echo", "pip", "python", "make")


class Block(NamedTuple):
    """A fenced block: its language, its text, the line it starts in and whether it is exempt."""

    language: str
    text: str
    line: int
    exempt: bool


def blocks() -> list[Block]:
    source = README.read_text("utf-8")
    found = []
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", source, re.M | re.S):
        before = source[: match.start()].rstrip()
        found.append(Block(match[1], match[2], source.count("\n", 0, match.start()) + 1, before.endswith(EXEMPT)))
    return found


def commands() -> list[pytest.ParameterSet]:
    lines = [
        (block.line + number, part)
        for block in blocks()
        if block.language == "bash" and not block.exempt
        for number, line in enumerate(block.text.splitlines(), 1)
        for part in re.split(r"\s\|\s", line)
        if part.strip()
    ]
    return [pytest.param(part, id=f"line {line}") for line, part in lines]


def test_every_block_is_checked() -> None:
    assert {block.language for block in blocks()} <= {"python", "bash", ""}
    assert not [block for block in blocks() if block.exempt and block.language != "bash"]
    assert [block for block in blocks() if block.language == "python"]
    assert commands()


@pytest.mark.demo
@pytest.mark.slow
def test_python_runs(demo_path: Path) -> None:
    """The blocks run one after the other in one namespace, as a reader would type them."""
    for package in ("torch", "tokenizers", "jinja2", "transformers"):
        pytest.importorskip(package)
    namespace: dict[str, object] = {"__name__": "readme"}
    for block in blocks():
        if block.language == "python":
            code = compile("\n" * block.line + block.text, str(README), "exec")
            exec(code, namespace)


@pytest.mark.parametrize("command", commands())
def test_command_exists(command: str) -> None:
    program, *arguments = shlex.split(command, comments=True)
    assert program in PROGRAMS
    if program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
        assert arguments[0] in targets
    if program == "python":
        assert (ROOT / arguments[0]).is_file()
    if program.endswith("fastgen"):
        names = [word for word in arguments[:2] if re.fullmatch(r"[a-z]+", word)]
        done = subprocess.run(
            [sys.executable, "-m", "fastgen", *names, "--help"],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr
        options = [word for word in arguments if re.fullmatch(r"--?[a-z][a-z-]*", word)]
        assert [option for option in options if not re.search(rf"(?<![\w-]){option}\b", done.stdout)] == []


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)", README.read_text("utf-8"))
    assert [target for target in targets if "://" not in target and not (ROOT / target).exists()] == []
