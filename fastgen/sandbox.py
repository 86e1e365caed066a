"""Jinja as `transformers` sets it up for chat templates, with bounds on what a template may take.

Templates come with models and are foreign code. The sandbox keeps them from Python; the bounds here keep them from
taking all memory (products, powers) or all time: a rendering ends `MAX_SECONDS` after it began. That is looked at in
each turn of a loop and each call of a macro, by calls that are put into the template when it is parsed. Text without
either is bounded by the length of the source.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from fastgen.errors import missing_dependency

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = ["DEADLINE", "MAX_ADDED", "MAX_SECONDS", "deadline", "environment_class", "sandbox"]

MAX_ADDED: Final = 1 << 20  # characters that a template may add to the contents of the messages
MAX_SECONDS = 10.0
MAX_EXPONENT: Final = 64

# No template can spell these: they are no identifiers.
DEADLINE: Final = "the deadline"
TICK: Final = "a tick"


def deadline() -> float:
    """Return the value of the variable `DEADLINE` for a rendering that begins now."""
    return monotonic() + MAX_SECONDS


@lru_cache(maxsize=1)
def environment_class() -> type[ImmutableSandboxedEnvironment]:
    """Return the class of environments for chat templates."""
    try:
        from jinja2 import TemplateError, ext, nodes, pass_context
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

    @pass_context
    def tick(context: Context, _: None) -> bool:
        if monotonic() > context.parent[DEADLINE]:
            raise SecurityError("the template takes too long")
        return True

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(
        x: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    class Environment(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"*", "**"})  # also keeps the compiler from computing them beforehand

        def __init__(self) -> None:
            super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols])
            self.filters["tojson"] = tojson
            self.filters[TICK] = tick
            self.globals["raise_exception"] = raise_exception

        def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
            repeated = any(
                isinstance(items, Sequence) and isinstance(times, int) and len(items) * times > MAX_ADDED
                for items, times in ((left, right), (right, left))
            )
            if repeated or (operator == "**" and isinstance(right, int) and right > MAX_EXPONENT):
                raise SecurityError("a product in the template is too large")
            return super().call_binop(context, operator, left, right)

        def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
            tree = super()._parse(source, name, filename)
            node: Any
            for node in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
                line = node.lineno

                def look(line: int = line) -> nodes.Filter:
                    return nodes.Filter(nodes.Const(None, lineno=line), TICK, [], [], None, None, lineno=line)

                node.body.insert(0, nodes.ExprStmt(look(), lineno=line))
                if isinstance(node, nodes.For) and node.test is not None:
                    node.test = nodes.And(look(), node.test, lineno=line)
            tree.set_environment(self)
            return tree

    return Environment


@lru_cache(maxsize=1)
def sandbox() -> ImmutableSandboxedEnvironment:
    """Return the environment in which templates are rendered."""
    return environment_class()()
