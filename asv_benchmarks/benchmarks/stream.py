"""Streams: many readers in one event loop fed by one producer thread, against a queue and a callback for each token."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

from fastgen.hub import Hub
from fastgen.sink import Sink
from fastgen.stream import TokenStream

from .common import Bench

STREAMS = [100, 10_000]
TOKENS = 200
TEXTS = [f" w{token % 97}" for token in range(TOKENS)]
Call = Callable[[int, int], float]


def in_loop(main: Callable[[], Any]) -> float:
    """Return what a coroutine function returns, run in a loop of its own."""
    return float(asyncio.run(main()))


def produced(start: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=start, daemon=True)
    thread.start()
    return thread


def through_queues(count: int, tokens: int) -> float:
    """Return the tokens per second of an asyncio.Queue for each stream, fed by call_soon_threadsafe for each token."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        queues: list[asyncio.Queue[tuple[int, str] | None]] = [asyncio.Queue() for _ in range(count)]

        async def read(queue: asyncio.Queue[tuple[int, str] | None]) -> int:
            taken = 0
            while await queue.get() is not None:
                taken += 1
            return taken

        def produce() -> None:
            for token in range(tokens):
                for queue in queues:
                    loop.call_soon_threadsafe(queue.put_nowait, (token, TEXTS[token % TOKENS]))
            for queue in queues:
                loop.call_soon_threadsafe(queue.put_nowait, None)

        readers = [asyncio.create_task(read(queue)) for queue in queues]
        await asyncio.sleep(0)
        began = perf_counter()
        produced(produce)
        taken = sum(await asyncio.gather(*readers))
        return checked(taken, count * tokens) / (perf_counter() - began)

    return in_loop(main)


def put_all(hub: Hub, streams: list[TokenStream], tokens: int) -> None:
    """Produce as an engine does: a token for each stream and a flush make a step; what is refused comes later."""
    writers = [stream.writer() for stream in streams]
    places = [0] * len(writers)
    left = range(len(writers))
    while left:
        paused = True
        for place in left:
            token = places[place]
            if writers[place].put(token, TEXTS[token % TOKENS]):
                places[place] = token + 1
                paused = False
        hub.flush()
        if paused:
            hub.wait(1.0)
        if min(places) == tokens or any(place == tokens for place in places):
            left = [place for place in left if places[place] < tokens]
    for writer in writers:
        writer.close()
    hub.flush()


def through_iterators(count: int, tokens: int) -> float:
    """Return the tokens per second of ``async for`` over each stream."""

    async def main() -> float:
        hub = Hub()
        streams = [TokenStream(hub=hub) for _ in range(count)]

        async def read(stream: TokenStream) -> int:
            taken = 0
            async for chunk in stream:
                taken += len(chunk.token_ids)
            return taken

        readers = [asyncio.create_task(read(stream)) for stream in streams]
        await asyncio.sleep(0)
        began = perf_counter()
        produced(lambda: put_all(hub, streams, tokens))
        taken = sum(await asyncio.gather(*readers))
        return checked(taken, count * tokens) / (perf_counter() - began)

    return in_loop(main)


def through_sink(count: int, tokens: int) -> float:
    """Return the tokens per second of one sink that drains them all."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        hub = Hub()
        sink = Sink(loop)
        streams = [TokenStream(hub=hub) for _ in range(count)]
        for stream in streams:
            sink.add(stream)
        began = perf_counter()
        produced(lambda: put_all(hub, streams, tokens))
        taken = 0
        while len(sink):
            await sink.until_ready()
            for _, chunk in sink.drain():
                taken += len(chunk.token_ids)
        return checked(taken, count * tokens) / (perf_counter() - began)

    return in_loop(main)


def checked(taken: int, expected: int) -> int:
    if taken != expected:
        raise RuntimeError(f"{taken} tokens arrived of {expected}")
    return taken


IMPLS: dict[str, Call] = {"sink": through_sink, "iterators": through_iterators, "asyncio.Queue": through_queues}


class Streams(Bench):
    param_names = ("impl", "streams")
    params = (list(IMPLS), STREAMS)
    timeout = 300
    unit = "tokens/s"

    def track_rate(self, impl: str, streams: int) -> float:
        return IMPLS[impl](streams, 20)
