"""The steps for given parameters."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from fastgen.params import SamplingParams
from fastgen.plan import HIGH_IDS_FIRST, INCLUSIVE, KEEP_TIES, OF_WHOLE, Op, Plan, compile_plan

ALL = {
    "temperature": 0.5,
    "top_n_sigma": 2,
    "top_k": 40,
    "typical_p": 0.75,
    "top_p": 0.875,
    "min_p": 0.0625,
    "epsilon_cutoff": 0.25,
    "eta_cutoff": 0.125,
    "xtc_probability": 0.5,
    "xtc_threshold": 0.25,
}
TEMPERATURE = ("temperature", 0.5, 0.0, 0.0, 0)
TOP_N_SIGMA = ("top_n_sigma", 2.0, 0.0, 0.0, 0)
TOP_K = ("top_k", 40.0, 0.0, 0.0, 0)
TOP_K_TIES = ("top_k", 40.0, 0.0, 0.0, 1)
TYPICAL_P = ("typical_p", 0.75, 0.0, 0.0, 0)
TOP_P = ("top_p", 0.875, 0.0, 0.0, 0)
TOP_P_HIGH = ("top_p", 0.875, 0.0, 0.0, 2)
TOP_P_SGLANG = ("top_p", 0.875, 0.0, 0.0, 12)
MIN_P = ("min_p", 0.0625, 0.0, 0.0, 0)
EPSILON = ("epsilon_cutoff", 0.25, 0.0, 0.0, 0)
ETA = ("eta_cutoff", 0.125, 0.0, 0.0, 0)
XTC = ("xtc", 0.5, 0.25, 0.0, 0)
XTC_TIES = ("xtc", 0.5, 0.25, 0.0, 1)


def ops(**given: Any) -> tuple[Op, ...]:
    return compile_plan(SamplingParams(**given)).ops


def test_nothing_to_do() -> None:
    assert compile_plan(SamplingParams()) == Plan(
        ops=(),
        greedy=False,
        repetition_window=-1,
        frequency_window=-1,
        repetition_counts_prompt=True,
        frequency_counts_prompt=False,
        has_penalties=False,
        uses_history=False,
    )


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ("fastgen", (TEMPERATURE, TOP_N_SIGMA, TOP_K, TYPICAL_P, TOP_P, MIN_P, EPSILON, ETA, XTC)),
        ("hf", (TEMPERATURE, TOP_K_TIES, TOP_P_HIGH, MIN_P, TYPICAL_P, EPSILON, ETA, TOP_N_SIGMA, XTC)),
        ("vllm", (TEMPERATURE, MIN_P, TOP_K_TIES, TOP_P_HIGH, TYPICAL_P, EPSILON, ETA, TOP_N_SIGMA, XTC)),
        ("llamacpp", (TOP_N_SIGMA, TOP_K, TYPICAL_P, TOP_P, MIN_P, XTC, TEMPERATURE, EPSILON, ETA)),
        ("sglang", (TEMPERATURE, TOP_K, TOP_P_SGLANG, MIN_P, TYPICAL_P, EPSILON, ETA, TOP_N_SIGMA, XTC)),
        ("mlx", (TOP_P_HIGH, MIN_P, XTC_TIES, TOP_K, TYPICAL_P, EPSILON, ETA, TOP_N_SIGMA, TEMPERATURE)),
    ],
)
def test_all_samplers_in_each_profile(profile: str, expected: tuple[Any, ...]) -> None:
    assert ops(profile=profile, **ALL) == expected
    assert ops(profile=profile, temperature=0.5, min_p=0.0625) == tuple(
        op for op in expected if op in (TEMPERATURE, MIN_P)
    )
    assert ops(profile=profile) == ()
    assert ops(profile=profile, **{**ALL, "temperature": 0}) == ()


def test_flags() -> None:
    assert (KEEP_TIES, HIGH_IDS_FIRST, INCLUSIVE, OF_WHOLE) == (1, 2, 4, 8)
    assert ops(top_k=5, ties="keep") == (("top_k", 5.0, 0.0, 0.0, 1),)
    assert ops(top_k=5, ties="cut", profile="hf") == (("top_k", 5.0, 0.0, 0.0, 0),)
    assert ops(xtc_probability=1, ties="keep") == (("xtc", 1.0, 0.1, 0.0, 0),)


def test_an_explicit_order() -> None:
    order = ("xtc", "top_p", "temperature", "top_k")
    given = {"top_p": 0.875, "temperature": 0.5, "top_k": 40}
    assert ops(sampler_order=order, **given) == (TOP_P, TEMPERATURE, TOP_K)
    assert ops(sampler_order=order, profile="sglang", **given) == (TOP_P_SGLANG, TEMPERATURE, TOP_K)
    assert ops(sampler_order=["top_k"], top_k=40) == (TOP_K,)


def test_greedy() -> None:
    plan = compile_plan(SamplingParams(temperature=1e-6, top_k=5, mirostat=0, dynatemp_range=1, repetition_penalty=2))
    assert (plan.ops, plan.greedy, plan.has_penalties) == ((), True, True)
    assert compile_plan(SamplingParams(temperature=0, mirostat=2)).ops == ()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"temperature": 1.0, "dynatemp_range": 0.5}, ("dynatemp", 0.5, 1.5, 1.0, 0)),
        ({"temperature": 0.5, "dynatemp_range": 2, "dynatemp_exponent": 3}, ("dynatemp", 0.0, 2.5, 3.0, 0)),
        ({"temperature": 2, "dynatemp_exponent": 3}, ("temperature", 2.0, 0.0, 0.0, 0)),
        ({"temperature": 0.5, "dynatemp_range": 0.5}, ("dynatemp", 0.0, 1.0, 1.0, 0)),
    ],
)
def test_temperature(given: dict[str, Any], expected: tuple[Any, ...]) -> None:
    assert ops(**given) == (expected,)
    assert ops(top_k=40, profile="llamacpp", **given) == (TOP_K, expected)


@pytest.mark.parametrize("profile", ["fastgen", "llamacpp", "mlx"])
def test_mirostat(profile: str) -> None:
    assert ops(mirostat=1, profile=profile) == (("mirostat_1", 5.0, 0.1, 0.0, 0),)
    assert ops(mirostat=2, mirostat_tau=3, mirostat_eta=0.5, temperature=0.5, profile=profile) == (
        TEMPERATURE,
        ("mirostat_2", 3.0, 0.5, 0.0, 0),
    )
    assert ops(mirostat=2, dynatemp_range=0.5, profile=profile) == (
        ("dynatemp", 0.5, 1.5, 1.0, 0),
        ("mirostat_2", 5.0, 0.1, 0.0, 0),
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (-1, -1, True, False)),
        ({"profile": "hf"}, (-1, -1, True, False)),
        ({"profile": "vllm"}, (-1, -1, True, False)),
        ({"profile": "llamacpp"}, (64, 64, True, True)),
        ({"profile": "sglang"}, (-1, -1, False, False)),
        ({"profile": "mlx"}, (20, 20, True, True)),
        ({"profile": "mlx", "repetition_window": -1}, (-1, 20, True, True)),
        ({"profile": "mlx", "frequency_window": 0}, (20, 0, True, True)),
        ({"profile": "llamacpp", "repeat_last_n": 8}, (8, 8, True, True)),
        ({"penalize_prompt": True}, (-1, -1, True, True)),
        ({"profile": "llamacpp", "penalize_prompt": False}, (64, 64, False, False)),
    ],
)
def test_windows(given: dict[str, Any], expected: tuple[int, int, bool, bool]) -> None:
    plan = compile_plan(SamplingParams(**given))
    assert (
        plan.repetition_window,
        plan.frequency_window,
        plan.repetition_counts_prompt,
        plan.frequency_counts_prompt,
    ) == expected


@pytest.mark.parametrize(
    ("given", "penalties", "history"),
    [
        ({"repetition_penalty": 1.1}, True, True),
        ({"repetition_penalty": 0.9}, True, True),
        ({"presence_penalty": -0.1}, True, True),
        ({"frequency_penalty": 0.1}, True, True),
        ({"repetition_penalty": 1.1, "repetition_window": 0}, False, False),
        ({"presence_penalty": 1, "frequency_penalty": 1, "frequency_window": 0}, False, False),
        ({"presence_penalty": 1, "repetition_window": 0}, True, True),
        ({"dry_multiplier": 0.8}, False, True),
        ({"dry_multiplier": 0.8, "dry_penalty_last_n": 0}, False, False),
        ({"no_repeat_ngram_size": 2}, False, True),
        ({"bad_words": ["a"]}, False, True),
        ({"bad_words": [[1, 2]]}, False, True),
        ({"bad_words": [[1], [2]]}, False, False),
        ({"logit_bias": {1: 1}, "suppress_tokens": [2], "min_tokens": 3, "mirostat": 2}, False, False),
    ],
)
def test_what_needs_earlier_tokens(given: dict[str, Any], penalties: bool, history: bool) -> None:
    plan = compile_plan(SamplingParams(**given))
    assert (plan.has_penalties, plan.uses_history) == (penalties, history)


def test_plain_numbers() -> None:
    params = SamplingParams(temperature=np.float32(0.5), top_k=np.int64(40), repetition_window=np.int32(3))
    plan = compile_plan(params)
    assert plan.ops == (TEMPERATURE, TOP_K)
    assert all(type(number) is float for op in plan.ops for number in op[1:4])
    assert type(plan.repetition_window) is int


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        compile_plan(SamplingParams()).greedy = True  # type: ignore[misc]
