"""The sampler: which tokens come out and how often, ties and edges, the same tokens everywhere, faulty rows."""

from __future__ import annotations

import array
import copy
import pickle
import sys
import threading
import tracemalloc
from typing import Any

import numpy as np
import oracles
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lending import DTYPES, INFINITY, NANS, lend, pack, widen

from fastgen import cpu
from fastgen.errors import FastgenError, InvalidParameterError, LogitsError
from fastgen.params import SamplingParams
from fastgen.random import uniform
from fastgen.sampler import Sampler

Array = np.ndarray[Any, Any]
LARGEST = float(np.finfo(np.float32).max)


def row(*scores: float) -> Array:
    return np.array(scores, np.float32)


def log(*probabilities: float) -> Array:
    return np.log(np.array(probabilities)).astype(np.float32)


def draws(scores: Array, count: int, **parameters: Any) -> Array:
    """Return tokens for one row, drawn as `count` choices at once: the rows of the batch are all the same memory."""
    parameters.setdefault("seed", 11)
    return np.asarray(Sampler(SamplingParams(**parameters)).sample(np.broadcast_to(scores, (count, scores.size))))


def seen(scores: Array, count: int = 2000, **parameters: Any) -> set[int]:
    return set(draws(scores, count, **parameters).tolist())


# Which tokens can come out.


@pytest.mark.parametrize(
    ("scores", "parameters", "expected"),
    [
        (row(3, 2, 1), {"temperature": 0.5, "top_p": 0.8}, {0}),
        (log(0.4, 0.3, 0.2, 0.1), {"top_k": 2, "top_p": 0.5}, {0}),
        (log(0.5, 0.2, 0.15, 0.1, 0.05), {"top_p": 0.55, "min_p": 0.3}, {0, 1}),
        (row(1, 3, 2, 2, 2), {"top_k": 2}, {1, 2}),
        (row(0, 0, 0, 0), {"top_p": 0.5}, {0, 1}),
        (log(0.1, 0.2, 0.3, 0.4), {"top_p": 0.6999}, {2, 3}),
        (log(0.1, 0.2, 0.3, 0.4), {"top_p": 0.7001}, {1, 2, 3}),
    ],
    ids=[
        "temperature first",
        "top-k renormalizes",
        "min-p last",
        "exactly k",
        "lowest ids",
        "under an equality",
        "over an equality",
    ],
)
def test_order_of_the_filters(scores: Array, parameters: dict[str, Any], expected: set[int], level: str) -> None:
    assert seen(scores, **parameters) == expected


@pytest.mark.parametrize(("top_p", "expected"), [(0.5999, {0}), (0.61, {0, 1}), (0.9001, {0, 1, 2}), (1.0, {0, 1, 2})])
def test_crossing_token_is_kept(top_p: float, expected: set[int], level: str) -> None:
    assert seen(log(0.6, 0.3, 0.1), top_p=top_p) == expected


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"top_k": 1}, {1}),
        ({"top_k": 2}, {1, 3}),
        ({"top_k": 3}, {1, 3, 4}),
        ({"top_k": 4}, {0, 1, 3, 4}),
        ({"top_k": 5}, {0, 1, 2, 3, 4}),
        ({"top_k": 0}, {0, 1, 2, 3, 4}),
        ({"top_k": -1}, {0, 1, 2, 3, 4}),
        ({"top_k": 1 << 31}, {0, 1, 2, 3, 4}),
        ({"top_p": 1e-300}, {1}),
        ({"top_p": 5e-324}, {1}),
        ({"min_p": 1.0}, {1, 3, 4}),
        ({"min_p": 0.999, "top_k": 2}, {1, 3}),
        ({"min_p": 1e-300}, {0, 1, 2, 3, 4}),
        ({"top_k": 4, "top_p": 0.5, "min_p": 0.5}, {1, 3}),
    ],
)
def test_prefixes_among_ties(parameters: dict[str, Any], expected: set[int], level: str) -> None:
    assert seen(row(1, 2, 0.5, 2, 2), **parameters) == expected


