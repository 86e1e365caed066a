"""Streams: many readers in one event loop fed by one producer thread, against a queue and a callback for each token."""

from __future__ import annotations

import asyncio
import statistics
import threading
from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter
from typing import Any

from fastgen.hub import Hub
from fastgen.sink import Sink
from fastgen.streams import TokenStream
from fastgen.writer import StreamWriter

from .common import Bench, Figure, Pair

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


def put_all(hub: Hub, writers: list[StreamWriter], tokens: int) -> None:
    """Produce as an engine does: a token for each stream and a flush make a step; what is refused comes later."""
    places = [0] * len(writers)
    left = list(range(len(writers)))
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
        if max(places) == tokens:
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
        writers = [stream.writer() for stream in streams]
        began = perf_counter()
        produced(lambda: put_all(hub, writers, tokens))
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
        writers = [stream.writer() for stream in streams]
        began = perf_counter()
        produced(lambda: put_all(hub, writers, tokens))
        taken = 0
        while len(sink):
            await sink.until_ready()
            for _, chunk in sink.drain():
                taken += len(chunk.token_ids)
        return checked(taken, count * tokens) / (perf_counter() - began)

    return in_loop(main)


def stepped(impl: str, count: int, tokens: int) -> float:
    """Return the tokens per second in steps of one token for each stream, with the producer in the readers' thread.

    Nothing waits for the GIL here and no chunk has two tokens, however many streams there are: only the work counts.
    """

    async def main() -> float:
        hub = Hub()
        streams = [TokenStream(hub=hub) for _ in range(count)]
        writers = [stream.writer() for stream in streams]
        sink = Sink(asyncio.get_running_loop())
        taken = 0

        async def read(stream: TokenStream) -> None:
            nonlocal taken
            async for chunk in stream:
                taken += len(chunk.token_ids)

        readers = []
        if impl == "sink":
            for stream in streams:
                sink.add(stream)
        else:
            readers = [asyncio.create_task(read(stream)) for stream in streams]
        await asyncio.sleep(0)
        spent = 0.0
        for token in range(tokens + 5):
            began = perf_counter()
            for writer in writers:
                writer.put(token, TEXTS[token % TOKENS])
            hub.flush()
            await asyncio.sleep(0)
            if impl == "sink":
                for _, chunk in sink.drain():
                    taken += len(chunk.token_ids)
            else:
                await asyncio.sleep(0)
            if token >= 5:  # the first steps make the rings
                spent += perf_counter() - began
        checked(taken, count * (tokens + 5))
        for writer in writers:
            writer.close()
        hub.flush()
        await asyncio.gather(*readers)
        return count * tokens / spent

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


def compared(ours: Callable[[], float], theirs: Callable[[], float], amount: int, rounds: int) -> Pair:
    """Measure two calls that return tokens per second, in turns; the pair has seconds for so many tokens."""
    rates = [(ours(), theirs()) for _ in range(rounds)]
    first, second = zip(*rates, strict=True)
    return Pair(
        amount / statistics.median(first),
        amount / statistics.median(second),
        statistics.median(a / b for a, b in rates),
    )


def figures() -> Iterator[Figure]:
    """Yield the rows of the README: against queues, and how little it matters how many streams there are."""
    amount = 10_000 * TOKENS
    for impl, call, target in (("a sink", through_sink, 10.0), ("async for", through_iterators, 2.5)):
        pair = compared(partial(call, 10_000, TOKENS), partial(through_queues, 10_000, 10), amount, 3)
        yield Figure(f"10,000 streams of {TOKENS} tokens, {impl}", "asyncio.Queue", pair, target=target)
    for impl, target in (("sink", 0.95), ("iterators", 0.8)):
        pair = compared(partial(stepped, impl, 10_000, 20), partial(stepped, impl, 100, 2000), amount, 7)
        yield Figure(f"2 million tokens through 10,000 streams, {impl}", "100 streams", pair, target=target)
