"""The exception family: codes, built-in parents, pickling, and that every code in the sources is in the table."""

from __future__ import annotations

import ast
import copy
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

import fastgen
from fastgen import errors
from fastgen.errors import CODES, FastgenError, LogitsError

SOURCES = Path(fastgen.__file__).parent

FAMILY: dict[str, tuple[str, tuple[type, ...]]] = {
    "FastgenError": ("internal_error", (Exception,)),
    "InvalidParameterError": ("invalid_value", (ValueError,)),
    "UnknownParameterError": ("unknown_parameter", (errors.InvalidParameterError, ValueError, TypeError)),
    "PromptError": ("prompt_invalid", (ValueError,)),
    "ContextLengthError": ("context_length_exceeded", (ValueError,)),
    "LogitsError": ("logits_nonfinite", (ArithmeticError,)),
    "CheckpointError": ("checkpoint_corrupt", (OSError, ValueError)),
    "ModelNotFoundError": ("model_not_found", (FileNotFoundError, OSError)),
    "MissingDependencyError": ("missing_dependency", (ImportError,)),
    "ConfigError": ("config_invalid", (ValueError,)),
    "StreamClosedError": ("stream_closed", ()),
    "OverloadedError": ("overloaded", ()),
    "GenerationTimeout": ("timeout", (TimeoutError,)),
    "CancelledError": ("cancelled", ()),
    "ForkedError": ("forked", ()),
}


def classes() -> list[type[FastgenError]]:
    return [getattr(errors, name) for name in FAMILY]


def test_family_is_complete() -> None:
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert defined == set(FAMILY)
    assert defined | {"CODES"} == set(errors.__all__)


@pytest.mark.parametrize("name", FAMILY)
def test_code_and_parents(name: str) -> None:
    code, parents = FAMILY[name]
    cls = getattr(errors, name)
    error = cls("it broke")
    assert error.code == cls.default_code == code
    assert issubclass(cls, FastgenError)
    assert all(issubclass(cls, parent) for parent in parents)
    assert (error.category, error.status) == (CODES[code].category, CODES[code].status)
    assert cls.__doc__


@pytest.mark.parametrize("code", CODES)
def test_table(code: str) -> None:
    category, status, cause = CODES[code]
    assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", code)
    assert category in ("request", "file", "model", "retry", "shed", "setup", "bug")
    assert 400 <= status < 600
    assert cause
    if category == "request":
        assert status < 500
    if category in ("file", "model", "bug"):
        assert status >= 500


@pytest.mark.parametrize("cls", classes())
def test_text(cls: type[FastgenError]) -> None:
    assert str(cls("it broke")) == "it broke"
    assert str(cls("it broke", row=3, name="x")) == "it broke (row=3, name='x')"
    assert str(cls("it broke", hint="mend it")) == "it broke; mend it"
    assert str(cls("it broke", hint="mend it", row=3)) == "it broke (row=3); mend it"


@pytest.mark.parametrize("cls", classes())
def test_fields(cls: type[FastgenError]) -> None:
    error = cls("it broke", code="overloaded", hint="mend it", correlation_id="r-1", row=3)
    assert error.to_dict() == {
        "code": "overloaded",
        "category": "shed",
        "message": "it broke",
        "hint": "mend it",
        "details": {"row": 3},
        "correlation_id": "r-1",
    }
    error.to_dict()["details"]["row"] = 4
    assert error.details == {"row": 3}
    plain = cls("it broke")
    assert (plain.hint, plain.details, plain.correlation_id) == (None, {}, None)


@pytest.mark.parametrize("cls", classes())
def test_copies(cls: type[FastgenError]) -> None:
    error = cls("it broke", code="cancelled", hint="mend it", correlation_id="r-1", row=3, path="a b")
    error.add_note("while testing")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        other = pickle.loads(pickle.dumps(error, protocol))
        assert type(other) is cls
        assert (other.to_dict(), str(other), other.args) == (error.to_dict(), str(error), error.args)
        assert other.__notes__ == ["while testing"]
    assert copy.deepcopy(error).to_dict() == error.to_dict()


def test_rows_of_a_batch_are_pickled() -> None:
    error = LogitsError("2 rows can't be sampled", row=0)
    error.tokens, error.rows = [1, -1], (LogitsError("NaN", row=1, step=4),)
    other = pickle.loads(pickle.dumps(error))
    assert other.tokens == [1, -1]
    assert [row.to_dict() for row in other.rows] == [error.rows[0].to_dict()]
    assert LogitsError("other").rows == ()


def test_missing_dependency() -> None:
    error = errors.missing_dependency("jinja2", "torch", "rendering a chat template")
    assert isinstance(error, ImportError)
    assert error.code == "missing_dependency"
    assert error.details == {"package": "jinja2"}
    assert str(error.hint).endswith("pip install 'fastgen-llm[torch]'")


def uses() -> list[tuple[str, int, str]]:
    """Return file, line and text of every ``code="..."`` and ``default_code = "..."`` in the package's sources."""
    found = []
    for path in sorted(SOURCES.rglob("*.py*")):
        if path.suffix not in (".py", ".pyx"):
            continue
        text = path.read_text("utf-8")
        for match in re.finditer(r"""\b(?:default_)?code\s*=\s*(["'])([^"'{}]*)\1""", text):
            found.append((str(path.relative_to(SOURCES)), text.count("\n", 0, match.start()) + 1, match[2]))
    return found


def test_every_code_in_the_sources_is_in_the_table() -> None:
    found = uses()
    assert len(found) > 30
    assert [use for use in found if use[2] not in CODES] == []


def raised_details(path: Path) -> list[tuple[str, int, int]]:
    """Return file, line and number of details of every call of an error class."""
    reserved = {"code", "hint", "correlation_id", None}
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FAMILY:
            details = [keyword.arg for keyword in node.keywords if keyword.arg not in reserved]
            found.append((str(path.relative_to(SOURCES)), node.lineno, len(details)))
    return found


def test_no_error_has_details_that_are_dropped() -> None:
    """An error keeps four details: a fifth would be lost without a word."""
    found: list[Any] = [use for path in sorted(SOURCES.rglob("*.py")) for use in raised_details(path)]
    assert len(found) > 30
    assert [use for use in found if use[2] > errors.MAX_DETAILS] == []
