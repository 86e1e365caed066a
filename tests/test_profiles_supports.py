"""What each engine keeps of six distributions, and the tricky cases of sampling, all as literals."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from drawing import distribution, sampler_after, support
from lending import DTYPES, lend, pack, widen
from oracle_chain import chain

from fastgen.errors import FastgenError, InvalidParameterError, LogitsError
from fastgen.params import SamplingParams
from fastgen.random import uniform
from fastgen.sampler import Sampler

Array = np.ndarray[Any, Any]
Subject = Callable[..., Array]

BOTH = pytest.mark.parametrize("subject", [chain, distribution], ids=["oracle", "fastgen"])
PROFILES = ("fastgen", "hf", "vllm", "sglang", "llamacpp", "mlx")
XTC = 1  # the purpose of the uniform number that decides whether XTC cuts


def row(*scores: float) -> Array:
    return np.array(scores, np.float32)


def log(*probabilities: float) -> Array:
    return np.log(np.array(probabilities)).astype(np.float32)


# One distribution, six supports. The last case is a hair under an equality, which rounding would decide.

TEMPERATURE_ORDER = row(3, 2, 1), {"temperature": 0.5, "top_p": 0.8}
TOP_K_THEN_TOP_P = log(0.4, 0.3, 0.2, 0.1), {"top_k": 2, "top_p": 0.5}
MIN_P_ORDER = log(0.5, 0.2, 0.15, 0.1, 0.05), {"top_p": 0.55, "min_p": 0.3}
TOP_K_TIES = row(1, 3, 2, 2, 2), {"top_k": 2}
FLAT = row(0, 0, 0, 0), {"top_p": 0.5}
UNDER_EQUALITY = log(0.1, 0.2, 0.3, 0.4), {"top_p": 0.6999}


@BOTH
@pytest.mark.parametrize(
    ("case", "supports"),
    [
        (TEMPERATURE_ORDER, ({0}, {0}, {0}, {0}, {0, 1}, {0, 1})),
        (TOP_K_THEN_TOP_P, ({0}, {0}, {0}, {0, 1}, {0}, {0, 1})),
        (MIN_P_ORDER, ({0, 1}, {0, 1}, {0}, {0, 1}, {0, 1}, {0, 1})),
        (TOP_K_TIES, ({1, 2}, {1, 2, 3, 4}, {1, 2, 3, 4}, {1, 2}, {1, 2}, {1, 2})),
        (FLAT, ({0, 1}, {2, 3}, {2, 3}, {0, 1, 2}, {0, 1}, {2, 3})),
        (UNDER_EQUALITY, ({2, 3}, {2, 3}, {2, 3}, {2, 3}, {2, 3}, {2, 3})),
    ],
    ids=["temperature", "top-k then top-p", "min-p", "ties of top-k", "flat", "equality"],
)
def test_supports_of_the_profiles(
    case: tuple[Array, dict[str, Any]], supports: tuple[set[int], ...], subject: Subject
) -> None:
    scores, params = case
    found = {name: support(subject(scores, {"profile": name, **params})) for name in PROFILES}
    assert found == dict(zip(PROFILES, supports, strict=True))


@BOTH
@pytest.mark.parametrize(
    ("ties", "profile", "expected"),
    [
        ("keep", "fastgen", {1, 2, 3, 4}),
        ("cut", "hf", {1, 2}),
        ("cut", "fastgen", {1, 2}),
        ("keep", "vllm", {1, 2, 3, 4}),
    ],
)
def test_ties_can_be_chosen(ties: str, profile: str, expected: set[int], subject: Subject) -> None:
    assert support(subject(row(1, 3, 2, 2, 2), {"profile": profile, "ties": ties, "top_k": 2})) == expected


@BOTH
def test_the_order_can_be_chosen(subject: Subject) -> None:
    scores, params = TEMPERATURE_ORDER
    assert support(subject(scores, {**params, "sampler_order": ("temperature", "top_p")})) == {0}
    assert support(subject(scores, {**params, "sampler_order": ("top_p", "temperature")})) == {0, 1}
    scores, params = MIN_P_ORDER
    assert support(subject(scores, {**params, "sampler_order": ("temperature", "min_p", "top_p")})) == {0}


# Each sampler by numbers.


@BOTH
@pytest.mark.parametrize(
    ("scores", "params", "expected"),
    [
        (log(0.6, 0.3, 0.1), {"top_p": 0.5999}, {0}),
        (log(0.6, 0.3, 0.1), {"top_p": 0.61}, {0, 1}),
        (log(0.97, 0.01, 0.01, 0.01), {"typical_p": 0.5}, {0}),
        (log(0.4, 0.2, 0.2, 0.2), {"typical_p": 0.5}, {1, 2, 3}),
        (log(0.1, 0.2, 0.3, 0.4), {"epsilon_cutoff": 0.15}, {1, 2, 3}),
        (log(0.1, 0.2, 0.3, 0.4), {"epsilon_cutoff": 0.9}, {3}),
        (log(0.1, 0.2, 0.3, 0.4), {"eta_cutoff": 0.15}, {1, 2, 3}),
        (log(0.2, 0.4, 0.4), {"profile": "hf", "epsilon_cutoff": 0.9}, {1, 2}),
        (row(0, 0, 0, 4), {"top_n_sigma": 1.0}, {3}),
        (row(0, 0, 0, 4), {"top_n_sigma": 2.4}, {0, 1, 2, 3}),
        (row(0, 0, 0, 4, -np.inf), {"top_n_sigma": 2.4}, {0, 1, 2, 3}),
        (row(0, 0, 0, 4), {"top_n_sigma": 1.0, "temperature": 5.0}, {3}),
        (row(2, 2, 2), {"top_n_sigma": 0.5}, {0, 1, 2}),
        (log(0.4, 0.3, 0.2, 0.1), {"xtc_probability": 1.0, "xtc_threshold": 0.15}, {2, 3}),
        (log(0.4, 0.3, 0.2, 0.1), {"xtc_probability": 1.0, "xtc_threshold": 0.35}, {0, 1, 2, 3}),
        (log(0.4, 0.3, 0.2, 0.1), {"xtc_probability": 1.0, "xtc_threshold": 0.45}, {0, 1, 2, 3}),
        (log(0.4, 0.3, 0.2, 0.1), {"xtc_probability": 1.0, "xtc_threshold": 0.51}, {0, 1, 2, 3}),
        (log(0.4, 0.3, 0.2, 0.1), {"xtc_probability": 0.0, "xtc_threshold": 0.15}, {0, 1, 2, 3}),
        (row(7), {"xtc_probability": 1.0, "xtc_threshold": 0.1}, {0}),
        (log(0.25, 0.25, 0.25, 0.25), {"mirostat": 2, "mirostat_tau": 1.05}, {0, 1, 2, 3}),
        (log(0.5, 0.25, 0.125, 0.125), {"mirostat": 2, "mirostat_tau": 1.05}, {0, 1}),
        (log(0.5, 0.25, 0.125, 0.125), {"mirostat": 2, "mirostat_tau": 0.1}, {0}),
        (log(0.5, 0.25, 0.125, 0.125), {"mirostat": 2, "mirostat_tau": 2.0}, {0, 1, 2, 3}),
    ],
)
def test_each_sampler_by_numbers(scores: Array, params: dict[str, Any], expected: set[int], subject: Subject) -> None:
    assert support(subject(scores, params)) == expected


@BOTH
def test_dynamic_temperature_by_numbers(subject: Subject) -> None:
    """A flat row has all the entropy there is: the hottest. A certain one has none: the coldest."""
    scores = log(0.7, 0.3)
    share = -(0.7 * np.log2(0.7) + 0.3 * np.log2(0.3))
    for exponent in (1.0, 2.0):
        heat = 0.5 + 1.0 * share**exponent
        expected = np.array([0.7, 0.3]) ** (1 / heat)
        params = {"temperature": 1.0, "dynatemp_range": 0.5, "dynatemp_exponent": exponent}
        np.testing.assert_allclose(subject(scores, params), expected / expected.sum(), atol=1e-6)
    assert support(subject(row(0, 50), {"temperature": 0.5, "dynatemp_range": 0.5})) == {1}


# Tricky cases, by their number in the reference.


@BOTH
def test_repetition_of_negative_scores(subject: Subject) -> None:
    """1: [4, -4, 1, 0, -0] with penalty 2 on tokens 0, 1, 1, 3 is [2, -8, 1, 0, 0]."""
    found = subject(row(4, -4, 1, 0, -0.0), {"repetition_penalty": 2.0}, history=[0, 1, 1, 3])
    expected = np.exp([2.0, -8, 1, 0, 0])
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-6)


@BOTH
def test_a_token_seen_twice(subject: Subject) -> None:
    """2: once for repetition and for presence, twice for frequency."""
    scores = row(1, 1, 1)
    expected = np.exp([0.5, 1, 1])
    np.testing.assert_allclose(
        subject(scores, {"repetition_penalty": 2.0}, history=[0, 0]), expected / expected.sum(), atol=1e-6
    )
    for params, less in (({"presence_penalty": 0.5}, 0.5), ({"frequency_penalty": 0.5}, 1.0)):
        expected = np.exp([1 - less, 1, 1])
        np.testing.assert_allclose(subject(scores, params, history=[0, 0]), expected / expected.sum(), atol=1e-6)


@BOTH
@pytest.mark.parametrize(
    ("params", "profiles"),
    [
        ({"repetition_penalty": 2.0}, {"fastgen", "hf", "vllm", "llamacpp", "mlx"}),
        ({"presence_penalty": 2.0}, {"llamacpp", "mlx"}),
        ({"frequency_penalty": 2.0}, {"llamacpp", "mlx"}),
        ({"repetition_penalty": 2.0, "penalize_prompt": False}, set()),
        ({"repetition_penalty": 2.0, "penalize_prompt": True}, set(PROFILES)),
    ],
    ids=str,
)
def test_whether_the_prompt_counts(params: dict[str, Any], profiles: set[str], subject: Subject) -> None:
    """3"""
    scores = np.full(8, 1.0, np.float32)
    less = {
        name
        for name in PROFILES
        if subject(scores, {"profile": name, **params}, history=[7], prompt_length=1)[7] < 0.124
    }
    assert less == profiles


@BOTH
@pytest.mark.parametrize(
    ("profile", "seen"), [("fastgen", 100), ("hf", 100), ("llamacpp", 64), ("mlx", 20)], ids=lambda value: str(value)
)
def test_windows(profile: str, seen: int, subject: Subject) -> None:
    """A token that was seen long ago is forgotten, in the profiles that forget."""
    scores = np.full(101, 1.0, np.float32)
    found = subject(scores, {"profile": profile, "repetition_penalty": 2.0}, history=list(range(100)))
    assert int((found < found.max()).sum()) == seen
    assert found[99] < found[100]


@BOTH
def test_a_window_that_is_asked_for(subject: Subject) -> None:
    scores = np.full(10, 1.0, np.float32)
    for size, expected in ((3, {4, 5, 6}), (0, set()), (-1, set(range(7))), (50, set(range(7)))):
        found = subject(scores, {"repetition_penalty": 2.0, "repetition_window": size}, history=list(range(7)))
        assert set(np.flatnonzero(found < found.max()).tolist()) == expected


@BOTH
@pytest.mark.parametrize("profile", PROFILES)
def test_crossing_token_is_kept(profile: str, subject: Subject) -> None:
    """10"""
    for top_p, expected in ((0.5999, {0}), (0.6001, {0, 1}), (0.8999, {0, 1}), (0.9001, {0, 1, 2})):
        assert support(subject(log(0.6, 0.3, 0.1), {"profile": profile, "top_p": top_p})) == expected


@BOTH
@pytest.mark.parametrize("profile", PROFILES)
def test_the_smallest_top_p_keeps_one(profile: str, subject: Subject) -> None:
    assert len(support(subject(row(1, 2, 0), {"profile": profile, "top_p": 1e-9}))) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_p", 1.05), ("min_p", -0.1), ("temperature", -1.0), ("temperature", np.inf), ("temperature", np.nan),
        ("top_p", 0.0), ("top_p", 1.1), ("typical_p", -0.1), ("epsilon_cutoff", 1.5), ("eta_cutoff", -1.0),
        ("xtc_probability", 1.5), ("xtc_threshold", -0.1), ("repetition_penalty", 0.0), ("repetition_penalty", np.inf),
        ("presence_penalty", np.nan), ("mirostat", 3), ("no_repeat_ngram_size", -1), ("profile", "gpt"),
        ("sampler_order", ("top_k", "top_q")), ("ties", "drop"), ("allowed_token_ids", ()), ("bad_words", ((),)),
        ("seed", 1 << 64), ("min_tokens", -1),
    ],
)  # fmt: skip
def test_out_of_range(name: str, value: Any) -> None:
    """11, 14, 20, 22"""
    with pytest.raises(InvalidParameterError, match=name):
        SamplingParams(**{name: value})


def test_xtc_follows_its_own_uniform_number(level: str) -> None:
    """12: below the probability it cuts; the draw itself does not move."""
    scores, cut = log(0.4, 0.3, 0.2, 0.1), set()
    params = {"seed": 21, "xtc_probability": 0.4, "xtc_threshold": 0.15}
    sampler = Sampler(SamplingParams(**params))
    for position in range(200):
        sampler.position = position
        chosen = uniform(21, position=position, purpose=XTC)
        np.testing.assert_allclose(
            sampler.distribution(scores), chain(scores, params, xtc_uniform=chosen), atol=1e-6, err_msg=str(position)
        )
        assert sampler.position == position, "looking at a distribution does not go on"
        cut.add(bool(sampler.distribution(scores)[0] == 0))
        assert sampler.distribution(scores)[sampler.sample(scores)] > 0
    assert cut == {True, False}


def test_xtc_among_tokens_below_the_threshold_changes_no_draw(level: str) -> None:
    """12: nothing to cut, so the tokens are those of a sampler without XTC."""
    scores = np.zeros(50, np.float32)
    plain, with_xtc = (Sampler(SamplingParams(seed=3, **p)) for p in ({}, {"xtc_probability": 1.0}))
    assert [plain.sample(scores) for _ in range(100)] == [with_xtc.sample(scores) for _ in range(100)]


@BOTH
@pytest.mark.parametrize("temperature", [1, 1.0, 2, 2.0])
def test_whole_temperatures(temperature: float, subject: Subject) -> None:
    """14"""
    expected = np.exp(np.array([1.0, 2, 3]) / temperature)
    found = subject(row(1, 2, 3), {"temperature": temperature})
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-6)


@BOTH
def test_cold_does_not_overflow(subject: Subject) -> None:
    """14: scores divided by 0.001 are larger than exp can bear."""
    found = subject(row(100, 99.999, 100, -100), {"temperature": 0.001})
    np.testing.assert_allclose(found, np.array([1, np.exp(-0.9994507), 1, 0]) / (2 + np.exp(-0.9994507)), atol=1e-6)


@pytest.mark.parametrize("profile", PROFILES)
def test_zero_is_greedy_after_edits(profile: str, level: str) -> None:
    """14: the largest edited score, the lowest id; no sampler cuts it away."""
    params = {"profile": profile, "temperature": 0, "top_k": 3, "typical_p": 0.1, "top_p": 0.5, "min_p": 0.5}
    found = distribution(row(1, 3, 3, 2), params)
    assert found.tolist() == [0, 1, 0, 0]
    assert distribution(row(1, 3, 3, 2), {**params, "suppress_tokens": (1,)}).tolist() == [0, 0, 1, 0]
    assert distribution(row(1, 3, 2.5, 2), {**params, "repetition_penalty": 2.0}, history=[1]).argmax() == 2


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_long_flat_rows(dtype: str, profile: str) -> None:
    """9, 15: 128,000 equal scores; top-p 0.9 keeps 115,200, give or take one."""
    bits = pack(np.full(128_000, 0.75), dtype)
    found = distribution(lend(bits, dtype), {"profile": profile, "top_p": 0.9})
    assert abs(len(support(found)) - 115_200) <= 1
    high = profile in ("hf", "vllm", "mlx")
    assert (found[0] == 0) == high
    assert (found[-1] == 0) == (not high)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("profile", PROFILES)
def test_half_precision_rows_are_their_float32_values(profile: str, dtype: str, level: str) -> None:
    """15"""
    bits = pack(np.random.default_rng(2).standard_normal(700) * 3, dtype)
    params = {"profile": profile, "top_k": 100, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.2}
    found = distribution(lend(bits, dtype), params, history=[1, 2, 3])
    assert found.tolist() == distribution(widen(bits, dtype), params, history=[1, 2, 3]).tolist()


PLANS: tuple[dict[str, Any], ...] = (
    {"repetition_penalty": 1.3, "top_k": 20},
    {"typical_p": 0.5},
    {"top_n_sigma": 1.0, "xtc_probability": 0.5},
    {"profile": "hf", "top_p": 0.8, "eta_cutoff": 0.01},
    {"profile": "mlx", "top_p": 0.8, "min_p": 0.1},
    {"temperature": 0, "presence_penalty": 0.5},
)


@pytest.mark.parametrize("params", PLANS, ids=str)
def test_faulty_neighbors(params: dict[str, Any], level: str) -> None:
    """16, 17: rows of NaN, +inf and -inf fail alone; the others are drawn as if by themselves."""
    rows = np.random.default_rng(4).standard_normal((6, 300)).astype(np.float32)
    alone = []
    for r in range(6):
        sampler = Sampler(SamplingParams(seed=9, **params), choice=r)
        sampler.observe([5, 6])
        alone.append(int(sampler.sample(rows[r])))
    rows[1, 7], rows[2, 299], rows[4] = np.nan, np.inf, -np.inf
    batch = Sampler(SamplingParams(seed=9, **params))
    batch.observe([5, 6])
    out = np.zeros(6, np.int32)
    with pytest.raises(LogitsError) as caught:
        batch.sample(rows, out)
    assert [error.details["row"] for error in caught.value.rows] == [1, 2, 4]
    assert [error.code for error in caught.value.rows] == ["logits_nonfinite", "logits_nonfinite", "no_candidates"]
    assert out.tolist() == [alone[0], -1, -1, alone[3], -1, alone[5]]


@pytest.mark.parametrize("params", PLANS, ids=str)
def test_batch_of_64_is_64_alone(params: dict[str, Any]) -> None:
    """18"""
    rows = np.random.default_rng(6).standard_normal((64, 100)).astype(np.float32)
    batch = Sampler(SamplingParams(seed=7845, **params))
    together = np.asarray(batch.sample(rows)).tolist()
    assert together == [Sampler(SamplingParams(seed=7845, **params), choice=r).sample(rows[r]) for r in range(64)]


def test_a_position_that_once_gave_infinity() -> None:
    """18: seed 7847, position 12345, of SGLang's #25106."""
    sampler = Sampler(SamplingParams(seed=7847))
    sampler.position = 12345
    assert 0 <= sampler.sample(np.zeros(2000, np.float32)) < 2000


