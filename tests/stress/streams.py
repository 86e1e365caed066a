"""Many readers of every kind on one producer: ``python tests/stress/streams.py --streams 10000 --tokens 200``.

60 % of the readers are fast, 20 % take a tenth of the time's tokens, 10 % never read, 10 % are cancelled at a random
place. Each token is a hash of its stream and place, so that a lost, doubled, reordered or foreign one is seen. The
producer makes steps of a fixed length, as a model does. Prints JSON; exits with 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import sys
import threading
import weakref
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from fastgen.hub import Hub
from fastgen.sink import Sink
from fastgen.streams import TokenStream

KINDS = ("fast", "slow", "stalled", "cancelled")


def token_of(stream: int, place: int) -> int:
    return (stream * 2_654_435_761 + place * 2_246_822_519) & 0x7FFFFFFF


class Reader:
    """What a stream gave so far, compared with what it must give."""

    __slots__ = ("__weakref__", "ends", "kind", "number", "place", "until", "wrong")

    def __init__(self, number: int, kind: str, until: int) -> None:
        self.number, self.kind, self.until = number, kind, until
        self.place = self.wrong = self.ends = 0

    def take(self, chunk: Any) -> None:
        if self.ends:
            self.wrong += 1
        for token in chunk.token_ids:
            self.wrong += token != token_of(self.number, self.place)
            self.place += 1
        self.ends += chunk.ended


def produce(hub: Hub, writers: list[Any], tokens: int, step_seconds: float, result: dict[str, float]) -> None:
    """Make steps until all streams have ended or wait for readers who don't come."""
    places = [0] * len(writers)
    live = list(range(len(writers)))
    began = perf_counter()
    step = 0
    while any(writers[number].tag.kind == "fast" for number in live):
        ended = False
        for number in live:
            writer = writers[number]
            if writer.put(token_of(number, places[number]), "w"):
                places[number] += 1
                if places[number] == tokens:
                    writer.close()
                    ended = True
            else:
                ended |= writer.cancelled
        hub.flush()
        if ended:
            live = [number for number in live if not writers[number].ended]
        step += 1
        sleep(max(0.0, began + step * step_seconds - perf_counter()))
    result["seconds"] = perf_counter() - began
    result["steps"] = step


def run(kinds: list[str], tokens: int, seed: int, step_seconds: float) -> dict[str, Any]:
    """Run one workload; return what was counted."""
    result, watched = serve(kinds, tokens, seed, step_seconds)
    gc.collect()
    result["leaked"] = sum(reader() is not None for reader in watched)
    return result


def serve(
    kinds: list[str], tokens: int, seed: int, step_seconds: float
) -> tuple[dict[str, Any], list[weakref.ref[Reader]]]:
    rng = random.Random(seed)
    readers = [Reader(number, kind, rng.randrange(tokens)) for number, kind in enumerate(kinds)]
    hub = Hub()
    result: dict[str, Any] = {}

    async def main() -> None:
        sink = Sink(asyncio.get_running_loop())
        streams = [TokenStream(32, hub=hub, tag=reader) for reader in readers]
        writers = [stream.writer() for stream in streams]
        apart = [stream for stream in streams if stream.tag.kind in ("slow", "stalled")]
        for stream in streams:
            if stream.tag.kind in ("fast", "cancelled"):
                sink.add(stream)
        thread = threading.Thread(target=produce, args=(hub, writers, tokens, step_seconds, result))
        thread.start()
        turn = 0
        while thread.is_alive() or len(sink):
            try:
                await asyncio.wait_for(sink.until_ready(), 0.05)
            except TimeoutError:
                continue
            await asyncio.sleep(0)
            for stream, chunk in sink.drain():
                reader = stream.tag
                if not reader.ends:
                    reader.take(chunk)
                    if reader.kind == "cancelled" and reader.place >= reader.until:
                        stream.cancel()
                        reader.ends = 1  # whatever comes after this is wrong
                else:
                    reader.wrong += 1
            turn += 1
            if turn % 10 == 0:
                for stream in apart:
                    if stream.tag.kind == "slow" and not stream.ended:
                        reader_take(stream)
        thread.join()
        result["wakeups"], result["flushes"] = hub.wakeups, hub.flushes
        for stream in apart:
            stream.cancel()
        hub.flush()

    def reader_take(stream: TokenStream) -> None:
        chunk = stream.read(timeout=0) if stream.counts["pending"] else None
        if chunk is not None:
            stream.tag.take(chunk)

    asyncio.run(main())
    fast = [reader for reader in readers if reader.kind == "fast"]
    result["lost"] = sum(tokens - reader.place for reader in fast)
    result["wrong"] = sum(reader.wrong for reader in readers)
    result["ends"] = sum(reader.ends != 1 for reader in fast)
    result["fast_rate"] = sum(reader.place for reader in fast) / result["seconds"]
    result["slow_taken"] = sum(reader.place for reader in readers if reader.kind == "slow")
    return result, [weakref.ref(reader) for reader in readers]


def workload(streams: int) -> list[str]:
    return [KINDS[(0, 0, 0, 0, 0, 0, 1, 1, 2, 3)[number % 10]] for number in range(streams)]


def measure(streams: int, tokens: int, seed: int, step_seconds: float) -> dict[str, Any]:
    kinds = workload(streams)
    alone = run([kind for kind in kinds if kind == "fast"], tokens, seed, step_seconds)
    mixed = run(kinds, tokens, seed, step_seconds)
    kept = mixed["fast_rate"] / alone["fast_rate"]
    return {"streams": streams, "tokens": tokens, "seed": seed, "step_seconds": step_seconds, "kept": kept, **mixed}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--step-seconds", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    result = measure(options.streams, options.tokens, options.seed, options.step_seconds)
    print(json.dumps(result, indent=1))
    return int(any(result[name] for name in ("lost", "wrong", "ends", "leaked")) or result["kept"] < 0.95)


if __name__ == "__main__":
    sys.exit(main())
