"""The sampling options, which `generate` and `chat` share: declared once, given to a command by a decorator."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import typer

__all__ = ["OPTIONS", "sampling", "with_sampling"]


USUAL_COUNT: Final = 4  # of --stop-loops


def _option(kind: Any, *names: str, metavar: str, help: str) -> Any:  # noqa: A002 - typer's own word
    return Annotated[kind | None, typer.Option(*names, metavar=metavar, help=help)]


# By the name of the sampling parameter, in the order of --help. An option that is not given leaves the model's default.
OPTIONS: Final[dict[str, Any]] = {
    "profile": _option(
        str, "--profile", metavar="NAME", help="Apply the samplers in the order and with the details of this engine."
    ),
    "temperature": _option(float, "--temp", "--temperature", metavar="F", help="0: always the likeliest token."),
    "top_p": _option(float, "--top-p", metavar="F", help="Keep the likeliest tokens up to this probability."),
    "top_k": _option(int, "--top-k", metavar="N", help="Keep the N likeliest tokens; 0: all."),
    "min_p": _option(float, "--min-p", metavar="F", help="Keep tokens at least F times as likely as the likeliest."),
    "typical_p": _option(
        float, "--typical-p", metavar="F", help="Keep the tokens of most typical surprise up to this probability."
    ),
    "top_n_sigma": _option(
        float, "--top-n-sigma", metavar="F", help="Keep scores within F standard deviations of the largest."
    ),
    "xtc_probability": _option(
        float, "--xtc-probability", metavar="F", help="How often the likeliest choices are excluded (XTC)."
    ),
    "xtc_threshold": _option(
        float, "--xtc-threshold", metavar="F", help="Tokens from this probability on can be excluded (XTC)."
    ),
    "mirostat": _option(
        int, "--mirostat", metavar="0|1|2", help="Keep the surprise of the text even: version 1 or 2; 0: off."
    ),
    "repetition_penalty": _option(
        float,
        "--repeat-penalty",
        "--repetition-penalty",
        metavar="F",
        help="Above 1: make tokens that have occurred less likely.",
    ),
    "presence_penalty": _option(
        float, "--presence-penalty", metavar="F", help="Take this off the score of a token that has been generated."
    ),
    "frequency_penalty": _option(
        float, "--frequency-penalty", metavar="F", help="Take this off for each time it has been generated."
    ),
    "seed": _option(int, "--seed", metavar="N", help="The same seed gives the same text."),
    "stop": _option(
        list[str], "--stop", metavar="TEXT", help="End before this text; may be repeated; taken literally."
    ),
    "stop_token_ids": _option(
        list[int], "--stop-token", metavar="ID", help="End at this token; may be repeated; it has no text."
    ),
    "include_stop_str_in_output": _option(bool, "--keep-stop", metavar="", help="Print the text that --stop found."),
    "repetition_detection": _option(
        str,
        "--stop-loops",
        metavar="SIZE[,COUNT]",
        help="End when up to SIZE tokens have come COUNT times in a row (default 4).",
    ),
    "prompt_lookup_num_tokens": _option(
        int, "--lookup", metavar="N", help="Guess up to N tokens from what came before: the same text, sooner."
    ),
    "hold": _option(
        str, "--hold", metavar="codepoint|grapheme", help="What a stream never cuts: characters, or emoji of several."
    ),
    "min_tokens": _option(int, "--min-tokens", metavar="N", help="Do not end before N tokens."),
    "json_schema": _option(str, "--json-schema", metavar="FILE|JSON", help="Generate JSON that this schema accepts."),
    "regex": _option(str, "--regex", metavar="REGEX", help="Generate a text that matches as a whole."),
    "grammar": _option(str, "--grammar", metavar="FILE|TEXT", help="Generate a text of this Lark grammar."),
}


def with_sampling(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, in place of its ``**sampling``, all of `OPTIONS`; its keyword-only options come last."""
    own = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)
    given = [one for one in own.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    keyword = inspect.Parameter.KEYWORD_ONLY
    shared = [inspect.Parameter(name, keyword, default=None, annotation=kind) for name, kind in OPTIONS.items()]
    first = [one.replace(annotation=hints[one.name]) for one in given if one.kind is not keyword]
    last = [one.replace(annotation=hints[one.name]) for one in given if one.kind is keyword]

    @functools.wraps(command)
    def complete(*args: Any, **kwargs: Any) -> None:
        command(*args, **kwargs)

    complete.__signature__ = inspect.Signature([*first, *shared, *last])  # type: ignore[attr-defined]
    complete.__annotations__ = {one.name: one.annotation for one in (*first, *shared, *last)}
    return complete


def sampling(**given: Any) -> dict[str, Any]:
    """Return the sampling parameters that were given, files read, after a check that needs no model.

    Raises
    ------
    InvalidParameterError
        If one of them is out of its range.
    """
    from fastgen.params import SamplingParams

    chosen = {name: value for name, value in given.items() if value is not None and value != []}
    if "repetition_detection" in chosen:
        chosen["repetition_detection"] = _loops(chosen["repetition_detection"])
    if "json_schema" in chosen:
        text = chosen["json_schema"]
        chosen["json_schema"] = text if text.lstrip().startswith("{") else _read(text, "--json-schema")
    if "grammar" in chosen:
        text = chosen["grammar"]
        chosen["grammar"] = text if ":" in text and not _is_file(text) else _read(text, "--grammar")
    SamplingParams(**chosen)
    return chosen


def _loops(text: str) -> tuple[int, int, int]:
    size, _, count = text.partition(",")
    try:
        return int(size), 1, int(count or USUAL_COUNT)
    except ValueError:
        raise typer.BadParameter("it takes one or two numbers: 32 or 32,4", param_hint="--stop-loops") from None


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # too long for a name, or with a NUL
        return False


def _read(name: str, option: str) -> str:
    if not _is_file(name):
        raise typer.BadParameter(f"there is no file {name!r}", param_hint=option)
    try:
        return Path(name).read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise typer.BadParameter(f"the file {name!r} is not UTF-8", param_hint=option) from None
