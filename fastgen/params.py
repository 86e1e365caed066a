"""What a caller asks of one generation: frozen, validated once, all problems reported together."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Final

from fastgen.errors import CheckpointError, InvalidParameterError, UnknownParameterError

__all__ = ["GREEDY_BELOW", "SamplingParams"]

GREEDY_BELOW: Final = 1e-5  # temperatures under this are greedy
MAX_TOKENS_LIMIT: Final = 1 << 31

ALIASES: Final = {
    "max_new_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "n_predict": "max_tokens",
    "temp": "temperature",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How tokens are chosen and when to stop. The defaults change nothing about the model's distribution.

    Parameters
    ----------
    temperature : float
        In [0, 100]. 0, or less than 1e-5, is greedy: the largest logit, the lowest id among equals.
    top_k : int
        Keep the k most likely tokens; exactly k, lower ids first among equals. 0 or -1 is off.
    top_p : float
        In (0, 1]. Keep the smallest set of most likely tokens whose probability reaches top_p, counted after top_k.
    min_p : float
        In [0, 1]. Keep tokens at least min_p times as likely as the most likely one; applied after top_p.
    seed : int, optional
        64 bits. The same seed and logits give the same tokens on every machine; without one a random seed is drawn, and
        returned.
    max_tokens : int, optional
        Most tokens to generate, at least 1; without it the model's context is the limit. Also ``max_new_tokens``.
    stop : str or sequence of str
        Strings that end the text; they are cut off.
    stop_token_ids : sequence of int
        Tokens that end the text.
    ignore_eos : bool
        Go on after the model's end-of-sequence token.
    include_stop_str_in_output : bool
        Keep the stop string in the text.
    skip_special_tokens : bool
        Leave special tokens out of the text.

    Raises
    ------
    InvalidParameterError
        If values are out of range or of the wrong type; ``error.details["problems"]`` lists all of them.
    UnknownParameterError
        If a keyword is not a parameter.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    include_stop_str_in_output: bool = False
    skip_special_tokens: bool = True

    def __post_init__(self) -> None:
        put = functools.partial(object.__setattr__, self)
        put("stop", _tuple(self.stop, str))
        put("stop_token_ids", _tuple(self.stop_token_ids, int))
        if isinstance(self.top_k, int) and self.top_k == -1:
            put("top_k", 0)
        problems = [
            f"{name}={_shown(getattr(self, name))}: {rule}"
            for name, (test, rule) in _RULES.items()
            if not test(getattr(self, name))
        ]
        if problems:
            raise InvalidParameterError(
                f"invalid sampling parameters: {'; '.join(problems)}",
                parameter=problems[0].split("=")[0],
                problems=problems,
            )

    @property
    def greedy(self) -> bool:
        """Whether the most likely token is always taken."""
        return self.temperature < GREEDY_BELOW

    def replace(self, **changes: Any) -> SamplingParams:
        """Return a copy with other values; aliases are understood and checked like in the constructor."""
        return SamplingParams(**{**self.to_dict(), **_known(changes)})

    def to_dict(self) -> dict[str, Any]:
        """Return all parameters by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def __repr__(self) -> str:
        changed = (
            f"{f.name}={getattr(self, f.name)!r}"
            for f in dataclasses.fields(self)
            if getattr(self, f.name) != f.default
        )
        return f"SamplingParams({', '.join(changed)})"

    @classmethod
    def from_openai(cls, request: Mapping[str, Any]) -> SamplingParams:
        """Return the parameters in the body of an OpenAI-style request; other keys are left alone.

        Raises
        ------
        InvalidParameterError
            If ``max_tokens`` and ``max_completion_tokens`` contradict each other, or as the constructor does.
        """
        names = {field.name for field in dataclasses.fields(cls)} | {"max_completion_tokens"}
        chosen = {name: request[name] for name in names if request.get(name) is not None}
        limit = chosen.get("max_tokens")
        if limit is not None and chosen.get("max_completion_tokens", limit) != limit:
            raise InvalidParameterError(
                "max_tokens and max_completion_tokens contradict each other", parameter="max_tokens"
            )
        chosen["max_tokens"] = chosen.pop("max_completion_tokens", chosen.get("max_tokens"))
        return cls(**chosen)

    @classmethod
    def from_generation_config(cls, config: str | Path | Mapping[str, Any]) -> SamplingParams:
        """Return what a checkpoint's ``generation_config.json`` sets: given its path, its folder, or the parsed file.

        ``do_sample: false`` means greedy; the sampling values beside it are then unused, as transformers treats them.

        Raises
        ------
        CheckpointError
            If the file can't be read, is not a JSON object, or holds a value that is out of range.
        """
        if not isinstance(config, Mapping):
            path = Path(config)
            path = path / "generation_config.json" if path.is_dir() else path
            try:
                config = json.loads(path.read_text("utf-8"))
            except (OSError, ValueError) as error:
                reason = str(error)
                raise CheckpointError("the generation config can't be read", path=str(path), reason=reason) from error
            if not isinstance(config, dict):
                raise CheckpointError("the generation config is not a JSON object", path=str(path))
        if config.get("do_sample") is False:
            return cls(temperature=0.0)
        names = ("temperature", "top_k", "top_p", "min_p")
        try:
            return cls(**{name: config[name] for name in names if config.get(name) is not None})
        except InvalidParameterError as error:
            raise CheckpointError("a value of the generation config is out of range", reason=error.message) from error