def test_min_p_does_not_let_back_in_what_top_k_cut(level: str) -> None:
    """The bound of min-p lies a hair above the tied scores that top-k cut: closer than a float can tell."""
    scores = np.ones(8, np.float32)
    scores[0] = 4
    assert len(seen(scores, temperature=2.0, top_k=3, min_p=float(np.exp(-1.5) * (1 + 1e-10)))) <= 3
    assert seen(scores, temperature=2.0, top_k=3, min_p=float(np.exp(-1.5) * (1 - 1e-10))) == {0, 1, 2}


SCORE = st.integers(0, 16).map(lambda step: step / 8)


@given(
    st.lists(SCORE, min_size=1, max_size=12),
    st.sampled_from([0.8, 1.0, 1.7]),
    st.integers(0, 13),
    st.floats(0.05, 1.0),
    st.one_of(st.just(0.0), st.floats(0.0, 1.0)),
    st.booleans(),
)
@settings(max_examples=250, deadline=None)
def test_support_is_the_oracle(
    scores: list[float], temperature: float, k: int, top_p: float, min_p: float, masked: bool
) -> None:
    values = row(*scores, *([-np.inf] * 3 if masked else []))
    params = SamplingParams(temperature=temperature, top_k=k, top_p=top_p, min_p=min_p, seed=3)
    assume(oracles.margin(values, params) > 1e-5)
    expected = oracles.probabilities(values, params)
    # the least likely token of 12 is missed by 6000 draws less than once in 10^13 cases
    assert seen(values, 6000, **params.to_dict()) == set(np.flatnonzero(expected).tolist())


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"temperature": 0.7, "top_p": 0.9},
        {"temperature": 1.5},
        {"top_k": 20, "top_p": 0.5},
        {"top_k": 300, "min_p": 0.02},
        {"top_p": 0.25},
        {"top_p": 0.8, "min_p": 0.1},
        {"min_p": 0.2},
        {"temperature": 3.0, "top_k": 100, "top_p": 0.95, "min_p": 0.01},
    ],
    ids=str,
)
def test_frequencies(parameters: dict[str, Any]) -> None:
    """Chi-square of 200,000 draws: half of them choices of one position, half of them positions of one choice."""
    scores = (np.random.default_rng(1).standard_normal(1000) * 2).astype(np.float32)
    params = SamplingParams(seed=2, **parameters)
    expected = oracles.probabilities(scores, params) * 200_000
    sampler = Sampler(params)
    tokens = [sampler.sample(scores) for _ in range(100_000)] + draws(scores, 100_000, **params.to_dict()).tolist()
    counts = np.bincount(tokens, minlength=1000)
    assert not counts[expected == 0].any()
    likely = expected > 5
    rare = expected[~likely].sum()
    chi = float(((counts - expected)[likely] ** 2 / expected[likely]).sum())
    freedom = int(likely.sum()) - 1
    if rare > 5:
        chi += float((counts[~likely].sum() - rare) ** 2 / rare)
        freedom += 1
    assert freedom > 0
    assert (chi - freedom) / np.sqrt(2 * freedom) < 5


# Positions of seed 7 with the smallest and the largest uniform number of all.
LOWEST, HIGHEST = 466_779_568, 1_702_576_940


@pytest.mark.parametrize("tail", [1, 16, 32, 240, 255, 256, 272, 5000])
@pytest.mark.parametrize("before", [True, False])
def test_tail_token_is_reachable(tail: int, before: bool, level: str) -> None:
    """A token 2^-30 as likely as the largest, in its block and its lane: a sum in float32 does not even see it."""
    assert uniform(7, position=LOWEST) < 2.0**-31
    assert uniform(7, position=HIGHEST) > 1 / (1 + 2.0**-30)
    scores = np.full(5001, -np.inf, np.float32)
    rare, common = (5000 - tail, 5000) if before else (tail, 0)
    scores[common], scores[rare] = 0.0, -30.0
    sampler = Sampler(SamplingParams(temperature=1.4426950408889634, seed=7))
    sampler.position = LOWEST if before else HIGHEST
    assert sampler.sample(scores) == rare
    assert sampler.sample(scores) == common


