"""The samplers in float64, one small function for each.

Scores are float64, minus infinity for a token that is cut off. Where a sampler decides by a comparison, it appends to
`near` how far the closest token is from being decided differently, so that a test can leave such cases out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Near = list[float]


def softmax(scores: Array) -> Array:
    with np.errstate(under="ignore"):
        weights = np.exp(scores - scores.max())
        return weights / weights.sum()


def logs(values: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.log(values)


def entropy(p: Array) -> float:
    return float(-sum(x * math.log(x) for x in p.tolist() if x > 0))


def descending(scores: Array, high_first: bool = False) -> Array:
    """Return the ids that are left, the largest score first; among equals the lowest id first, or the highest."""
    ids = np.arange(scores.size)
    ids = np.lexsort((-ids if high_first else ids, -scores))
    return ids[scores[ids] > -np.inf]


def only(scores: Array, kept: Array) -> Array:
    """Return the scores without the tokens that are not kept: an array of ids, or of booleans."""
    out = np.full_like(scores, -np.inf)
    out[kept] = scores[kept]
    return out


def closest(near: Near, distances: Array) -> None:
    near.extend(np.abs(distances[np.isfinite(distances)]).tolist())


def top_k(scores: Array, k: int, ties: str, near: Near) -> Array:
    ids = descending(scores)
    if not 0 < k < ids.size:
        return scores
    last = scores[ids[k - 1]]
    gaps = (last - scores[ids]) / max(1.0, float(np.abs(scores[ids]).max()))
    closest(near, gaps[gaps != 0])
    return only(scores, scores >= last if ties == "keep" else ids[:k])


def top_p(scores: Array, p: float, high_first: bool, near: Near) -> Array:
    if p >= 1:
        return scores
    ids = descending(scores, high_first)
    shares = softmax(scores)[ids]
    before = np.cumsum(shares) - shares
    before[0] = 0.0
    closest(near, before[1:] - p)
    return only(scores, ids[before < p])


def top_p_of_uncut(scores: Array, uncut: Array, p: float, near: Near) -> Array:
    """SGLang's: the mass before a token is that before top-k, and may be as large as p."""
    if p >= 1:
        return scores
    ids = descending(uncut)
    shares = softmax(uncut)[ids]
    before = np.cumsum(shares) - shares
    before[0] = 0.0
    closest(near, before[1:] - p)
    kept = np.zeros(scores.size, bool)
    kept[ids[before <= p]] = True
    return only(scores, kept & (scores > -np.inf))


def min_p(scores: Array, share: float, near: Near) -> Array:
    if share <= 0:
        return scores
    p = softmax(scores)
    distances = logs(p / p.max()) - math.log(share)
    closest(near, distances[p < p.max()])
    return only(scores, (p >= share * p.max()) | (p == p.max()))


def typical_p(scores: Array, mass: float, ties: str, near: Near) -> Array:
    """Keep the tokens whose information is closest to the entropy, until they have the mass."""
    if mass >= 1:
        return scores
    p = softmax(scores)
    information = -logs(p)
    strangeness = np.abs(information - entropy(p))
    ids = np.lexsort((np.arange(p.size), strangeness))
    ids = ids[scores[ids] > -np.inf]
    total = np.cumsum(p[ids])
    last = min(int((total < mass).sum()), ids.size - 1)
    distances = strangeness - strangeness[ids[last]]
    closest(near, distances[scores != scores[ids[last]]])
    closest(near, total[:-1] - mass)
    if ties == "keep":
        return only(scores, (strangeness <= strangeness[ids[last]]) & (scores > -np.inf))
    return only(scores, ids[: last + 1])


def cutoff(scores: Array, bound: float, near: Near) -> Array:
    """Keep tokens of at least this probability, and the most likely ones whatever theirs is."""
    p = softmax(scores)
    closest(near, (logs(p) - math.log(bound))[scores < scores.max()])
    return only(scores, (p >= bound) | (scores == scores.max()))


def epsilon_cutoff(scores: Array, epsilon: float, near: Near) -> Array:
    return cutoff(scores, epsilon, near) if epsilon > 0 else scores


def eta_cutoff(scores: Array, epsilon: float, near: Near) -> Array:
    if epsilon <= 0:
        return scores
    return cutoff(scores, min(epsilon, math.sqrt(epsilon) * math.exp(-entropy(softmax(scores)))), near)


def top_n_sigma(scores: Array, n: float, near: Near) -> Array:
    if n <= 0:
        return scores
    finite = scores[scores > -np.inf]
    bound = finite.max() - n * finite.std()
    closest(near, (scores - bound)[scores < scores.max()])
    return only(scores, scores >= bound) if finite.std() > 0 else scores


def xtc(scores: Array, probability: float, threshold: float, uniform: float, near: Near, ties: str = "cut") -> Array:
    """Of the tokens above the threshold leave out all but the least likely, with this probability."""
    ids = descending(scores)
    if probability <= 0 or threshold > 0.5 or ids.size < 2:
        return scores
    if probability < 1:
        near.append(abs(uniform - probability))
    if uniform > probability:
        return scores
    p = softmax(scores)
    closest(near, logs(p) - math.log(max(threshold, 1e-300)))
    above = ids[p[ids] > threshold] if ties == "keep" else ids[p[ids] >= threshold]
    if above.size < 2:
        return scores
    kept = scores > -np.inf
    kept[above[p[above] > p[above[-1]]] if ties == "keep" else above[:-1]] = False
    return only(scores, kept)


def temperature(scores: Array, value: float) -> Array:
    return only(scores, descending(scores)[:1]) if value < 1e-5 else scores / value


def dynatemp(scores: Array, value: float, spread: float, exponent: float) -> Array:
    """Divide by a temperature between value - spread and value + spread: the more entropy, the hotter."""
    count = descending(scores).size
    if count < 2:
        return scores
    low, high = max(0.0, value - spread), value + spread
    share = entropy(softmax(scores)) / math.log(count)
    dynamic = low + (high - low) * share**exponent
    return only(scores, descending(scores)[:1]) if dynamic <= 0 else scores / dynamic


def mirostat(scores: Array, version: int, mu: float, near: Near) -> Array:
    """Cut as Mirostat does at this surprise; version 1 sees the 100 likeliest tokens as a Zipf law of exponent s."""
    ids = descending(scores)
    p = softmax(scores)[ids]
    if version == 2:
        closest(near, -np.log2(p[1:]) - mu)
        return only(scores, ids[: max(1, int((-np.log2(p) <= mu).sum()))])
    seen = min(99, ids.size - 1)
    t = np.array([math.log((i + 2) / (i + 1)) for i in range(seen)])
    b = np.array([math.log(p[i] / p[i + 1]) for i in range(seen)])
    s = float((t * b).sum() / (t * t).sum())
    power = math.log((s - 1) * 2.0**mu / (1 - float(scores.size) ** (1 - s))) / s
    if power > 21:  # more than 2^30: llama.cpp's conversion to an integer is undefined from 2^31 on
        near.append(0.0)
        return scores
    k = math.exp(power)
    near.append(abs(k - round(k)) / k)
    return only(scores, ids[: max(int(k), 1)])
