"""Samplers in any order, on short rows and on rows too long for a list, against the chain in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from drawing import assert_same, sampler_after
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle_chain import chain, margin

from fastgen import cpu
from fastgen.params import SamplingParams
from fastgen.sampler import Sampler

Array = np.ndarray[Any, Any]

VALUES: dict[str, Any] = {
    "temperature": st.sampled_from([0.3, 0.8, 1.7]),
    "top_k": st.integers(1, 6000),
    "top_p": st.floats(0.05, 0.99),
    "min_p": st.floats(0.001, 0.9),
    "typical_p": st.floats(0.05, 0.99),
    "top_n_sigma": st.floats(0.3, 3.0),
    "epsilon_cutoff": st.floats(1e-5, 0.1),
    "eta_cutoff": st.floats(1e-5, 0.1),
    "xtc_threshold": st.floats(0.0005, 0.4),
}
NAMES = (*tuple(name for name in VALUES if name != "xtc_threshold"), "xtc")
HISTORY = {
    "repetition_penalty": st.sampled_from([0.7, 1.3]),
    "presence_penalty": st.sampled_from([-0.5, 0.8]),
    "frequency_penalty": st.sampled_from([-0.3, 0.4]),
    "no_repeat_ngram_size": st.integers(1, 3),
    "logit_bias": st.dictionaries(st.integers(0, 4), st.sampled_from([-5.0, 3.0, -np.inf]), max_size=3),
    "suppress_tokens": st.sets(st.integers(0, 4), max_size=2).map(tuple),
}


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """Return some samplers in some order, each with a value."""
    order = draw(st.permutations(NAMES))[: draw(st.integers(1, 5))]
    params = {name: draw(VALUES[name]) for name in order if name != "xtc"}
    if "xtc" in order:
        params |= {"xtc_probability": 1.0, "xtc_threshold": draw(VALUES["xtc_threshold"])}
    return {**params, "sampler_order": tuple(order)}


def row_of(seed: int, count: int, spread: float) -> Array:
    """Return distinct scores: equally near tokens and ties have tests of their own."""
    row = np.random.default_rng(seed).standard_normal(count).astype(np.float32) * np.float32(spread)
    return row if np.unique(row).size == count else np.linspace(-spread, spread, count, dtype=np.float32)


ROWS = st.builds(row_of, st.integers(0, 1000), st.sampled_from([3, 12, 300, 7000]), st.sampled_from([0.02, 1.0, 4.0]))


@given(ROWS, plans())
@settings(max_examples=250, deadline=None)
def test_any_order(row: Array, params: dict[str, Any]) -> None:
    assume(margin(row, params) > 2e-6)
    found = sampler_after(params).distribution(row)
    assert_same(found, chain(row, params))


@given(ROWS, plans(), st.fixed_dictionaries({}, optional=HISTORY), st.data())
@settings(max_examples=150, deadline=None)
def test_any_order_after_edits(row: Array, plan: dict[str, Any], edits: dict[str, Any], data: st.DataObject) -> None:
    context = {
        "history": data.draw(st.lists(st.integers(0, min(row.size, 9) - 1), max_size=30)),
        "prompt_length": 0,
    }
    params = {**plan, **edits}
    params = {name: value for name, value in params.items() if value not in ({}, ())}
    ids = [*params.get("suppress_tokens", ()), *params.get("logit_bias", {})]
    assume(all(token < row.size for token in ids))
    assume(len({*ids, *context["history"]}) < row.size)
    assume(margin(row, params, **context) > 2e-6)
    expected = chain(row, params, **context)
    assert_same(sampler_after(params, **context).distribution(row), expected)


@pytest.mark.parametrize(
    "params",
    [
        {"top_p": 0.4, "temperature": 0.7, "sampler_order": ("top_p", "temperature")},
        {"typical_p": 0.6},
        {"typical_p": 0.6, "temperature": 1.4, "sampler_order": ("typical_p", "temperature")},
        {"typical_p": 0.7, "min_p": 0.2, "top_k": 300},
        {"top_p": 0.9, "typical_p": 0.5},
        {"eta_cutoff": 2e-4, "top_p": 0.5},
        {"top_n_sigma": 2.5, "top_p": 0.8},
        {"xtc_probability": 1.0, "xtc_threshold": 0.0004},
        {"top_k": 8500, "top_p": 0.7},
        {"dynatemp_range": 0.5, "top_p": 0.6},
    ],
    ids=str,
)
def test_draws_from_long_rows(params: dict[str, Any], level: str) -> None:
    """Rows of 9,000 near equals: no list has room for what is kept, so every draw is one from a band."""
    row = row_of(3, 9000, 0.7)
    sampler = sampler_after({"seed": 6, **params})
    expected = sampler.distribution(row)
    assert_same(expected, chain(row, params))
    tokens = np.asarray(sampler.sample(np.broadcast_to(row, (20_000, row.size))))
    order = np.argsort(row)
    groups = np.arange(row.size) // 300  # neighbors in score counted together
    shares, counts = np.zeros(30), np.zeros(30)
    np.add.at(shares, groups, expected[order])
    np.add.at(counts, groups, np.bincount(tokens, minlength=row.size)[order])
    assert not counts[shares == 0].any()
    kept = shares > 0
    chi = float(((counts - 20_000 * shares)[kept] ** 2 / (20_000 * shares[kept])).sum())
    assert chi < kept.sum() + 5 * np.sqrt(2 * kept.sum())


def test_center_below_which_nothing_is(level: str) -> None:
    """A set around the entropy need not hold the likeliest token; its own largest is what min-p measures by."""
    row = np.log(np.array([0.5, 0.2, 0.2, 0.05, 0.05])).astype(np.float32)
    plan = {"top_k": 5, "typical_p": 0.3, "min_p": 0.9, "sampler_order": ("top_k", "typical_p", "min_p")}
    assert np.flatnonzero(sampler_after(plan).distribution(row)).tolist() == [1, 2]
    assert_same(sampler_after(plan).distribution(row), chain(row, {**plan, "ties": "keep"}))


@given(ROWS, plans(), st.integers(0, 1 << 40))
@settings(max_examples=150, deadline=None)
def test_levels_draw_the_same(row: Array, params: dict[str, Any], seed: int) -> None:
    drawn = {}
    for name in cpu.detected():
        with cpu.force(name):
            drawn[name] = Sampler(SamplingParams(seed=seed, **params)).sample(np.broadcast_to(row, (50, row.size)))
    assert all(np.array_equal(tokens, drawn["scalar"]) for tokens in drawn.values())
