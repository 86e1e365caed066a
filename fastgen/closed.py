"""Whether the best scores of a row tell what a plan keeps: it is *closed* then, and the rest of the row is not needed.

A plan is closed if it is greedy, or if its first step but temperature is top_k, top_p or min_p and keeps nothing beyond
those scores. What comes later sees what that step keeps, and no more.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from fastgen.plan import OF_WHOLE, Plan

if TYPE_CHECKING:
    from fastgen.sampler import Sampler

__all__ = ["first_temperature", "mass_to_tell", "window"]

WINDOW: Final = 1024
SPARE: Final = 64  # scores beyond those that a plan needs, so that a few equal ones at the end do no harm
MARGIN: Final = 1e-6  # of rounding: masses and bounds are known that exactly


def first_temperature(plan: Plan) -> float:
    """Return the temperature that the first other step sees."""
    product = 1.0
    for op in plan.ops:
        if op.kind != "temperature":
            break
        product *= op.a
    return product


def window(sampler: Sampler, vocab: int, masked: bool) -> int:
    """Return how many of the best scores to bring, 0 if no number would do."""
    params, plan, edits = sampler.params, sampler.plan, sampler._edits
    reports = params.logprobs is not None or params.entropy
    if reports or sampler._raises or params.allowed_token_ids is not None:
        return 0
    needed = 1
    if not plan.greedy:
        if params.profile == "llamacpp":
            return 0
        ops = [op for op in plan.ops if op.kind != "temperature"]
        first = next((op for op in ops if op.kind != "min_p"), None)
        if first is not None and first.kind == "top_k":
            needed = int(first.a)
        elif edits or masked or not ops or ops[0].kind not in ("min_p", "top_p"):
            return 0
    best = max(WINDOW, needed + edits + SPARE)
    return best if 2 * best < vocab else 0


def mass_to_tell(
    plan: Plan, edits: int, scores: NDArray[np.float32], mass: float, allowed: NDArray[np.bool_] | None
) -> float | None:
    """Return the mass to tell the sampler, 0 if it needs none; None if what the plan keeps may reach beyond `scores`.

    What equals the lowest score does not count: which of equal scores are among the best is up to the device.
    """
    lowest = float(scores[-1])
    if lowest == -math.inf:
        return 0.0
    free = scores if allowed is None else scores[allowed]
    plain = edits == 0 and allowed is None

    def holds(k: int) -> bool:
        """Whether the k best remain among the scores, however far the edits lower others."""
        return k + edits <= len(free) and float(free[k + edits - 1]) > lowest

    if plan.greedy:
        return 0.0 if holds(1) else None
    temperature, leads = 1.0, True
    for op in plan.ops:
        if op.kind == "temperature":
            temperature *= op.a
            continue
        if op.kind == "top_k" and holds(int(op.a)):
            of_whole = any(other.kind == "top_p" and other.flags & OF_WHOLE for other in plan.ops)
            return 0.0 if not of_whole else mass if leads and plain else None
        if op.kind == "top_p" and leads and plain:
            weights = np.exp((scores[scores > lowest].astype(np.float64) - float(scores[0])) / temperature)
            return mass if float(weights.sum()) > (op.a + MARGIN) * mass else None
        if op.kind != "min_p":
            return None
        bound = float(scores[0]) + temperature * math.log(op.a)
        if plain and lowest < bound - MARGIN * (1.0 + abs(bound)):
            return 0.0
        leads = False
    return None
