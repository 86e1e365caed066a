"""Sampling in profile "llamacpp" against llama.cpp: the same candidates, the same probabilities, the same tokens."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import oracle_samplers
import oracles
import pytest
from drawing import assert_same, distribution
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle_chain import DEFAULTS, chain, margin

pytest.importorskip("llama_cpp")

from conformance import llamacpp
from fastgen.params import SamplingParams
from fastgen.sampler import Sampler

Array = np.ndarray[Any, Any]
Subject = Callable[..., Array]
Params = dict[str, Any]

NEAR = 2e-5  # a case that llama.cpp's float32 sums may decide differently than float64
BOTH = pytest.mark.parametrize("subject", [chain, distribution], ids=["oracle", "fastgen"])


def of_llamacpp(row: Array, params: Params, history: list[int]) -> Array:
    p = {**DEFAULTS, **params}
    theirs = llamacpp.Chain(*llamacpp.samplers(p, row.size, 1 if p["mirostat"] else None))
    theirs.accept(*history)
    return theirs.probabilities(row)


def compare(subject: Subject, row: Array, params: Params, history: list[int]) -> None:
    params = {"profile": "llamacpp", **params}
    context = {"history": history, "prompt_length": len(history) // 2}
    assume(margin(row, params, **context) > NEAR)
    # llama.cpp adds up the entropy in float32, and the temperature depends on it
    within = 1e-5 if "dynatemp_range" in params else 1e-6
    assert_same(subject(row, params, **context), of_llamacpp(row, params, history), within=within)


# Which of two tied tokens llama.cpp's unstable sort keeps is open: no ties.
ROWS = st.tuples(st.integers(2, 400), st.floats(0.2, 3), st.integers(0, 1 << 31)).map(
    lambda t: distinct(np.random.default_rng(t[2]), t[0], t[1])
)
TOKEN = st.integers(0, 9)
HISTORY = st.lists(TOKEN, max_size=90)
TOP_N_SIGMA = st.floats(0.2, 4)
SAMPLERS = {
    "top_k": st.integers(1, 420),
    "typical_p": st.floats(0.01, 0.99),
    "top_p": st.floats(0.01, 0.999),
    "min_p": st.floats(1e-4, 1),
    "temperature": st.floats(0.5, 3),
    "xtc_threshold": st.floats(0.01, 0.5),
}
SINGLE: dict[str, Any] = {
    **{name: st.fixed_dictionaries({name: values}) for name, values in SAMPLERS.items()},
    "top_n_sigma": st.fixed_dictionaries({"top_n_sigma": TOP_N_SIGMA}),
    "xtc_threshold": st.fixed_dictionaries({"xtc_threshold": st.floats(0.001, 0.6), "xtc_probability": st.just(1.0)}),
    "dynatemp": st.fixed_dictionaries(
        {"dynatemp_range": st.floats(0.1, 2), "temperature": st.floats(0.5, 2), "dynatemp_exponent": st.floats(0.3, 3)}
    ),
    "mirostat": st.fixed_dictionaries({"mirostat": st.sampled_from([1, 2]), "mirostat_tau": st.floats(0.5, 5)}),
}
EDITS = {
    "repetition_penalty": st.floats(0.5, 3),
    "presence_penalty": st.floats(-2, 2),
    "frequency_penalty": st.floats(-2, 2),
    "repetition_window": st.integers(0, 100),
    "logit_bias": st.dictionaries(TOKEN, st.floats(-20, 20), min_size=1, max_size=4),
}
DRY = {
    "dry_multiplier": st.floats(0.1, 3),
    "dry_base": st.floats(1, 2),
    "dry_allowed_length": st.integers(1, 4),
    "dry_penalty_last_n": st.sampled_from([-1, 5, 20, 60]),
}


def distinct(rng: np.random.Generator, count: int, spread: float) -> Array:
    """Return scores of which no two are equal."""
    while True:
        row = (rng.standard_normal(count) * spread).astype(np.float32)
        if np.unique(row).size == count:
            return row


@BOTH
@pytest.mark.parametrize("name", SINGLE)
def test_each_sampler_alone(name: str, subject: Subject) -> None:
    @settings(max_examples=150, deadline=None)
    @given(ROWS, SINGLE[name])
    def check(row: Array, params: Params) -> None:
        compare(subject, row, params, [])

    check()


@BOTH
@pytest.mark.parametrize("spread", [0.3, 1, 3])
def test_the_default_chain(spread: float, subject: Subject, rng: np.random.Generator) -> None:
    default = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05}
    compared = 0
    for count in (10, 100, 1000, 3000, 32_000):
        row = distinct(rng, count, spread) if count < 5000 else rng.permutation(count).astype(np.float32) / 2000
        for changes in ({}, {"top_k": 0}, {"top_p": 1.0}, {"temperature": 1.0}, {"min_p": 0.0}):
            params = {"profile": "llamacpp", **default, **changes}
            # float32 sums of thousands of terms, one after the other, are llama.cpp's
            if margin(row, params) > 1e-4:
                compared += 1
                expected = of_llamacpp(row, params, [])
                found = subject(row, params)
                assert np.array_equal(found > 0, expected > 0)
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert compared > 5


@BOTH
def test_whole_chains(subject: Subject) -> None:
    @settings(max_examples=400, deadline=None)
    @given(ROWS, st.fixed_dictionaries({"xtc_probability": st.sampled_from([0.0, 1.0])}, optional=SAMPLERS))
    def check(row: Array, params: Params) -> None:
        compare(subject, row, params, [])

    check()


@BOTH
def test_top_n_sigma_in_chains(subject: Subject) -> None:
    """It leaves what it cuts among the candidates at minus infinity. Typical-p makes NaN of that, so not together."""
    rest = {name: values for name, values in SAMPLERS.items() if name != "typical_p"}

    @settings(max_examples=200, deadline=None)
    @given(ROWS, st.fixed_dictionaries({"top_n_sigma": TOP_N_SIGMA}, optional=rest))
    def check(row: Array, params: Params) -> None:
        compare(subject, row, params, [])

    check()


@BOTH
def test_penalties_and_bias(subject: Subject) -> None:
    """Both windows are the last 64 tokens, prompt included."""

    @settings(max_examples=300, deadline=None)
    @given(ROWS, st.fixed_dictionaries({}, optional={**EDITS, "top_k": SAMPLERS["top_k"]}), HISTORY)
    def check(row: Array, params: Params, history: list[int]) -> None:
        assume(row.size >= 10)
        if "repetition_window" in params:
            params["frequency_window"] = params["repetition_window"]
        compare(subject, row, params, history)

    check()


@BOTH
@pytest.mark.parametrize("breakers", [(), ((3,),), ((3,), (1, 2)), ((0, 1, 0), (1, 0), (2,))], ids=str)
def test_dry(breakers: tuple[tuple[int, ...], ...], subject: Subject) -> None:
    if breakers and not hasattr(llamacpp.api._lib, llamacpp.DRY_OF_IDS):
        pytest.skip("this build of llama.cpp hides the function that takes breakers as ids")
    history = st.lists(st.integers(0, 4), max_size=60)

    @settings(max_examples=300, deadline=None)
    @given(st.fixed_dictionaries(DRY), history)
    def check(params: Params, tokens: list[int]) -> None:
        compare(subject, np.arange(8, dtype=np.float32) / 4, {**params, "dry_sequence_breakers": breakers}, tokens)

    check()


@pytest.mark.parametrize(
    ("history", "multiplier", "allowed", "breakers", "expected"),
    [
        ([0, 1], 1.0, 2, (), [0.25] * 4),
        ([0, 1, 2, 0, 1], 1.0, 2, (), [0.296923, 0.296923, 0.109232, 0.296923]),
        ([0, 1, 3, 0, 1], 1.0, 2, ((3,),), [0.25] * 4),
        ([0, 1, 2, 0, 1], 2.0, 2, (), [0.241818, 0.241818, 0.032727, 0.241818, 0.241818]),
        ([0, 1, 2, 3, 4, 0, 1], 1.0, 4, (), [0.2] * 5),
    ],
)
@BOTH
def test_dry_by_numbers(
    history: list[int], multiplier: float, allowed: int, breakers: Any, expected: list[float], subject: Subject
) -> None:
    params = {
        "profile": "llamacpp", "dry_multiplier": multiplier, "dry_base": 1.1, "dry_allowed_length": allowed,
        "dry_sequence_breakers": breakers,
    }  # fmt: skip
    found = subject(np.zeros(len(expected), np.float32), params, history=history)
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize(
    ("history", "params", "expected"),
    [
        ([0], {"repetition_penalty": 50.0}, [0, 0.25, 0.25, 0.25, 0.25]),
        ([0, 1, 2], {"repetition_penalty": 50.0}, [0, 0, 0, 0.5, 0.5]),
        ([0, 1, 2, 0, 0], {"repetition_penalty": 50.0}, [0, 0, 0, 0.5, 0.5]),
        ([0], {"frequency_penalty": 5.0, "presence_penalty": 5.0}, [0.000011, *[0.249997] * 4]),
        ([0, 1, 2], {"frequency_penalty": 5.0, "presence_penalty": 5.0}, [*[0.000023] * 3, *[0.499966] * 2]),
        (
            [0, 1, 2, 0, 0],
            {"frequency_penalty": 5.0, "presence_penalty": 5.0},
            [0, 0.000023, 0.000023, 0.499977, 0.499977],
        ),
    ],
)
@BOTH
def test_penalties_by_numbers(history: list[int], params: Params, expected: list[float], subject: Subject) -> None:
    """The vectors of llama.cpp's own test: five scores log(0.2)."""
    row = np.log(np.full(5, 0.2)).astype(np.float32)
    found = subject(row, {"profile": "llamacpp", **params}, history=history)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_allclose(of_llamacpp(row, params, history), expected, atol=2e-6)


