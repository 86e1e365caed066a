"""A conversation: its messages, its parameters, and the slash commands that change them."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastgen.cli.loading import model_name
from fastgen.cli.results import statistics
from fastgen.errors import FastgenError, InvalidParameterError, PromptError
from fastgen.params import SamplingParams

if TYPE_CHECKING:
    from fastgen.generator import Generator
    from fastgen.output import GenerationOutput

__all__ = ["Session"]

HELP: Final = '''\
/set NAME VALUE   change a parameter: /set temperature 0.2; /set alone shows them; VALUE none: back to the default
/system TEXT      set the system message; without TEXT: show it; none: take it away
/stats            speed and memory of the last answer
/regen            another answer to the last message
/undo             take back the last message and its answer
/clear            forget the conversation, keep parameters and system message
/save FILE        write the conversation to a file
/load FILE        go on with a saved one
/help, /?         this list
/exit, /bye       leave; also Ctrl-D
"""               begins and ends a message of several lines
Ctrl-C stops an answer and keeps what is there. A message that begins with / goes between """.'''

MAX_FILE: Final = 1 << 26  # bytes of a saved conversation


class Session:
    """One conversation with a model. Whatever fails leaves it as it was.

    Parameters
    ----------
    generator : Generator
    params : SamplingParams
    system : str, optional
    """

    def __init__(self, generator: Generator, params: SamplingParams, system: str | None = None) -> None:
        self.generator = generator
        self.params = params
        self.system = system
        self.messages: list[dict[str, str]] = []  # user and assistant in turn
        self.last: GenerationOutput | None = None
        self.ended = False
        self._started_with = params
        self._commands: dict[str, Callable[[str], str | None]] = {
            "/set": self._set,
            "/system": self._system,
            "/stats": self._stats,
            "/undo": self._undo,
            "/clear": self._clear,
            "/save": self._save,
            "/load": self._load,
            "/help": lambda _: HELP,
            "/?": lambda _: HELP,
            "/exit": self._exit,
            "/bye": self._exit,
        }

    def answer(self, text: str, write: Callable[[str], None]) -> bool:
        """Add a message and the answer to it; return whether Ctrl-C stopped the answer, which keeps what is there.

        Raises
        ------
        FastgenError
            As `Generator.stream`; the conversation is then as it was before.
        """
        return self._answer([*self.messages, {"role": "user", "content": text}], write)

    def regenerate(self, write: Callable[[str], None]) -> bool:
        """Replace the last answer by another one; returns and raises as `answer`."""
        if not self.messages:
            raise InvalidParameterError("there is no message to answer yet")
        return self._answer(self.messages[:-1], write)

    def command(self, line: str) -> str | None:
        """Carry out a slash command and return what there is to say.

        Raises
        ------
        FastgenError, OSError
            If there is no such command or it fails.
        """
        name, _, rest = line.partition(" ")
        if name not in self._commands:
            close = difflib.get_close_matches(name, [*self._commands, "/regen"], n=1)
            other = '/help lists them; a message that begins with / goes between """'
            hint = f"did you mean {close[0]}?" if close else other
            raise InvalidParameterError("there is no such command", hint=hint, command=name)
        return self._commands[name](rest.strip())

    def _answer(self, messages: list[dict[str, str]], write: Callable[[str], None]) -> bool:
        system = [{"role": "system", "content": self.system}] if self.system else []
        texts: list[str] = []
        interrupted, last = False, None
        try:
            for piece in self.generator.stream([*system, *messages], self.params):
                texts.append(piece.text)
                write(piece.text)
                last = piece.output
        except KeyboardInterrupt:
            interrupted = True
        if texts and (any(texts) or not interrupted):
            self.messages = [*messages, {"role": "assistant", "content": "".join(texts)}]
        self.last = last or self.last
        return interrupted

    def _set(self, rest: str) -> str:
        name, _, value = rest.partition(" ")
        if not name:
            return "\n".join(f"{key} = {json.dumps(value)}" for key, value in self.params.to_dict().items())
        if not value.strip():
            raise InvalidParameterError("a value is missing", hint=f"for example: /set {name} none", parameter=name)
        before = self.params
        self.params = before.replace(**{name: self._value(name, value.strip())})
        now = self.params.to_dict()
        changed = [f"{key} = {json.dumps(now[key])}" for key, old in before.to_dict().items() if now[key] != old]
        return ", ".join(changed) or "nothing changed"

    def _value(self, name: str, text: str) -> Any:
        """Return a value as written: JSON where it is JSON, else the text; none: what the chat started with."""
        if text.lower() in ("none", "default"):
            return self._started_with.to_dict().get(name)
        try:
            return json.loads(text)
        except ValueError:
            return text

    def _system(self, rest: str) -> str:
        if rest:
            self.system = None if rest.lower() == "none" else rest
        return f"system: {self.system}" if self.system else "there is no system message"

    def _stats(self, _: str) -> str:
        return statistics(self.last) if self.last is not None else "there is no complete answer yet"

    def _undo(self, _: str) -> str:
        if not self.messages:
            raise InvalidParameterError("there is nothing to take back")
        self.messages = self.messages[:-2]
        return f"taken back; {len(self.messages) // 2} messages are left"

    def _clear(self, _: str) -> str:
        self.messages = []
        return "the conversation is forgotten"

    def _exit(self, _: str) -> None:
        self.ended = True

    def _save(self, rest: str) -> str:
        path = _path(rest, "/save")
        changed = {k: v for k, v in self.params.to_dict().items() if v != getattr(SamplingParams(), k)}
        content = {
            "model": model_name(self.generator),
            "system": self.system,
            "params": changed,
            "messages": self.messages,
        }
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
            temporary.replace(path)  # a file that is there is replaced as a whole, or stays
        finally:
            temporary.unlink(missing_ok=True)
        return f"saved {len(self.messages) // 2} messages and their answers to {path}"

    def _load(self, rest: str) -> str:
        path = _path(rest, "/load")
        if path.stat().st_size > MAX_FILE:
            raise PromptError("the file is too large for a conversation", path=str(path), limit=MAX_FILE)
        try:
            content = json.loads(path.read_text("utf-8"))
        except (ValueError, RecursionError) as error:
            raise PromptError("the file is not a saved conversation", path=str(path), reason=str(error)) from None
        messages, system, params = _checked(content, path)
        try:
            self.params = SamplingParams(**params)
        except FastgenError as error:
            error.details["path"] = str(path)
            raise
        self.messages, self.system = messages, system
        return f"loaded {len(messages) // 2} messages and their answers from {path}"


