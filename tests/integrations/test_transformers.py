"""Sampling inside ``generate()`` of transformers, with tiny models whose weights are random."""

from __future__ import annotations

from typing import Any

import pytest

from fastgen import InvalidParameterError, UnknownParameterError
from fastgen.integrations.transformers import sampling

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCAB, PAD, EOS = 96, 0, 1


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(1)
    tokens = {"bos_token_id": 2, "eos_token_id": EOS, "pad_token_id": PAD}
    if request.param == "llama":
        config = transformers.LlamaConfig(
            vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, **tokens
        )
        made = transformers.LlamaForCausalLM(config)
    else:
        config = transformers.GPT2Config(vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=256, **tokens)
        made = transformers.GPT2LMHeadModel(config)
    for weights in made.parameters():
        if weights.dim() > 1:
            weights.data.mul_(8)  # so that the rows are not flat
    return made.eval()


@pytest.fixture
def prompts() -> list[list[int]]:
    return [[2, 17, 30, 17], [2, 40, 41, 42, 43, 44, 60], [2, 9]]


def padded(prompts: list[list[int]]) -> dict[str, Any]:
    """Return a batch that is padded on the left."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[PAD] * (longest - len(one)) + one for one in prompts])
    return {"input_ids": ids, "attention_mask": (ids != PAD).long()}


def outputs(ids: Any, prompt_length: int) -> list[list[int]]:
    """Return the new tokens of each row, without those after the end."""
    rows = ids[:, prompt_length:].tolist()
    return [row[: row.index(EOS) + 1] if EOS in row else row for row in rows]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"repetition_penalty": 1.3},
        {"no_repeat_ngram_size": 2},
        {"repetition_penalty": 1.1, "no_repeat_ngram_size": 3, "min_new_tokens": 20, "suppress_tokens": [7, 8]},
        {"bad_words_ids": [[11], [12, 13]]},
    ],
    ids=str,
)
def test_greedy_is_that_of_transformers(model: Any, prompts: list[list[int]], settings: dict[str, Any]) -> None:
    ours = {"bad_words" if name == "bad_words_ids" else name: value for name, value in settings.items()}
    for prompt in prompts:
        inputs = padded([prompt])
        expected = model.generate(**inputs, do_sample=False, max_new_tokens=40, **settings)
        arguments = sampling(do_sample=False, max_new_tokens=40, model=model, **ours)
        assert model.generate(**inputs, **arguments).tolist() == expected.tolist()


def test_the_settings_of_the_model_keep_their_meaning(model: Any, prompts: list[list[int]]) -> None:
    before = model.generation_config
    try:
        model.generation_config = transformers.GenerationConfig(
            do_sample=True, temperature=0.6, top_p=0.9, repetition_penalty=1.2, no_repeat_ngram_size=3,
            eos_token_id=[EOS, 95], pad_token_id=PAD, min_new_tokens=5, num_beams=1,
        )  # fmt: skip
        arguments = sampling(model=model, seed=1, max_new_tokens=12)
        params = arguments["logits_processor"][0].params
        found = (params.temperature, params.top_p, params.repetition_penalty, params.no_repeat_ngram_size)
        assert found == (0.6, 0.9, 1.2, 3)
        assert (params.top_k, params.min_tokens, params.profile) == (50, 5, "hf")  # 50: what generate() fills in
        ids = model.generate(**padded(prompts[:1]), **arguments)
        assert not {EOS, 95} & set(ids[0, 4:9].tolist())
        greedy = sampling(model=model, do_sample=False, max_new_tokens=12)
        expected = model.generate(**padded(prompts[:1]), do_sample=False, max_new_tokens=12, temperature=1.0, top_p=1.0)
        assert model.generate(**padded(prompts[:1]), **greedy).tolist() == expected.tolist()
        without = sampling(temperature=0.0, max_new_tokens=12)  # nothing but what is asked for
        plain = model.generate(
            **padded(prompts[:1]), do_sample=False, max_new_tokens=12, repetition_penalty=1.0, no_repeat_ngram_size=0,
            min_new_tokens=None, temperature=1.0, top_p=1.0,
        )  # fmt: skip
        assert model.generate(**padded(prompts[:1]), **without).tolist() == plain.tolist()
    finally:
        model.generation_config = before


# Runs.


def run(model: Any, prompts: list[list[int]], **settings: Any) -> list[list[int]]:
    inputs = padded(prompts)
    ids = model.generate(**inputs, **sampling(model=model, **{"max_new_tokens": 16, "top_k": 0, **settings}))
    return outputs(ids, inputs["input_ids"].shape[1])


def test_seeds(model: Any, prompts: list[list[int]]) -> None:
    runs = [run(model, prompts, temperature=1.5, seed=seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    drawn = sampling(model=model, max_new_tokens=16, top_k=0)
    assert drawn["logits_processor"][0].seed is None
    first = model.generate(**padded(prompts), **drawn)
    seed = drawn["logits_processor"][0].seed
    assert outputs(first, 7) == run(model, prompts, seed=seed)


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.0, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
        {"seed": 5, "repetition_penalty": 1.2},
    ],
    ids=str,
)
def test_a_batch_with_padding_is_its_single_runs(
    model: Any, prompts: list[list[int]], settings: dict[str, Any]
) -> None:
    together = run(model, prompts, **settings)
    assert together == [run(model, [one], choice=row, **settings)[0] for row, one in enumerate(prompts)]


def test_the_rows_of_llamacpp_differ(model: Any, prompts: list[list[int]]) -> None:
    rows = run(model, [prompts[0]] * 3, seed=5, temperature=1.5, profile="llamacpp", min_new_tokens=16)
    assert len({tuple(row) for row in rows}) == 3


def test_lengths(model: Any, prompts: list[list[int]]) -> None:
    likely_end = {EOS: 100.0}
    assert [len(row) for row in run(model, prompts, logit_bias=likely_end)] == [1, 1, 1]
    rows = run(model, prompts, logit_bias=likely_end, min_new_tokens=6)
    assert [len(row) for row in rows] == [7, 7, 7]
    assert all(row[-1] == EOS for row in rows)
    assert [len(row) for row in run(model, prompts, max_new_tokens=3, ban_eos=True)] == [3, 3, 3]
    inputs = padded(prompts)
    on = model.generate(
        **inputs, **sampling(model=model, logit_bias=likely_end, ignore_eos=True, max_tokens=4, stop_token_ids=[3])
    )
    assert on[:, 7:].tolist() == [[EOS] * 4] * 3


def test_several_answers(model: Any, prompts: list[list[int]]) -> None:
    rows = run(model, prompts[:2], num_return_sequences=3, seed=4, temperature=1.5, repetition_penalty=1.1)
    assert len(rows) == 6
    assert len({tuple(row) for row in rows}) > 3
    assert rows == run(model, [prompts[0]] * 3 + [prompts[1]] * 3, seed=4, temperature=1.5, repetition_penalty=1.1)


class Streamer:
    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.ended = False

    def put(self, value: Any) -> None:
        self.tokens += value.flatten().tolist()

    def end(self) -> None:
        self.ended = True


def test_streamer(model: Any, prompts: list[list[int]]) -> None:
    streamer = Streamer()
    ids = model.generate(**padded(prompts[:1]), streamer=streamer, **sampling(model=model, seed=1, max_new_tokens=10))
    assert streamer.tokens == ids[0].tolist()
    assert streamer.ended


def test_logits_are_left_alone(model: Any, prompts: list[list[int]]) -> None:
    arguments = sampling(model=model, seed=1, max_new_tokens=5, ban_eos=True)
    result = model.generate(
        **padded(prompts), **arguments, output_logits=True, output_scores=True, return_dict_in_generate=True
    )
    assert all(torch.isfinite(logits).all() for logits in result.logits)
    chosen = torch.stack([scores.argmax(-1) for scores in result.scores], 1)
    assert chosen.tolist() == result.sequences[:, 7:].tolist()


@pytest.mark.filterwarnings("error")
def test_no_warnings(model: Any, prompts: list[list[int]], caplog: pytest.LogCaptureFixture) -> None:
    logger = transformers.utils.logging.get_logger("transformers")
    logger.addHandler(caplog.handler)
    try:
        run(model, prompts, temperature=0.8, top_p=0.95, top_k=40, min_p=0.01, typical_p=0.9, seed=1)
        model.generate(**padded(prompts), **sampling(temperature=0.8, top_k=7, seed=1, max_new_tokens=4))
        run(model, prompts, temperature=0.8, n=2)
    finally:
        logger.removeHandler(caplog.handler)
    assert [record.getMessage() for record in caplog.records] == []


def test_the_same_arguments_twice(model: Any, prompts: list[list[int]]) -> None:
    arguments = sampling(model=model, seed=1, max_new_tokens=9, top_k=0, temperature=1.5)
    first = model.generate(**padded(prompts), **arguments)
    assert model.generate(**padded(prompts), **arguments).tolist() == first.tolist()


def test_errors(model: Any, prompts: list[list[int]]) -> None:
    for wrong in ({"logprobs": 1}, {"best_of": 2}, {"json_schema": {"type": "object"}}, {"min_new_tokens": 2}):
        with pytest.raises(InvalidParameterError):
            sampling(**wrong)
    with pytest.raises(UnknownParameterError):
        sampling(num_beams=4)
    with pytest.raises(TypeError, match="num_beams"):
        model.generate(**padded(prompts), num_beams=2, **sampling())
    with pytest.raises(TypeError, match="assistant_model"):
        model.generate(**padded(prompts), assistant_model=model, **sampling())