def test_every_token_of_a_flat_row_has_its_turn(level: str) -> None:
    """Tokens lie on the line of probabilities in id order, so the uniform number tells the token."""
    for count in (1, 2, 255, 256, 257, 1000):
        sampler = Sampler(SamplingParams(seed=4))
        tokens = [sampler.sample(np.full(count, 5.0, np.float32)) for _ in range(500)]
        assert tokens == [int(uniform(4, position=i) * count) for i in range(500)]


# Temperature.


@pytest.mark.parametrize("temperature", [0, 0.0, -0.0, 1e-300, 9.99e-6])
def test_greedy_takes_the_lowest_id(temperature: float, level: str) -> None:
    scores = np.zeros(1000, np.float32)
    scores[[300, 301, 700]] = 2
    assert seen(scores, 50, temperature=temperature) == {300}
    assert seen(scores, 50, temperature=temperature, top_k=5, top_p=0.9, min_p=0.1) == {300}
    assert seen(row(-0.0, 0.0), 50, temperature=temperature) == {0}
    assert seen(row(-np.inf, -LARGEST), 50, temperature=temperature) == {1}


def test_smallest_temperature_that_is_not_greedy(level: str) -> None:
    assert seen(row(1, 2, 2, 1.999), temperature=1e-5) == {1, 2}
    assert seen(row(3.4e38, -3.4e38, 3.4e38), temperature=1e-5) == {0, 2}


def test_temperatures_are_numbers(level: str) -> None:
    scores = row(1, 2, 3, 4)
    for one in (1, 1.0):
        assert draws(scores, 500, temperature=one).tolist() == draws(scores, 500).tolist()
    counts = np.bincount(draws(scores, 20_000, temperature=100))
    np.testing.assert_allclose(counts / 20_000, oracles.softmax(scores, 100.0), atol=0.02)


@pytest.mark.parametrize("largest", [1000.0, 1e8, 3e8, 3.4e38, -3e8])
def test_coarse_scores(largest: float, level: str) -> None:
    """Scores whose neighbors are far away: what is far below the largest never comes out, whatever the temperature."""
    top = np.float32(largest)
    steps = np.arange(40) * np.float64(np.spacing(np.float32(abs(largest))))
    scores = (np.float64(top) - steps).astype(np.float32)[::-1].copy()
    for temperature in (1e-5, 1.03e-5, 0.37, 1.0, 40.0, 100.0):
        likely = set(np.flatnonzero(oracles.softmax(scores, temperature) > 1e-9).tolist())
        assert seen(scores, 300, temperature=temperature) <= likely


# The same tokens everywhere.

PLANS = (
    {},
    {"temperature": 0.7, "top_p": 0.9},
    {"temperature": 1.3, "top_k": 40},
    {"top_k": 40, "top_p": 0.8, "min_p": 0.05},
    {"top_k": 700},
    {"min_p": 0.3},
    {"temperature": 0},
)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("parameters", PLANS, ids=str)
def test_tokens_do_not_depend_on_the_level(parameters: dict[str, Any], dtype: str, rng: np.random.Generator) -> None:
    for count in (1, 15, 256, 257, 1000, 5003, 32_000):
        rows = pack(rng.standard_normal((50, count)) * rng.choice([0.1, 1, 3]), dtype)
        tokens = {}
        for name in cpu.detected():
            with cpu.force(name):
                tokens[name] = Sampler(SamplingParams(seed=count, **parameters)).sample(lend(rows, dtype)).tolist()
        assert all(other == tokens["scalar"] for other in tokens.values()), (count, tokens)
        assert Sampler(SamplingParams(seed=count, **parameters)).sample(widen(rows, dtype)).tolist() == tokens["scalar"]


@pytest.mark.parametrize("parameters", PLANS, ids=str)
def test_tokens_do_not_depend_on_the_batch(parameters: dict[str, Any], level: str, rng: np.random.Generator) -> None:
    rows = rng.standard_normal((9, 700)).astype(np.float32)
    params = SamplingParams(seed=5, **parameters)
    alone = [Sampler(params, 700, choice=20 + r) for r in range(9)]
    batch = Sampler(params, choice=20)
    for _ in range(5):
        assert batch.sample(rows).tolist() == [sampler.sample(one) for sampler, one in zip(alone, rows, strict=True)]


