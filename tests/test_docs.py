"""The documentation agrees with the code: tables of codes, classes, commands and exit codes; links; examples."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import fastgen
from fastgen import errors, params
from fastgen.cli import common
from fastgen.models.llama_config import ARCHITECTURES
from fastgen.profiles import PROFILES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md"])


def text(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def rows(page: str) -> list[list[str]]:
    """Return the cells of all table rows of a page."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]


def test_every_code_is_documented_as_it_is() -> None:
    documented = {
        row[0].strip("`"): tuple(row[1:]) for row in rows(text("errors.md")) if len(row) == 4 and "`" in row[0]
    }
    assert documented == {name: (code.category, str(code.status), code.cause) for name, code in errors.CODES.items()}


def test_every_class_is_documented_with_its_parents() -> None:
    documented: dict[str, set[str]] = {}
    for row in rows(text("errors.md")):
        if len(row) == 2 and re.match(r"`[A-Z]", row[0]):
            documented |= {name: set(re.findall(r"`(\w+)`", row[1])) for name in re.findall(r"`(\w+)`", row[0])}
    actual = {}
    for name in set(errors.__all__) - {"CODES", "FastgenError"}:
        parents = getattr(errors, name).__bases__
        actual[name] = {parent.__name__ for parent in parents if parent is not errors.FastgenError}
    assert documented == actual


def test_every_sampling_parameter_that_chooses_tokens_is_documented() -> None:
    elsewhere = {
        "best_of", "ignore_eos", "include_stop_str_in_output", "max_tokens", "skip_special_tokens", "stop",
        "stop_token_ids",
    }  # fmt: skip
    documented = set(re.findall(r"`(\w+)[`=]", text("sampling.md") + text("text.md")))
    assert set(params.SamplingParams().to_dict()) - documented <= elsewhere


def test_every_profile_is_documented_in_its_order() -> None:
    documented = {row[0].strip("`"): row[1] for row in rows(text("sampling.md")) if row[0].strip("`") in PROFILES}
    assert set(documented) == set(PROFILES)
    for name, order in documented.items():
        shown = [step.strip().removesuffix("_cutoff") for step in order.split(";")[0].split(",")]
        full = [step.removesuffix("_cutoff") for step in PROFILES[name].order]
        assert shown == [step for step in full if step in shown], name


def test_exit_codes() -> None:
    documented = {int(row[0]) for row in rows(text("cli.md")) if row[0].isdigit()}
    exits = (common.FAILED, common.USAGE, common.CANNOT_START, common.PROBLEMS_FOUND, common.INTERRUPTED)
    assert documented == {0, *exits, common.BROKEN_PIPE}


def test_architectures() -> None:
    page = text("models.md").lower()
    assert [name for name in ARCHITECTURES if name not in page] == []


def test_version_is_in_the_changelog() -> None:
    assert f"## [{fastgen.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", page.read_text("utf-8"))
    assert [target for target in targets if "://" not in target and not (page.parent / target).exists()] == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```python" in page.read_text("utf-8")], ids=lambda p: p.name
)
def test_examples_run(page: Path) -> None:
    """One after the other, as a reader would."""
    names = {"__name__": "example"}
    for example in re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S):
        exec(compile(example, str(page), "exec"), names)