def _tuple(value: Any, single: type) -> Any:
    """Return a tuple of one or many; anything odd is left for the rules to report."""
    if value is None:
        return ()
    if isinstance(value, single) and not isinstance(value, bool):
        return (value,)
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)) else value


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        return f"<{type(value).__name__}>"
    return text if len(text) <= 80 else text[:77] + "..."


def _number(value: Any, low: float, high: float, *, open_low: bool = False) -> bool:
    if not _is_a(Real, value):
        return False
    return bool((value > low if open_low else value >= low) and value <= high)


def _integer(value: Any, low: int, high: int) -> bool:
    return _is_a(Integral, value) and bool(low <= value <= high)


def _is_a(kind: type, value: Any) -> bool:
    """Whether a value is a number of this kind, NumPy's scalars included; True and False are none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


_RULES: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "temperature": (lambda v: _number(v, 0, 100), "must be a finite number in [0, 100]"),
    "top_k": (lambda v: _integer(v, 0, MAX_TOKENS_LIMIT), "must be an integer, 0 or -1 for off"),
    "top_p": (lambda v: _number(v, 0, 1, open_low=True), "must be in (0, 1]"),
    "min_p": (lambda v: _number(v, 0, 1), "must be in [0, 1]"),
    "seed": (lambda v: v is None or _integer(v, -(1 << 63), (1 << 64) - 1), "must be an integer of 64 bits"),
    "max_tokens": (lambda v: v is None or _integer(v, 1, MAX_TOKENS_LIMIT), "must be an integer of at least 1"),
    "stop": (
        lambda v: isinstance(v, tuple) and all(isinstance(s, str) and s and _encodable(s) for s in v),
        "must be non-empty strings without lone surrogates",
    ),
    "stop_token_ids": (
        lambda v: isinstance(v, tuple) and all(_integer(i, 0, MAX_TOKENS_LIMIT) for i in v),
        "must be token ids, integers of at least 0",
    ),
    "ignore_eos": (_flag, "must be True or False"),
    "include_stop_str_in_output": (_flag, "must be True or False"),
    "skip_special_tokens": (_flag, "must be True or False"),
}


def _known(given: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve aliases; refuse what is not a parameter, with a suggestion."""
    names = tuple(_RULES)
    resolved: dict[str, Any] = {}
    for name, value in given.items():
        target = ALIASES.get(name, name)
        if name == "do_sample":
            if not isinstance(value, bool):
                raise InvalidParameterError("do_sample must be True or False", parameter=name)
            if value:
                continue
            target, value = "temperature", 0.0
        if target not in _RULES:
            close = difflib.get_close_matches(name, [*names, *ALIASES], n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"parameters are {', '.join(names)}"
            raise UnknownParameterError("there is no such sampling parameter", hint=hint, parameter=name)
        if target in resolved:
            raise InvalidParameterError("a parameter is given twice", parameter=target, also_as=name)
        resolved[target] = value
    return resolved


# The generated constructor stays, with its signature for editors and type checkers; names are resolved before it.
_generated_init = SamplingParams.__init__


@functools.wraps(_generated_init)
def _init(self: SamplingParams, **given: Any) -> None:
    _generated_init(self, **_known(given))


SamplingParams.__init__ = _init  # type: ignore[method-assign]
