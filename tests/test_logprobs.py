"""Log-probabilities, entropy, passes over the row, and rows with NaN that is left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
import pytest

from fastgen.params import SamplingParams
from fastgen.sampler import Sampler

Array = np.ndarray[Any, Any]
SCORES = (np.random.default_rng(5).standard_normal(9000) * 2).astype(np.float32)


def log_softmax(row: Array, temperature: float = 1.0) -> Array:
    wide = row.astype(np.float64) / temperature
    return np.asarray(wide - wide.max() - np.log(np.exp(wide - wide.max()).sum()))


PLANS: tuple[dict[str, Any], ...] = (
    {"temperature": 0},
    {},
    {"temperature": 0.7, "top_p": 0.9},
    {"top_k": 50, "temperature": 1.3},
    {"typical_p": 0.9},
    {"repetition_penalty": 1.4, "top_p": 0.95},
    {"logit_bias": {17: 5.0}, "min_p": 0.01},
    {"profile": "llamacpp", "top_k": 40, "temperature": 0.8},
    {"mirostat": 2},
)


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_raw_is_the_models(plan: dict[str, Any], masked: bool, level: str) -> None:
    """Whatever the plan does: the row as the model gave it, at temperature 1."""
    sampler = Sampler(SamplingParams(seed=4, logprobs=20, entropy=True, **plan))
    sampler.observe([3, 5, 5, 17])
    mask = None
    if masked:
        mask = np.zeros(282, np.uint32)
        mask[::2] = 0xFFFFFFFF
    expected = log_softmax(SCORES)
    best = oracles.top_k(SCORES, 20)
    for _ in range(3):
        token = sampler.sample(SCORES, mask=mask)
        (found,) = sampler.logprobs
        assert found.token_id == token
        assert found.logprob == pytest.approx(expected[token], abs=2e-6)
        assert list(found.top_ids) == best.tolist()
        np.testing.assert_allclose(found.top_logprobs, expected[best], atol=2e-6)
        assert found.entropy == pytest.approx(-(np.exp(expected) * expected).sum(), abs=1e-5)
        assert found.probability == pytest.approx(np.exp(expected[token]), rel=1e-5)
        assert len(found.top) == 20 + (token not in best)
        assert found.top[token] == pytest.approx(expected[token], abs=2e-6)


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_processed_is_what_was_drawn_from(plan: dict[str, Any], level: str) -> None:
    params = SamplingParams(seed=4, logprobs=10, logprobs_mode="processed_logprobs", entropy=True, **plan)
    sampler = Sampler(params)
    sampler.observe([3, 5, 5, 17])
    for _ in range(3):
        expected = sampler.distribution(SCORES)
        token = sampler.sample(SCORES)
        (found,) = sampler.logprobs
        assert found.logprob == pytest.approx(np.log(expected[token]), abs=2e-6)
        kept = np.flatnonzero(expected)
        best = kept[np.lexsort((kept, -expected[kept]))][:10]
        np.testing.assert_allclose(found.top_logprobs, np.log(expected[best]), atol=2e-6)
        p = expected[kept]
        assert found.entropy == pytest.approx(-(p * np.log(p)).sum(), abs=1e-5)
        assert found.probability == pytest.approx(expected[token], rel=1e-5)


def test_logits_of_both_kinds(level: str) -> None:
    plan: dict[str, Any] = {"logit_bias": {17: 9.0}, "temperature": 0.5, "top_k": 3, "seed": 1, "logprobs": 3}
    raw = Sampler(SamplingParams(logprobs_mode="raw_logits", **plan))
    token = raw.sample(SCORES)
    best = oracles.top_k(SCORES, 3)
    assert raw.logprobs[0].logprob == SCORES[token]
    assert list(raw.logprobs[0].top_logprobs) == SCORES[best].tolist()
    processed = Sampler(SamplingParams(logprobs_mode="processed_logits", **plan))
    assert processed.sample(SCORES) == token
    edited = SCORES.copy()
    edited[17] += 9
    best = oracles.top_k(edited, 3)
    assert list(processed.logprobs[0].top_ids) == best.tolist()
    np.testing.assert_allclose(processed.logprobs[0].top_logprobs, edited[best] / np.float32(0.5), rtol=1e-6)


def test_all_of_them() -> None:
    sampler = Sampler(SamplingParams(logprobs=-1))
    sampler.sample(SCORES)
    (found,) = sampler.logprobs
    assert found.top_ids == tuple(range(9000))
    np.testing.assert_allclose(found.top_logprobs, log_softmax(SCORES), atol=2e-6)


def test_none_unless_asked_for() -> None:
    sampler = Sampler()
    sampler.sample(SCORES)
    assert not sampler.logprobs
    only_the_token = Sampler(SamplingParams(logprobs=0))
    token = only_the_token.sample(SCORES)
    (found,) = only_the_token.logprobs
    assert (found.top_ids, found.entropy, found.probability) == ((), None, None)
    assert found.logprob == pytest.approx(log_softmax(SCORES)[token], abs=2e-6)


def test_a_batch_has_one_for_each_row(level: str) -> None:
    rows = np.stack([SCORES, SCORES[::-1], np.full(9000, -np.inf, np.float32)])
    rows[2, 7] = np.nan
    sampler = Sampler(SamplingParams(logprobs=2, seed=3))
    with pytest.raises(ArithmeticError):
        sampler.sample(rows)
    first, second, failed = sampler.logprobs
    assert first.top_ids == tuple(oracles.top_k(rows[0], 2).tolist())
    assert second.top_ids == tuple(oracles.top_k(rows[1], 2).tolist())
    assert (failed.token_id, failed.logprob, failed.top_ids) == (-1, None, ())


def test_masking_nan(level: str) -> None:
    """NaN and +inf are left out and counted; the rest is as if they were -inf."""
    row, expected = SCORES.copy(), SCORES.copy()
    row[[3, 500, 8999]] = np.nan
    row[77] = np.inf
    expected[[3, 500, 8999, 77]] = -np.inf
    for plan in ({"temperature": 0}, {"top_p": 0.9}, {"top_k": 5}):
        masking = Sampler(SamplingParams(seed=1, nan_policy="mask", **plan))
        plain = Sampler(SamplingParams(seed=1, **plan))
        assert [masking.sample(row) for _ in range(20)] == [plain.sample(expected) for _ in range(20)]
        assert (masking.masked, plain.masked) == (4, 0)
        assert masking.sample(SCORES) in range(9000)
        assert masking.masked == 0


# How much of the row is read.


@pytest.mark.parametrize(
    ("plan", "scans", "weighs"),
    [
        ({"temperature": 0}, 1, 0),
        ({"temperature": 0, "repetition_penalty": 1.3}, 1, 0),
        ({"top_k": 40, "top_p": 0.95, "min_p": 0.05, "repetition_penalty": 1.1}, 1, 0),
        ({"profile": "llamacpp", "top_k": 40, "top_p": 0.95}, 1, 0),
        ({"min_p": 0.3}, 1, 0),
        ({}, 1, 1),
        ({"epsilon_cutoff": 0.01}, 1, 1),
        ({"top_p": 0.95, "min_p": 0.3}, 1, 1),
        ({"logprobs": 5, "top_k": 40}, 1, 1),
        ({"logprobs": 5}, 1, 1),
        ({"top_p": 0.9999, "logprobs": 5}, 1, None),
    ],
    ids=str,
)
def test_passes(plan: dict[str, Any], scans: int, weighs: int | None, level: str) -> None:
    """A sum that is there already is not made again; what a list answers reads nothing."""
    sampler = Sampler(SamplingParams(seed=2, **plan))
    sampler.observe(list(range(0, 3000, 3)))
    sampler.sample(SCORES)
    passes = sampler.passes
    assert passes["scan"] == scans
    assert passes["visit"] == 0
    if weighs is not None:
        assert passes["weigh"] == weighs
    assert "scan: 1 pass" in sampler.explain()


def test_a_nucleus_is_checked_in_part() -> None:
    """The mass before a drawn token is added up only as far as the answer needs it."""
    sampler = Sampler(SamplingParams(seed=2, top_p=0.95))
    weighed = []
    for _ in range(400):
        sampler.sample(SCORES)
        weighed.append(sampler.passes["weigh"])
    assert 1 < np.mean(weighed) < 1.6


def test_explanations() -> None:
    plan = SamplingParams(temperature=0.8, repetition_penalty=1.1, top_k=40, top_p=0.95, min_p=0.05, logprobs=2)
    lines = Sampler(plan).explain().splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "scan",
        "edits of single scores, no pass",
        "temperature 0.8",
        "top_k 40",
        "top_p 0.95",
        "min_p 0.05",
        "draw",
        "raw_logprobs",
    ]
    assert "in the list, no pass" in lines[4]
    assert "lowest id" in Sampler(SamplingParams(temperature=0)).explain()