def test_rare_tokens_come_as_often_as_they_should() -> None:
    """19: 64 tokens of probability 2^-16 each in 3 million draws: 2,930 are expected, with deviation 54."""
    scores = np.full(65, -16 * np.log(2), np.float32)
    scores[64] = np.log(1 - 2.0**-10)
    sampler, rows = Sampler(SamplingParams(seed=31)), np.broadcast_to(scores, (1_000_000, 65))
    tokens = np.concatenate([np.asarray(sampler.sample(rows)) for _ in range(3)])
    assert abs(int((tokens < 64).sum()) - 3_000_000 * 2.0**-10) < 5 * 54.2


def test_neighboring_seeds_are_independent() -> None:
    """19: pairs of draws of seeds s and s + 1 fall into 100 cells equally often."""
    scores = np.zeros(10, np.float32)
    first = [int(Sampler(SamplingParams(seed=s)).sample(scores)) for s in range(20_001)]
    counts = np.bincount([10 * a + b for a, b in itertools.pairwise(first)], minlength=100)
    chi = float(((counts - 200.0) ** 2 / 200).sum())
    assert abs(chi - 99) / np.sqrt(2 * 99) < 5


@BOTH
def test_bias(subject: Subject) -> None:
    """21: -100 bans as good as ever, 1000 is 100, minus infinity bans, a penalty comes after the bias."""
    scores = row(1, 2, 3)
    assert subject(scores, {"logit_bias": {2: -100}})[2] < 1e-40
    np.testing.assert_allclose(
        subject(scores, {"logit_bias": {0: 1000}}), subject(scores, {"logit_bias": {0: 100}}), atol=0
    )
    assert support(subject(scores, {"logit_bias": {2: -np.inf}})) == {0, 1}
    expected = np.exp([(1 + 5) / 2.0, 2, 3])
    found = subject(scores, {"logit_bias": {0: 5.0}, "repetition_penalty": 2.0}, history=[0])
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-6)


