"""The logits processor by itself: what it draws from, what it takes for the same text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from drawing import assert_same, deviation

from fastgen import LogitsError, SamplingParams
from fastgen.integrations.transformers import FastSampler, sampling

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCAB, PAD, EOS = 96, 0, 1


def scores_for(rows: int, seed: int = 0) -> Any:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 2, (rows, VOCAB)).astype(np.float32))


SETTINGS = [
    {"temperature": 0.7, "top_p": 0.8},
    {"top_k": 12, "top_p": 0.9},
    {"min_p": 0.1, "repetition_penalty": 1.4},
    {"temperature": 1.3, "typical_p": 0.7, "no_repeat_ngram_size": 2},
]


def of_transformers(settings: dict[str, Any], ids: Any, scores: Any) -> np.ndarray[Any, Any]:
    """Return the probabilities that generate() would draw from."""
    config = transformers.GenerationConfig(do_sample=True, num_beams=1, **{"top_k": 0, **settings})
    owner = transformers.GenerationMixin()
    owner.config = transformers.LlamaConfig()
    processors = owner._get_logits_processor(config, input_ids_seq_length=ids.shape[1], device="cpu")
    return np.asarray(torch.softmax(processors(ids, scores.clone()).double(), -1)[0])


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_same_distribution(settings: dict[str, Any]) -> None:
    row = scores_for(1, seed=5)  # always the same draws: chi-square is too large now and then
    prompt = torch.tensor([[2, 5, 9, 5, 9, 33, 9]])
    expected = of_transformers(settings, prompt, row)
    processor = sampling(**settings, seed=3)["logits_processor"][0]
    rows, ids = row.repeat(200, 1), prompt.repeat(200, 1)
    tokens = []
    for _ in range(50):
        processor._seen = None  # each step is the first one, so the history stays the prompt
        processor.params = processor.params.replace(seed=processor.params.seed + 1)
        marks = processor(ids, rows)
        assert (marks > -torch.inf).sum(-1).tolist() == [1] * 200
        tokens += marks.argmax(-1).tolist()
    assert deviation(np.array(tokens), expected) < 5
    sampler = processor._batch.samplers[0]
    assert_same(_renewed(sampler, prompt[0].tolist()).distribution(row[0]), expected)


def _renewed(sampler: Any, prompt: list[int]) -> Any:
    fresh = type(sampler)(sampler.params, VOCAB)
    fresh.observe(prompt)
    return fresh


def test_a_new_text_begins_anew() -> None:
    processor = sampling(seed=1)["logits_processor"][0]
    ids = torch.tensor([[2, 5, 6, 7]])
    processor(ids, scores_for(1))
    processor(torch.tensor([[2, 5, 6, 7, 8]]), scores_for(1))
    assert processor._batch.samplers[0].position == 2
    processor(torch.tensor([[2, 5, 6, 6, 8, 9]]), scores_for(1))  # one longer, but of another text
    assert processor._batch.samplers[0].position == 1
    drawn = sampling(max_new_tokens=9)["logits_processor"][0]
    drawn(ids, scores_for(1))
    seed = drawn.seed
    drawn(ids, scores_for(1))
    assert drawn.seed != seed


def test_rows_that_have_ended_do_no_harm() -> None:
    processor = FastSampler(
        SamplingParams(seed=1, no_repeat_ngram_size=1, profile="hf"), eos_ids=(EOS,), pad_token_id=PAD
    )
    ids, scores = torch.tensor([[2, 3], [2, 4]]), scores_for(2)
    scores[1, EOS] = 90.0
    for step in range(2 * VOCAB):
        tokens = processor(ids, scores).argmax(-1)
        if step:
            tokens[1] = PAD
        ids = torch.cat([ids, tokens[:, None]], -1)
        if step == 3:
            scores[1] = torch.nan
        if step < VOCAB - 6:
            continue
        scores[0, :] = torch.nan
        with pytest.raises(LogitsError) as caught:
            processor(ids, scores)
        assert caught.value.details["row"] == 0
        break


def test_other_devices_take_the_other_path() -> None:
    ids, scores = torch.tensor([[2, 3], [2, 4]]), scores_for(2)
    expected = sampling(seed=1, top_k=5)["logits_processor"][0](ids, scores)

    class Elsewhere(torch.Tensor):  # type: ignore[misc]
        is_cpu = False
        __torch_function__ = torch._C._disabled_torch_function_impl  # results are ordinary tensors

    found = sampling(seed=1, top_k=5)["logits_processor"][0](ids, scores.as_subclass(Elsewhere))
    assert found.tolist() == expected.tolist()


def test_faults() -> None:
    with pytest.raises(LogitsError):
        sampling()["logits_processor"][0](torch.tensor([[2]]), torch.full((1, VOCAB), torch.nan))
