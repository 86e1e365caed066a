"""Learning programs from chat templates: a template is run once on contents that nobody has written yet.

Most templates do nothing with a content but write it, join it to other text and strip it; what else they write is
decided by roles and places. For messages of given roles such a template is therefore a list: this text, content 0,
that text, content 1 stripped. To find the list, the template is run, by Jinja, on a `Text` in place of each content. It
stands for a str of any value and notes what is done to it:

- ``+``, ``~``, ``strip``, the filters ``trim`` and ``string``, writing it, keeping it in variables, namespaces and
  lists, and giving it to macros and loops are carried out on the list;
- questions that have one answer for every str (``is string``, ``is none``, ``is defined``) get it;
- questions that nearly every content answers alike get that answer, and the program a guard which says so: that a
  content is not blank (``if content``), or that it lacks some text (``'</think>' in content``, ``startswith``,
  ``split``, ``replace``, ``==``). A conversation that fails a guard goes to Jinja;
- all else raises `Unknowable`, and messages of such roles are left to Jinja.

So a program is right for every conversation that passes its guards, not by likeness but because a `Text` has no other
way to act on the run: it is no str, so no code that wants one can go on, and every method that Python itself might call
is defined here or raises. What no content decides, such as loops over roles and counters, has simply happened. The date
is written as such, so that a program is right tomorrow too. `learn` still compares each program to Jinja on made-up
conversations, and keeps none that differs in a byte.

The method is that of tracing compilers with guards (Bala, Duesterwald and Banerjia: Dynamo, PLDI 2000; Bolz et al.:
Tracing the meta-level, ICOOOLPS 2009), without loops in the traces: there is one program for each sequence of roles.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, Final

from fastgen.program import TAG, Program
from fastgen.prompt import PromptBuilder
from fastgen.sandbox import MAX_ADDED, environment_class

if TYPE_CHECKING:
    from jinja2 import Environment, Template

    from fastgen.program import Part

__all__ = ["ROUNDS", "Unknowable", "learn", "trace", "traceable"]

ROUNDS: Final = 4  # made-up conversations on which a program is compared to Jinja
CONTENTS: Final = (
    "",
    " ",
    "\n",
    "Hi",
    " \t two\n\nlines \r\n",
    "\u3000Grüße, 안녕 🙂\xa0",
    "<|im_end|>\n<|im_start|>system\nx",
    "[/INST] <</SYS>> <end_of_turn> </s>",
    "{{ 7 * 7 }}{% raw %}",
    "</think> <think>\n",
    "\u2028\x00\x1f",
    "'\"\\<&>",
)


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
        if any(isinstance(part, str) and not part.isspace() for part in self._parts):
            return True
        for part in self._parts:
            while part[0] == "strip" and len(part[1]) == 1 and not isinstance(part[1][0], str):
                part = part[1][0]
            if part[0] == "content":
                self._guards.add((part[1], None))
                return True
        raise Unknowable("it asks whether a text is empty")

    def _lacks(self, text: Any, question: str) -> None:
        """Go on as if this, which must be one content, did not hold a text."""
        parts = self._parts
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


def parts_of(value: Any) -> tuple[Part, ...] | None:
    """Return the parts of a `Text` or str, or None."""
    if isinstance(value, Text):
        return value._parts
    if isinstance(value, Written):
        return value.text._parts
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


TESTS: Final = {  # what is the same for every str
    "string": True,
    "defined": True,
    "iterable": True,
    "sequence": True,
    "undefined": False,
    "none": False,
    "mapping": False,
    "number": False,
    "integer": False,
    "float": False,
    "boolean": False,
    "true": False,
    "false": False,
    "callable": False,
}
FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "trim": lambda text, chars=None: text.strip(chars),
    "string": lambda text: text,
    "default": lambda text, other="", boolean=False: text if not boolean or text else other,
    "d": lambda text, other="", boolean=False: text if not boolean or text else other,
}
JOIN: Final = "a join"


def guarded(name: str, function: Callable[..., Any], known: Callable[..., Any] | None) -> Callable[..., Any]:
    """Return a filter or test that does for a `Text` what is known, and else refuses it."""

    @wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        if not any(isinstance(value, Text) for value in (*args, *keywords.values())):
            return function(*args, **keywords)
        of = args[1 if hasattr(function, "jinja_pass_arg") else 0 :]
        if known is None or keywords or not isinstance(of[0], Text) or any(isinstance(value, Text) for value in of[1:]):
            raise Unknowable(f"it looks into a content: {name}")
        return known(*of)

    return call


@lru_cache(maxsize=1)
def tracing() -> Environment:
    """Return an environment in which templates can be run on `Text`."""
    from jinja2 import nodes
    from jinja2.visitor import NodeTransformer

    class Joins(NodeTransformer):
        def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - the visitor's way to name it
            self.generic_visit(node)
            texts = nodes.List(node.nodes, lineno=node.lineno)
            return nodes.Filter(texts, JOIN, [], [], None, None, lineno=node.lineno)

    class Tracing(environment_class()):  # type: ignore[misc]
        concat = staticmethod(joined)

        def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
            tree: nodes.Template = Joins().visit(super()._parse(source, name, filename))
            tree.set_environment(self)
            return tree

        def getitem(self, obj: Any, argument: Any) -> Any:
            if isinstance(argument, Text):
                raise Unknowable("it looks up a content")
            return super().getitem(obj, argument)

    environment: Environment = Tracing()
    environment.finalize = written
    for name, function in environment.filters.items():
        environment.filters[name] = guarded(name, function, FILTERS.get(name))
    for name, function in environment.tests.items():
        answer = TESTS.get(name)
        environment.tests[name] = guarded(name, function, None if answer is None else lambda _, answer=answer: answer)
    environment.filters[JOIN] = concatenated
    environment.filters["random"] = environment.globals["lipsum"] = _chance
    return environment


@lru_cache(maxsize=16)
def traceable(source: str) -> Template:
    """Return a template, compiled to be run on `Text`."""
    return tracing().from_string(source)


def trace(template: Template, roles: Sequence[str], values: Mapping[str, Any], *, continued: bool = False) -> Program:
    """Return the program for messages of given roles.

    Parameters
    ----------
    template : Template
        As `traceable` makes it.
    roles : sequence of str
        Of the messages.
    values : mapping
        What the template sees, besides the messages and the clock.
    continued : bool, default False
        Whether the last message is to be left open.

    Raises
    ------
    Unknowable
        What the template writes depends on the contents.
    Exception
        Whatever the template raises.
    """
    guards: set[tuple[int, str | None]] = set()
    contents = [Text([("content", place)], guards) for place in range(len(roles))]
    if continued:
        contents[-1] += TAG

    def strftime_now(form: Any) -> Text:
        if type(form) is not str:
            raise Unknowable("it asks for the date in a form that depends on a content")
        return Text([("clock", form)], guards)

    messages = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]
    context = template.new_context({**values, "messages": messages, "strftime_now": strftime_now})
    parts: list[Part] = []
    room = MAX_ADDED
    for chunk in template.root_render_func(context):
        for part in parts_of(chunk) or ():
            if isinstance(part, str):
                room -= len(part)
                if room < 0 or "\0" in part:  # a Written that lost its Text is a NUL
                    raise Unknowable("it writes too much" if room < 0 else "it writes NUL")
                if parts and isinstance(parts[-1], str):
                    part = parts.pop() + part
            parts.append(part)
    return Program(parts, sorted(guards, key=repr), continued)


def learn(
    source: str,
    roles: Sequence[str],
    values: Mapping[str, Any],
    render: Callable[[list[str], datetime], str],
    *,
    continued: bool = False,
) -> Program | str:
    """Return the program for messages of given roles, or why there is none.

    Parameters
    ----------
    source, roles, values, continued
        As in `trace`.
    render : callable
        Renders messages of these contents by Jinja, at a given time.
    """
    try:
        program = trace(traceable(source), roles, values, continued=continued)
    except Unknowable as error:
        return str(error)
    except Exception as error:  # a template is foreign code: it may fail in any way
        return f"it fails on contents that are not known: {type(error).__name__}"
    chance = random.Random(len(roles))
    prompt = PromptBuilder()
    for turn in range(ROUNDS):
        contents = [chance.choice(CONTENTS) if turn else "Hi" for _ in roles]
        now = datetime(2024, 1 + turn, 29, 23, 59, 58, turn)
        prompt.clear()
        if program.write(prompt, contents, now):
            try:
                same = str(prompt) == render(contents, now)
            except Exception:
                same = False
            if not same:
                return "Jinja writes something else"
    return program


def _chance(*_: Any) -> Any:
    raise Unknowable("it throws dice")
