"""Sampling in profiles "vllm", "sglang" and "mlx" against what those engines publish, written down here in torch.

The engines themselves need a GPU or a Mac. These are their filters, statement for statement as published.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from drawing import assert_same, distribution
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle_chain import DEFAULTS, chain, margin

torch = pytest.importorskip("torch")

Array = np.ndarray[Any, Any]
Params = dict[str, Any]

NEAR = 2e-5
STABLE = 16  # torch sorts this many in a stable way
BOTH = pytest.mark.parametrize("subject", [chain, distribution], ids=["oracle", "fastgen"])


def vllm(row: Array, p: Params, history: Sequence[int], prompt_length: int) -> Array:
    """Repetition over everything, frequency and presence over the output; temperature, min-p, then top-k and top-p."""
    logits = torch.from_numpy(row.copy())[None]
    size = row.size
    counts = torch.bincount(torch.tensor(history[prompt_length:], dtype=torch.long), minlength=size)[None]
    seen = torch.bincount(torch.tensor(history, dtype=torch.long), minlength=size)[None] > 0
    for token, bias in (p["logit_bias"] or {}).items():
        logits[0, token] += bias
    factors = torch.where(seen, p["repetition_penalty"], 1.0)
    logits = logits * torch.where(logits > 0, 1.0 / factors, factors)
    logits -= p["frequency_penalty"] * counts
    logits -= p["presence_penalty"] * (counts > 0)
    logits = logits / p["temperature"]
    if p["min_p"]:
        shares = torch.softmax(logits, dim=-1)
        logits = logits.masked_fill(shares < p["min_p"] * shares.amax(dim=-1, keepdim=True), -math.inf)
    ascending, ids = logits.sort(dim=-1, descending=False)
    if p["top_k"]:
        smallest = ascending[:, max(size - p["top_k"], 0)][:, None]
        ascending = ascending.masked_fill(ascending < smallest, -math.inf)
    if p["top_p"] < 1:
        cut = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - p["top_p"]
        cut[:, -1] = False
        ascending = ascending.masked_fill(cut, -math.inf)
    logits = torch.full_like(logits, -math.inf).scatter(-1, ids, ascending)
    return np.asarray(logits.double().softmax(dim=-1)[0])


def sglang(row: Array, p: Params, history: Sequence[int], prompt_length: int) -> Array:
    """Penalties over the output; top-k and top-p on one sum over all tokens, then min-p."""
    logits = torch.from_numpy(row.copy())[None]
    counts = torch.bincount(torch.tensor(history[prompt_length:], dtype=torch.long), minlength=row.size)[None]
    for token, bias in (p["logit_bias"] or {}).items():
        logits[0, token] += bias
    factors = torch.where(counts > 0, p["repetition_penalty"], 1.0)
    logits = torch.where(logits > 0, logits / factors, logits * factors)
    logits -= p["frequency_penalty"] * counts
    logits -= p["presence_penalty"] * (counts > 0)
    shares, ids = torch.softmax(logits.double() / p["temperature"], dim=-1).sort(dim=-1, descending=True, stable=True)
    total = shares.cumsum(dim=-1)
    shares[torch.arange(row.size)[None] >= (p["top_k"] or row.size)] = 0
    shares[(total - shares) > p["top_p"]] = 0
    shares[shares < shares[:, :1] * p["min_p"]] = 0
    out = torch.zeros_like(shares).scatter(-1, ids, shares / shares.sum())
    return np.asarray(out[0])


def mlx(row: Array, p: Params, history: Sequence[int], prompt_length: int) -> Array:
    """All of it on untempered log-probabilities: top-p, min-p, XTC, top-k; then temperature."""
    logits = torch.from_numpy(row.copy()).double()
    recent = list(history)[-20:]
    for token, bias in (p["logit_bias"] or {}).items():
        logits[token] += bias
    for token in set(recent):
        logits[token] *= p["repetition_penalty"] if logits[token] < 0 else 1 / p["repetition_penalty"]
        logits[token] -= p["presence_penalty"] + p["frequency_penalty"] * recent.count(token)
    logs = torch.log_softmax(logits, dim=-1)
    if 0 < p["top_p"] < 1:
        _, ids = logs.sort(stable=True)
        summed = torch.zeros_like(logs).scatter(-1, ids, logs[ids].exp().cumsum(dim=-1))
        logs = logs.masked_fill(summed <= 1 - p["top_p"], -math.inf)
    if p["min_p"]:
        logs = logs.masked_fill(logs < logs.max() + math.log(p["min_p"]), -math.inf)
    if p["xtc_probability"]:
        shares = logs.softmax(dim=-1)
        above = shares[shares > p["xtc_threshold"]]
        if len(above):
            logs = logs.masked_fill(shares > above.min(), -math.inf)
    if 0 < p["top_k"] < row.size:
        logs[logs.sort(descending=True, stable=True)[1][p["top_k"] :]] = -math.inf
    return np.asarray((logs / p["temperature"]).softmax(dim=-1))


PEERS: dict[str, Callable[..., Array]] = {"vllm": vllm, "sglang": sglang, "mlx": mlx}
SAMPLERS = {
    "temperature": st.floats(0.5, 3),
    "top_k": st.integers(1, 45),
    "top_p": st.floats(0.01, 0.999),
    "min_p": st.floats(1e-4, 1),
}
XTC = {"xtc_threshold": st.floats(0.01, 0.5), "xtc_probability": st.just(1.0)}
TOKEN = st.integers(0, 9)
EDITS = {
    "repetition_penalty": st.floats(0.5, 2),
    "presence_penalty": st.floats(-2, 2),
    "frequency_penalty": st.floats(-2, 2),
    "logit_bias": st.dictionaries(TOKEN, st.floats(-20, 20), min_size=1, max_size=4),
}
# Scores are equal or well apart: engines that subtract or divide in floats tie those that nearly are.
SCORE = st.one_of(
    st.integers(-16, 16).map(lambda step: step / 4), st.integers(-8192, 8192).map(lambda step: step / 1024)
)
ROWS = st.one_of(st.lists(SCORE, min_size=10, max_size=40), st.integers(10, 300).map(lambda count: [0.5] * count)).map(
    lambda scores: np.array(scores, np.float32)
)


@BOTH
@pytest.mark.parametrize("name", PEERS)
def test_chains(name: str, subject: Callable[..., Array]) -> None:
    options = {**SAMPLERS, **(XTC if name == "mlx" else {})}

    @settings(max_examples=400, deadline=None)
    @given(ROWS, st.fixed_dictionaries({}, optional=options))
    def check(row: Array, params: Params) -> None:
        params = {"profile": name, **params}
        assume(margin(row, params) > NEAR)
        expected = PEERS[name](row, {**DEFAULTS, **params}, [], 0)
        assert_same(subject(row, params), expected, which_of_ties=name != "vllm" or row.size <= STABLE)

    check()


@BOTH
@pytest.mark.parametrize("name", PEERS)
def test_penalties_and_bias(name: str, subject: Callable[..., Array]) -> None:
    @settings(max_examples=300, deadline=None)
    @given(
        ROWS,
        st.fixed_dictionaries({}, optional={**EDITS, "top_k": st.integers(1, 45), "temperature": st.floats(0.5, 2)}),
        st.lists(TOKEN, max_size=40),
        st.integers(0, 40),
    )
    def check(row: Array, params: Params, history: list[int], split: int) -> None:
        params = {"profile": name, **params}
        context = {"history": history, "prompt_length": min(split, len(history))}
        assume(margin(row, params, **context) > NEAR)
        expected = PEERS[name](row, {**DEFAULTS, **params}, history, context["prompt_length"])
        which = name != "vllm" or row.size <= STABLE
        assert_same(subject(row, params, **context), expected, which_of_ties=which)

    check()
