"""Chat templates rendered by Jinja: the definition of what a conversation's prompt is, and its bounds."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from fastgen.errors import PromptError
from fastgen.program import TAG
from fastgen.sandbox import DEADLINE, MAX_ADDED, deadline, sandbox

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["CONTINUED", "MAX_SOURCE", "OPEN", "JinjaTemplate"]

MAX_SOURCE: Final = 1 << 18  # characters of a template
MAX_QUOTED: Final = 300  # characters of a template's own error message
OPEN: Final = 1  # mode: the prompt ends with the opening of the answer
CONTINUED: Final = 2  # it ends with the last content; 0: neither


class JinjaTemplate:
    """A template that is compiled when it is first rendered."""

    __slots__ = ("_compiled", "bos_token", "eos_token", "name", "source")

    def __init__(self, source: str, bos_token: str, eos_token: str, name: str) -> None:
        self.source = source
        self.bos_token = bos_token
        self.eos_token = eos_token
        self.name = name
        self._compiled: Template | None = None

    def values(self, mode: int) -> dict[str, Any]:
        """Return what the template sees besides messages and clock."""
        return {
            "tools": None,
            "documents": None,
            "add_generation_prompt": mode == OPEN,
            "bos_token": self.bos_token,
            "eos_token": self.eos_token,
            DEADLINE: deadline(),
        }

    def render(self, messages: list[Any], mode: int, now: datetime, more: dict[str, Any]) -> str:
        template = self._compiled or self._compile()
        self._compiled = template
        if mode == CONTINUED:
            last = messages[-1]
            if last["content"] is None or "content" not in self.source:
                raise self._not_open()
            messages = [*messages[:-1], {**last, "content": last["content"] + TAG}]
        values = {**self.values(mode), "messages": messages, "strftime_now": lambda form: now.strftime(form), **more}
        room = MAX_ADDED + sum(len(message.get("content") or "") for message in messages)
        chunks: list[str] = []
        try:
            for chunk in template.generate(values):
                room -= len(chunk)
                if room < 0:
                    break
                chunks.append(chunk)
        except Exception as error:  # a template is foreign code: it may fail in any way
            raise self._fault("the chat template does not accept these messages", error) from error
        if room < 0:
            raise PromptError(
                "the chat template writes too much", hint="use another template", template=self.name, limit=MAX_ADDED
            )
        text = "".join(chunks)
        return self._cut(text, last["content"]) if mode == CONTINUED else text

    def _cut(self, text: str, content: str) -> str:
        """End a prompt at its last tag, which stands at the end of the last content, as transformers does."""
        end = text.rfind(TAG.rstrip())
        if end < 0 or content.strip() not in text:
            raise self._not_open()
        return text[:end] if text.startswith(TAG, end) else text[:end].rstrip()

    def _not_open(self) -> PromptError:
        return PromptError(
            "the last message can't be continued",
            hint="it has no content, or the chat template does not write it as it is",
            template=self.name,
        )

    def _compile(self) -> Template:
        if len(self.source) > MAX_SOURCE:
            raise PromptError(
                "the chat template is too long", hint="use another template", template=self.name, limit=MAX_SOURCE
            )
        environment = sandbox()
        try:
            return environment.from_string(self.source)
        except Exception as error:  # syntax errors, but also what a constant expression in it raises
            raise self._fault("the chat template can't be compiled", error) from error

    def _fault(self, what: str, error: Exception) -> PromptError:
        said = " ".join(str(error).split())[:MAX_QUOTED] or type(error).__name__
        line = getattr(error, "lineno", None)
        where = {"template": self.name} if line is None else {"template": self.name, "line": line}
        return PromptError(what, hint=f"the template says: {said}", **where)
