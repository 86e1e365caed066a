"""What the sampler would draw from, and whether draws are as frequent as they should be."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from fastgen.params import SamplingParams
from fastgen.sampler import Sampler

Array = np.ndarray[Any, Any]


def sampler_after(
    params: Mapping[str, Any], history: Sequence[int] = (), prompt_length: int = 0, eos_ids: Collection[int] = ()
) -> Sampler:
    """Return a sampler that has seen a history, of which the first tokens are the prompt."""
    sampler = Sampler(SamplingParams(**params), eos_ids=tuple(eos_ids))
    if prompt_length:
        sampler.observe(list(history[:prompt_length]), prompt=True)
    if len(history) > prompt_length:
        sampler.observe(list(history[prompt_length:]), prompt=False)
    return sampler


def distribution(
    row: Any,
    params: Mapping[str, Any],
    *,
    history: Sequence[int] = (),
    prompt_length: int = 0,
    eos_ids: Collection[int] = (),
) -> Array:
    """Return the sampler's probabilities; the arguments are those of the oracle."""
    return np.asarray(sampler_after(params, history, prompt_length, eos_ids).distribution(row))


def support(probabilities: Array) -> set[int]:
    """Return the ids of the tokens that can be drawn."""
    return set(np.flatnonzero(probabilities).tolist())


def assert_same(found: Array, expected: Array, *, which_of_ties: bool = True, within: float = 1e-6) -> None:
    """The same tokens can be drawn, and each with the same probability; 1e-11 is as good as never.

    Without `which_of_ties`, other tokens may be kept if they are as likely as those that are not, and as many.
    """
    assert found.shape == expected.shape
    other = (found > 1e-11) & (expected == 0), (expected > 1e-11) & (found == 0)
    if not which_of_ties and other[0].any() and other[0].sum() == other[1].sum():
        likeliest = np.concatenate([found[other[0]], expected[other[1]]])
        assert np.ptp(likeliest) < 1e-6, "the tokens that differ are not tied"
        found, expected = np.sort(found), np.sort(expected)
    else:
        assert not other[0].any(), f"can be drawn: {np.flatnonzero(other[0])}"
        assert not other[1].any(), f"can't be drawn: {np.flatnonzero(other[1])}"
    np.testing.assert_allclose(found, expected, rtol=0, atol=within)
    assert abs(found.sum() - 1) < 1e-6


def deviation(tokens: Array, probabilities: Array) -> float:
    """Return by how many standard deviations chi-square is too large; tokens expected less than 5 times count as one.

    Raises AssertionError if a token came that can't.
    """
    expected = probabilities * len(tokens)
    counts = np.bincount(tokens, minlength=expected.size)
    assert not counts[expected == 0].any()
    likely = expected > 5
    rare = float(expected[~likely].sum())
    chi = float(((counts - expected)[likely] ** 2 / expected[likely]).sum())
    freedom = int(likely.sum()) - 1
    if rare > 5:
        chi += (float(counts[~likely].sum()) - rare) ** 2 / rare
        freedom += 1
    assert freedom > 0
    return float((chi - freedom) / np.sqrt(2 * freedom))
