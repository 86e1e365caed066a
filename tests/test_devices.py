"""Logits on an accelerator: the same code on CPU tensors; rows come over only where the best do not suffice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from drawing import deviation

from fastgen import FastgenError, InvalidParameterError, LogitsError, Sampler, SamplerBatch, SamplingParams, devices
from fastgen.devices import sample_rows, sample_tensor

torch = pytest.importorskip("torch")

VOCAB = 4_000


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that takes the number of each row that is brought as a whole."""
    rows: list[int] = []
    whole_rows = devices._whole_rows

    def counted(logits: Any, numbers: Sequence[int]) -> Any:
        rows.extend(numbers)
        return whole_rows(logits, numbers)

    monkeypatch.setattr(devices, "_whole_rows", counted)
    return rows


def batch_of(rng: np.random.Generator, rows: int = 4, sigma: float = 3.0) -> np.ndarray[Any, Any]:
    return rng.normal(0, sigma, (rows, VOCAB)).astype(np.float32)


def words_of(allowed: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.packbits(allowed, bitorder="little").view(np.uint32)


def pair(history: Sequence[int] = (), **params: Any) -> tuple[Sampler, Sampler]:
    near, far = (Sampler(SamplingParams(seed=7, **params), eos_ids=(5,)) for _ in range(2))
    for sampler in (near, far):
        sampler.observe(list(history), prompt=True)
    return near, far


SAME = [
    {"temperature": 0.0},
    {"temperature": 0.0, "repetition_penalty": 1.3, "no_repeat_ngram_size": 1, "history": range(400)},
    {"top_k": 1},
    {"top_k": 50},
    {"temperature": 0.7, "top_k": 50, "top_p": 0.9, "min_p": 0.02},
    {"temperature": 0.7, "top_k": 50, "top_p": 0.9, "profile": "hf"},
    {"temperature": 0.7, "top_k": 900, "top_p": 0.9, "profile": "sglang"},
    {"temperature": 1.5, "min_p": 0.001, "top_k": 40, "top_p": 0.9, "profile": "vllm"},
    {"top_k": 1_200},
    {"top_k": 40, "typical_p": 0.5, "xtc_probability": 0.5, "xtc_threshold": 0.05, "profile": "hf"},
    {"top_k": 40, "eta_cutoff": 0.01, "top_n_sigma": 1.0, "profile": "hf"},
    {"temperature": 2.0, "top_k": 40, "repetition_penalty": 1.2, "frequency_penalty": 0.5, "history": range(900)},
    {"top_k": 40, "logit_bias": {3: -5.0, 9: -np.inf}, "suppress_tokens": range(100), "min_tokens": 3},
]


@pytest.mark.parametrize("params", SAME, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_plans_with_top_k_choose_the_same_tokens(
    params: dict[str, Any], dtype: str, rng: np.random.Generator, fetched: list[int]
) -> None:
    params = dict(params)
    near, far = pair(params.pop("history", ()), **params)
    for _ in range(20):
        rows = torch.from_numpy(batch_of(rng)).to(getattr(torch, dtype))
        if dtype == "float32":
            assert far.position == near.position
        found, expected = sample_tensor(far, rows), near.sample(rows)
        assert found.tolist() == expected.tolist()
        assert found.dtype == np.int32
        one = int(sample_tensor(far, rows[0]))
        assert one == near.sample(rows[0])
        for sampler in (near, far):
            sampler.observe(one)
    if dtype == "float32":
        assert fetched == []


@pytest.mark.parametrize(
    "params",
    [
        {"top_p": 0.9},
        {"temperature": 0.7, "top_p": 0.95, "profile": "hf"},
        {"temperature": 0.8, "top_p": 0.9, "min_p": 0.05},
        {"temperature": 1.2, "min_p": 0.02},
        {"min_p": 0.02, "top_p": 0.8, "profile": "vllm"},
        {"temperature": 0.7, "top_p": 0.9, "top_k": 60, "profile": "mlx"},
        {"top_p": 0.9, "typical_p": 0.6, "profile": "hf"},
    ],
    ids=str,
)
def test_other_plans_keep_the_distribution(params: dict[str, Any], fetched: list[int]) -> None:
    row = batch_of(np.random.default_rng(5), 1, 2.5)[0]  # always the same draws: chi-square is too large now and then
    near, far = pair(**params)
    expected = near.distribution(row)
    rows = torch.from_numpy(np.tile(row, (50, 1)))
    tokens = np.concatenate([sample_tensor(far, rows) for _ in range(60)])
    assert fetched == []
    assert set(tokens.tolist()) <= set(np.flatnonzero(expected > 1e-12).tolist())
    assert deviation(tokens, expected) < 5


@pytest.mark.parametrize(
    ("params", "sigma"),
    [
        ({}, 3.0),
        ({"temperature": 0.5}, 3.0),
        ({"top_p": 0.9}, 0.5),  # the nucleus has more than 1,024 tokens
        ({"min_p": 0.01}, 0.5),
        ({"top_k": 3_000}, 3.0),
        ({"typical_p": 0.5}, 3.0),
        ({"eta_cutoff": 0.01}, 3.0),
        ({"epsilon_cutoff": 0.01}, 3.0),
        ({"top_n_sigma": 1.0}, 3.0),
        ({"top_n_sigma": 1.0, "top_k": 40}, 3.0),  # the deviation is that of the whole row
        ({"dynatemp_range": 0.5, "top_k": 40}, 3.0),
        ({"xtc_probability": 0.5}, 3.0),
        ({"top_k": 40, "logprobs": 2}, 3.0),
        ({"top_k": 40, "entropy": True}, 3.0),
        ({"top_k": 40, "logit_bias": {9: 5.0}}, 3.0),
        ({"top_k": 40, "presence_penalty": -1.0}, 3.0),
        ({"temperature": 0.0, "repetition_penalty": 0.5}, 3.0),
        ({"top_k": 40, "allowed_token_ids": range(500)}, 3.0),
        ({"top_p": 0.9, "suppress_tokens": [1]}, 3.0),
        ({"min_p": 0.1, "suppress_tokens": [1]}, 3.0),
    ],
    ids=str,
)
def test_the_row_is_fetched_where_the_best_do_not_suffice(
    params: dict[str, Any], sigma: float, rng: np.random.Generator, fetched: list[int]
) -> None:
    near, far = pair([1, 2, 3], **params)
    for _ in range(10):
        rows = torch.from_numpy(batch_of(rng, 2, sigma))
        assert sample_tensor(far, rows).tolist() == near.sample(rows).tolist()
        assert far.logprobs == near.logprobs
    assert fetched == [0, 1] * 10


@pytest.mark.parametrize("params", [{"mirostat": 2}, {"mirostat": 1}, {"top_k": 5, "profile": "llamacpp"}], ids=str)
def test_plans_with_a_state_see_the_row(params: dict[str, Any], rng: np.random.Generator, fetched: list[int]) -> None:
    near, far = pair(**params)
    for row in batch_of(rng, 10):
        assert sample_tensor(far, torch.from_numpy(row)) == near.sample(row)
    assert fetched == [0] * 10


def test_ties_at_the_end_of_the_best(fetched: list[int]) -> None:
    row = np.zeros(VOCAB, np.float32)
    row[3_000] = 1.0
    near, far = pair(top_k=2)
    assert [sample_tensor(far, torch.from_numpy(row)) for _ in range(20)] == [near.sample(row) for _ in range(20)]
    assert fetched == [0] * 20  # which of the zeros the device returned is not known
    greedy = Sampler(SamplingParams(temperature=0))
    assert sample_tensor(greedy, torch.from_numpy(row)) == 3_000
    assert fetched == [0] * 20


def test_only_the_rows_that_need_it_are_fetched(rng: np.random.Generator, fetched: list[int]) -> None:
    rows = batch_of(rng, 4)
    rows[1] *= 0.1
    rows[3] = -np.inf
    rows[3, :700] = 0.0  # all that is finite is among the best
    near, far = pair(top_p=0.9)
    found = sample_tensor(far, torch.from_numpy(rows))
    assert fetched == [1]
    assert found[1] == near.sample(rows)[1]
    assert found[3] < 700
    assert sample_tensor(far, torch.from_numpy(rows[3])) < 700
    assert sample_tensor(far, torch.from_numpy(batch_of(rng, 4))).shape == (4,)  # nothing is left of the rows before
    assert fetched == [1]


def test_masks(rng: np.random.Generator, fetched: list[int]) -> None:
    near, far = pair(top_k=30, repetition_penalty=1.1, history=range(100))
    half, few = rng.random(VOCAB) < 0.5, np.arange(VOCAB) < 40
    for _ in range(10):
        rows = batch_of(rng, 2)
        mask = words_of(half)
        assert sample_tensor(far, torch.from_numpy(rows), mask=mask).tolist() == near.sample(rows, mask=mask).tolist()
    assert fetched == []
    mask = np.stack([words_of(half), words_of(few)])
    as_tensor = torch.from_numpy(mask.view(np.int32))
    found = sample_tensor(far, torch.from_numpy(rows), mask=as_tensor)
    assert found.tolist() == near.sample(rows, mask=mask).tolist()
    assert found[1] < 40
    assert fetched == [1]
    with pytest.raises(InvalidParameterError):
        sample_tensor(far, torch.from_numpy(rows), mask=np.zeros(3, np.uint32))
    near, far = pair(top_p=0.5)
    assert sample_tensor(far, torch.from_numpy(rows), mask=mask).tolist() == near.sample(rows, mask=mask).tolist()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("params", [{"top_k": 5}, {"top_p": 0.5}, {"temperature": 0}], ids=str)
def test_faults(value: float, params: dict[str, Any], rng: np.random.Generator, fetched: list[int]) -> None:
    rows = batch_of(rng)
    rows[2, 77] = value
    sampler = Sampler(SamplingParams(seed=1, **params))
    with pytest.raises(LogitsError) as caught:
        sample_tensor(sampler, torch.from_numpy(rows))
    assert caught.value.code == "logits_nonfinite"
    assert caught.value.details["row"] == 2
    assert [token < 0 for token in caught.value.tokens] == [False, False, True, False]
    assert fetched == [2]
    masking = Sampler(SamplingParams(seed=1, nan_policy="mask", **params))
    assert (sample_tensor(masking, torch.from_numpy(rows)) >= 0).all()
    rows[2] = -np.inf
    with pytest.raises(LogitsError) as caught:
        sample_tensor(sampler, torch.from_numpy(rows[2]))
    assert caught.value.code == "no_candidates"
    assert int(sample_tensor(sampler, torch.from_numpy(rows[0]))) >= 0


def test_a_sampler_for_each_row(rng: np.random.Generator, fetched: list[int]) -> None:
    plans: list[dict[str, Any]] = [
        {"top_k": 20},
        {"temperature": 0},
        {"typical_p": 0.5},
        {"temperature": 2, "top_k": 9},
    ]
    near, far = ([Sampler(SamplingParams(seed=i, **plan)) for i, plan in enumerate(plans)] for _ in range(2))
    batch = SamplerBatch(near)
    for _ in range(10):
        rows = torch.from_numpy(batch_of(rng))
        assert sample_rows(far, rows).tolist() == batch.sample(rows).tolist()
    assert fetched == [2] * 10
    rows[1, 5] = torch.nan
    for sample in (batch.sample, lambda rows: sample_rows(far, rows)):
        with pytest.raises(LogitsError) as caught:
            sample(rows)
        assert caught.value.details["row"] == 1
        assert [error.details["index"] for error in caught.value.rows] == [5]
        assert caught.value.tokens[1] == -1
    with pytest.raises(LogitsError):
        sample_rows(far, rows[:2])


@pytest.mark.parametrize(
    "logits",
    [
        torch.zeros(VOCAB, device="meta"),
        torch.zeros(VOCAB).to_sparse(),
        torch.zeros(VOCAB, dtype=torch.complex64),
        torch.zeros(VOCAB, dtype=torch.float64),
        torch.zeros(VOCAB, dtype=torch.int64),
        torch.zeros(2, 2, VOCAB),
        torch.zeros(2, 0),
        torch.zeros(()),
    ],
    ids=lambda logits: f"{logits.device.type}-{logits.layout}-{logits.dtype}-{logits.dim()}",
)
def test_what_is_no_row(logits: Any) -> None:
    with pytest.raises(LogitsError) as caught:
        sample_tensor(Sampler(), logits)
    assert caught.value.code == "logits_invalid"


def test_the_door(rng: np.random.Generator) -> None:
    row = torch.from_numpy(batch_of(rng)[0])
    sampler = Sampler(SamplingParams(top_k=5), VOCAB)
    with pytest.raises(LogitsError):
        sample_tensor(sampler, row[:-1])
    with pytest.raises(FastgenError):
        sample_tensor(sampler, row, out=np.zeros(1, np.int32))
    out = np.zeros(2, np.int32)
    assert sample_tensor(sampler, torch.stack([row, row]), out) is out
    with pytest.raises(LogitsError):
        sampler.sample(torch.zeros(VOCAB, device="meta"))  # what is not on the CPU goes this way
