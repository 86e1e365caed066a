"""Readers of single values: each returns the form that is stored, or raises `Unfit`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any, Final, NamedTuple

from fastgen.profiles import SAMPLERS

LARGEST: Final = 1 << 31  # of counts; token ids are below it: they are int32
FINITE: Final = sys.float_info.max
BIAS: Final = 100.0
USUAL_LIKENESS: Final = 0.9


class RepetitionDetection(NamedTuple):
    """What counts as a loop: a pattern of `min_pattern_size` to `max_pattern_size` tokens, `min_count` times in a row.

    The fields are vLLM's.
    """

    max_pattern_size: int
    min_pattern_size: int = 1
    min_count: int = 2


class Unfit(Exception):  # noqa: N818 - it becomes an InvalidParameterError
    """A value breaks its rule; the text, if any, says where."""


class Rule(NamedTuple):
    """What one parameter accepts.

    Parameters
    ----------
    read : callable
        Returns the value as it is stored, or raises `Unfit`.
    text : str
        The rule in words.
    """

    read: Callable[[Any], Any]
    text: str


def shown(value: Any) -> str:
    """Return a value for a message, cut short."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        return f"<{type(value).__name__}>"
    return text if len(text) <= 80 else text[:77] + "..."


def _is_a(kind: type, value: Any) -> bool:
    """Whether a value is a number of this kind, NumPy's scalars included; True and False are none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != "" and not any("\ud800" <= letter <= "\udfff" for letter in value)


def number(
    low: float, high: float, text: str, *, open_low: bool = False, open_high: bool = False, off_below: bool = False
) -> Rule:
    """A number in an interval; with `off_below` whatever is finite and not above 0 is stored as 0.0."""

    def read(value: Any) -> Any:
        if not _is_a(Real, value):
            raise Unfit
        if off_below and -FINITE <= value <= 0:
            return 0.0
        above = value > low if open_low else value >= low
        below = value < high if open_high else value <= high
        if not (above and below):
            raise Unfit
        return value

    return Rule(read, text)


def integer(low: int, high: int, text: str, *, minus_one_is: int | None = None, optional: bool = False) -> Rule:
    """An integer in an interval; -1 may stand for another one."""

    def read(value: Any) -> Any:
        if optional and value is None:
            return None
        if _is_a(Integral, value):
            if minus_one_is is not None and value == -1:
                return minus_one_is
            if low <= value <= high:
                return value
        raise Unfit

    return Rule(read, text)


def flag(*, optional: bool = False) -> Rule:
    """True or False."""

    def read(value: Any) -> Any:
        if isinstance(value, bool) or (optional and value is None):
            return value
        raise Unfit

    return Rule(read, f"must be {'None, ' if optional else ''}True or False")


def choice(options: Iterable[str], *, optional: bool = False) -> Rule:
    """One of some names."""
    names = tuple(options)

    def read(value: Any) -> Any:
        if (isinstance(value, str) and value in names) or (optional and value is None):
            return value
        raise Unfit

    return Rule(read, f"must be {'None or ' if optional else ''}one of {', '.join(names)}")


def _many(value: Any, single: type) -> tuple[Any, ...]:
    """Return a tuple of one or many."""
    if value is None:
        return ()
    if isinstance(value, single) and not isinstance(value, bool):
        return (value,)
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        return tuple(value)
    raise Unfit


def texts(value: Any) -> tuple[str, ...]:
    """One text or many."""
    found = _many(value, str)
    if not all(_is_text(text) for text in found):
        raise Unfit
    return found


def text_or_none(value: Any) -> Any:
    """A text that is neither empty nor impossible to encode."""
    if value is not None and not _is_text(value):
        raise Unfit
    return value


def _token_id(value: Any) -> int:
    if _is_a(Integral, value) and 0 <= value < LARGEST:
        return int(value)
    raise Unfit(f"wrong is {shown(value)}")


def token_ids(value: Any) -> tuple[int, ...]:
    """One token id or many, in the given order."""
    return tuple(_token_id(token) for token in _many(value, Integral))


def set_of_ids(value: Any) -> tuple[int, ...]:
    """Token ids, sorted, each once."""
    return tuple(sorted(set(token_ids(value))))


def allowed_ids(value: Any) -> tuple[int, ...] | None:
    """The same, but not none at all."""
    if value is None:
        return None
    allowed = set_of_ids(value)
    if not allowed:
        raise Unfit
    return allowed


def words(value: Any) -> tuple[str | tuple[int, ...], ...]:
    """Texts and sequences of token ids."""
    return tuple(_word(word) for word in _many(value, str))


def _word(value: Any) -> str | tuple[int, ...]:
    if _is_text(value):
        return str(value)
    # A bare id might be a word of its own or a part of one.
    if isinstance(value, Iterable) and not isinstance(value, str) and (ids := token_ids(value)):
        return ids
    raise Unfit(f"wrong is {shown(value)}")


def breakers(value: Any) -> tuple[str | tuple[int, ...], ...] | None:
    """The same, or None."""
    return None if value is None else words(value)


def sampler_order(value: Any) -> tuple[str, ...] | None:
    """Names of samplers, each once."""
    if value is None:
        return None
    order = _many(value, str)
    for place, name in enumerate(order):
        if not isinstance(name, str) or name not in SAMPLERS:
            raise Unfit(f"there is no {shown(name)}")
        if name in order[:place]:
            raise Unfit(f"{name} is there twice")
    return order


def biases(value: Any) -> tuple[tuple[int, float], ...] | None:
    """Return pairs sorted by id; None if there are none, so that equal biases are equal values."""
    if value is None:
        return None
    found: dict[int, float] = {}
    for pair in value.items() if isinstance(value, Mapping) else _many(value, Mapping):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise Unfit
        token, bias = pair
        if isinstance(token, str) and len(token) <= 10 and token.isascii() and token.isdigit():
            token = int(token)
        token = _token_id(token)
        if token in found:
            raise Unfit(f"the id {token} is there twice")
        found[token] = _bias(token, bias)
    return tuple(sorted(found.items())) or None


def _bias(token: int, value: Any) -> float:
    if value is False or (_is_a(Real, value) and value == -math.inf):
        return -math.inf
    if not _is_a(Real, value) or not value < math.inf:
        raise Unfit(f"wrong is {shown(value)} for the id {token}")
    return float(min(max(value, -BIAS), BIAS))


def logprobs(value: Any) -> Any:
    """How many, -1 for all; True is 0, and False is None."""
    if value is None or isinstance(value, bool):
        return 0 if value else None
    if not _is_a(Integral, value) or not -1 <= value <= LARGEST:
        raise Unfit
    return value


def sequences_of_ids(value: Any) -> tuple[tuple[int, ...], ...]:
    """Sequences of token ids, none empty."""
    found = []
    for one in _many(value, str):
        if not isinstance(one, Iterable) or isinstance(one, (str, bytes)) or not (ids := token_ids(one)):
            raise Unfit(f"wrong is {shown(one)}")
        found.append(ids)
    return tuple(found)


def likeness(value: Any) -> float:
    """A threshold; True is the usual one, and False is 0 for off."""
    if isinstance(value, bool):
        return USUAL_LIKENESS if value else 0.0
    if not _is_a(Real, value) or not 0 <= value <= 1:
        raise Unfit
    return float(value)


def repetition_detection(value: Any) -> RepetitionDetection | None:
    """The three numbers, as a mapping or in their order; a largest pattern of 0 tokens is None."""
    if value is None:
        return None
    try:
        given = RepetitionDetection(**value) if isinstance(value, Mapping) else RepetitionDetection(*value)
    except TypeError as error:
        raise Unfit from error
    if not all(_is_a(Integral, number) and 0 <= number < LARGEST for number in given):
        raise Unfit
    if given.max_pattern_size == 0:
        return None
    # vLLM writes 0 for a smallest pattern of one token
    found = RepetitionDetection(int(given[0]), max(1, int(given[1])), int(given[2]))
    # the bounds of fastgen.loops.LoopDetector
    if not found.min_pattern_size <= found.max_pattern_size <= 1 << 16 or not 2 <= found.min_count <= 1 << 15:
        raise Unfit
    return found


def schema(value: Any) -> str | None:
    """Return JSON without spaces; the order of the keys stays, because it is the order of generated properties."""
    if value is None:
        return None
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
        if not isinstance(parsed, dict):
            raise Unfit
        text = json.dumps(parsed, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise Unfit(str(error)[:100]) from None
    return text
