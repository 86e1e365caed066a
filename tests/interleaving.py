"""Build and run the interleaving checker of tests/native/checker on csrc, or on csrc with an order weakened.

``python tests/interleaving.py`` runs all scenarios; ``--random N`` runs N random executions of each instead, and more
options go to the checker. ``python tests/interleaving.py mutate`` weakens each order in turn and writes
tests/native/checker/mutations.json. Both take names of structures.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHECKER = Path(__file__).parent / "native" / "checker"
CSRC = Path(__file__).parents[1] / "csrc"
RESULTS = CHECKER / "mutations.json"
ENGINE = ("checker", "history", "shadow")

# Scenarios, and the files that they are about: those are compiled, watched and mutated.
STRUCTURES: dict[str, tuple[str, ...]] = {
    "ring": ("lockfree/ring.h",),
    "queue": ("lockfree/queue.c",),
    "segmented": ("lockfree/queue/segments.c",),
    "epoch": ("lockfree/epoch.h",),
    "pool": ("lockfree/pool.h", "lockfree/pool.c"),
    "counter": ("lockfree/counter.h", "lockfree/counter.c"),
    "snapshot": ("lockfree/snapshot.h", "lockfree/snapshot.c"),
    "pipe": ("pipe.h", "pipe.c"),
}

# The instrumentation of ThreadSanitizer without its runtime: the checker has functions of the same names.
WATCHED = ["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Wno-unused-value", "-fno-builtin", "-fsanitize=thread"]
WATCHED += ["-include", str(CHECKER / "base" / "atomic.h")]  # its include guard keeps csrc/base/atomic.h out
WATCHED += [f"-D{name}=checker_{name}" for name in ("memcpy", "memmove", "memset")]

WEAKER = {
    "acquire": ("relaxed",),
    "release": ("relaxed",),
    "acq_rel": ("relaxed", "acquire", "release"),
    "seq_cst": ("relaxed", "acq_rel"),
}
OPERATION = re.compile(
    r"\bfg_(load|store|add|sub|or|and|xor|exchange|cas|cas_weak)_(acquire|release|acq_rel|seq_cst)\("
)
FUNCTION = re.compile(r"^[A-Za-z].*?\b(\w+)\(")


def available() -> bool:
    """Whether this machine has what the checker is compiled with."""
    known = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")
    return known and shutil.which("gcc") is not None


def compile_with(*arguments: str | Path) -> None:
    done = subprocess.run(["gcc", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)


def build_engine(folder: Path) -> list[Path]:
    """Compile the checker itself."""
    for name in ENGINE:
        source, target = CHECKER / f"{name}.c", folder / f"{name}.o"
        options = ["-std=gnu11", "-O2", "-g", "-Wall", "-Wextra"]
        compile_with(*options, f"-I{CHECKER}", f"-I{CSRC}", "-c", source, "-o", target)
    return [folder / f"{name}.o" for name in ENGINE]


def build(name: str, engine: list[Path], folder: Path, csrc: Path = CSRC) -> Path:
    """Compile the scenarios of a structure together with it."""
    objects = []
    for source in (CHECKER / f"{name}.c", *(csrc / file for file in STRUCTURES.get(name, ()) if file.endswith(".c"))):
        objects.append(folder / f"{name}-{len(objects)}.o")
        compile_with(*WATCHED, f"-I{CHECKER}", f"-I{csrc}", "-c", source, "-o", objects[-1])
    compile_with("-no-pie", *objects, *engine, "-lm", "-o", folder / name)  # -no-pie: addresses as in the debug info
    return folder / name


@dataclasses.dataclass(frozen=True, slots=True)
class Mutation:
    """One order weakened: the `nth` such operation of a function."""

    structure: str
    file: str
    function: str
    operation: str
    nth: int
    weaker: str
    begin: int
    end: int

    @property
    def name(self) -> str:
        return f"{self.file} {self.function} {self.operation} #{self.nth} -> {self.weaker}"

    def applied(self, text: str) -> str:
        verb = re.sub(r"_(acquire|release|acq_rel|seq_cst)$", "", self.operation)
        return f"{text[: self.begin]}{verb}_{self.weaker}({text[self.end :]}"


def mutations(structure: str, csrc: Path = CSRC) -> Iterator[Mutation]:
    """Every order of a structure, weakened in every way."""
    for file in STRUCTURES[structure]:
        text = (csrc / file).read_text()
        code = re.sub(r"/\*.*?\*/", lambda comment: re.sub(r"\S", " ", comment.group()), text, flags=re.DOTALL)
        seen: dict[tuple[str, str], int] = {}
        for match in OPERATION.finditer(code):
            headers = [found for line in code[: match.end()].splitlines() if (found := FUNCTION.match(line))]
            function, operation = headers[-1].group(1), match.group()[:-1]
            nth = seen[function, operation] = seen.get((function, operation), 0) + 1
            verb, order = match.groups()
            for weaker in WEAKER[order]:
                if weaker == "acq_rel" and verb in ("load", "store"):
                    weaker = "acquire" if verb == "load" else "release"
                yield Mutation(structure, file, function, operation, nth, weaker, match.start(), match.end())


def caught(mutation: Mutation, engine: list[Path], timeout_s: float = 300) -> str | None:
    """Return what the checker says about a mutation, or None if it says nothing."""
    with tempfile.TemporaryDirectory() as made:
        csrc = Path(made) / "csrc"
        shutil.copytree(CSRC, csrc)
        target = csrc / mutation.file
        target.write_text(mutation.applied(target.read_text()))
        program = build(mutation.structure, engine, Path(made), csrc)
        try:
            done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return "runs for ever"
    if done.returncode == 0:
        return None
    failures = [line for line in done.stdout.splitlines() if ": execution " in line]
    return re.sub(r": execution \d+", "", failures[-1]) if failures else f"exit {done.returncode}"


def mutate(structure: str) -> dict[str, dict[str, object]]:
    """Try all mutations of a structure; return the results of all structures, with the reasons that were written in."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    reasons = known.get(structure, {}).get("survivors", {})
    with tempfile.TemporaryDirectory() as made, ThreadPoolExecutor(2) as pool:
        engine = build_engine(Path(made))
        subprocess.run([build(structure, engine, Path(made))], check=True, stdout=subprocess.DEVNULL)
        tried = list(mutations(structure))
        said = {}
        for one, what in zip(tried, pool.map(lambda mutation: caught(mutation, engine), tried), strict=True):
            said[one] = what
            print(f"{one.name}: {what or 'NOT CAUGHT'}", flush=True)
    relaxed = [what for one, what in said.items() if one.weaker == "relaxed"]
    halves = [what for one, what in said.items() if one.weaker != "relaxed"]
    known[structure] = {
        "to relaxed": len(relaxed),
        "to relaxed, caught": len(relaxed) - relaxed.count(None),
        "by half": len(halves),
        "by half, caught": len(halves) - halves.count(None),
        "survivors": {one.name: reasons.get(one.name, "?") for one, what in said.items() if not what},
    }
    return known


def main(words: list[str]) -> int:
    chosen = [word for word in words if word in STRUCTURES] or list(STRUCTURES)
    if "mutate" in words:
        for structure in chosen:
            RESULTS.write_text(json.dumps(mutate(structure), indent=2) + "\n")
        return 0
    options = [word for word in words if word not in STRUCTURES]
    codes = []
    with tempfile.TemporaryDirectory() as made:
        engine = build_engine(Path(made))
        for name in chosen:
            print(f"== {name}", flush=True)
            codes.append(subprocess.run([build(name, engine, Path(made)), *options], check=False).returncode)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
