"""Measures the figures of the README and prints them as Markdown: ``python asv_benchmarks/figures.py [SECTION ...]``.

Every ratio is measured in one process, the two sides in turns: the median of the ratios of the pairs. All is on one
thread but in the rows that say two. Sections: sampler integrations text prompt similarity tokens streams memory
kernels quant startup load decode lookup (all of them without an argument; sampler takes some minutes; load, decode and
lookup one). Peers that are missing, and targets that are missed, are named on the standard error.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from types import ModuleType

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy and torch are imported
sys.path.insert(0, str(Path(__file__).parent))

from benchmarks import (
    generator,
    integrations,
    lookup,
    lookup_decoding,
    memory,
    models,
    prompt,
    sampler,
    sampler_extras,
    scheduler,
    stop,
    stream,
    transcript,
)
from benchmarks.common import Figure, Pair, Peer, level_of, paired
from benchmarks.kernels import logits, quant, similarity, utf8, vectors
from benchmarks.lockfree import counter, pool, queue, ring, snapshot

from fastgen import cpu

PEERS = ("numpy", "torch", "transformers", "tokenizers", "rapidfuzz", "numkong", "llama_cpp_python", "gguf")

Row = tuple[str, str, str, str, str]  # what, fastgen, peer, the peer's name, ratio


def row(what: str, peer: str, pair: Pair) -> Row:
    return what, duration(pair.ours), duration(pair.theirs), peer, times(pair.ratio)


def times(ratio: float) -> str:
    return f"{ratio:,.0f}x" if ratio >= 20 else f"{ratio:.1f}x" if ratio >= 2 else f"{ratio:.2f}x"


def duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def judged(figure: Figure) -> Row:
    """Return the row of a figure; one that misses its target is named on the standard error."""
    ratio = {"x": times, "passes": "{:.1f} passes".format, "cost": "{:.2f} of its time".format}[figure.unit](
        figure.value
    )
    if figure.missed:
        print(f"missed: {figure.what}, {figure.peer}: {ratio}, target {figure.target:g}", file=sys.stderr)
    return figure.what, duration(figure.pair.ours), duration(figure.pair.theirs), figure.peer, ratio


def sampler_rows() -> Iterator[Row]:
    yield from map(judged, sampler.figures())
    yield from map(judged, sampler_extras.figures())
    yield from map(judged, sampler_extras.constrained_figures())


def integrations_rows() -> Iterator[Row]:
    for what, peer, pair in integrations.integrations_rows():
        yield row(what, peer, pair)


def figures_of(*modules: ModuleType) -> Callable[[], Iterator[Row]]:
    """Return the rows of benchmarks that have `figures`; one that lacks a peer ends with a line about it."""

    def rows() -> Iterator[Row]:
        for module in modules:
            try:
                yield from map(judged, module.figures())
            except NotImplementedError as reason:
                print(f"{module.__name__}: skipped, {reason}", file=sys.stderr)

    return rows


def kernels_rows() -> Iterator[Row]:
    vocab = 128_256
    levels = [f"fastgen-{level}" for level in cpu.detected()[1:]]
    for operation in logits.OPERATIONS:
        for ours, theirs in [
            *((level, "fastgen-scalar") for level in levels),
            ("fastgen", "numpy"),
            ("fastgen", "torch"),
        ]:
            pair = paired(*(logits.peer(impl, operation, vocab) for impl in (ours, theirs)))
            level = level_of(ours)
            yield row(f"{operation} of {vocab:,} logits, {level}", theirs.removeprefix("fastgen-"), pair)


def quant_rows() -> Iterator[Row]:
    for kind in ("Q4_1", "Q8_0"):
        calls = []
        for impl in (f"fastgen-{cpu.detected()[-1]}", "gguf"):
            case = quant.Dequantize()
            case.setup(impl, kind, 64)
            calls.append(Peer(case.dequantize, level_of("fastgen")))
        yield row(f"{kind} to float32, 64 rows of 576", "gguf", paired(calls[0], calls[1]))


def startup_rows() -> Iterator[Row]:
    def seconds(statement: str) -> float:
        began = perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        return perf_counter() - began

    yield row("import in a fresh process", "numpy", side_by_side(seconds, "import fastgen", "import numpy", 10))


def load_rows() -> Iterator[Row]:
    def seconds(impl: str) -> float:
        load = models.loader(impl)
        began = perf_counter()
        load()
        return perf_counter() - began

    yield row("demo model loaded", "transformers", side_by_side(seconds, "fastgen", "transformers", 1))
    pair = side_by_side(models.first_token_seconds, "fastgen", "transformers", 1)
    yield row("fresh process to first token", "transformers", pair)


def side_by_side(measure: Callable[[str], float], ours: str, theirs: str, pairs: int) -> Pair:
    measure(ours)  # the first to come would pay for reading the files
    times = [(measure(ours), measure(theirs)) for _ in range(pairs)]
    first, second = zip(*times, strict=True)
    return Pair(statistics.median(first), statistics.median(second), statistics.median(b / a for a, b in times))


def decode_rows() -> Iterator[Row]:
    loaded = {impl: models.loader(impl)() for impl in ("fastgen", "transformers")}
    for batch in (1, 8):
        decoders = [generator.decoder(impl, model, batch) for impl, model in loaded.items()]
        for decode in decoders:
            decode(2)
        rates = [[generator.tokens_per_second(decode, batch) for decode in decoders] for _ in range(3)]
        ours, theirs = (statistics.median(column) for column in zip(*rates, strict=True))
        ratio = statistics.median(a / b for a, b in rates)
        name = f"decoding, batch {batch}, float32"
        yield name, f"{ours:.1f} tokens/s", f"{theirs:.1f} tokens/s", "transformers", times(ratio)


SECTIONS: dict[str, Callable[[], Iterator[Row]]] = {
    "sampler": sampler_rows,
    "integrations": integrations_rows,
    "text": figures_of(transcript, stop, utf8),
    "prompt": figures_of(prompt),
    "similarity": figures_of(similarity, vectors),
    "tokens": figures_of(lookup),
    "streams": figures_of(stream, scheduler, ring, queue),
    "memory": figures_of(memory, pool, snapshot, counter),
    "kernels": kernels_rows,
    "quant": quant_rows,
    "startup": startup_rows,
    "load": load_rows,
    "decode": decode_rows,
    "lookup": figures_of(lookup_decoding),
}


def machine() -> str:
    """Return one line that says where and with what the figures were measured."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    elif sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        model = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or model
    versions = []
    for name in ("fastgen-llm", *PEERS):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {model}, {os.cpu_count()} cores (one used), {platform.system()}, "
        f"SIMD level {cpu.active()}, Python {platform.python_version()}, {', '.join(versions)}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    sections = parser.parse_args().sections or list(SECTIONS)
    if unknown := set(sections) - SECTIONS.keys():
        parser.error(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    print("| what | fastgen | peer | | ratio |\n| --- | ---: | ---: | --- | ---: |")
    for section in sections:
        try:
            for cells in SECTIONS[section]():
                print(f"| {' | '.join(cells)} |", flush=True)
        except NotImplementedError as reason:
            print(f"{section}: skipped, {reason}", file=sys.stderr)
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