@pytest.mark.parametrize("token", [3, 50_256, -1])
@pytest.mark.parametrize("name", ["logit_bias", "suppress_tokens", "allowed_token_ids", "bad_words"])
def test_ids_outside_the_vocabulary_are_named(name: str, token: int) -> None:
    """21: refused where they are first known to be wrong, and never a crash."""
    value: Any = {"logit_bias": {token: 1.0}, "bad_words": ((token,),)}.get(name, (token,))

    def use() -> None:
        Sampler(SamplingParams(**{name: value}), 3).sample(row(1, 2, 3))

    with pytest.raises(FastgenError, match=str(token)):
        use()


def test_nothing_left() -> None:
    """16, 22: bans that leave no token, and an allowed token that is banned."""
    for params, eos in (
        ({"suppress_tokens": (0, 1, 2)}, ()),
        ({"allowed_token_ids": (1,), "ban_eos": True}, (1,)),
        ({"allowed_token_ids": (1,), "min_tokens": 5}, (1,)),
        ({"allowed_token_ids": (1,), "bad_words": ((1,),)}, ()),
        ({"logit_bias": {0: -np.inf, 1: -np.inf, 2: -np.inf}}, ()),
    ):
        with pytest.raises(LogitsError) as caught:
            sampler_after(params, eos_ids=eos).sample(row(1, 2, 3))
        assert caught.value.code == "no_candidates"


