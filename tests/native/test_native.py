"""The C code without Python: each harness of this folder under sanitizers here, and for arm64 under qemu.

A harness ``<family>.c`` or ``fuzz_<family>.c`` is compiled together with ``csrc/kernels/<family>*``, one that is called
``lockfree_<structure>.c`` with ``csrc/lockfree/<structure>*``, or with what `NEEDS` says; it prints what failed and
exits with 0 if nothing did.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

HARNESSES = sorted(path for path in Path(__file__).parent.glob("*.c") if "int main" in path.read_text())
LOCKFREE = [path for path in HARNESSES if path.stem.startswith("lockfree")]
CSRC = Path(__file__).parents[2] / "csrc"
NEEDS = {
    "sampler": ("kernels/logits", "history", "sampler"),
    "stop": ("automaton",),
    "detokenizer": ("detokenizer",),
    "scheduler": ("scheduler",),
    "pipe": ("pipe",),
    "lockfree_ring": (),  # these include what they test, with noise between the atomic operations
    "lockfree_queue": (),
}
FLAGS = ["-std=c11", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra", "-Wno-unused-function", f"-I{CSRC}"]
FLAGS += ["-DFG_FUZZ_STANDALONE", "-pthread"]  # a fuzz target feeds itself


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def compiled(harness: Path, program: Path, *command: str) -> Path:
    """Compile a harness with its family and return the program."""
    family = harness.stem.removeprefix("fuzz_")
    sources = [harness, CSRC / "cpu.c"]
    usual = family.replace("_", "/", 1) if family.startswith("lockfree_") else f"kernels/{family}"
    for base in (CSRC / need for need in NEEDS.get(family, (usual,))):
        sources += [base.with_suffix(".c"), *sorted(base.glob("*.c"))]
    done = subprocess.run(
        [*command, *FLAGS, *map(str, sources), "-o", str(program), "-lm"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return program


def run(*command: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok" in done.stdout
    return done.stdout


def sanitized(harness: Path, folder: Path, sanitizers: str) -> Path:
    """Compile a harness with gcc's sanitizers, or skip."""
    options = ["-g", "-O1", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
    probe = folder / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    gcc = tool("gcc")
    probing = [gcc, *options, str(probe), "-o", str(folder / "probe")]
    if subprocess.run(probing, capture_output=True, check=False).returncode:
        pytest.skip("this gcc has no sanitizer runtime")
    return compiled(harness, folder / harness.stem, gcc, *options)


@pytest.mark.parametrize("harness", HARNESSES, ids=lambda path: path.stem)
def test_here_under_sanitizers(harness: Path, tmp_path: Path) -> None:
    program = sanitized(harness, tmp_path, "address,undefined")
    # leak detection fails under ptrace, so in many containers
    run(str(program), environment={"ASAN_OPTIONS": "detect_leaks=0"})


@pytest.mark.parametrize("harness", LOCKFREE, ids=lambda path: path.stem)
def test_races_under_thread_sanitizer(harness: Path, tmp_path: Path) -> None:
    """No report and no suppression. The long run is the same program with FASTGEN_TEST_CASES=20000000."""
    run(str(sanitized(harness, tmp_path, "thread")), environment={"TSAN_OPTIONS": "halt_on_error=1"})


def test_a_million_cases_of_each_kernel_and_level(tmp_path: Path) -> None:
    """Without sanitizers, which would take minutes. `pytest -s` shows the counts."""
    program = compiled(Path(__file__).with_name("logits.c"), tmp_path / "logits", tool("gcc"), "-O3", "-pthread")
    said = run(str(program), environment={"FASTGEN_TEST_CASES": "230000"})
    print(said)
    counts = [int(number) for number in re.findall(r" (\d+)\b", said)]
    assert min(counts, default=1_000_000) >= 1_000_000


@pytest.mark.parametrize("harness", HARNESSES, ids=lambda path: path.stem)
def test_arm64_under_qemu(harness: Path, tmp_path: Path) -> None:
    gcc, qemu = tool("aarch64-linux-gnu-gcc"), tool("qemu-aarch64-static")
    program = compiled(harness, tmp_path / harness.stem, gcc, "-O3", "-static")
    run(qemu, str(program))
