"""Loading a model for a command, with a progress bar where somebody watches."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from fastgen.cli import common

if TYPE_CHECKING:
    from fastgen.generator import Generator

__all__ = ["load", "model_name", "progress_bar"]


def load(model: str | None, *, device: str, dtype: str, threads: int | None) -> Generator:
    """Load a model, with a progress bar where somebody watches; errors as `Generator.from_pretrained`."""
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # before torch is imported, for the libraries that read it then
    with progress_bar("loading") as update:
        from fastgen.generator import Generator

        generator = Generator.from_pretrained(model, device=device, dtype=dtype, progress=update)
    torch = sys.modules.get("torch")
    if torch is not None and threads is not None:
        torch.set_num_threads(threads)
    if common.settings.verbosity > 0 or (common.settings.verbosity == 0 and sys.stderr.isatty()):
        from fastgen import cpu

        info = generator.info
        what = f" ({info.quantization}, {common.size_of(info.bytes)})" if info is not None else ""
        used = f" · {torch.get_num_threads()} threads" if torch is not None else ""
        common.note(f"Loaded {model_name(generator)}{what} in {generator.load_seconds:.1f} s · {cpu.active()}{used}")
    return generator


def model_name(generator: Generator) -> str:
    """Return the model's name without the quantization that a file name often ends with."""
    info = generator.info
    return generator.model.name.removesuffix(f".{info.quantization}") if info is not None else generator.model.name


@contextlib.contextmanager
def progress_bar(label: str) -> Iterator[Callable[[str, float], None] | None]:
    """Yield a callable that takes a stage and the fraction of it that is done, or None where nobody watches."""
    if common.settings.verbosity < 0 or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn())
    with Progress(
        *columns, console=common.console(sys.stderr), transient=True, redirect_stdout=False, redirect_stderr=False
    ) as bar:
        task = bar.add_task(label, total=None)
        yield lambda stage, done: bar.update(task, description=f"{label} {stage}", total=1.0, completed=done)