# Token for token.


class Mersenne:
    """std::mt19937, and the two uniform numbers that libstdc++ makes of it."""

    def __init__(self, seed: int) -> None:
        self._words = np.random.RandomState(seed)

    def word(self) -> int:
        return int(self._words.randint(0, 1 << 32, dtype=np.uint32))

    def double(self) -> float:
        low, high = self.word(), self.word()
        return (low + float(high) * 2.0**32) / 2.0**64

    def single(self) -> float:
        return min(float(np.float32(self.word()) / np.float32(2**32)), 1 - 2.0**-24)


def in_order(scores: Array, p: Params, xtc_ran: bool) -> Array:
    """Return the ids that are left in llama.cpp's order: descending if something sorted them, else by id."""
    ids = oracle_samplers.descending(scores)
    sorts = p["top_k"] > 0 or p["top_p"] < 1 or p["dynatemp_range"] > 0 or xtc_ran
    return ids if sorts else np.sort(ids)


def weights(scores: Array) -> Array:
    """Return exp of the scores, rounded as float32, wide."""
    return np.exp((scores - scores.max()).astype(np.float32).astype(np.float64)).astype(np.float32).astype(np.float64)


def replayed(rows: Array, params: Params, seed: int) -> list[int]:
    """Return llama.cpp's tokens from the definition: the chain, mt19937, the first running sum that is enough."""
    p = {**DEFAULTS, "profile": "llamacpp", **params}
    random, random_of_xtc = Mersenne(seed), Mersenne(seed)
    history: list[int] = []
    mu = np.float32(2 * p["mirostat_tau"])
    for row in rows:
        if p["mirostat"]:
            cut = oracle_samplers.mirostat(row / p["temperature"], p["mirostat"], float(mu), [])
            ids = oracle_samplers.descending(cut)
            shares = oracle_samplers.softmax(cut)[ids]
            # std::discrete_distribution does not draw where there is nothing to choose
            u = random.double() if ids.size > 1 else 0.0
            drawn = min(int(np.searchsorted(np.cumsum(shares), u)), ids.size - 1)
            mu -= np.float32(p["mirostat_eta"]) * (-np.log2(np.float32(shares[drawn])) - np.float32(p["mirostat_tau"]))
        else:
            before_xtc = chain(row, {**p, "xtc_probability": 0.0, "temperature": 1.0}, history=history)
            draws = p["xtc_probability"] > 0 and p["xtc_threshold"] <= 0.5 and (before_xtc > 0).sum() > 1
            u = random_of_xtc.single() if draws else 1.0
            left = chain(row, p, history=history, xtc_uniform=u)
            scores = np.log(left, where=left > 0, out=np.full(left.size, -np.inf))
            ids = in_order(scores, p, draws and u <= p["xtc_probability"])
            total = np.cumsum(weights(scores)[ids])
            drawn = int((total < random.double() * total[-1]).sum())
        history.append(int(ids[drawn]))
    return history


