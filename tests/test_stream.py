"""Token streams: each piece once and in order, one end, policies, every kind of reader, and who is woken how often."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import weakref
from typing import Any

import pytest

from fastgen.cancellation import CancellationToken
from fastgen.errors import FastgenError, ForkedError, GenerationTimeout, InvalidParameterError, StreamClosedError
from fastgen.hub import Hub
from fastgen.sink import Sink
from fastgen.streams import TokenStream


def texts(chunks: Any) -> list[str]:
    return [chunk.text for chunk in chunks]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


# Pieces.


def test_pieces_come_out_as_they_were_put() -> None:
    stream = TokenStream()
    payload = {"logprob": -0.5}
    assert stream.put(7, "sev")
    assert stream.put([1, 2, 3], "é€😀", payload)
    assert stream.put((), "")
    assert stream.close()
    first, second, third = stream
    assert (first.text, first.token_ids, first.payloads) == ("sev", (7,), ())
    assert (second.text, second.token_ids, second.payloads) == ("é€😀", (1, 2, 3), (payload,))
    assert (third.text, third.token_ids) == ("", ())
    assert second.payloads[0] is payload


def test_take_merges_what_is_pending() -> None:
    stream = TokenStream()
    for token in range(5):
        stream.put(token, str(token), token * 10 or None)
    chunk = stream.take()
    assert (chunk.text, chunk.token_ids, chunk.payloads) == ("01234", (0, 1, 2, 3, 4), (10, 20, 30, 40))
    assert stream.take() is None


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 63, 64, 65, 1000, 70_000])
def test_long_pieces(size: int) -> None:
    stream = TokenStream(capacity=2)
    for token in range(20):
        text = chr(97 + token) * size
        assert stream.put([token] * (size // 4), text)
        chunk = stream.read()
        assert chunk.text == text
        assert chunk.token_ids == (token,) * (size // 4)


@pytest.mark.parametrize("seed", range(20))
def test_random_puts_and_reads_keep_everything(seed: int) -> None:
    rng = random.Random(seed)
    stream = TokenStream(capacity=rng.choice([1, 2, 3, 64]), policy=rng.choice(["block", "conflate"]))
    put: list[int] = []
    got: list[int] = []
    words = ""
    read = ""
    for token in range(2000):
        if rng.random() < 0.6:
            text = "xyé" * rng.randrange(9)
            if stream.put([token] * rng.randrange(4), text, token):
                put.append(token)
                words += text
        else:
            chunk = stream.take()
            if chunk is not None:
                got += chunk.payloads
                read += chunk.text
    stream.close()
    for chunk in stream:
        got += chunk.payloads
        read += chunk.text
    assert got == put
    assert read == words


# Ends.


def test_finish_gives_an_output() -> None:
    class Output:
        finish_detail = "max_tokens"

    output = Output()
    stream = TokenStream()
    stream.put(1, "a")
    assert stream.finish_detail is None
    assert stream.finish(output)
    assert texts(stream) == ["a"]
    assert stream.output is output
    assert stream.finish_detail == "max_tokens"


def test_an_error_comes_after_the_pieces() -> None:
    stream = TokenStream()
    stream.put(1, "a")
    assert stream.fail(ValueError("broken"))
    assert not stream.finish()
    assert not stream.close()
    reader = iter(stream)
    assert next(reader).text == "a"
    with pytest.raises(ValueError, match="broken"):
        next(reader)
    assert stream.finish_detail == "internal_error"
    assert isinstance(stream.error, ValueError)


def test_nothing_is_put_after_the_end() -> None:
    stream = TokenStream()
    stream.close()
    with pytest.raises(StreamClosedError):
        stream.put(1, "a")
    assert list(stream) == []


def test_cancel_ends_it_for_good() -> None:
    stream = TokenStream()
    writer = stream.writer()
    writer.put(1, "a")
    assert stream.cancel()
    assert not stream.cancel()
    assert stream.take() is None
    assert list(stream) == []
    assert writer.cancelled
    assert not writer.put(2, "b")
    assert stream.take() is None
    assert stream.finish_detail == "cancelled"
    assert not writer.finish()


def test_the_end_is_told_once() -> None:
    stream = TokenStream()
    stream.put(1, "a")
    stream.close()
    chunk = stream.take()
    assert chunk.text == "a"
    assert chunk.ended
    assert stream.take() is None
    assert not stream.cancel()


@pytest.mark.parametrize(
    ("reason", "error"), [("timeout", GenerationTimeout), ("shutdown", StreamClosedError), ("cancelled", None)]
)
def test_ended_from_outside(reason: str, error: type[Exception] | None) -> None:
    stream = TokenStream()
    stream.put(1, "a")
    assert stream.abort(reason)
    if error is None:
        assert stream.read() is None
    else:
        with pytest.raises(error):
            stream.read()
    assert stream.finish_detail == reason


def test_a_dropped_writer_fails_the_stream() -> None:
    stream = TokenStream()
    stream.writer().put(1, "a")
    with pytest.raises(FastgenError, match="producer") as caught:
        list(stream)
    assert caught.value.code == "internal_error"


def test_a_dropped_reader_cancels() -> None:
    stream = TokenStream()
    writer = stream.writer()
    assert not writer.cancelled
    del stream
    assert writer.cancelled
    assert not writer.put(1, "a")


def test_leaving_a_loop_cancels() -> None:
    stream = TokenStream()
    writer = stream.writer()
    writer.put(1, "a")
    writer.put(2, "b")
    for chunk in stream:
        assert chunk.text == "a"
        break
    assert writer.cancelled


# Policies.


def test_block_refuses_until_the_low_mark() -> None:
    stream = TokenStream(capacity=4)
    writer = stream.writer()
    assert [writer.put(token, "x") for token in range(6)] == [True] * 4 + [False] * 2
    assert writer.paused
    stream.read()
    assert not writer.put(9)
    assert writer.paused
    stream.read()
    assert not writer.paused
    assert writer.put(4)
    assert writer.put(5)
    writer.close()
    assert [chunk.token_ids for chunk in stream] == [(2,), (3,), (4,), (5,)]


def test_conflate_makes_one_piece_of_many() -> None:
    stream = TokenStream(capacity=4, policy="conflate")
    assert all(stream.put(token, str(token), -token or None) for token in range(6))
    stream.close()
    assert [(chunk.text, chunk.token_ids, chunk.payloads) for chunk in stream] == [
        ("01234", (0, 1, 2, 3, 4), (-1, -2, -3, -4)),
        ("5", (5,), (-5,)),
    ]
    assert stream.counts["merged"] == 1
    assert stream.counts["tokens"] == 6


def test_conflate_is_bounded() -> None:
    stream = TokenStream(capacity=1, policy="conflate")
    put = 0
    while stream.put(put, "12345678"):
        put += 1
    assert 10 < put < 64
    assert stream.take().text == "12345678" * put


def test_drop_oldest_counts() -> None:
    stream = TokenStream(capacity=3, policy="drop_oldest")
    alive = [type("Payload", (), {})() for _ in range(8)]
    counts = [sys.getrefcount(one) for one in alive]
    assert all(stream.put(token, str(token), alive[token]) for token in range(8))
    stream.close()
    assert texts(stream) == ["5", "6", "7"]
    assert stream.counts["dropped"] == 5
    assert [sys.getrefcount(one) for one in alive] == counts


def test_cancel_policy_ends_a_slow_reader() -> None:
    stream = TokenStream(capacity=2, policy="cancel")
    writer = stream.writer()
    assert [writer.put(token, str(token)) for token in range(4)] == [True, True, False, False]
    assert writer.cancelled
    assert stream.finish_detail == "slow_consumer"
    assert stream.read().text == "0"
    assert stream.read().text == "1"
    with pytest.raises(StreamClosedError):
        stream.read()


# Arguments.


@pytest.mark.parametrize(
    "arguments",
    [
        {"capacity": 0},
        {"capacity": 1 << 17},
        {"capacity": 1.5},
        {"policy": "never"},
        {"policy": None},
        {"low": 256},
        {"low": -1},
        {"chunk_tokens": 0},
        {"chunk_seconds": -1.0},
        {"chunk_seconds": 0.1},
        {"chunk_seconds": "1"},
    ],
)
def test_bad_arguments(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError):
        TokenStream(**arguments)


def test_bad_pieces() -> None:
    stream = TokenStream()
    for token_ids, text in [(-1, ""), (1 << 31, ""), ("a", ""), (1.5, ""), ([1, -1], ""), (1, "\ud800"), (1, None)]:
        with pytest.raises((InvalidParameterError, TypeError)):
            stream.put(token_ids, text)
    with pytest.raises(TypeError):
        stream.put(1, b"bytes")
    with pytest.raises(InvalidParameterError):
        stream.put(1, "x" * (1 << 24))
    with pytest.raises(InvalidParameterError):
        stream.fail("text")
    assert stream.counts["put"] == 0
    writer = stream.writer()
    with pytest.raises(FastgenError, match="writer"):
        stream.writer()
    assert writer.close()


# Threads.


def test_a_thread_waits_and_gets_everything() -> None:
    stream = TokenStream(capacity=8)
    writer = stream.writer()

    def produce() -> None:
        time.sleep(0.01)
        for token in range(5000):
            assert writer.send(token, f"{token},")
        writer.close()

    thread = threading.Thread(target=produce)
    thread.start()
    assert "".join(texts(stream)) == "".join(f"{token}," for token in range(5000))
    thread.join()


def test_timeouts() -> None:
    stream = TokenStream(capacity=1)
    writer = stream.writer()
    with pytest.raises(GenerationTimeout):
        stream.read(timeout=0.01)
    writer.put(1, "a")
    with pytest.raises(GenerationTimeout):
        writer.send(2, "b", timeout=0.01)
    assert not writer.wait(timeout=0.0)
    assert stream.read(timeout=0).text == "a"
    assert writer.wait()


def test_cancel_wakes_a_blocked_reader_and_a_blocked_producer() -> None:
    stream, full = TokenStream(), TokenStream(capacity=1)
    writer = full.writer()
    writer.put(1)
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda: results.append(stream.read())),
        threading.Thread(target=lambda: results.append(writer.send(2))),
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.02)
    stream.abort("cancelled")
    full.cancel()
    for thread in threads:
        thread.join(10)
    assert sorted(results, key=str) == [False, None]


def test_two_readers_at_a_time_are_refused() -> None:
    stream = TokenStream()
    thread = threading.Thread(target=stream.read, daemon=True)
    thread.start()
    time.sleep(0.05)
    with pytest.raises(FastgenError) as caught:
        stream.read(timeout=1.0)
    assert caught.value.code == "concurrent_use"
    stream.close()
    thread.join()


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_ctrl_c_while_blocked() -> None:
    stream = TokenStream()
    writer = stream.writer()
    threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        for _ in stream:
            pass
    assert writer.cancelled


# Tasks.


def test_tasks_are_woken_once_a_step() -> None:
    async def main() -> None:
        hub = Hub()
        streams = [TokenStream(hub=hub) for _ in range(50)]
        writers = [stream.writer() for stream in streams]

        async def read(stream: TokenStream) -> list[str]:
            return [chunk.text async for chunk in stream]

        tasks = [asyncio.create_task(read(stream)) for stream in streams]
        await asyncio.sleep(0)
        for step in range(7):
            for writer in writers:
                writer.put(step, str(step))
            assert hub.wakeups == step
            hub.flush()
            assert hub.wakeups == step + 1
            await asyncio.sleep(0.001)
        for writer in writers:
            writer.close()
        hub.flush()
        assert await asyncio.gather(*tasks) == [list("0123456")] * 50
        assert hub.wakeups == hub.flushes == 8

    asyncio.run(main())


def test_a_slow_loop_is_woken_once_for_many_steps() -> None:
    async def main() -> None:
        hub = Hub()
        stream = TokenStream(hub=hub)
        writer = stream.writer()
        reader = aiter(stream)
        waiting = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        for step in range(5):
            writer.put(step, str(step))
            hub.flush()
        assert hub.wakeups == 1
        assert (await waiting).text == "0"
        assert (await anext(reader)).text == "1"

    asyncio.run(main())


def test_cancelling_a_task_cancels_the_stream() -> None:
    async def main() -> None:
        stream = TokenStream()
        writer = stream.writer()

        async def read() -> None:
            async for _ in stream:
                pass

        task = asyncio.create_task(read())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert writer.cancelled
        assert stream.finish_detail == "cancelled"

        other = TokenStream()
        reader = aiter(other)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(reader), 0.01)
        assert other.cancelled

    asyncio.run(main())


def test_leaving_an_async_loop_cancels() -> None:
    async def main() -> None:
        stream = TokenStream()
        writer = stream.writer()
        writer.put(1, "a")
        async for chunk in stream:
            assert chunk.text == "a"
            break
        assert writer.cancelled
        other = TokenStream()
        reader = aiter(other)
        await reader.aclose()
        assert other.cancelled

    asyncio.run(main())


def test_errors_and_contexts_reach_the_task() -> None:
    import contextvars

    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")

    async def main() -> None:
        stream = TokenStream()

        async def read() -> str:
            name.set("reader")
            with pytest.raises(ValueError, match="broken"):
                async for _ in stream:
                    pass
            return name.get()

        task = asyncio.create_task(read())
        await asyncio.sleep(0.001)
        stream.put(1)
        await asyncio.sleep(0.001)
        stream.fail(ValueError("broken"))
        assert await task == "reader"
        assert name.get() == "nobody"

    asyncio.run(main())


def test_a_closed_loop_cancels_its_streams() -> None:
    hub = Hub()
    stream = TokenStream(hub=hub)
    writer = stream.writer()
    loop = asyncio.new_event_loop()

    async def read() -> None:
        async for _ in stream:
            pass

    task = loop.create_task(read())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    writer.put(1)
    hub.flush()
    assert writer.cancelled
    assert stream.finish_detail == "disconnected"
    task._log_destroy_pending = False  # type: ignore[attr-defined]


# Callbacks and sinks.


def test_callbacks() -> None:
    stream = TokenStream()
    got: list[Any] = []
    stream.put(1, "a")
    stream.subscribe(got.append)
    stream.put(2, "b")
    stream.close()
    assert texts(got) == ["a", "b", ""]
    assert [chunk.ended for chunk in got] == [False, False, True]

    def broken(_: Any) -> None:
        raise ValueError("callback")

    other = TokenStream()
    writer = other.writer()
    other.subscribe(broken)
    writer.put(1)
    assert writer.cancelled
    assert isinstance(other.error, ValueError)


def test_a_sink_gets_all_that_is_ready() -> None:
    async def main() -> None:
        hub = Hub()
        sink = Sink(asyncio.get_running_loop())
        streams = [TokenStream(hub=hub, tag=place) for place in range(20)]
        writers = [stream.writer() for stream in streams]
        for stream in streams:
            sink.add(stream)
        assert list(sink.drain()) == []
        for step in range(3):
            for writer in writers[::2]:
                writer.put(step, str(step))
                writer.put(step, "!")
            hub.flush()
            await sink.until_ready()
            await asyncio.sleep(0.001)
            found = list(sink.drain())
            assert [stream.tag for stream, _ in found] == list(range(0, 20, 2))
            assert {chunk.text for _, chunk in found} == {f"{step}!"}
            assert sink.wakeups == step + 1
        streams[1].cancel()
        for writer in writers:
            writer.close()
        hub.flush()
        await sink.until_ready()
        assert [chunk.ended for _, chunk in sink.drain()] == [True] * 19
        assert len(sink) == 0
        assert list(sink.drain()) == []

    asyncio.run(main())


def test_a_sink_for_a_thread_and_one_with_a_callback() -> None:
    sink = Sink()
    stream = TokenStream()
    sink.add(stream)
    assert not sink.wait(timeout=0.001)
    threading.Timer(0.01, stream.put, [1, "a"]).start()
    assert sink.wait(timeout=10)
    assert texts(chunk for _, chunk in sink.drain()) == ["a"]
    sink.close()
    assert stream.cancelled

    async def main() -> None:
        got: list[str] = []
        sink = Sink(asyncio.get_running_loop(), lambda sink: got.extend(texts(chunk for _, chunk in sink.drain())))
        stream = TokenStream()
        sink.add(stream)
        stream.put(1, "a")
        stream.put(2, "b")
        await asyncio.sleep(0.001)
        assert got == ["ab"]
        assert sink.wakeups == 1

    asyncio.run(main())


# Chunks by size and time.


def test_chunks_by_size() -> None:
    stream = TokenStream(chunk_tokens=3)
    for token in range(7):
        stream.put(token, str(token))
    assert stream.read().text == "012345"
    stream.close()
    assert texts(stream) == ["6"]


def test_chunks_by_time() -> None:
    clock = Clock()
    hub = Hub(clock=clock)
    stream = TokenStream(hub=hub, chunk_seconds=0.5)
    for step in range(6):
        stream.put(step, str(step))
        hub.flush()
        assert (stream.counts["pending"] > 0) == (step in (4, 5))
        clock.now += 0.125
    assert stream.read().text == "01234"
    clock.now += 1
    hub.flush()
    assert stream.read().text == "5"


# News for the producer.


def test_flush_tells_whose_reader_has_come_back() -> None:
    hub = Hub()
    streams = [TokenStream(capacity=2, hub=hub) for _ in range(3)]
    writers = [stream.writer() for stream in streams]
    for writer in writers:
        assert [writer.put(1), writer.put(2), writer.put(3)] == [True, True, False]
    assert hub.flush() == []
    assert not hub.wait(timeout=0.001)
    threading.Timer(0.01, streams[1].take).start()
    assert hub.wait(timeout=10)
    assert hub.flush() == [writers[1]]
    assert hub.flush() == []
    streams[0].cancel()
    assert hub.flush() == [writers[0]]
    assert writers[0].cancelled
    assert not writers[1].paused


# Tokens.


def test_a_token_cancels_its_streams() -> None:
    token = CancellationToken()
    streams = [TokenStream(token=token), TokenStream(token=token.child())]
    streams[0].put(1, "a")
    token.cancel()
    assert [stream.read() for stream in streams] == [None, None]
    assert TokenStream(token=token).cancelled


def test_a_deadline_ends_the_wait_of_a_thread_and_of_a_task() -> None:
    with pytest.raises(GenerationTimeout):
        TokenStream(token=CancellationToken(timeout=0.01)).read()

    async def main() -> None:
        stream = TokenStream(token=CancellationToken(timeout=0.01))
        with pytest.raises(GenerationTimeout):
            async for _ in stream:
                pass
        assert stream.finish_detail == "timeout"

    asyncio.run(main())


# Memory, forks, exits.


def test_an_idle_stream_is_small() -> None:
    hub = Hub()
    TokenStream(hub=hub).writer()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    streams = [TokenStream(hub=hub) for _ in range(1000)]
    writers = [stream.writer() for stream in streams]
    each = (tracemalloc.get_traced_memory()[0] - before) / 1000
    for writer in writers:
        writer.put(1, "word")
    used = (tracemalloc.get_traced_memory()[0] - before) / 1000
    tracemalloc.stop()
    assert each <= 1024
    assert used <= 2048


def test_everything_is_freed() -> None:
    class Payload:
        count = 0

        def __init__(self) -> None:
            Payload.count += 1

        def __del__(self) -> None:
            Payload.count -= 1

    hub = Hub()
    sink = Sink()
    tracemalloc.start()
    baseline = 0
    for turn in range(4):
        for policy in ("block", "conflate", "drop_oldest", "cancel"):
            for _ in range(50):
                stream = TokenStream(capacity=4, policy=policy, hub=hub)
                writer = stream.writer()
                if turn % 2:
                    sink.add(stream)
                for token in range(9):
                    writer.put(token, "text", Payload())
                if turn % 2:
                    list(sink.drain())
                    stream.cancel()
                hub.flush()
        sink.close()
        list(sink.drain())
        del stream, writer
        hub.flush()
        gc.collect()
        assert Payload.count == 0
        baseline = baseline or tracemalloc.get_traced_memory()[0]
    assert tracemalloc.get_traced_memory()[0] - baseline < 20_000
    tracemalloc.stop()


def test_cycles_are_collected_in_any_order() -> None:
    async def main() -> list[weakref.ref[Any]]:
        hub = Hub()
        sink = Sink(asyncio.get_running_loop())
        streams = [TokenStream(hub=hub) for _ in range(20)]
        for stream in streams[:10]:
            sink.add(stream)

        async def read(stream: TokenStream) -> None:
            with contextlib.suppress(FastgenError):
                async for _ in stream:
                    pass

        tasks: list[asyncio.Task[None]] = []
        for stream in streams[10:]:
            tasks.append(asyncio.create_task(read(stream)))
        await asyncio.sleep(0)
        writers = [stream.writer() for stream in streams]
        for writer in writers:
            writer.put(1, "a")
        hub.flush()
        return [weakref.ref(one) for one in (sink, *streams, *writers)]

    for _ in range(3):
        refs = asyncio.run(main())
        gc.collect()
        assert [ref() for ref in refs] == [None] * len(refs)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_process_is_told() -> None:
    hub = Hub()
    stream = TokenStream(hub=hub)
    writer = stream.writer()
    writer.put(1, "a")
    child = os.fork()
    if child == 0:
        code = 0
        for call in (lambda: writer.put(1), stream.read, stream.cancel, hub.flush, lambda: iter(stream), stream.close):
            try:
                call()
                code = 1
            except ForkedError:
                pass
        fresh = TokenStream()
        fresh.put(1, "x")
        os._exit(code or (fresh.take().text != "x"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert stream.read().text == "a"
    assert writer.put(2)


EXITS = """
import asyncio, sys, threading, time
from fastgen.hub import Hub
from fastgen.streams import TokenStream
from fastgen.sink import Sink
hub = Hub()
streams = [TokenStream(hub=hub, capacity=4) for _ in range(100)]
writers = [stream.writer() for stream in streams]
sink = Sink()
sink.add(streams[0])
def produce():
    while True:
        for writer in writers: writer.put(1, "x")
        hub.flush()
def send():
    while True: writers[7].send(1, "x")
for target in (produce, sink.wait, streams[1].read, lambda: [0 for _ in streams[2]], hub.wait):
    threading.Thread(target=target, daemon=True).start()
time.sleep(0.02)
sys.exit(3)
"""


def test_exit_with_live_streams() -> None:
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", EXITS], capture_output=True, text=True, timeout=60)
        assert done.returncode == 3, done.stderr


def test_new_objects_without_arguments_do_no_harm() -> None:
    from fastgen.channel import Channel
    from fastgen.chunk import Chunk
    from fastgen.pipe import Pipe
    from fastgen.waiting import AsyncPieces, Next, Pieces
    from fastgen.writer import Producer, StreamWriter

    for kind in (Channel, Pipe, AsyncPieces, Next, Pieces, Producer, StreamWriter):
        with pytest.raises(TypeError):
            kind.__new__(kind)
    assert repr(Chunk.__new__(Chunk))
    assert TokenStream.__new__(TokenStream).put(1)