@BOTH
def test_bans(subject: Subject) -> None:
    """22 and the rest of them."""
    scores = row(0, 0, 0, 0, 0)
    assert support(subject(scores, {"allowed_token_ids": (1, 3)})) == {1, 3}
    assert support(subject(scores, {"suppress_tokens": (1, 3)})) == {0, 2, 4}
    assert support(subject(scores, {"ban_eos": True}, eos_ids=(0, 2))) == {1, 3, 4}
    words = ((1,), (2, 3), (4, 2, 0))
    assert support(subject(scores, {"bad_words": words}, history=[4])) == {0, 2, 3, 4}
    assert support(subject(scores, {"bad_words": words}, history=[4, 2])) == {2, 4}
    assert support(subject(scores, {"bad_words": words}, history=[2, 4])) == {0, 2, 3, 4}
    for outputs, expected in ((0, {0, 1, 2, 3}), (1, {0, 1, 2, 3}), (2, {0, 1, 2, 3, 4})):
        context = {"history": [1, 1, 1] + [0] * outputs, "prompt_length": 3, "eos_ids": (4,)}
        assert support(subject(scores, {"min_tokens": 2}, **context)) == expected
    for size, expected in ((1, {3, 4}), (2, {3, 4}), (3, {0, 3, 4}), (4, {0, 1, 2, 3, 4})):
        assert support(subject(scores, {"no_repeat_ngram_size": size}, history=[0, 1, 2, 0, 1, 1, 0, 1])) == expected


