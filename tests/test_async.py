"""Requests in the background: streams for event loops, handles, and every way to walk away."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeTokenizer
from numpy.typing import NDArray
from scripted import Rewinding, scripted, scripted_by_prompt

import fastgen as fg
from fastgen import Generator

TOKENIZER = FakeTokenizer()
EOS = TOKENIZER.eos_ids[0]
VOCAB = TOKENIZER.vocab_size
TESTS = Path(__file__).parent


def endless() -> tuple[Generator, Rewinding]:
    def logits(tokens: list[int]) -> NDArray[np.float32]:
        row = np.zeros(VOCAB, np.float32)
        row[ord("x")] = 9.0
        return row

    model = Rewinding(logits, VOCAB)
    return Generator(model, TOKENIZER), model


def settled(model: Rewinding) -> bool:
    """Return whether the model is left alone soon: no thread works for a request any more."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not any(thread.name == "fastgen-request" for thread in threading.enumerate()):
            return True
        time.sleep(0.01)
    return False


def hello() -> Generator:
    return Generator(scripted([*b"Hello", EOS], VOCAB), TOKENIZER)


def test_astream_is_stream():
    async def collect() -> list[Any]:
        return [piece async for piece in hello().astream("a", temperature=0)]

    pieces = asyncio.run(collect())
    assert [piece.text for piece in pieces] == ["H", "e", "l", "l", "o", ""]
    assert pieces[-1].output.text == "Hello"
    assert [piece.text for piece in hello().stream("a", temperature=0)] == [piece.text for piece in pieces]


def test_many_requests_of_one_loop():
    model = scripted_by_prompt(lambda prompt: [*reversed(prompt), EOS], VOCAB)
    gen = Generator(model, TOKENIZER)

    async def main() -> list[str]:
        prompts = [f"request {number}" for number in range(20)]
        outputs = await asyncio.gather(*(gen.agenerate(prompt, temperature=0) for prompt in prompts))
        return [output.text for output in outputs]

    assert asyncio.run(main()) == [f"request {number}"[::-1] for number in range(20)]


def test_arguments_are_checked_at_once():
    with pytest.raises(fg.InvalidParameterError):
        hello().astream("a", top_p=7)
    with pytest.raises(fg.InvalidParameterError):
        hello().submit("a", top_p=7)


def test_a_handle():
    handle = hello().submit("a", temperature=0)
    assert handle.result(timeout=60).text == "Hello"
    assert handle.done
    handle.cancel()  # too late, and no error
    assert handle.result().text == "Hello"
    outputs = hello().submit(["a", "b"], temperature=0).result(60)
    assert [output.text for output in outputs] == ["Hello", "Hello"]


def test_pieces_of_a_handle():
    handle = hello().submit("a", temperature=0)
    assert "".join(piece.text for piece in handle) == "Hello"
    assert handle.result(60).text == "Hello"


def test_a_result_that_is_not_there_yet():
    gen, model = endless()
    handle = gen.submit("a", temperature=0)
    with pytest.raises(fg.GenerationTimeout):
        handle.result(timeout=0.05)
    handle.cancel()
    output = handle.result(60)
    assert (output.finish_reason, output.finish_detail) == ("abort", "cancelled")
    assert set(output.text) <= {"x"}
    assert settled(model)


def test_closing_the_generator_leaves_a_request_its_model():
    for _ in range(50):
        gen = hello()
        handle = gen.submit("a", temperature=0)
        gen.close()
        assert handle.result(60).text == "Hello"


def test_a_process_ends_with_requests_at_work():
    code = (
        "import numpy as np, fastgen as fg\n"
        "from fakes import FakeTokenizer\n"
        "row = np.zeros((1, 259), np.float32)\n"
        "gen = fg.Generator(lambda ids, state: row, FakeTokenizer())\n"
        "handles = [gen.submit('a') for _ in range(4)]\n"
        "pieces = gen.stream('b')\n"
        "next(pieces)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (TESTS.parent, TESTS)))},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_error_of_the_model_reaches_every_reader():
    def step(ids: Any, state: dict[Any, Any]) -> Any:
        raise RuntimeError("out of memory")

    gen = Generator(step, TOKENIZER)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(gen.stream("a"))
    with pytest.raises(RuntimeError, match="out of memory"):
        gen.submit("a").result(60)
    with pytest.raises(RuntimeError, match="out of memory"):
        asyncio.run(gen.agenerate("a"))


def test_bad_logits_raise_where_one_prompt_was_given():
    gen = Generator(lambda ids, state: np.full((1, VOCAB), np.nan, np.float32), TOKENIZER)
    with pytest.raises(fg.LogitsError):
        list(gen.stream("a"))
    with pytest.raises(fg.LogitsError):
        asyncio.run(gen.agenerate("a"))
    assert gen.submit(["a", "b"]).result(60)[1].error.code == "logits_nonfinite"


@pytest.mark.parametrize("way", ["break", "close", "drop", "cancel", "drop the handle"])
def test_walking_away_ends_the_work(way):
    gen, model = endless()
    if way in ("cancel", "drop the handle"):
        handle = gen.submit("a", temperature=0)
        if way == "cancel":
            handle.cancel()
        del handle
    else:
        pieces = gen.stream("a", temperature=0)
        for piece in pieces:
            assert piece.text == "x"
            break
        if way == "close":
            pieces.close()
        del pieces
    gc.collect()
    assert settled(model)


def test_a_reader_that_stops_reading_pauses_the_model():
    gen, model = endless()
    pieces = gen.stream("a", temperature=0)
    next(pieces)
    deadline = time.monotonic() + 30
    while len(model.batches) < 256 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    assert 256 <= len(model.batches) <= 260  # 256 pieces wait, and no more are made
    for _ in range(300):
        next(pieces)
    pieces.close()
    assert settled(model)


def test_cancelling_a_task_ends_the_work():
    gen, model = endless()

    async def main() -> None:
        task = asyncio.create_task(gen.agenerate("a", temperature=0))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        async def leave() -> None:
            async for _ in gen.astream("a", temperature=0):
                break

        await leave()

    asyncio.run(main())
    gc.collect()
    assert settled(model)


def test_an_interruption_keeps_what_is_there():
    def step(ids: Any, state: dict[Any, Any]) -> Any:
        state["count"] = state.get("count", 0) + 1
        if state["count"] == 4:
            raise KeyboardInterrupt
        row = np.zeros((1, VOCAB), np.float32)
        row[0, ord("a") + state["count"]] = 5
        return row

    found: list[Any] = []
    with pytest.raises(KeyboardInterrupt):
        found.extend(iter(Generator(step, TOKENIZER).stream("q", temperature=0, stop="dX").__next__, None))
    assert "".join(piece.text for piece in found) == "bcd"
    assert found[-1].output.finish_detail == "cancelled"
