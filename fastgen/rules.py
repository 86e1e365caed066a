"""Which values sampling parameters may have, alone and together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fastgen.profiles import PROFILES, SAMPLERS
from fastgen.values import (
    FINITE,
    LARGEST,
    Rule,
    Unfit,
    allowed_ids,
    biases,
    breakers,
    choice,
    flag,
    integer,
    likeness,
    logprobs,
    number,
    repetition_detection,
    sampler_order,
    schema,
    sequences_of_ids,
    set_of_ids,
    shown,
    text_or_none,
    texts,
    token_ids,
    words,
)

__all__ = ["GREEDY_BELOW", "RULES", "checked", "contradictions"]

GREEDY_BELOW: Final = 1e-5  # temperatures under this are greedy


def checked(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the values as they are stored, and all problems; the default stands in for a value that has one."""
    values, problems = {}, []
    for name, value in given.items():
        rule = RULES[name]
        try:
            values[name] = rule.read(value)
        except Unfit as unfit:
            values[name] = defaults[name]
            where = f" ({unfit})" if str(unfit) else ""
            problems.append(f"{name}={shown(value)}: {rule.text}{where}")
    problems += [f"{name}={shown(values[name])}: {text}" for name, text in contradictions(values)]
    return values, problems


def contradictions(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what does not fit together: a parameter and what is wrong with it. Each value alone follows its rule."""
    active = [name for name, (field, off) in SAMPLERS.items() if name != "temperature" and values[field] != off]
    if values["mirostat"] and active:
        fields = ", ".join(SAMPLERS[name][0] for name in active)
        yield "mirostat", f"takes the place of the truncation samplers, so these must be off: {fields}"
    if (order := values["sampler_order"]) is not None:
        tempered = values["temperature"] != 1 or values["dynatemp_range"] > 0
        if tempered and values["temperature"] >= GREEDY_BELOW:
            active.insert(0, "temperature")
        if missing := [name for name in active if name not in order]:
            yield "sampler_order", f"must name what is set and would be silently ignored: {', '.join(missing)}"
    if values["max_tokens"] is not None and values["min_tokens"] > values["max_tokens"]:
        yield "min_tokens", f"must be at most max_tokens, {values['max_tokens']}"
    if values["best_of"] is not None and values["best_of"] < values["n"]:
        yield "best_of", f"must be at least n, {values['n']}"
    formats = [name for name in ("json_schema", "regex", "grammar") if values[name] is not None]
    if len(formats) > 1:
        yield formats[1], f"must be the only one of json_schema, regex and grammar; {formats[0]} is set too"


_COUNT: Final = integer(0, LARGEST, "must be an integer of at least 0")
_WINDOW: Final = integer(
    -1, LARGEST, "must be None or an integer: -1 for all tokens, 0 for off, or how many of the last", optional=True
)
_PROBABILITY: Final = number(0, 1, "must be in [0, 1]")
_PORTION: Final = number(0, 1, "must be in (0, 1]", open_low=True)
_CUTOFF: Final = number(0, 1, "must be in [0, 1)", open_high=True)
_POSITIVE: Final = number(0, FINITE, "must be a finite number above 0", open_low=True)
_PENALTY: Final = number(-100, 100, "must be in [-100, 100]")
_WORDS: Final = "must be non-empty strings without lone surrogates, or non-empty sequences of token ids"
_FORMAT: Final = Rule(text_or_none, "must be None or a non-empty string without lone surrogates")

# In the order of the fields.
RULES: Final[dict[str, Rule]] = {
    "temperature": number(0, 100, "must be a finite number in [0, 100]"),
    "dynatemp_range": number(0, 100, "must be a finite number in [0, 100]"),
    "dynatemp_exponent": number(0, 100, "must be in (0, 100]", open_low=True),
    "top_k": integer(0, LARGEST, "must be an integer, 0 or -1 for off", minus_one_is=0),
    "top_p": _PORTION,
    "min_p": _PROBABILITY,
    "typical_p": _PORTION,
    "top_n_sigma": number(0, FINITE, "must be a finite number, 0 or less for off", off_below=True),
    "epsilon_cutoff": _CUTOFF,
    "eta_cutoff": _CUTOFF,
    "xtc_probability": _PROBABILITY,
    "xtc_threshold": _PROBABILITY,
    "mirostat": integer(0, 2, "must be 0 for off, 1 or 2"),
    "mirostat_tau": _POSITIVE,
    "mirostat_eta": _POSITIVE,
    "dry_multiplier": number(0, 100, "must be in [0, 100]"),
    "dry_base": number(1, FINITE, "must be a finite number of at least 1"),
    "dry_allowed_length": integer(1, LARGEST, "must be an integer of at least 1"),
    "dry_penalty_last_n": integer(-1, LARGEST, "must be an integer: -1 for all, 0 for off, or how many of the last"),
    "dry_sequence_breakers": Rule(breakers, f"{_WORDS}, or None"),
    "repetition_penalty": number(0, 100, "must be in (0, 100]", open_low=True),
    "presence_penalty": _PENALTY,
    "frequency_penalty": _PENALTY,
    "repetition_window": _WINDOW,
    "frequency_window": _WINDOW,
    "penalize_prompt": flag(optional=True),
    "no_repeat_ngram_size": _COUNT,
    "logit_bias": Rule(biases, "must be None or map token ids to numbers, or to False for a ban"),
    "allowed_token_ids": Rule(allowed_ids, "must be None or at least one token id, integers of at least 0"),
    "suppress_tokens": Rule(set_of_ids, "must be token ids, integers of at least 0"),
    "bad_words": Rule(words, _WORDS),
    "ban_eos": flag(),
    "sampler_order": Rule(sampler_order, f"must be None or names out of {', '.join(SAMPLERS)}, each once"),
    "ties": choice(("cut", "keep"), optional=True),
    "profile": choice(PROFILES),
    "nan_policy": choice(("error", "mask")),
    "seed": integer(-(1 << 63), (1 << 64) - 1, "must be an integer of 64 bits", optional=True),
    "n": integer(1, 128, "must be an integer in [1, 128]"),
    "best_of": integer(1, 128, "must be None or an integer in [1, 128]", optional=True),
    "distinct": Rule(likeness, "must be True, False or a number in [0, 1]"),
    "max_tokens": integer(1, LARGEST, "must be an integer of at least 1", optional=True),
    "min_tokens": _COUNT,
    "stop": Rule(texts, "must be non-empty strings without lone surrogates"),
    "stop_token_ids": Rule(token_ids, "must be token ids, integers of at least 0"),
    "stop_token_sequences": Rule(sequences_of_ids, "must be non-empty sequences of token ids"),
    "ignore_eos": flag(),
    "include_stop_str_in_output": flag(),
    "repetition_detection": Rule(
        repetition_detection,
        "must be None or max_pattern_size, min_pattern_size (1 <= min <= max <= 65,536) and min_count (2 to 32,768)",
    ),
    "prompt_lookup_num_tokens": _COUNT,
    "max_matching_ngram_size": integer(1, 256, "must be an integer in [1, 256]"),
    "skip_special_tokens": flag(),
    "spaces_between_special_tokens": flag(),
    "hold": choice(("codepoint", "grapheme")),
    "logprobs": Rule(logprobs, "must be None, an integer of at least 0, or -1 for all"),
    "logprobs_mode": choice(("raw_logprobs", "processed_logprobs", "raw_logits", "processed_logits")),
    "entropy": flag(),
    "json_schema": Rule(schema, "must be None or a JSON schema: a dict, or the text of a JSON object"),
    "regex": _FORMAT,
    "grammar": _FORMAT,
}
