"""Ten thousand streams in one process: nothing lost, doubled, reordered or leaked, whatever the others do."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

STREAMS = runpy.run_path(str(Path(__file__).with_name("streams.py")))


@pytest.mark.parametrize(("streams", "tokens"), [(10, 300), (10_000, 20)])
def test_fast_slow_stalled_and_cancelled_readers(streams: int, tokens: int, seed: int) -> None:
    result = STREAMS["run"](STREAMS["workload"](streams), tokens, seed, 0.0)
    assert result["lost"] == result["wrong"] == result["ends"] == result["leaked"] == 0
    assert 1 <= result["wakeups"] <= result["flushes"]
