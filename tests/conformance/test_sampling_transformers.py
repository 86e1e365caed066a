"""Sampling in profile "hf" against transformers: its own processors, in the order in which generate() puts them."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from drawing import assert_same, deviation, distribution, sampler_after
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lending import DTYPES, lend, pack, widen
from oracle_chain import DEFAULTS, chain, margin

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

Array = np.ndarray[Any, Any]
Subject = Callable[..., Array]

STABLE = 16  # torch sorts this many in a stable way; of a longer row it's open which of tied tokens top-p keeps
NEAR = 2e-5  # a case that float32 may decide differently than float64
BOTH = pytest.mark.parametrize("subject", [chain, distribution], ids=["oracle", "fastgen"])


class Owner(transformers.GenerationMixin):  # type: ignore[misc]
    """As much of a model as generate() asks when it puts the processors together."""

    config = types.SimpleNamespace(is_encoder_decoder=False)


def processors(p: dict[str, Any], prompt_length: int, eos_ids: Sequence[int]) -> Any:
    """Return the processors that generate() would run for these parameters."""
    bias = p["logit_bias"] or {}
    allowed = p["allowed_token_ids"]
    config = transformers.GenerationConfig(
        do_sample=True,
        temperature=float(p["temperature"]),
        top_k=p["top_k"],
        top_p=p["top_p"],
        min_p=p["min_p"] or None,
        typical_p=p["typical_p"],
        epsilon_cutoff=p["epsilon_cutoff"],
        eta_cutoff=p["eta_cutoff"],
        repetition_penalty=float(p["repetition_penalty"]),
        no_repeat_ngram_size=p["no_repeat_ngram_size"],
        bad_words_ids=[list(word) for word in p["bad_words"]] or None,
        sequence_bias=[[[token], float(value)] for token, value in bias.items()] or None,
        suppress_tokens=list(p["suppress_tokens"]) or None,
        min_new_tokens=p["min_tokens"] or None,
        num_beams=1,
        num_return_sequences=1,
    )
    config._eos_token_tensor = torch.tensor(eos_ids) if eos_ids else None
    return Owner()._get_logits_processor(
        generation_config=config,
        input_ids_seq_length=prompt_length,
        prefix_allowed_tokens_fn=None if allowed is None else lambda _row, _ids: list(allowed),
        logits_processor=[],
        device="cpu",
        model_kwargs={},
    )


def of_transformers(
    row: Array,
    params: dict[str, Any],
    *,
    history: Sequence[int] = (),
    prompt_length: int = 0,
    eos_ids: Sequence[int] = (),
) -> Array:
    """Return the probabilities that generate() would draw from."""
    chain_of_it = processors({**DEFAULTS, **params}, prompt_length, eos_ids)
    ids = torch.tensor([list(history)], dtype=torch.long)
    scores = chain_of_it(ids, torch.from_numpy(row.astype(np.float32))[None])
    return np.asarray(torch.softmax(scores.double(), dim=-1)[0])


def compare(subject: Subject, row: Array, params: dict[str, Any], **context: Any) -> None:
    params = {"profile": "hf", **params}
    assume(margin(row, params, **context) > NEAR)
    expected = of_transformers(row, params, **context)
    assert_same(subject(row, params, **context), expected, which_of_ties=row.size <= STABLE)


# Scores are equal or well apart: dividing floats ties those that nearly are.
TIED = st.lists(st.integers(-16, 16).map(lambda step: step / 4), min_size=2, max_size=40)
LOOSE = st.lists(st.integers(-8192, 8192).map(lambda step: step / 1024), min_size=2, max_size=40)
FLAT = st.integers(2, 300).map(lambda count: [1.5] * count)
MASKED = st.tuples(TIED, st.integers(1, 5)).map(lambda pair: pair[0] + [-np.inf] * pair[1])
ROWS = st.one_of(TIED, LOOSE, FLAT, MASKED).map(lambda scores: np.array(scores, np.float32))

SAMPLERS = {
    "temperature": st.floats(0.5, 3),
    "top_k": st.integers(1, 45),
    "top_p": st.floats(0.01, 0.999),
    "min_p": st.floats(1e-4, 1),
    "typical_p": st.floats(0.01, 0.99),
    "epsilon_cutoff": st.floats(1e-4, 0.9),
    "eta_cutoff": st.floats(1e-4, 0.9),
}


@BOTH
@pytest.mark.parametrize("name", SAMPLERS)
def test_each_processor_alone(name: str, subject: Subject) -> None:
    @settings(max_examples=150, deadline=None)
    @given(ROWS, SAMPLERS[name])
    def check(row: Array, value: float) -> None:
        compare(subject, row, {name: value})

    check()


@BOTH
def test_whole_chains(subject: Subject) -> None:
    @settings(max_examples=400, deadline=None)
    @given(ROWS, st.fixed_dictionaries({}, optional=SAMPLERS))
    def check(row: Array, params: dict[str, Any]) -> None:
        compare(subject, row, params)

    check()


TOKEN = st.integers(0, 9)
TOKENS = st.lists(TOKEN, min_size=1, max_size=30)
WORDS = st.lists(st.lists(TOKEN, min_size=1, max_size=3).map(tuple), min_size=1, max_size=6, unique=True).map(tuple)
EDITS = {
    "repetition_penalty": st.floats(0.5, 3),
    "no_repeat_ngram_size": st.integers(1, 4),
    "bad_words": WORDS,
    "logit_bias": st.dictionaries(TOKEN, st.floats(-20, 20), min_size=1, max_size=4),
    "min_tokens": st.integers(1, 30),
    "suppress_tokens": st.lists(TOKEN, min_size=1, max_size=4, unique=True).map(tuple),
    "allowed_token_ids": st.lists(st.integers(0, 11), min_size=2, max_size=11, unique=True).map(tuple),
}
LONGER = st.lists(st.integers(-32, 32).map(lambda step: step / 8), min_size=13, max_size=24).map(
    lambda scores: np.array(scores, np.float32)
)


def edit(subject: Subject, row: Array, params: dict[str, Any], history: list[int], split: int) -> None:
    context = {"history": history, "prompt_length": min(split, len(history)), "eos_ids": (10, 11)}
    assume(chain(row, {"profile": "hf", **params}, **context).sum() > 0)
    compare(subject, row, params, **context)


@BOTH
@pytest.mark.parametrize("name", EDITS)
def test_each_edit_alone(name: str, subject: Subject) -> None:
    @settings(max_examples=150, deadline=None)
    @given(LONGER, EDITS[name], TOKENS, st.integers(1, 30))
    def check(row: Array, value: Any, history: list[int], split: int) -> None:
        edit(subject, row, {name: value}, history, split)

    check()


@BOTH
def test_edits_before_samplers(subject: Subject) -> None:
    @settings(max_examples=300, deadline=None)
    @given(LONGER, st.fixed_dictionaries({}, optional={**EDITS, **SAMPLERS}), TOKENS, st.integers(1, 30))
    def check(row: Array, params: dict[str, Any], history: list[int], split: int) -> None:
        edit(subject, row, params, history, split)

    check()


@BOTH
def test_minimal_length_counts_outputs_only(subject: Subject) -> None:
    """generate(min_length=n) counts the prompt too; it is min_tokens = n - prompt."""
    row = np.zeros(5, np.float32)
    for length in range(1, 8):
        ids = torch.zeros((1, length), dtype=torch.long)
        theirs = transformers.MinLengthLogitsProcessor(6, [4])(ids, torch.zeros(1, 5))[0, 4]
        ours = subject(row, {"min_tokens": 4}, history=[0] * length, prompt_length=min(2, length), eos_ids=(4,))[4]
        assert (ours == 0) == (theirs == -np.inf) == (length < 6)


@pytest.mark.parametrize(
    "params",
    [{}, {"repetition_penalty": 1.7}, {"no_repeat_ngram_size": 2}, {"logit_bias": {1: 0.5, 2: 0.5}, "top_k": 3}],
    ids=str,
)
def test_greedy(params: dict[str, Any], rng: np.random.Generator) -> None:
    for _ in range(50):
        row = (rng.integers(-8, 8, 30) / 2).astype(np.float32)
        history = rng.integers(0, 30, 12).tolist()
        edited = processors({**DEFAULTS, **params, "top_k": 0}, 4, ())(torch.tensor([history]), torch.tensor(row[None]))
        sampler = sampler_after({"profile": "hf", "temperature": 0, **params}, history, 4)
        assert sampler.distribution(row).argmax() == sampler.sample(row) == int(edited.argmax())


PLANS: tuple[dict[str, Any], ...] = (
    {"temperature": 0.7, "top_p": 0.9},
    {"top_k": 50, "top_p": 0.95},
    {"temperature": 1.5, "min_p": 0.05},
    {"typical_p": 0.8},
    {"top_k": 100, "top_p": 0.9, "min_p": 0.01, "epsilon_cutoff": 3e-4},
    {"eta_cutoff": 0.003},
    {"temperature": 0.9, "top_k": 40, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
)


@BOTH
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("params", PLANS, ids=str)
def test_long_rows_of_each_dtype(params: dict[str, Any], dtype: str, subject: Subject) -> None:
    """Rows of coarse dtypes are full of ties."""
    rng, compared = np.random.default_rng(7), 0
    params = {"profile": "hf", **params}
    for count in (257, 1000, 3000):
        for spread in (0.5, 2, 3):
            bits = pack(rng.standard_normal(count) * spread, dtype)
            row, history = widen(bits, dtype), rng.integers(0, count, 50).tolist()
            context = {"history": history, "prompt_length": 20}
            if margin(row, params, **context) < 1e-6:
                continue
            compared += 1
            given_row = row if subject is chain else lend(bits, dtype)
            expected = of_transformers(row, params, **context)
            assert_same(subject(given_row, params, **context), expected, which_of_ties=False)
    assert compared >= 3


@pytest.mark.parametrize("params", PLANS, ids=str)
def test_frequencies(params: dict[str, Any]) -> None:
    rng = np.random.default_rng(5)
    row = (rng.standard_normal(1000) * 2).astype(np.float32)
    history = rng.integers(0, 1000, 50).tolist()
    sampler = sampler_after({"profile": "hf", "seed": 12, **params}, history, 20)
    tokens = np.asarray(sampler.sample(np.broadcast_to(row, (200_000, 1000))))
    assert abs(deviation(tokens, of_transformers(row, params, history=history, prompt_length=20))) < 5
