"""Building prompts takes no memory once the pool is warm: libc's allocator is counted in a process of its own."""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable
from pathlib import Path

from test_allocations import allocator_counts
from test_allocations import library as library

ROOT = Path(__file__).parents[1]
CALLS = 1000
SIZES = {"1": 1, "100": 100, "250": 250, "300": 300, "5000": 5000, "70000": 70_000, "2000000": 2_000_000}


def prepared(kind: str, size: int) -> Callable[[], object]:
    """Return a call that builds a prompt of about this size in a builder that is reused."""
    from fastgen.chat import ChatTemplate
    from fastgen.prompt import PromptBuilder

    prompt = PromptBuilder()
    text = "x" * max(1, size - 60)
    match kind:
        case "ascii":
            given: str | bytes = text
        case "latin":
            given = "é" + text[2:]
        case "wide":
            given = "中" + text[3:]
        case "wider":
            given = "🙂" + text[4:]
        case _:
            given = text.encode()

    if kind == "program":
        from templates import CHATML

        template = ChatTemplate(CHATML)
        messages = [{"role": "system", "content": "Hi"}, {"role": "user", "content": text}]
        template.program(["system", "user"])

        def chat() -> None:
            prompt.clear()
            template.write(prompt, messages)

        return chat

    def build() -> None:
        prompt.clear()
        prompt.message("user", given).open()

    return build


def counted(library: str) -> dict[str, dict[str, int]]:
    """Return how many allocations 1000 prompts of each kind and size made."""
    count = ctypes.CDLL(library).count_allocations
    count.restype = ctypes.c_ulong

    def during(call: Callable[[], object]) -> int:
        for _ in range(10):
            call()
        before: int = count()
        for _ in range(CALLS):
            call()
        return int(count()) - before

    kinds = ["ascii", "latin", "wide", "wider", "bytes", "program"]
    found = {kind: {name: during(prepared(kind, size)) for name, size in SIZES.items()} for kind in kinds}
    return {"nothing": {"0": during(lambda: None)}, **found}


def test_prompts_take_no_memory_from_libc(library: Path) -> None:
    found = allocator_counts(Path(__file__), library, "pymalloc")
    assert {(kind, size): n for kind, sizes in found.items() for size, n in sizes.items() if n} == {}


def test_nor_do_they_make_python_objects(library: Path) -> None:
    """Without Python's own allocator its objects are counted too: none by the builder, a list by a program."""
    found = allocator_counts(Path(__file__), library, "malloc")
    idle = found.pop("nothing")["0"]
    programs = found.pop("program")
    assert {n - idle for sizes in found.values() for n in sizes.values()} == {0}
    assert {(n - idle) / CALLS <= 3 for n in programs.values()} == {True}


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    print(json.dumps(counted(sys.argv[1])))