def test_a_mask_bans_too(level: str) -> None:
    """Bit i of the little-endian words says whether token i may come; it is one more ban, before the samplers."""
    scores = np.random.default_rng(8).standard_normal(77).astype(np.float32)
    allowed = np.random.default_rng(9).random(77) < 0.5
    words = np.packbits(np.pad(allowed, (0, 96 - 77)), bitorder="little").view(np.uint32)
    params = {"top_k": 12, "top_p": 0.8, "suppress_tokens": (int(np.flatnonzero(allowed)[0]),), "seed": 1}
    sampler = Sampler(SamplingParams(**params))
    found = sampler.distribution(scores, mask=words)
    np.testing.assert_allclose(found, chain(scores, params, mask=allowed), atol=1e-6)
    assert all(found[sampler.sample(scores, mask=words)] > 0 for _ in range(100))


def test_three_choices_are_three_runs() -> None:
    """23: the rows of a batch are choices, and each is the sampler of that choice, whatever the profile."""
    rows = np.zeros((3, 1000), np.float32)
    together = Sampler(SamplingParams(seed=5, profile="vllm", top_p=0.9)).sample(rows)
    alone = [Sampler(SamplingParams(seed=5, profile="vllm", top_p=0.9), choice=c).sample(rows[0]) for c in range(3)]
    assert np.asarray(together).tolist() == alone
    assert len(set(alone)) > 1
