"""SamplerBatch: rows of different requests in one call are what each sampler would choose alone."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import pytest

from fastgen.batch import SamplerBatch
from fastgen.errors import FastgenError, InvalidParameterError, LogitsError
from fastgen.params import SamplingParams
from fastgen.sampler import Sampler

Array = np.ndarray[Any, Any]

PLANS: tuple[dict[str, Any], ...] = (
    {"temperature": 0},
    {"top_p": 0.9},
    {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "repetition_penalty": 1.2},
    {"mirostat": 2},
    {"profile": "llamacpp", "temperature": 0.8, "top_k": 40, "xtc_probability": 0.5},
    {"logprobs": 3, "entropy": True, "typical_p": 0.8},
    {"presence_penalty": 0.5, "no_repeat_ngram_size": 2, "logit_bias": {3: 2.0}},
    {"nan_policy": "mask", "allowed_token_ids": tuple(range(0, 4000, 3))},
)
VOCAB = 5000


def samplers() -> list[Sampler]:
    return [Sampler(SamplingParams(seed=7 + i, **plan), VOCAB, eos_ids=(2,)) for i, plan in enumerate(PLANS)]


def rows(seed: int) -> Array:
    return (np.random.default_rng(seed).standard_normal((len(PLANS), VOCAB)) * 2).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_rows_are_those_of_single_samplers(threads: int, level: str) -> None:
    alone, together = samplers(), samplers()
    with SamplerBatch(together, threads=threads) as batch:
        for one in (*alone, *together):
            one.observe([1, 5, 9, 5], prompt=True)
        for step in range(6):
            expected = [one.sample(row) for one, row in zip(alone, rows(step), strict=True)]
            tokens = batch.sample(rows(step))
            assert tokens.tolist() == expected
            assert batch.logprobs == tuple(one.logprobs[0] if one.logprobs else None for one in alone)
            batch.observe(tokens)
            for one, token in zip(alone, expected, strict=True):
                one.observe(token)
        assert [one.position for one in batch.samplers] == [6] * len(PLANS)


def test_threads_do_share_large_batches() -> None:
    """Enough scores for three threads: the tokens are those of one."""
    large = (np.random.default_rng(1).standard_normal((24, 70_000)) * 2).astype(np.float32)
    params = [SamplingParams(seed=i, top_p=0.9 if i % 2 else 1.0, top_k=0 if i % 3 else 20) for i in range(24)]
    found = []
    for threads in (1, 3):
        with SamplerBatch([Sampler(one) for one in params], threads=threads) as batch:
            found.append([batch.sample(large).tolist() for _ in range(3)])
            names = [thread.name for thread in threading.enumerate() if thread.name.startswith("fastgen-sampler")]
            assert bool(names) == (threads > 1)
    assert found[0] == found[1]
    assert not any(thread.name.startswith("fastgen-sampler") for thread in threading.enumerate())


@pytest.mark.parametrize("threads", [1, 2])
def test_faults_stay_in_their_rows(threads: int) -> None:
    given, expected = rows(3), rows(3)
    batch, healthy = SamplerBatch(samplers(), threads=threads), SamplerBatch(samplers())
    good = healthy.sample(expected).tolist()
    given[1, 77] = np.nan
    given[2] = -np.inf
    given[7, 5] = np.nan  # left out: nan_policy="mask"
    out = np.zeros(len(PLANS), np.int32)
    with pytest.raises(LogitsError) as caught:
        batch.sample(given, out)
    error = caught.value
    assert error.tokens is out
    assert out.tolist() == [good[0], -1, -1, *good[3:]]
    assert [(one.code, one.details["row"]) for one in error.rows] == [("logits_nonfinite", 1), ("no_candidates", 2)]
    assert batch.samplers[7].masked == 1
    batch.observe(out)
    assert batch.sample(expected).tolist()[0] == good[0]


def test_masks_for_all_and_for_each() -> None:
    words = (VOCAB + 31) // 32
    shared = np.zeros(words, np.uint32)
    shared[3] = 0b110
    batch = SamplerBatch([Sampler(SamplingParams(seed=i)) for i in range(4)])
    given = np.zeros((4, VOCAB), np.float32)
    assert set(batch.sample(given, mask=shared).tolist()) <= {97, 98}
    own = np.zeros((4, words), np.int32)
    own[range(4), range(4)] = 1 << 5
    assert batch.sample(given, mask=own).tolist() == [5, 37, 69, 101]


def test_out_and_arguments() -> None:
    batch = SamplerBatch([Sampler(), Sampler()])
    out = np.zeros(2, np.int32)
    assert batch.sample(np.zeros((2, 9), np.float32), out) is out
    assert len(batch) == 2
    assert repr(batch) == "SamplerBatch(<2 samplers>, threads=1)"
    for wrong in (np.zeros((3, 9), np.float32), np.zeros(9, np.float32)):
        with pytest.raises(LogitsError, match="row for each sampler"):
            batch.sample(wrong)
    for wrong_out in (np.zeros(3, np.int32), np.zeros(2, np.int64)):
        with pytest.raises(InvalidParameterError, match="out "):
            batch.sample(np.zeros((2, 9), np.float32), wrong_out)
    with pytest.raises(InvalidParameterError, match="differ in number"):
        batch.observe([1])
    sized = SamplerBatch([Sampler(), Sampler(vocab_size=5)])
    with pytest.raises(LogitsError, match="wrong length"):
        sized.sample(np.zeros((2, 9), np.float32))
    assert sized.sample(np.zeros((2, 5), np.float32)).size == 2, "the first sampler is free again"


@pytest.mark.parametrize("threads", [0, -1, 257, 1.5, True])
def test_wrong_threads(threads: Any) -> None:
    with pytest.raises(InvalidParameterError, match="threads"):
        SamplerBatch([Sampler()], threads=threads)


def test_samplers_only_and_each_once() -> None:
    one = Sampler()
    with pytest.raises(InvalidParameterError, match="twice"):
        SamplerBatch([one, one])
    with pytest.raises(InvalidParameterError, match="made of samplers"):
        SamplerBatch([one, None])  # type: ignore[list-item]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_a_fork_gets_threads_of_its_own() -> None:
    given = np.zeros((16, 80_000), np.float32)
    with SamplerBatch([Sampler(SamplingParams(seed=i)) for i in range(16)], threads=2) as batch:
        batch.sample(given)
        expected = [Sampler(SamplingParams(seed=i)) for i in range(16)]
        for one in expected:
            one.position = 1
        wanted = [one.sample(given[0]) for one in expected]
        child = os.fork()
        if child == 0:
            os._exit(0 if batch.sample(given).tolist() == wanted else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert batch.sample(given).tolist() == wanted


def test_a_second_thread_is_refused() -> None:
    batch = SamplerBatch([Sampler(SamplingParams(seed=i, top_p=0.9)) for i in range(32)])
    given = np.zeros((32, 60_000), np.float32)
    outcomes: list[str] = []

    def work() -> None:
        for _ in range(15):
            try:
                batch.sample(given)
                outcomes.append("sampled")
            except FastgenError as error:
                outcomes.append(error.code)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 45
    assert set(outcomes) == {"sampled", "concurrent_use"}
    assert batch.sample(given).size == 32