def test_choices_wrap_around(level: str) -> None:
    scores = np.zeros(1000, np.float32)
    tokens = Sampler(SamplingParams(seed=6), choice=(1 << 32) - 1).sample(np.stack([scores, scores]))
    assert tokens.tolist() == [int(uniform(6, (1 << 32) - 1) * 1000), int(uniform(6, 0) * 1000)]


def test_row_length_may_change(level: str, rng: np.random.Generator) -> None:
    """Rows that come longer and shorter use the same memory as a sampler of their own length."""
    params = SamplingParams(seed=8, top_k=17, top_p=0.9)
    sampler = Sampler(params)
    for position, count in enumerate((10, 5000, 3, 256, 257, 300, 16, 17, 18, 40_000, 4352, 1)):
        scores = rng.integers(0, 30, count).astype(np.float32)
        own = Sampler(params, count)
        own.position = position
        assert sampler.sample(scores) == own.sample(scores)


def test_position_and_seed() -> None:
    scores = np.zeros(1000, np.float32)
    sampler = Sampler(SamplingParams(seed=3))
    assert (sampler.position, sampler.seed, sampler.vocab_size) == (0, 3, None)
    tokens = [sampler.sample(scores) for _ in range(20)]
    assert sampler.position == 20
    assert tokens == [int(uniform(3, position=i) * 1000) for i in range(20)]
    sampler.position = 5
    assert sampler.sample(scores) == tokens[5]
    sampler.position = (1 << 32) - 1
    assert sampler.sample(scores) == int(uniform(3, position=(1 << 32) - 1) * 1000)
    assert sampler.position == 0


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63 - 1, 2**64 - 1, -(2**63)])
def test_seeds(seed: int) -> None:
    sampler = Sampler(SamplingParams(seed=seed))
    assert sampler.seed == seed
    assert sampler.sample(np.zeros(1000, np.float32)) == int(uniform(seed) * 1000)


def test_without_a_seed_one_is_drawn() -> None:
    scores = np.zeros(100_000, np.float32)
    first, second = Sampler(), Sampler()
    assert first.params.seed is None
    assert first.seed != second.seed
    assert 0 <= first.seed < 1 << 63
    tokens = [first.sample(scores) for _ in range(5)]
    again = Sampler(SamplingParams(seed=first.seed))
    assert [again.sample(scores) for _ in range(5)] == tokens


def test_single_candidate(level: str) -> None:
    assert seen(row(5), 20, top_k=3, top_p=0.5, min_p=0.5) == {0}
    assert seen(row(-np.inf, -7, -np.inf), 20, top_k=3, top_p=0.5) == {1}
    assert seen(row(-np.inf, -7, -np.inf), 20, min_p=1.0) == {1}


def test_long_flat_row(level: str) -> None:
    scores = np.zeros(128_256, np.float32)
    nucleus = draws(scores, 60, top_p=0.9)
    assert 0.8 * 128_256 < nucleus.max() < 0.9 * 128_256 + 1
    assert draws(scores, 60, top_k=1000).max() < 1000
    assert draws(scores, 60, top_k=100_000, top_p=0.5).max() < 50_001
    assert draws(scores, 60, min_p=1.0).max() > 100_000


# Faults.


def test_faulty_row_in_a_batch(level: str) -> None:
    rows = np.random.default_rng(3).standard_normal((5, 300)).astype(np.float32)
    params = SamplingParams(seed=9, top_p=0.9)
    expected = Sampler(params).sample(rows).tolist()
    rows[1, 250], rows[1, 299] = np.inf, np.nan
    rows[3] = -np.inf
    out = np.zeros(5, np.int32)
    sampler = Sampler(params)
    with pytest.raises(LogitsError) as caught:
        sampler.sample(rows, out)
    error = caught.value
    assert error.code == "logits_nonfinite"
    assert error.details["row"] == 1
    assert error.tokens is out
    assert out.tolist() == [expected[0], -1, expected[2], -1, expected[4]]
    assert [(one.code, one.details["row"], one.details["step"]) for one in error.rows] == [
        ("logits_nonfinite", 1, 0),
        ("no_candidates", 3, 0),
    ]
    assert error.rows[0].details["index"] == 250
    assert sampler.position == 1
    assert "2 of 5" in str(error)
    rows[[1, 3]] = 0
    assert sampler.sample(rows, out) is out, "the sampler is as good as before"


