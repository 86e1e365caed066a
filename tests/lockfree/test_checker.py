"""The lock-free structures under all interleavings of small scenarios, and weakened orders that must be noticed."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import interleaving
import pytest

pytestmark = pytest.mark.skipif(not interleaving.available(), reason="needs gcc on Linux, x86-64 or arm64")

RESULTS = json.loads(interleaving.RESULTS.read_text())
SCENARIO = re.compile(r"^(.+): (passed|caught|FAILED), (\d+) executions, (complete|not complete|random),")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the compiled checker."""
    return interleaving.build_engine(tmp_path_factory.mktemp("checker"))


def scenarios(program: Path, *options: str) -> list[tuple[str, str, int, str]]:
    """Run a program of the checker and return name, outcome, executions and completeness of each scenario."""
    done = subprocess.run([program, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = [match.groups() for match in map(SCENARIO.match, done.stdout.splitlines()) if match]
    return [(name, outcome, int(executions), complete) for name, outcome, executions, complete in found]


def test_litmus(engine: list[Path], tmp_path: Path) -> None:
    """The checker finds what the memory model allows, and nothing else."""
    found = {
        name: (outcome, complete)
        for name, outcome, _, complete in scenarios(
            interleaving.build("litmus", engine, tmp_path), "--stale", "4", "--keep-going"
        )
    }
    for name in (
        "SB release-acquire",
        "MP store relaxed",
        "MP load relaxed",
        "IRIW release-acquire",
        "Peterson release-acquire",
        "Treiber stack without tags",
        "use after free",
        "waiting for nobody",
    ):
        assert found[name][0] == "caught", name
    for name in ("SB seq_cst", "MP", "LB", "CoRR", "IRIW seq_cst", "Peterson seq_cst", "Treiber stack with tags"):
        assert found[name] == ("passed", "complete"), name


@pytest.mark.slow
@pytest.mark.parametrize("structure", interleaving.STRUCTURES)
def test_every_interleaving(structure: str, engine: list[Path], tmp_path: Path) -> None:
    """All schedules with two preemptions. `pytest -s` shows the counts."""
    found = scenarios(interleaving.build(structure, engine, tmp_path))
    print(f"\n{structure}: {len(found)} scenarios, {sum(executions for _, _, executions, _ in found)} executions")
    assert len(found) >= 6
    assert {(outcome, complete) for _, outcome, _, complete in found} == {("passed", "complete")}


@pytest.mark.parametrize("structure", interleaving.STRUCTURES)
def test_random_interleavings(structure: str, engine: list[Path], tmp_path: Path, seed: int) -> None:
    """Any number of preemptions and old values, at random."""
    options = ["--random", "500", "--seed", str(seed), "--preemptions", "1000", "--stale", "1000"]
    found = scenarios(interleaving.build(structure, engine, tmp_path), *options)
    assert {(outcome, executions) for _, outcome, executions, _ in found} == {("passed", 500)}


@pytest.mark.parametrize("structure", interleaving.STRUCTURES)
def test_survivors_are_explained(structure: str) -> None:
    """Every order that can be weakened unnoticed has a reason, and is still in the code."""
    survivors = RESULTS[structure]["survivors"]
    assert survivors.keys() <= {mutation.name for mutation in interleaving.mutations(structure)}
    assert all(len(reason) > 20 for reason in survivors.values())


@pytest.mark.slow
@pytest.mark.parametrize("structure", interleaving.STRUCTURES)
def test_weakened_orders_are_caught(structure: str, engine: list[Path]) -> None:
    """A sample; ``python tests/interleaving.py mutate`` tries all."""
    known = {*RESULTS[structure]["survivors"], *RESULTS[structure].get("not tried", ())}
    expected = [mutation for mutation in interleaving.mutations(structure) if mutation.name not in known]
    assert expected
    for mutation in expected[::7]:
        assert interleaving.caught(mutation, engine), mutation.name
