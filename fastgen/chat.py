"""Chat templates: messages to prompt text, and to token ids in which no text of a user is a control token."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from fastgen.control import Hidden, control_strings, encode_apart
from fastgen.errors import PromptError, missing_dependency

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    from fastgen.tokenizer import Tokenizer

__all__ = ["ChatTemplate"]

MAX_SOURCE: Final = 1 << 18  # characters of a template
MAX_ADDED: Final = 1 << 20  # characters that a template may add to the contents of the messages
MAX_DEPTH: Final = 32  # nesting of a message
MAX_QUOTED: Final = 300  # characters of a template's own error message
MAX_EXPONENT: Final = 64


class ChatTemplate:
    """A Jinja chat template, rendered in a sandbox to the same bytes as in `transformers`.

    The template is compiled when it is first used, so a faulty one does no harm to a model that is never chatted with.

    Parameters
    ----------
    source : str
        The text of the template.
    bos_token, eos_token : str, default ""
        What the template sees under these names.
    name : str, default "chat template"
        How errors call it.
    """

    __slots__ = ("_compiled", "bos_token", "eos_token", "name", "source")

    def __init__(self, source: str, *, bos_token: str = "", eos_token: str = "", name: str = "chat template") -> None:
        self.source = source
        self.bos_token = bos_token
        self.eos_token = eos_token
        self.name = name
        self._compiled: Template | None = None

    def render(
        self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = True, **variables: Any
    ) -> str:
        """Return the prompt of a conversation.

        Parameters
        ----------
        messages : sequence of mappings
            Each has a ``role`` (str) and a ``content`` (str, UTF-8 bytes or None). Other keys reach the template as
            they are; their values must be what JSON can hold.
        add_generation_prompt : bool, default True
            Whether the prompt ends with the opening of the answer.
        **variables
            More values for the template, such as ``tools``.

        Returns
        -------
        str
            The prompt, control strings included. To make token ids of it, use `encode`.

        Raises
        ------
        PromptError
            The messages are malformed (``prompt_empty``, ``prompt_invalid``, ``prompt_not_utf8``), or the template is
            faulty, refuses them or grows out of bounds (``prompt_invalid``; the hint quotes the template).
        """
        more = {name: _plain(value, {"variable": name}) for name, value in variables.items()}
        return self._render(_checked(messages), add_generation_prompt, datetime.now(), more)

    def encode(
        self,
        messages: Sequence[Mapping[str, Any]],
        tokenizer: Tokenizer,
        *,
        add_generation_prompt: bool = True,
    ) -> list[int]:
        """Return the token ids of a conversation.

        Control strings that the template writes become control tokens; the same strings in what the messages hold are
        encoded as plain text, also where a string is put together from a content and its surroundings. Roles alone
        count as the application's own words: templates build control strings from them.

        Parameters
        ----------
        messages, add_generation_prompt
            As in `render`.
        tokenizer : Tokenizer
            What encodes; its ``special_strings`` are the control strings.

        Returns
        -------
        list of int
            Without a BOS that the template does not write. Equal to ``tokenizer.encode(rendered, control_tokens=True)``
            if no message holds a control string.

        Raises
        ------
        PromptError
            As `render`; also if a role holds a control string, or a message holds one and the template changes its
            text so that the two can't be told apart (both ``prompt_invalid``).
        """
        plain = _checked(messages)
        now = datetime.now()
        control = control_strings(tuple(tokenizer.special_strings))
        for place, message in enumerate(plain):
            if control.pattern.search(message["role"]):
                raise PromptError(
                    "a role holds a control string",
                    hint="a role is a plain word such as user or assistant",
                    message_index=place,
                    role=message["role"],
                )
        text = self._render(plain, add_generation_prompt, now, {})
        hidden = Hidden(control, text)
        disguised = [hidden.message(message) for message in plain]
        if disguised == plain:
            return tokenizer.encode(text, control_tokens=True)
        skeleton = self._render(disguised, add_generation_prompt, now, {})
        if hidden.reveal(skeleton) != text:
            raise PromptError(
                "the chat template changes a message so that its text can't be kept apart from control strings",
                hint="take strings such as <|...|> that the tokenizer treats as control tokens out of the messages",
                template=self.name,
            )
        return encode_apart(text, skeleton, control, tokenizer)

    def _render(self, messages: list[Any], add_generation_prompt: bool, now: datetime, more: dict[str, Any]) -> str:
        template = self._compiled or self._compile()
        self._compiled = template
        values = {
            "messages": messages,
            "tools": None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
            "bos_token": self.bos_token,
            "eos_token": self.eos_token,
            "strftime_now": lambda form: now.strftime(form),
            **more,
        }
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
        return "".join(chunks)

    def _compile(self) -> Template:
        if len(self.source) > MAX_SOURCE:
            raise PromptError(
                "the chat template is too long", hint="use another template", template=self.name, limit=MAX_SOURCE
            )
        environment = _environment()
        try:
            return environment.from_string(self.source)
        except Exception as error:  # syntax errors, but also what a constant expression in it raises
            raise self._fault("the chat template can't be compiled", error) from error

    def _fault(self, what: str, error: Exception) -> PromptError:
        said = " ".join(str(error).split())[:MAX_QUOTED] or type(error).__name__
        line = getattr(error, "lineno", None)
        where = {"template": self.name} if line is None else {"template": self.name, "line": line}
        return PromptError(what, hint=f"the template says: {said}", **where)


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    """Return Jinja as `transformers` sets it up for chat templates."""
    try:
        from jinja2 import TemplateError, ext, nodes
        from jinja2.exceptions import SecurityError
        from jinja2.parser import Parser
        from jinja2.runtime import Context
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise missing_dependency("jinja2", "torch", "a chat template") from error

    class Generation(ext.Extension):
        """The tag that marks what the assistant wrote; it has no effect on the text."""

        tags = {"generation"}  # noqa: RUF012 - a set, as jinja2 declares it

        def parse(self, parser: Parser) -> nodes.Node:
            line = next(parser.stream).lineno
            return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)

    class Environment(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"*", "**"})  # also keeps the compiler from computing them beforehand

        def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
            repeated = any(
                isinstance(items, Sequence) and isinstance(times, int) and len(items) * times > MAX_ADDED
                for items, times in ((left, right), (right, left))
            )
            if repeated or (operator == "**" and isinstance(right, int) and right > MAX_EXPONENT):
                raise SecurityError("a product in the template is too large")
            return super().call_binop(context, operator, left, right)

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(
        x: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = Environment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    return environment


def _checked(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages as plain data, or raise `PromptError` with the place of the first fault."""
    if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes)):
        raise PromptError(
            "messages must be a list of mappings",
            hint='such as [{"role": "user", "content": "Hi"}]',
            type=type(messages).__name__,
        )
    if not messages:
        raise PromptError("there are no messages", code="prompt_empty", hint="a conversation has at least one message")
    plain: list[dict[str, Any]] = []
    for place, message in enumerate(messages):
        where: dict[str, Any] = {"message_index": place}
        if not isinstance(message, Mapping) or not all(isinstance(key, str) for key in message):
            raise PromptError("a message must be a mapping with str keys", hint="such as role and content", **where)
        if not isinstance(message.get("role"), str):
            raise PromptError("a message has no role", hint="give it a str such as user under the key role", **where)
        if "content" not in message or not isinstance(message["content"], (str, bytes, type(None))):
            raise PromptError("a message has no content", hint="give it a str, UTF-8 bytes or None", **where)
        plain.append({_plain(key, where): _plain(value, {**where, "key": key}) for key, value in message.items()})
    return plain


def _plain(value: Any, where: Mapping[str, Any], depth: int = 0) -> Any:
    """Return a copy in plain JSON types: a template must not reach the methods of foreign objects."""
    if value is None or type(value) in (bool, int, float):
        return value
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            before = len(value[: error.start].encode())
            raise _not_utf8("a message holds a lone surrogate", before, where) from error
        return str.__str__(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise _not_utf8("bytes of a message are not UTF-8", error.start, where) from error
    if depth >= MAX_DEPTH:
        raise PromptError("a message is nested too deeply", hint="flatten it", limit=MAX_DEPTH, **where)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {_plain(key, where): _plain(item, where, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_plain(item, where, depth + 1) for item in value]
        return items if isinstance(value, list) else tuple(items)
    raise PromptError(
        "a message holds a value that JSON can't",
        hint="use str, numbers, lists and dicts",
        type=type(value).__name__,
        **where,
    )


def _not_utf8(what: str, offset: int, where: Mapping[str, Any]) -> PromptError:
    return PromptError(what, code="prompt_not_utf8", hint="send well-formed Unicode", offset=offset, **where)