def _path(text: str, command: str) -> Path:
    if not text:
        raise InvalidParameterError("a file name is missing", hint=f"for example: {command} talk.json")
    path = Path(os.path.expanduser(text))
    if path.is_dir():
        raise InvalidParameterError("this is a folder", hint=f"for example: {command} talk.json", path=str(path))
    return path


def _checked(content: Any, path: Path) -> tuple[list[dict[str, str]], str | None, dict[str, Any]]:
    """Return messages, system message and parameters of a saved conversation.

    Raises
    ------
    PromptError
        If something is not as `/save` writes it.
    """

    def wrong(what: str) -> PromptError:
        return PromptError("the file is not a saved conversation", path=str(path), reason=what)

    if not isinstance(content, dict) or not isinstance(content.get("messages"), list):
        raise wrong('there is no list "messages"')
    system, params = content.get("system"), content.get("params", {})
    if not isinstance(system, str | None) or not isinstance(params, dict):
        raise wrong('"system" must be a text and "params" an object')
    messages: list[dict[str, str]] = []
    for place, message in enumerate(content["messages"]):
        role, text = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        if role != ("user", "assistant")[place % 2] or not isinstance(text, str):
            raise wrong(f"message {place + 1} must be a text of the {('user', 'assistant')[place % 2]}")
        messages.append({"role": role, "content": text})
    if len(messages) % 2:
        raise wrong("the last message has no answer")
    return messages, system, params
