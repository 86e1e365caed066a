"""Slow and obvious answers in float64, to compare the fast ones with."""

from __future__ import annotations

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
