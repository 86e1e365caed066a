"""The chain in float64: edits of the row, then the samplers, in the order and with the ties of each engine."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import oracle_samplers as samplers
import oracles
from oracle_samplers import Array, Near

DEFAULTS: dict[str, Any] = {
    "temperature": 1.0, "dynatemp_range": 0.0, "dynatemp_exponent": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0,
    "typical_p": 1.0, "top_n_sigma": 0.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0, "xtc_probability": 0.0,
    "xtc_threshold": 0.1, "dry_multiplier": 0.0, "dry_base": 1.75, "dry_allowed_length": 2, "dry_penalty_last_n": -1,
    "dry_sequence_breakers": (), "mirostat": 0, "mirostat_tau": 5.0, "mirostat_eta": 0.1, "repetition_penalty": 1.0,
    "presence_penalty": 0.0, "frequency_penalty": 0.0, "repetition_window": None, "frequency_window": None,
    "penalize_prompt": None, "no_repeat_ngram_size": 0, "logit_bias": None, "allowed_token_ids": None,
    "suppress_tokens": (), "bad_words": (), "min_tokens": 0, "ban_eos": False, "profile": "fastgen",
    "sampler_order": None, "ties": None, "seed": None,
}  # fmt: skip


@dataclass(frozen=True)
class Profile:
    """What an engine does where engines differ. Windows are of the last tokens, -1 for all, with or without prompt."""

    order: tuple[str, ...]
    ties: str = "cut"
    high_first: bool = False
    xtc_ties: str = "cut"
    repetition: tuple[int, bool] = (-1, True)
    frequency: tuple[int, bool] = (-1, False)


PROFILES = {
    "fastgen": Profile(
        ("temperature", "top_n_sigma", "top_k", "typical_p", "top_p", "min_p", "epsilon_cutoff", "eta_cutoff", "xtc")
    ),
    "hf": Profile(
        ("temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"), "keep", True
    ),
    "vllm": Profile(("temperature", "min_p", "top_k", "top_p"), "keep", True),
    "llamacpp": Profile(
        ("top_n_sigma", "top_k", "typical_p", "top_p", "min_p", "xtc", "temperature"),
        repetition=(64, True),
        frequency=(64, True),
    ),
    "sglang": Profile(("temperature", "top_k", "top_p", "min_p"), repetition=(-1, False)),
    "mlx": Profile(
        ("top_p", "min_p", "xtc", "top_k", "temperature"),
        high_first=True,
        xtc_ties="keep",
        repetition=(20, True),
        frequency=(20, True),
    ),
}


def edited(
    row: Array,
    p: Mapping[str, Any],
    history: Sequence[int],
    prompt_length: int,
    eos_ids: Collection[int],
    mask: Array | None,
) -> Array:
    """Return the row as the samplers get it: bias, penalties, DRY, then bans. The mask says which tokens may come."""
    profile = PROFILES[p["profile"]]
    outputs = list(history)[prompt_length:]

    def counted(default: tuple[int, bool], size: int | None, prompt: bool | None) -> list[int]:
        with_prompt = default[1] if prompt is None else prompt
        return oracles.window(list(history) if with_prompt else outputs, default[0] if size is None else size)

    scores = oracles.add_bias(row.astype(np.float64), p["logit_bias"] or {})
    repeated = counted(profile.repetition, p["repetition_window"], p["penalize_prompt"])
    scores = oracles.penalize_repetition(scores, repeated, p["repetition_penalty"])
    frequent = counted(profile.frequency, p["frequency_window"], None)
    scores = oracles.penalize_frequency(scores, frequent, p["frequency_penalty"], p["presence_penalty"])
    if p["dry_multiplier"]:
        scores = oracles.penalize_dry(
            scores, history, multiplier=p["dry_multiplier"], base=p["dry_base"], allowed=p["dry_allowed_length"],
            last_n=p["dry_penalty_last_n"], breakers=p["dry_sequence_breakers"],
        )  # fmt: skip
    bans = set(p["suppress_tokens"]) | oracles.bad_word_bans(history, p["bad_words"])
    bans |= oracles.ngram_bans(history, p["no_repeat_ngram_size"])
    if p["ban_eos"] or len(outputs) < p["min_tokens"]:
        bans |= set(eos_ids)
    if p["allowed_token_ids"] is not None:
        bans |= set(range(scores.size)) - set(p["allowed_token_ids"])
    scores[list(bans)] = -np.inf
    return scores if mask is None else np.where(mask, scores, -np.inf)


def sampled(scores: Array, p: Mapping[str, Any], xtc_uniform: float | None, near: Near) -> Array:
    """Return the scores after all samplers, in the order of the profile or in the one that is asked for."""
    profile = PROFILES[p["profile"]]
    ties = p["ties"] or profile.ties
    uncut = scores

    def heat(scores: Array) -> Array:
        if p["dynatemp_range"] > 0:
            return samplers.dynatemp(scores, p["temperature"], p["dynatemp_range"], p["dynatemp_exponent"])
        return samplers.temperature(scores, p["temperature"])

    if p["temperature"] < 1e-5:
        return samplers.temperature(scores, 0.0)
    if p["mirostat"]:
        return samplers.mirostat(
            samplers.temperature(scores, p["temperature"]), p["mirostat"], 2 * p["mirostat_tau"], near
        )
    for name in p["sampler_order"] or profile.order:
        match name:
            case "temperature":
                scores = uncut = heat(scores)
            case "top_k":
                scores = samplers.top_k(scores, p["top_k"], ties, near)
            case "top_p" if p["profile"] == "sglang":
                scores = samplers.top_p_of_uncut(scores, uncut, p["top_p"], near)
            case "top_p":
                scores = samplers.top_p(scores, p["top_p"], profile.high_first, near)
            case "typical_p":
                scores = samplers.typical_p(scores, p["typical_p"], ties, near)
            case "xtc":
                u = 0.0 if xtc_uniform is None else xtc_uniform
                scores = samplers.xtc(scores, p["xtc_probability"], p["xtc_threshold"], u, near, profile.xtc_ties)
            case _:
                scores = getattr(samplers, name)(scores, p[name], near)
    return scores


def chain_and_margin(
    row: Array,
    params: Any,
    *,
    history: Sequence[int] = (),
    prompt_length: int = 0,
    eos_ids: Collection[int] = (),
    mask: Array | None = None,
    xtc_uniform: float | None = None,
) -> tuple[Array, float]:
    """Return the probability of each token, and how far the row is from a case that rounding decides.

    `params` are SamplingParams, or a mapping of those that are not the default.
    """
    p = {**DEFAULTS, **(params if isinstance(params, Mapping) else params.to_dict())}
    near: Near = [1.0]
    scores = edited(row, p, history, prompt_length, eos_ids, mask)
    if scores.max() == -np.inf:
        return np.zeros(row.size), 1.0
    return samplers.softmax(sampled(scores, p, xtc_uniform, near)), min(near)


def chain(row: Array, params: Any, **context: Any) -> Array:
    """Return the probability of each token, 0 for those that are cut off, and for all if none is left."""
    return chain_and_margin(row, params, **context)[0]


def margin(row: Array, params: Any, **context: Any) -> float:
    """Return how far the row is from a case that rounding decides."""
    return chain_and_margin(row, params, **context)[1]