REPLAYS: dict[str, Params] = {
    "default": {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05},
    "no top-k": {"temperature": 0.8, "top_p": 0.95, "min_p": 0.05},
    "min-p only, in id order": {"temperature": 0.8, "min_p": 0.02},
    "temperature only, in id order": {"temperature": 0.8},
    "nothing": {},
    "one candidate": {"top_k": 1},
    "often one candidate": {"temperature": 0.8, "top_p": 0.15},
    "xtc": {"temperature": 0.8, "xtc_probability": 0.5, "xtc_threshold": 0.05},
    "xtc after top-k": {"top_k": 40, "min_p": 0.05, "xtc_probability": 0.7, "xtc_threshold": 0.08},
    "dynamic temperature": {"temperature": 1.0, "dynatemp_range": 0.5, "min_p": 0.01},
    "penalties": {"top_k": 40, "repetition_penalty": 1.3, "frequency_penalty": 0.2, "presence_penalty": 0.1},
    "sigma": {"top_n_sigma": 1.5, "top_k": 40},
    "mirostat 1": {"temperature": 0.9, "mirostat": 1, "mirostat_tau": 4.0},
    "mirostat 2": {"temperature": 0.9, "mirostat": 2, "mirostat_tau": 4.0},
    "mirostat 2, surprise low": {"mirostat": 2, "mirostat_tau": 1.0, "mirostat_eta": 0.3},
}


