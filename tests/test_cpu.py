"""SIMD levels: what is detected, what the switch does, what the environment variable does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastgen
from fastgen import cpu

LEVELS = ("scalar", "avx2", "avx512", "neon")


def test_detected() -> None:
    levels = cpu.detected()
    assert levels[0] == "scalar"
    assert levels == tuple(level for level in LEVELS if level in levels)
    assert ("avx512" in levels) <= ("avx2" in levels)
    assert not ("neon" in levels and "avx2" in levels)


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="needs /proc/cpuinfo")
def test_detected_is_what_linux_says() -> None:
    words = set(Path("/proc/cpuinfo").read_text().split())
    avx2 = {"avx2", "fma", "f16c", "bmi1", "bmi2", "popcnt", "abm"} <= words
    avx512 = avx2 and {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vbmi", "avx512_vbmi2"} <= words
    if cpu.detected() == ("scalar",):
        pytest.skip("built without SIMD, or for another processor")
    assert ("avx2" in cpu.detected()) == avx2
    assert ("avx512" in cpu.detected()) == avx512
    assert ("neon" in cpu.detected()) == ("asimd" in words)


def test_force_for_a_while() -> None:
    before = cpu.active()
    for level in cpu.detected():
        with cpu.force(level) as forced:
            assert isinstance(forced, cpu.force)
            assert cpu.active() == level
            with cpu.force("scalar"):
                assert cpu.active() == "scalar"
            assert cpu.active() == level
        assert cpu.active() == before


def test_force_is_undone_by_an_error() -> None:
    before = cpu.active()
    with pytest.raises(KeyError), cpu.force("scalar"):
        raise KeyError
    assert cpu.active() == before


def test_force_for_good() -> None:
    before = cpu.active()
    try:
        cpu.force("scalar")
        assert cpu.active() == "scalar"
    finally:
        cpu.force(before)
    assert cpu.active() == before


@pytest.mark.parametrize(
    "level", ["", "auto", "AVX2", "sse2", "neon" if "neon" not in cpu.detected() else "avx2", None, 2]
)
def test_force_refuses(level: object) -> None:
    before = cpu.active()
    with pytest.raises(ValueError, match="available: scalar"):
        cpu.force(level)  # type: ignore[arg-type]
    assert cpu.active() == before


def start_with(value: str | None) -> tuple[str, str]:
    """Import fastgen.cpu in a new process and return the active level and what went to stderr."""
    environment = {name: text for name, text in os.environ.items() if name != "FASTGEN_SIMD"}
    environment["PYTHONPATH"] = str(Path(fastgen.__file__).parents[1])
    if value is not None:
        environment["FASTGEN_SIMD"] = value
    command = [sys.executable, "-W", "default", "-c", "from fastgen import cpu; print(cpu.active())"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize("level", cpu.detected())
def test_variable_sets_a_level(level: str) -> None:
    assert start_with(f" {level.upper()} ") == (level, "")


@pytest.mark.parametrize("value", [None, "", "auto", "AUTO"])
def test_variable_leaves_the_best(value: str | None) -> None:
    assert start_with(value) == (cpu.detected()[-1], "")


@pytest.mark.parametrize(
    ("value", "reason"),
    [("sse9", "there is no such level"), ("neon" if "neon" not in cpu.detected() else "avx2", "lacks it")],
)
def test_variable_that_can_not_be_had(value: str, reason: str) -> None:
    level, stderr = start_with(value)
    assert level == cpu.detected()[-1]
    assert f"RuntimeWarning: FASTGEN_SIMD={value}: " in stderr
    assert reason in stderr
    assert f"using {level!r}" in stderr
    assert f"Available: auto, {', '.join(cpu.detected())}" in stderr
