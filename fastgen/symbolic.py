"""Text that is not known yet: it notes what is done to it, and refuses what can't be done without knowing it.

See `fastgen.segments` for what this is good for and why it is sound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastgen.program import Part

__all__ = ["Text", "Unknowable", "Written", "concatenated", "joined", "parts_of", "written"]


class Unknowable(Exception):  # noqa: N818 - it becomes an answer
    """The template asks about a content what can't be told without it."""


class Text:
    """Stands for a str of which contents of messages are parts; see the module."""

    __slots__ = ("_guards", "_parts")

    def __init__(self, parts: Iterable[Part], guards: set[tuple[int, str | None]]) -> None:
        self._parts = tuple(part for part in parts if part != "")
        self._guards = guards

    def __add__(self, other: Any) -> Any:
        parts = parts_of(other)
        return NotImplemented if parts is None else Text((*self._parts, *parts), self._guards)

    def __radd__(self, other: Any) -> Any:
        parts = parts_of(other)
        return NotImplemented if parts is None else Text((*parts, *self._parts), self._guards)

    def strip(self, chars: None = None) -> Text:
        return self._stripped(chars, True, True)

    def lstrip(self, chars: None = None) -> Text:
        return self._stripped(chars, True, False)

    def rstrip(self, chars: None = None) -> Text:
        return self._stripped(chars, False, True)

    def _stripped(self, chars: None, left: bool, right: bool) -> Text:
        if chars is not None:
            raise Unknowable("it strips characters of its choice")
        return Text([("strip", self._parts, left, right)], self._guards)

    def __bool__(self) -> bool:
        if any(isinstance(part, str) for part in self._parts):  # none is empty
            return True
        for part in leaves(self._parts):  # what is not white space is never stripped
            if isinstance(part, str):
                if not part.isspace():
                    return True
            elif part[0] == "content":
                self._guards.add((part[1], None))
                return True
        raise Unknowable("it asks whether a text is empty")

    def _lacks(self, text: Any, question: str) -> None:
        """Go on as if this, which must be one content, did not hold a text."""
        parts: Any = self._parts
        while len(parts) == 1 and parts[0][0] == "strip":
            parts = parts[0][1]
        if len(parts) != 1 or parts[0][0] != "content" or type(text) is not str or text == "":
            raise Unknowable(f"it looks into a content: {question}")
        self._guards.add((parts[0][1], text))

    def __contains__(self, text: Any) -> bool:
        self._lacks(text, "in")
        return False

    def startswith(self, text: Any) -> bool:
        self._lacks(text, "startswith")
        return False

    def endswith(self, text: Any) -> bool:
        self._lacks(text, "endswith")
        return False

    def split(self, text: Any) -> list[Text]:
        self._lacks(text, "split")
        return [self]

    def replace(self, text: Any, other: Any) -> Text:
        if type(other) is not str:
            raise Unknowable("it looks into a content: replace")
        self._lacks(text, "replace")
        return self

    def __eq__(self, other: Any) -> bool:
        if other is self:
            return True
        if isinstance(other, Text):
            raise Unknowable("it compares contents")
        if other == "":
            return not self
        if type(other) is str:
            self._lacks(other, "==")
        elif isinstance(other, str):
            raise Unknowable("it looks into a content: ==")
        return False

    def __ne__(self, other: Any) -> bool:
        return not self == other

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            raise TypeError("string indices must be integers")  # as a str does
        raise Unknowable("it looks into a content: []")

    def __getattr__(self, name: str) -> Any:
        if hasattr(str, name):
            raise Unknowable(f"it looks into a content: {name}")
        raise AttributeError(name)

    def _refuse(self, *_: Any) -> Any:
        raise Unknowable("it looks into a content")

    __hash__ = __len__ = __iter__ = __str__ = __repr__ = __format__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __mod__ = __rmod__ = __mul__ = __rmul__ = _refuse


class Written(str):
    """A `Text` on its way through the places where Jinja insists on a str: only `joined` and `learn` take it."""

    text: Text

    def __str__(self) -> str:
        return self


def leaves(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield the parts, and instead of a strip those in it."""
    for part in parts:
        if isinstance(part, str) or part[0] != "strip":
            yield part
        else:
            yield from leaves(part[1])


def parts_of(value: Any) -> tuple[Part, ...] | None:
    """Return the parts of a `Text` or str, or None; a str of another type may escape what it is joined to."""
    if isinstance(value, Text):
        return value._parts
    if isinstance(value, Written):
        return value.text._parts
    if isinstance(value, str) and type(value) is not str:
        raise Unknowable("it joins a content to text marked as safe")
    return (value,) if isinstance(value, str) else None


def written(value: Any) -> Any:
    """Let a `Text` pass as a str; what Jinja calls on all that it is about to write."""
    if not isinstance(value, Text):
        return value
    result = Written("\0")
    result.text = value
    return result


def joined(chunks: Iterable[Any]) -> Any:
    """Join what was written into a buffer: a str, or a `Text` if one is among it."""
    chunks = list(chunks)
    if not any(isinstance(chunk, Written) for chunk in chunks):
        return "".join(chunks)
    guards = next(chunk.text._guards for chunk in chunks if isinstance(chunk, Written))
    return Text((part for chunk in chunks for part in parts_of(chunk) or ()), guards)


def concatenated(values: list[Any]) -> Any:
    """The operator ``~``."""
    return joined(written(value) if isinstance(value, Text) else str(value) for value in values)
