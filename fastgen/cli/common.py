"""What the commands share: options, what is printed where, exit codes."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

import typer

from fastgen.errors import FastgenError, PromptError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "Writer",
    "console",
    "dump",
    "exit_code",
    "note",
    "report",
    "settings",
    "text_of",
]

FAILED: Final = 1
USAGE: Final = 2
CANNOT_START: Final = 3
PROBLEMS_FOUND: Final = 4
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

# shed and retry are failures of the moment, model and bug of the run
EXIT_CODES: Final = {"request": USAGE, "file": CANNOT_START, "setup": CANNOT_START}

CONTEXT: Final = {"help_option_names": ["-h", "--help"]}


@dataclass(slots=True)
class Settings:
    """What the global options say."""

    verbosity: int = 0  # 1: -v, -1: -q
    color: bool = True


settings = Settings()


def _verbose(wanted: bool) -> None:
    if wanted:
        settings.verbosity = 1


def _quiet(wanted: bool) -> None:
    if wanted:
        settings.verbosity = -1


Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", callback=_verbose, help="Say more; errors come with a traceback.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", callback=_quiet, help="Say nothing but the text and errors.")]

Model = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="PATH|ID|demo",
        help="A .gguf file, a folder, a hub id or 'demo'. Default: $FASTGEN_MODEL, else demo.",
    ),
]
System = Annotated[str | None, typer.Option("-s", "--system", metavar="TEXT", help="The system message.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps, ...")]
Dtype = Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16, float16.")]
Threads = Annotated[int | None, typer.Option("--threads", metavar="N", min=1, help="Threads of the forward pass.")]
Stats = Annotated[bool, typer.Option("--stats", help="Print speed and memory on stderr.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def console(stream: TextIO) -> Console:
    """Return a rich console, which honors NO_COLOR, FORCE_COLOR and TERM=dumb."""
    from rich.console import Console

    return Console(file=stream, no_color=None if settings.color else True, highlight=False, soft_wrap=True)


def note(text: str, style: str | None = None) -> None:
    """Print a line for people on stderr, unless -q was given."""
    if settings.verbosity >= 0:
        console(sys.stderr).print(text, style=style, markup=False)


def report(error: BaseException) -> None:
    """Print an error on stderr: one line, a second with the hint, the traceback with -v."""
    if settings.verbosity > 0:
        traceback.print_exception(error)
    hint: str | None
    if isinstance(error, FastgenError):
        # The message of a parameter error names the parameters already.
        details = {} if "problems" in error.details else error.details
        where = ", ".join(f"{name}={value!r}" for name, value in details.items())
        text, hint = f"{error.message} ({where})" if where else error.message, error.hint
    elif isinstance(error, OSError):
        text, hint = str(error), None
    else:
        text = f"{type(error).__name__}: {error}"
        hint = None if settings.verbosity > 0 else "run it again with -v to see where"
    errors = console(sys.stderr)
    errors.print("Error:", style="red", end=" ")
    errors.print(" ".join(text.split()), markup=False)
    if hint:
        errors.print(f"Hint: {hint}", markup=False)


def show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning as a line for people; takes the place of `warnings.showwarning`."""
    note(f"Warning: {message}")


def exit_code(error: FastgenError) -> int:
    """Return the exit code for an error's category."""
    return EXIT_CODES.get(error.category, FAILED)


def discard_stdout() -> None:
    """Let what is still buffered for a closed pipe go nowhere, so that the interpreter's last flush is silent."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def text_of(data: bytes, source: str) -> str:
    """Decode a prompt; a byte order mark is dropped.

    Raises
    ------
    PromptError
        If it is not UTF-8, with the offset of the first byte that is not.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise PromptError(
            "the prompt is not UTF-8",
            code="prompt_not_utf8",
            hint="save it as UTF-8, or convert it with: iconv -t UTF-8",
            source=source,
            offset=error.start,
        ) from None
    return text.removeprefix(codecs.BOM_UTF8.decode())


class Writer:
    """Text on stdout, each part at once, with a newline at the end if the text has none."""

    def __init__(self) -> None:
        self._last = "\n"

    def write(self, text: str) -> None:
        """Write text that must be seen now."""
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()
            self._last = text[-1]

    def end(self) -> None:
        """End the line."""
        if self._last != "\n":
            self.write("\n")


def dump(value: Any, indent: int | None = None) -> str:
    """Return JSON that stdout can show."""
    ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    return json.dumps(value, ensure_ascii=ascii_only, indent=indent, default=str)


def size_of(count: float) -> str:
    """Return a number of bytes for people, in decimal units: ``98 MB``."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while count >= 999.5 and len(units) > 1:
        count /= 1000
        del units[0]
    unit = units[0]
    return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
