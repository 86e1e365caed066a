"""Sampling parameters as others write them: aliases, OpenAI-style requests, generation configs of transformers."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fastgen.errors import CheckpointError, InvalidParameterError, UnknownParameterError
from fastgen.rules import RULES

__all__ = ["ALIASES", "from_generation_config", "from_openai", "resolved"]

ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "max_new_tokens": ("max_tokens",),
    "max_completion_tokens": ("max_tokens",),
    "n_predict": ("max_tokens",),
    "min_new_tokens": ("min_tokens",),
    "temp": ("temperature",),
    "typ_p": ("typical_p",),
    "repeat_penalty": ("repetition_penalty",),
    "repeat_last_n": ("repetition_window", "frequency_window"),
    "num_return_sequences": ("n",),
}

# vLLM's names of what response_format says too.
GUIDED: Final = {"guided_json": "json_schema", "guided_regex": "regex", "guided_grammar": "grammar"}

# What a generation config calls them. The first are unused by transformers when it takes the most likely token.
OF_SAMPLING: Final = ("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
OF_ALL: Final = {
    "repetition_penalty": "repetition_penalty",
    "no_repeat_ngram_size": "no_repeat_ngram_size",
    "min_new_tokens": "min_tokens",
    "suppress_tokens": "suppress_tokens",
    "bad_words_ids": "bad_words",
}


def resolved(given: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve aliases; refuse what is not a parameter, with a suggestion."""
    values: dict[str, Any] = {}
    for name, value in given.items():
        targets = ALIASES.get(name, (name,))
        if name == "do_sample":
            if not isinstance(value, bool):
                raise InvalidParameterError("do_sample must be True or False", parameter=name)
            if value:
                continue
            targets, value = ("temperature",), 0.0
        for target in targets:
            if target not in RULES:
                close = difflib.get_close_matches(name, [*RULES, *ALIASES], n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"parameters are {', '.join(RULES)}"
                raise UnknownParameterError("there is no such sampling parameter", hint=hint, parameter=name)
            if target in values:
                raise InvalidParameterError("a parameter is given twice", parameter=target, also_as=name)
            values[target] = value
    return values


def from_openai(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters in the body of a request, by name; what is null counts as absent."""
    given = {name: request[name] for name in (*RULES, *ALIASES) if request.get(name) is not None}
    limit = given.get("max_tokens")
    if limit is not None and given.get("max_completion_tokens", limit) != limit:
        raise InvalidParameterError(
            "max_tokens and max_completion_tokens contradict each other", parameter="max_tokens"
        )
    if "max_completion_tokens" in given:
        given["max_tokens"] = given.pop("max_completion_tokens")
    if (top := request.get("top_logprobs")) is not None:
        given["logprobs"] = _top_logprobs(given.get("logprobs"), top)
    formats = {name: request[name] for name in GUIDED if request.get(name) is not None}
    if (wanted := request.get("response_format")) is not None and (schema := _schema(wanted)) is not None:
        formats["response_format"] = schema
    for name, value in formats.items():
        target = GUIDED.get(name, "json_schema")
        if target in given:
            raise InvalidParameterError("a parameter is given twice", parameter=target, also_as=name)
        given[target] = value
    return resolved(given)


def _top_logprobs(asked: Any, top: Any) -> Any:
    if not isinstance(top, int) or isinstance(top, bool) or top < -1:
        raise InvalidParameterError("top_logprobs must be an integer of at least 0", parameter="top_logprobs")
    if asked is None or asked is False:
        if top == 0:
            return asked
        raise InvalidParameterError("top_logprobs needs logprobs to be true", parameter="top_logprobs")
    if asked is not True and asked != top:
        raise InvalidParameterError("logprobs and top_logprobs contradict each other", parameter="top_logprobs")
    return top


def _schema(wanted: Any) -> Any:
    """Return the schema that a response_format asks for, None for plain text."""
    kind = wanted.get("type") if isinstance(wanted, Mapping) else None
    if kind == "text":
        return None
    if kind == "json_object":
        schema = wanted.get("schema")  # llama.cpp's extension
        return {"type": "object"} if schema is None else schema
    if kind == "json_schema":
        inner = wanted.get("json_schema")
        schema = inner.get("schema") if isinstance(inner, Mapping) else None
        if schema is not None:
            return schema
        raise InvalidParameterError("json_schema.schema is missing", parameter="response_format")
    raise InvalidParameterError(
        "the type of response_format must be text, json_object or json_schema", parameter="response_format"
    )


def from_generation_config(config: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """Return what a generation config sets, by the names of parameters; what is null counts as absent."""
    if not isinstance(config, Mapping):
        config = _read(Path(config))
    given = {name: config[other] for other, name in OF_ALL.items() if config.get(other) is not None}
    if config.get("do_sample") is False:
        return {**given, "temperature": 0.0}
    return {**given, **{name: config[name] for name in OF_SAMPLING if config.get(name) is not None}}


def _read(path: Path) -> Mapping[str, Any]:
    path = path / "generation_config.json" if path.is_dir() else path
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        reason = str(error)
        raise CheckpointError("the generation config can't be read", path=str(path), reason=reason) from error
    if not isinstance(config, dict):
        raise CheckpointError("the generation config is not a JSON object", path=str(path))
    return config
