"""What a stream takes from the allocator: nothing while text is held back, else the text that leaves and no more."""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from test_allocations import CALLS, ROOT, allocator_counts, counting_library

STOPS = ["</s>", "\n\nUser:", *(f"<stop {number}>" for number in range(1000))]


def steps() -> dict[str, Callable[[], object]]:
    """Return calls that a stream is made of, by what they do."""
    from fastgen.stop import StopMatcher

    holding, plain = StopMatcher("a" * 10_000), StopMatcher(STOPS)
    refuting, ending = StopMatcher(STOPS), StopMatcher(STOPS)
    pieces = [b"a", b" piece of text", b"<stop 1", b"\n", b"</s>"]

    def end() -> None:
        ending.feed(pieces[4])
        ending.reset()

    def refute() -> None:  # each of the two refutes the other
        refuting.feed(pieces[2])
        refuting.feed(pieces[3])

    return {
        "nothing": lambda: None,
        "holds": lambda: holding.feed(pieces[0]),
        "text": lambda: plain.feed(pieces[1]),
        "text of a str": lambda: plain.feed("piece of text"),
        "held text": refute,
        "stop": end,
    }


def counted(library: str) -> dict[str, float]:
    """Return the allocations of each step, of libc's allocator, without those of calling a function."""
    count = ctypes.CDLL(library).count_allocations
    count.restype = ctypes.c_ulong

    def during(call: Callable[[], object]) -> int:
        for _ in range(50):
            call()
        before: int = count()
        for _ in range(CALLS):
            call()
        return int(count()) - before

    found = {name: during(call) for name, call in steps().items()}
    return {name: (number - found["nothing"]) / CALLS for name, number in found.items()}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return counting_library(tmp_path_factory.mktemp("allocations"))


def test_a_stream_takes_no_memory_from_libc(library: Path) -> None:
    assert set(allocator_counts(Path(__file__), library, "pymalloc").values()) == {0}


def test_the_python_objects_of_a_step_are_the_text_alone(library: Path) -> None:
    found = allocator_counts(Path(__file__), library, "malloc")
    assert found == {"nothing": 0, "holds": 0, "text": 1, "text of a str": 1, "held text": 2, "stop": 0}


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    print(json.dumps(counted(sys.argv[1])))
