"""The floors: imports, cimports and includes point downward only, and heavy packages stay where they belong."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastgen

PACKAGE = Path(fastgen.__file__).parent
CSRC = PACKAGE.parent / "csrc"

FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "_version"),  # import nothing of fastgen, and every floor raises errors
    ("cpu", "random"),
    ("kernels", "lockfree"),
    ("config", "metrics", "pressure", "blocks", "memory", "gguf", "system"),
    (
        "tokenizer",
        "prompt",
        "chat",
        "control",
        "params",
        "values",
        "profiles",
        "rules",
        "spellings",
        "plan",
        "explain",
        "logprobs",
        "history",
        "workspace",
        "sampler",
        "batch",
        "closed",
        "devices",
        "words",
        "grammar",
        "automaton",
        "stop",
        "detokenizer",
        "loops",
        "lookup",
        "text",
        "messages",
        "program",
        "rendering",
        "sandbox",
        "segments",
        "symbolic",
        "unicode",
        "output",
        "cancellation",
        "channel",
        "chunk",
        "flow",
        "health",
        "hub",
        "pipe",
        "sink",
        "streams",
        "waiting",
        "writer",
        "scheduler",
    ),
    ("transcript", "requests", "lane"),
    ("models",),
    ("engine",),
    ("handle", "generator"),
    ("oneline",),
    ("server", "cli", "integrations", "__main__"),
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}

# The model's contract is what the floors around it talk about; it holds names and types only.
CONTRACT = "models.contract"

HEAVY = {
    "torch",
    "transformers",
    "tokenizers",
    "sentencepiece",
    "gguf",
    "jinja2",
    "safetensors",
    "huggingface_hub",
    "llguidance",
}

Import = tuple[str, bool]  # the dotted name, and whether it stands at module level


def python_imports(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text("utf-8"))
    top = {id(node) for node in module_level(tree.body)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            if node.module == "fastgen":
                for alias in node.names:
                    yield f"fastgen.{alias.name}", id(node) in top
            else:
                yield node.module, id(node) in top


def module_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run at import: not those of functions, nor those for type checkers only."""
    for node in body:
        yield node
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from module_level(node.orelse)
            continue
        for name in ("body", "orelse", "finalbody"):
            yield from module_level(getattr(node, name, []))
        for handler in getattr(node, "handlers", []):
            yield from module_level(handler.body)


def cython_imports(path: Path) -> Iterator[Import]:
    text = path.read_text("utf-8")
    for match in re.finditer(
        r"^([ \t]*)(?:from\s+([\w.]+)\s+c?import\s+(\w+)|c?import\s+([\w.]+))", text, re.MULTILINE
    ):
        indent, module, first, plain = match.groups()
        yield (plain or (f"fastgen.{first}" if module == "fastgen" else module)), not indent


def imports(path: Path) -> list[Import]:
    return list(python_imports(path) if path.suffix == ".py" else cython_imports(path))


SOURCES = sorted(path for suffix in ("py", "pyx", "pxd") for path in PACKAGE.rglob(f"*.{suffix}"))


def noun(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].split(".")[0]


def upward(path: Path) -> list[str]:
    """Return the imports of a source that point to a floor above its own."""
    own = noun(path)
    if own == "__init__":  # names only, all of them lazy
        return []
    found = []
    for name, _ in imports(path):
        root, _, rest = name.partition(".")
        if root != "fastgen" or rest == CONTRACT:
            continue
        target = rest.split(".")[0]
        if not target:
            if FLOOR[own] < len(FLOORS) - 1:
                found.append(f"{name}: the package's names are for the top floor")
        elif target not in FLOOR:
            found.append(f"{name}: tests/test_layers.py knows no floor for it")
        elif FLOOR[target] > FLOOR[own]:
            found.append(name)
    return found


def identity(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


@pytest.mark.parametrize("path", SOURCES, ids=identity)
def test_imports_point_downward(path: Path) -> None:
    assert noun(path) in FLOOR or noun(path) == "__init__", "give it a floor"
    assert upward(path) == []


@pytest.mark.parametrize("path", SOURCES, ids=identity)
def test_heavy_packages_are_lazy(path: Path) -> None:
    allowed = {"torch"} if noun(path) == "models" else set()
    found = {name.split(".")[0] for name, at_top in imports(path) if at_top}
    assert found & HEAVY <= allowed


def test_the_contract_of_models_is_light() -> None:
    names = {name for name, _ in imports(PACKAGE / "models" / "contract.py")}
    assert not {name.split(".")[0] for name in names} & HEAVY
    assert not any(name.startswith("fastgen") for name in names)


# C.


def includes(path: Path) -> list[str]:
    return re.findall(r'^#\s*include\s+"([^"]+)"', path.read_text("utf-8"), re.MULTILINE)


C_SOURCES = sorted((*CSRC.rglob("*.c"), *CSRC.rglob("*.h")))


def c_noun(path: str) -> tuple[int, str]:
    """Return floor and family: base, cpu, then families that do not know each other, then the sampler."""
    parts = Path(path).with_suffix("").parts
    if parts[0] in ("base", "cpu", "sampler"):
        return {"base": 0, "cpu": 1, "sampler": 3}[parts[0]], parts[0]
    alone = ("history", "automaton", "detokenizer", "lockfree", "pipe", "scheduler")
    return 2, parts[0] if parts[0] in alone else "/".join(parts[:2])


@pytest.mark.skipif(not CSRC.exists(), reason="the C sources are not beside the package")
def test_includes_point_downward() -> None:
    assert C_SOURCES
    for path in C_SOURCES:
        own_floor, own_family = c_noun(str(path.relative_to(CSRC)))
        assert "Python.h" not in path.read_text("utf-8")
        for include in includes(path):
            floor, family = c_noun(include)
            assert floor < own_floor or family == own_family, f"{path}: {include}"


@pytest.mark.skipif(not CSRC.exists(), reason="the C sources are not beside the package")
def test_only_one_header_holds_pragmas_and_attributes() -> None:
    for path in C_SOURCES:
        text = path.read_text("utf-8")
        if path.name != "target.h":
            assert not re.search(r"^\s*#\s*pragma|_Pragma", text, re.MULTILINE), path
        if path.parent.name != "base":
            assert "__attribute__" not in text, path


# What an import brings.


def modules_after(code: str) -> set[str]:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-c", f"{code}\nimport sys; print('\\n'.join(sys.modules))"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    "code",
    [
        "import fastgen",
        "from fastgen import sampler, batch, params, stop, detokenizer, chat, gguf, grammar",
        "import fastgen.models.contract",
    ],
)
def test_import_is_light(code: str) -> None:
    assert not modules_after(code) & HEAVY
