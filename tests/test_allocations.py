"""Sampling and detokenizing take no memory: libc's allocator is counted in a process of its own, over 1,000 calls."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
CALLS = 1000
VOCABULARIES = (1000, 32000, 128256)
PLANS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "top_p": {"top_p": 0.9},
    "usual": {"repetition_penalty": 1.1, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "temperature": 0.8},
    "typical": {"typical_p": 0.9},
    "mask": {"top_p": 0.9},
    "logprobs": {"top_p": 0.9, "logprobs": 20},
    "batch": {"top_k": 40, "top_p": 0.9},
}


def prepared(plan: str, vocabulary: int) -> Callable[[], object]:
    """Return a call that samples by a plan."""
    from fastgen import Sampler, SamplerBatch, SamplingParams

    rng = np.random.default_rng(1)
    params = SamplingParams(**PLANS[plan], seed=1)
    if plan == "batch":
        rows = rng.normal(size=(4, vocabulary)).astype(np.float32)
        out = np.zeros(4, np.int32)
        batch = SamplerBatch([Sampler(params, vocabulary) for _ in rows])
        return lambda: batch.sample(rows, out=out)
    row = rng.normal(scale=3, size=vocabulary).astype(np.float32)
    sampler = Sampler(params, vocabulary)
    sampler.observe(rng.integers(vocabulary, size=1024))
    if plan == "mask":
        mask = rng.integers(1 << 32, size=(vocabulary + 31) // 32, dtype=np.uint32)
        return lambda: sampler.sample(row, mask=mask)
    return lambda: sampler.sample(row)


def pushes() -> dict[str, Callable[[], object]]:
    """Return calls that push a token: with text, without, and where clusters are held back."""
    from fakes import FakeTokenizer

    from fastgen import Detokenizer, SamplingParams, Transcript

    tokenizer = FakeTokenizer(words=[b" token", "日本".encode()])
    end = tokenizer.eos_ids[0]
    params = SamplingParams(
        stop=["tokenize", "\n\n"],
        stop_token_sequences=[[256, 257], [1, 2, 3]],
        repetition_detection=(16, 2, 30_000),
        ignore_eos=True,
    )
    answer, quiet = Transcript(tokenizer, params), Transcript(tokenizer, params)  # type: ignore[arg-type]
    for _ in range(4200):  # so that there is room for as many again
        answer.push(97)
        quiet.push(end)
    push, whole = Detokenizer(tokenizer).push, Detokenizer(tokenizer, hold="grapheme").push
    return {
        "push": lambda: push(256),
        "push of other letters": lambda: push(257),
        "push of clusters": lambda: whole(257),
        "push without text": lambda: push(end),
        "push to a transcript": lambda: answer.push(97),
        "push to a transcript without text": lambda: quiet.push(end),
    }


def counted(library: str) -> dict[str, dict[str, int]]:
    """Return how many allocations the calls of each plan made, by vocabulary; and those of calls that do nothing."""
    count = ctypes.CDLL(library).count_allocations
    count.restype = ctypes.c_ulong

    def during(call: Callable[[], object]) -> int:
        for _ in range(50):
            call()
        before: int = count()
        for _ in range(CALLS):
            call()
        return int(count()) - before

    plans = {plan: {str(size): during(prepared(plan, size)) for size in VOCABULARIES} for plan in PLANS}
    texts = {name: {"0": during(call)} for name, call in pushes().items()}
    return {"nothing": {"0": during(lambda: None)}, **plans, **texts}


def counting_library(folder: Path) -> Path:
    """Compile what counts allocations, to be loaded before libc, or skip."""
    gcc = shutil.which("gcc")
    if platform.libc_ver()[0] != "glibc" or gcc is None:
        pytest.skip("needs glibc and gcc")
    made = folder / "count_allocations.so"
    source = ROOT / "tests" / "native" / "count_allocations.c"
    command = [gcc, "-std=c11", "-O2", "-fPIC", "-shared", "-fno-builtin", str(source), "-o", str(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return made


def allocator_counts(script: Path, library: Path, allocator: str) -> dict[str, Any]:
    """Run a script with the counting library under an allocator of Python's; return what it prints."""
    if "libasan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("a sanitizer has taken the allocator's place")
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONMALLOC": allocator}
    command = [sys.executable, str(script), str(library)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    print(allocator, result)
    return result


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return counting_library(tmp_path_factory.mktemp("allocations"))


def test_sampling_takes_no_memory_from_libc(library: Path) -> None:
    found = allocator_counts(Path(__file__), library, "pymalloc")
    assert {(plan, size): n for plan, sizes in found.items() for size, n in sizes.items() if n} == {}


def test_the_python_objects_of_a_call_are_few_whatever_the_plan_and_the_vocabulary(library: Path) -> None:
    """Without Python's own allocator its objects are counted too: 12 for a row, 17 with a mask, 22 for a batch."""
    found = allocator_counts(Path(__file__), library, "malloc")
    idle = found.pop("nothing")["0"]
    texts = {name: found.pop(name)["0"] - idle for name in [*found] if name.startswith("push")}
    assert texts.pop("push without text") == texts.pop("push to a transcript without text") == 0
    assert texts.pop("push") == CALLS  # the str
    assert texts.pop("push to a transcript") <= CALLS
    assert max(texts.values()) <= 3 * CALLS  # CPython makes a str that is not ASCII in steps
    for plan, sizes in found.items():
        per_call = [(n - idle) / CALLS for n in sizes.values()]
        assert 0 < max(per_call) <= 24, (plan, sizes)
        assert max(per_call) - min(per_call) <= 2, (plan, sizes)  # integers up to 256 take no memory


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    print(json.dumps(counted(sys.argv[1])))