def rows_to_replay(params: Params) -> Array:
    """Return 2,000 rows that no rounding decides, as far as the history does not matter."""
    rng = np.random.default_rng(99)
    stateless = {name: value for name, value in params.items() if not name.startswith(("mirostat", "repetition"))}
    rows: list[Array] = []
    while len(rows) < 2000:
        row = distinct(rng, 300, 2.5)
        if margin(row, {"profile": "llamacpp", **stateless}, xtc_uniform=0.0) > NEAR:
            rows.append(row)
    return np.stack(rows)


def drawn_by_llamacpp(rows: Array, params: Params, seed: int) -> list[int]:
    theirs = llamacpp.Chain(*llamacpp.samplers({**DEFAULTS, **params}, rows.shape[1], seed))
    tokens = []
    for row in rows:
        _, token = theirs.apply(row)
        theirs.accept(token)
        tokens.append(token)
    return tokens


def drawn_by_fastgen(rows: Array, params: Params, seed: int) -> list[int]:
    sampler = Sampler(SamplingParams(profile="llamacpp", seed=seed, **params))
    tokens = []
    for row in rows:
        token = sampler.sample(row)
        sampler.observe([token], prompt=False)
        tokens.append(int(token))
    return tokens


@pytest.mark.parametrize("subject", [replayed, drawn_by_fastgen], ids=["oracle", "fastgen"])
@pytest.mark.parametrize("name", REPLAYS)
def test_the_same_tokens(name: str, subject: Callable[..., list[int]]) -> None:
    rows = rows_to_replay(REPLAYS[name])
    for seed in (42, 0xFFFFFFFE):
        expected = drawn_by_llamacpp(rows, REPLAYS[name], seed)
        found = subject(rows, REPLAYS[name], seed)
        first = next((i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b), None)
        assert first is None, f"draw {first}: {found[first]}, llama.cpp {expected[first]}"


def test_penalty_vectors_are_the_definition() -> None:
    """The three formulas of the oracle, on numbers that can be checked by hand."""
    row = np.array([4.0, -4.0, 1.0, 0.0, -0.0])
    assert oracles.penalize_repetition(row, [0, 1, 1, 3], 2.0).tolist() == [2, -8, 1, 0, 0]
    assert oracles.penalize_frequency(row, [0, 1, 1], 0.5, 1.0).tolist() == [2.5, -6.0, 1, 0, 0]
    assert oracles.dry_lengths([1, 2, 3, 1, 2], 2) == {3: 2}
    assert math.isclose(oracles.penalize_dry(row, [1, 2, 3, 1, 2, 3, 1, 2], multiplier=1.0, base=2.0)[3], -(2.0**3))
