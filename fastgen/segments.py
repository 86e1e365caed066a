"""Learning programs from chat templates: a template is run once on contents that nobody has written yet.

Most templates do nothing with a content but write it, join it to other text and strip it; what else they write is
decided by roles and places. For messages of given roles such a template is therefore a list: this text, content 0,
that text, content 1 stripped. To find the list, the template is run, by Jinja, on a `Text` (`fastgen.symbolic`) in
place of each content. It stands for a str of any value and notes what is done to it:

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
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial, wraps
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from fastgen.program import TAG, Program
from fastgen.prompt import PromptBuilder
from fastgen.sandbox import MAX_ADDED, environment_class
from fastgen.symbolic import Text, Unknowable, concatenated, joined, leaves, parts_of, written

if TYPE_CHECKING:
    from jinja2 import Environment, Template

    from fastgen.program import Part

__all__ = ["CONTENTS", "ROUNDS", "learn", "trace", "traceable"]

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
    function: Any
    for name, function in environment.filters.items():
        environment.filters[name] = guarded(name, function, FILTERS.get(name))
    for name, function in environment.tests.items():
        answer = TESTS.get(name)
        environment.tests[name] = guarded(name, function, None if answer is None else partial(_answer, answer))
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
            if part == "":
                continue
            if isinstance(part, str):
                room -= len(part)
                if room < 0 or "\0" in part:  # a Written that lost its Text is a NUL
                    raise Unknowable("it writes too much" if room < 0 else "it writes NUL")
                if parts and isinstance(before := parts[-1], str):
                    parts[-1] = before + part
                    continue
            parts.append(part)
    last = ("content", len(roles) - 1)
    pairs = pairwise(leaves(parts))
    if continued and not any(one == last and isinstance(two, str) and two.startswith(TAG) for one, two in pairs):
        raise Unknowable("it does not write the last content as it is")
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


def _answer(answer: bool, _: Text) -> bool:
    return answer


def _chance(*_: Any) -> Any:
    raise Unknowable("it throws dice")
