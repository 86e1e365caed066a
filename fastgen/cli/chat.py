"""``fastgen chat``: a conversation on the terminal, or through a pipe."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from fastgen.cli import common, options
from fastgen.cli.loading import load
from fastgen.cli.results import statistics
from fastgen.cli.session import Session
from fastgen.errors import ContextLengthError, FastgenError, PromptError

__all__ = ["chat"]

HISTORY_LINES: Final = 1000
FENCE: Final = '"""'


@options.with_sampling
def chat(
    model: common.Model = None,
    system: common.System = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", metavar="N", help="Most tokens of one answer.")] = 1024,
    *,
    stats: common.Stats = False,
    device: common.Device = "auto",
    dtype: common.Dtype = "auto",
    threads: common.Threads = None,
    verbose: common.Verbose = False,
    quiet: common.Quiet = False,
    **sampling: Any,
) -> None:
    """Talk with a model; /help lists the commands.

    Through a pipe each line is a message, stdout gets the answers only, and the exit code is that of the first error.
    """
    overrides = options.sampling(max_tokens=max_tokens, **sampling)
    generator = load(model, device=device, dtype=dtype, threads=threads)
    if generator.tokenizer.chat_template is None:
        raise PromptError("the model has no chat template", hint="it can continue a text: fastgen generate --raw TEXT")
    session = Session(generator, generator.defaults.replace(**overrides), system)
    failure = 0
    with contextlib.ExitStack() as stack:
        reader = Reader(stack)
        while not session.ended:
            try:
                message = reader.read()
                if message is None:
                    break
                _turn(session, *message, stats=stats)
            except BrokenPipeError:
                raise
            except Exception as error:  # whatever it is, the conversation goes on
                if isinstance(error, ContextLengthError):
                    error.hint = "/undo takes back the last message, /clear forgets the conversation"
                common.report(error)
                failure = failure or (common.exit_code(error) if isinstance(error, FastgenError) else common.FAILED)
        if failure and not reader.interactive:
            raise typer.Exit(failure)


def _turn(session: Session, text: str, is_command: bool, *, stats: bool) -> None:
    """Carry out a command, or answer a message."""
    again = is_command and text == "/regen"
    if is_command and not again:
        if (reply := session.command(text)) is not None:
            common.note(reply)
        return
    if again and session.params.seed is not None:
        common.note("the seed is fixed, so the answer will be the same; /set seed none changes that")
    writer = common.Writer()
    before = session.last
    try:
        interrupted = session.regenerate(writer.write) if again else session.answer(text, writer.write)
    finally:
        writer.end()
    if interrupted:
        common.note("(stopped)")
    if session.last is before or session.last is None:
        return
    if session.last.finish_detail == "context":
        common.note("the context is full: /undo takes back the last message, /clear forgets the conversation")
    elif session.last.finish_detail == "max_tokens":
        common.note(f"(ended by max_tokens = {session.params.max_tokens})")
    if stats:
        common.note(statistics(session.last))


class Reader:
    """Messages and commands, typed or through a pipe.

    Parameters
    ----------
    stack : contextlib.ExitStack
        Gets what is to be done at the end: keeping the history of typed lines.
    """

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.interactive = sys.stdin.isatty()
        self._offset = 0  # bytes read from a pipe
        self._prompts = {">>> ": ">>> ", "... ": "... "}
        if self.interactive:
            common.note("/help lists the commands, Ctrl-D leaves")
            if (readline := _readline()) is not None and sys.stdout.isatty():
                stack.enter_context(_history(readline))
                if common.console(sys.stdout).color_system and common.settings.color and not os.environ.get("NO_COLOR"):
                    # \1 and \2 tell readline which characters take no room
                    self._prompts = {key: f"\1\33[31m\2{key}\1\33[0m\2" for key in self._prompts}

    def read(self) -> tuple[str, bool] | None:
        """Return the next text that is not blank and whether it is a command; None at the end.

        Raises
        ------
        PromptError
            If a line is not UTF-8; the next call goes on after it.
        """
        while (line := self._line(">>> ")) is not None:
            if line.startswith(FENCE):
                line = self._fenced(line.removeprefix(FENCE))
                if line.strip():
                    return line, False
            elif line.strip():
                return line.strip(), line.startswith("/")
        return None

    def _fenced(self, text: str) -> str:
        """Return the lines up to the one that ends with three quotes, or to the end of the input."""
        lines = [text]
        while not lines[-1].rstrip().endswith(FENCE):
            following = self._line("... ")
            if following is None:
                return "\n".join(lines)
            lines.append(following)
        return "\n".join(lines).rstrip().removesuffix(FENCE)

    def _line(self, prompt: str) -> str | None:
        if not self.interactive:
            data = sys.stdin.buffer.readline()
            start, self._offset = self._offset, self._offset + len(data)
            try:
                return common.text_of(data.rstrip(b"\r\n"), "stdin") if data else None
            except PromptError as error:
                error.details["offset"] += start
                raise
        try:
            if sys.stdout.isatty():
                return input(self._prompts[prompt])
            sys.stderr.write(prompt)
            sys.stderr.flush()
            return input()
        except UnicodeDecodeError as error:
            raise PromptError("the line is not UTF-8", code="prompt_not_utf8", offset=error.start) from None
        except KeyboardInterrupt:
            common.note("\n(Ctrl-D or /exit leaves)")
            return ""
        except EOFError:
            common.note("")
            return None


def _readline() -> Any:
    try:
        import readline
    except ImportError:  # Windows, or a Python built without it
        return None
    return readline


@contextlib.contextmanager
def _history(readline: Any) -> Iterator[None]:
    """Keep typed lines in the user's state folder; where that can't be, there is no history beyond this chat."""
    from platformdirs import user_state_path

    file = user_state_path("fastgen", appauthor=False) / "chat_history"
    with contextlib.suppress(OSError):
        readline.read_history_file(file)
    readline.set_history_length(HISTORY_LINES)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)  # what people type is nobody else's business
            readline.write_history_file(file)