@pytest.mark.parametrize("parameters", [{}, {"temperature": 0}, {"top_k": 2}, {"top_k": 1}], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_faulty_single_row(dtype: str, parameters: dict[str, Any], level: str) -> None:
    for bits in (*NANS[dtype], INFINITY[dtype]):
        for place in (0, 17, 299):
            scores = pack(np.zeros(300), dtype)
            scores[place] = bits
            sampler = Sampler(SamplingParams(**parameters))
            sampler.position = 12
            with pytest.raises(LogitsError) as caught:
                sampler.sample(lend(scores, dtype))
            assert caught.value.code == "logits_nonfinite"
            assert (caught.value.details["index"], caught.value.details["step"]) == (place, 12)
            assert sampler.position == 13
    with pytest.raises(LogitsError) as caught:
        Sampler(SamplingParams(**parameters)).sample(lend(pack(np.full(300, -np.inf), dtype), dtype))
    assert caught.value.code == "no_candidates"
    assert caught.value.details["step"] == 0


def test_denormals_under_flush_to_zero(level: str) -> None:
    torch = pytest.importorskip("torch")
    scores = np.arange(1000, dtype=np.uint32).view(np.float32)
    greedy = Sampler(SamplingParams(temperature=0))
    random = Sampler(SamplingParams(seed=1, top_k=5))
    expected = [random.sample(scores) for _ in range(50)]
    random.position = 0
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor can't flush denormals")
    try:
        assert greedy.sample(scores) == 999
        assert [random.sample(scores) for _ in range(50)] == expected
    finally:
        torch.set_flush_denormal(False)
    assert min(expected) >= 995


# Arguments.


def test_out_is_filled_and_returned() -> None:
    rows = np.eye(3, dtype=np.float32)
    sampler = Sampler(SamplingParams(temperature=0), 3)
    for out in (np.zeros(3, np.int32), array.array("i", [9, 9, 9]), memoryview(bytearray(12)).cast("i")):
        assert sampler.sample(rows, out) is out
        assert list(out) == [0, 1, 2]
    found = sampler.sample(rows)
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.int32


def read_only() -> Array:
    out = np.zeros(3, np.int32)
    out.flags.writeable = False
    return out


@pytest.mark.parametrize(
    "out",
    [
        np.zeros(3, np.int64),
        np.zeros(3, np.uint32),
        np.zeros(3, np.float32),
        np.zeros(6, np.int32)[::2],
        np.zeros((3, 1), np.int32),
        np.zeros(2, np.int32),
        np.zeros(4, np.int32),
        read_only(),
        [0, 0, 0],
        bytes(12),
        7,
    ],
    ids=str,
)
def test_out_is_refused(out: Any) -> None:
    before = copy.copy(out)
    sampler = Sampler()
    with pytest.raises(InvalidParameterError, match="out "):
        sampler.sample(np.eye(3, dtype=np.float32), out)
    assert sampler.position == 0
    assert np.array_equal(np.asarray(out), np.asarray(before))


def test_out_is_for_batches() -> None:
    with pytest.raises(InvalidParameterError, match="batches"):
        Sampler().sample(row(1, 2), np.zeros(1, np.int32))


@pytest.mark.parametrize(
    "given",
    [
        {"suppress_tokens": [(1 << 31) - 1]},
        {"allowed_token_ids": [(1 << 31) - 1]},
        {"logit_bias": {(1 << 31) - 1: 1}},
        {"bad_words": [[1, (1 << 31) - 1]]},
    ],
)
def test_largest_token_id(given: dict[str, Any]) -> None:
    """It fits int32, so that the sampler can hold it until it sees the vocabulary."""
    with pytest.raises(InvalidParameterError) as caught:
        Sampler(SamplingParams(**given)).sample(row(1, 2))
    assert caught.value.details == {"parameter": next(iter(given)), "token": (1 << 31) - 1, "vocab_size": 2}


@pytest.mark.parametrize("count", [1, 299, 301, 5000])
def test_wrong_vocab_size(count: int) -> None:
    sampler = Sampler(vocab_size=300)
    for shape in ((count,), (2, count)):
        with pytest.raises(LogitsError) as caught:
            sampler.sample(np.zeros(shape, np.float32))
        assert caught.value.code == "logits_invalid"
        assert caught.value.details == {"expected": 300, "found": count}
    assert sampler.position == 0
    assert 0 <= sampler.sample(np.zeros(300, np.float32)) < 300


@pytest.mark.parametrize(
    "arguments",
    [
        {"params": {"temperature": 1}},
        {"params": 1.0},
        {"vocab_size": 0},
        {"vocab_size": -5},
        {"vocab_size": 1 << 31},
        {"vocab_size": 10.0},
        {"vocab_size": "10"},
        {"choice": -1},
        {"choice": 1 << 32},
    ],
    ids=str,
)
def test_constructor_refuses(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError):
        Sampler(**arguments)


@pytest.mark.parametrize("position", [-1, 1 << 32])
def test_position_out_of_range(position: int) -> None:
    sampler = Sampler()
    with pytest.raises(InvalidParameterError, match="position"):
        sampler.position = position
    assert sampler.position == 0


def test_is_a_closed_object() -> None:
    sampler = Sampler(SamplingParams(top_k=3), 10)
    assert repr(sampler) == "Sampler(SamplingParams(top_k=3), vocab_size=10)"
    for name in ("params", "vocab_size", "seed", "anything"):
        with pytest.raises(AttributeError):
            setattr(sampler, name, 1)
    for action in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            action(sampler)


# Memory.


@pytest.mark.parametrize("parameters", [{"temperature": 0}, {"temperature": 0.7, "top_p": 0.9}, {"top_k": 50}], ids=str)
def test_sampling_takes_no_memory(parameters: dict[str, Any]) -> None:
    scores = np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    sampler = Sampler(SamplingParams(seed=1, **parameters), 32_000)

    def sample_many() -> None:
        for _ in range(1000):
            sampler.sample(scores)

    sample_many()
    before = sys.getallocatedblocks()
    sample_many()
    assert abs(sys.getallocatedblocks() - before) < 50
    tracemalloc.start()
    try:
        sample_many()
        current, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        sample_many()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert abs(after - current) < 1000
    assert peak - current < 1000


@pytest.mark.parametrize("k", [0, 1, 50, 5000])
def test_memory_is_bounded(k: int) -> None:
    """84 bytes for each 256 scores, a bit for each, 32 KiB, and 32 bytes for each candidate of a list."""
    tracemalloc.start()
    try:
        sampler = Sampler(SamplingParams(top_k=k), 128_000)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sampler.vocab_size == 128_000
    bound = 500 * 84 + 16_000 + 32_768 + 32 * (max(2048, 2 * k + 512) + 16)
    assert bound <= sampler.nbytes <= bound + 100
    assert size < bound + 4000


def test_two_threads_in_one_sampler_are_told_apart() -> None:
    """Scratch is shared, so a second call while one runs is refused; nothing is lost and nothing crashes."""
    sampler = Sampler(SamplingParams(seed=1, top_p=0.9))
    rows = np.zeros((64, 100_000), np.float32)
    outcomes: list[str] = []

    def work(count: int) -> None:
        for _ in range(20):
            try:
                sampler.sample(rows[:, :count])
                outcomes.append("sampled")
            except FastgenError as error:
                outcomes.append(error.code)

    threads = [threading.Thread(target=work, args=(count,)) for count in (100_000, 50_000, 1_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 60
    assert set(outcomes) == {"sampled", "concurrent_use"}
    assert 0 <= sampler.sample(rows[0]) < 100_000
