"""Messages as plain data, checked: what a chat template gets to see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastgen.errors import PromptError

__all__ = ["checked", "plain"]

MAX_DEPTH: Final = 32  # nesting of a message


def checked(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages as plain data, or raise `PromptError` with the place of the first fault."""
    if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes)):
        raise PromptError(
            "messages must be a list of mappings",
            hint='such as [{"role": "user", "content": "Hi"}]',
            type=type(messages).__name__,
        )
    if not messages:
        raise PromptError("there are no messages", code="prompt_empty", hint="a conversation has at least one message")
    result: list[dict[str, Any]] = []
    for place, message in enumerate(messages):
        where: dict[str, Any] = {"message_index": place}
        if not isinstance(message, Mapping) or not all(isinstance(key, str) for key in message):
            raise PromptError("a message must be a mapping with str keys", hint="such as role and content", **where)
        if not isinstance(message.get("role"), str):
            raise PromptError("a message has no role", hint="give it a str such as user under the key role", **where)
        if "content" not in message or not isinstance(message["content"], (str, bytes, type(None))):
            raise PromptError("a message has no content", hint="give it a str, UTF-8 bytes or None", **where)
        result.append({plain(key, where): plain(value, {**where, "key": key}) for key, value in message.items()})
    return result


def plain(value: Any, where: Mapping[str, Any], depth: int = 0) -> Any:
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
        return {plain(key, where): plain(item, where, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [plain(item, where, depth + 1) for item in value]
        return items if isinstance(value, list) else tuple(items)
    raise PromptError(
        "a message holds a value that JSON can't",
        hint="use str, numbers, lists and dicts",
        type=type(value).__name__,
        **where,
    )


def _not_utf8(what: str, offset: int, where: Mapping[str, Any]) -> PromptError:
    return PromptError(what, code="prompt_not_utf8", hint="send well-formed Unicode", offset=offset, **where)
