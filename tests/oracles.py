"""Slow and obvious answers in float64, to compare the fast ones with."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from fastgen.params import SamplingParams

Array = np.ndarray[Any, Any]


def descending(row: Array) -> Array:
    """Return the ids from the largest score to the smallest, the lowest id first among equals."""
    return np.lexsort((np.arange(row.size), -row.astype(np.float64)))


def top_k(row: Array, k: int) -> Array:
    """Return the ids of the k largest scores, largest first, without those that are -inf."""
    ids = descending(row)[:k]
    return ids[row[ids] > -np.inf]


def exps(row: Array, temperature: float = 1.0) -> Array:
    """Return exp((score - largest) / temperature)."""
    with np.errstate(under="ignore"):
        wide = row.astype(np.float64)
        return np.exp((wide - wide.max()) / temperature)


def softmax(row: Array, temperature: float = 1.0) -> Array:
    weights = exps(row, temperature)
    return weights / weights.sum()


def entropy(row: Array, temperature: float = 1.0) -> float:
    """Return the entropy of the softmax in nats."""
    p = softmax(row, temperature)
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def nucleus(probabilities: Array, top_p: float) -> int:
    """Return how many of the descending probabilities are kept: each one that less than top_p comes before."""
    before = np.cumsum(probabilities) - probabilities
    return int((before < top_p).sum())


def probabilities(row: Array, params: SamplingParams) -> Array:
    """Return what each token's probability is: temperature, top-k, top-p of what is left, min-p, renormalized."""
    ids = descending(row)
    if params.greedy:
        ids = ids[:1]
    p = softmax(row, 1.0 if params.greedy else params.temperature)
    if params.top_k:
        ids = ids[: params.top_k]
    ids = ids[: nucleus(p[ids] / p[ids].sum(), params.top_p)] if params.top_p < 1 else ids
    ids = ids[p[ids] >= params.min_p * p.max()]
    out = np.zeros_like(p)
    out[ids] = p[ids] / p[ids].sum()
    return out


def support(row: Array, params: SamplingParams) -> set[int]:
    """Return the ids of the tokens that can be drawn."""
    return set(np.flatnonzero(probabilities(row, params)).tolist())


def margin(row: Array, params: SamplingParams) -> float:
    """Return how far the row is from a case that rounding decides: a cumulated sum at top_p, or a token at min_p."""
    ids = descending(row)[: params.top_k or None]
    p = softmax(row, params.temperature)
    share = np.cumsum(p[ids]) / p[ids].sum()
    distances = [1.0]
    if params.top_p < 1:
        distances.append(float(np.abs(share - params.top_p).min()))
    if params.min_p > 0:
        distances.append(float(np.abs(p / p.max() - params.min_p).min()))
    return min(distances)


# What the history does to a row, before any sampler. oracle_chain.py goes on from here.


def window(tokens: Sequence[int], size: int) -> list[int]:
    """Return the last `size` tokens; all of them for -1."""
    return list(tokens) if size < 0 else list(tokens)[len(tokens) - min(size, len(tokens)) :]


def add_bias(scores: Array, bias: Mapping[int, float]) -> Array:
    """Return the scores with each bias added, clamped to [-100, 100]; minus infinity bans."""
    scores = scores.copy()
    for token, value in bias.items():
        scores[token] += value if value == -np.inf else min(max(value, -100.0), 100.0)
    return scores


def penalize_repetition(scores: Array, seen: Sequence[int], penalty: float) -> Array:
    """Return the scores with those of seen tokens divided by the penalty, or multiplied where negative; each once."""
    scores = scores.copy()
    for token in set(seen):
        scores[token] = scores[token] * penalty if scores[token] < 0 else scores[token] / penalty
    return scores


def penalize_frequency(scores: Array, seen: Sequence[int], frequency: float, presence: float) -> Array:
    """Return the scores less `frequency` for each time a token was seen, and less `presence` if it was at all."""
    scores = scores.copy()
    for token in set(seen):
        scores[token] -= frequency * list(seen).count(token)
        scores[token] -= presence
    return scores


def dry_lengths(tokens: Sequence[int], allowed: int, breakers: Collection[Sequence[int]] = ()) -> dict[int, int]:
    """Return each token that would go on with a repetition, and how long the longest such repetition is.

    The end of the tokens is compared with every earlier place, as far back as the last complete breaker.
    """
    tokens, count = list(tokens), len(tokens)
    limit = count
    for back in range(count):
        start = count - 1 - back
        complete = [len(b) for b in breakers if tokens[start : start + len(b)] == list(b)]
        if complete:
            limit = back + 1 - max(complete)
            break
    longest: dict[int, int] = {}
    for end in range(count - 1):
        length = 0
        while length <= end and length < limit and tokens[end - length] == tokens[count - 1 - length]:
            length += 1
        if length >= allowed:
            following = tokens[end + 1]
            longest[following] = max(length, longest.get(following, 0))
    return {token: length for token, length in longest.items() if (token,) not in {tuple(b) for b in breakers}}


def penalize_dry(
    scores: Array,
    history: Sequence[int],
    *,
    multiplier: float,
    base: float = 1.75,
    allowed: int = 2,
    last_n: int = -1,
    breakers: Collection[Sequence[int]] = (),
) -> Array:
    """Return the scores less multiplier * base^(length - allowed) for tokens that go on with a repetition."""
    scores = scores.copy()
    if base < 1:
        return scores
    largest = int(88.7228391 / math.log(base)) if base > 1.000001 else 1 << 30
    for token, length in dry_lengths(window(history, last_n), allowed, breakers).items():
        scores[token] -= multiplier * base ** min(length - allowed, largest)
    return scores


def ngram_bans(history: Sequence[int], size: int) -> set[int]:
    """Return the tokens that would complete an n-gram for the second time."""
    tokens = list(history)
    if size <= 0 or len(tokens) < size:
        return set()
    prefix = tokens[len(tokens) - size + 1 :]
    return {tokens[i + size - 1] for i in range(len(tokens) - size + 1) if tokens[i : i + size - 1] == prefix}


def bad_word_bans(history: Sequence[int], words: Collection[Sequence[int]]) -> set[int]:
    """Return the last token of each word whose other tokens the history ends with."""
    tokens = list(history)
    return {w[-1] for w in words if len(tokens) >= len(w) - 1 and tokens[len(tokens) - len(w) + 1 :] == list(w[:-1])}
