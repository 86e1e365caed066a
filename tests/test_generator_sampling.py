"""What sampling parameters mean in a generation: choices, log-probabilities, words, grammars, least lengths."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from fakes import FakeTokenizer
from scripted import scripted

from fastgen import Generator, SamplingParams
from fastgen.errors import InvalidParameterError
from fastgen.models.step import StepModel
from fastgen.words import with_token_ids

TOKENIZER = FakeTokenizer(words=[b" the", b"\n\n", b"a:b"])
VOCAB = TOKENIZER.vocab_size
EOS = TOKENIZER.eos_ids[0]


def noisy(seed: int = 0) -> Generator:
    """Return a model whose logits are noise that depends on the place alone; it never ends by itself."""

    def step(ids: Any, state: dict[str, Any]) -> Any:
        state["place"] = state.get("place", 0) + ids.shape[1]
        logits = np.random.default_rng([seed, state["place"]]).normal(0, 2, (1, VOCAB)).astype(np.float32)
        logits[0, 128:] = -np.inf
        return logits

    return Generator(StepModel(step, VOCAB), TOKENIZER)


def says(text: bytes, **params: Any) -> Any:
    script = [*text, EOS]
    return Generator(scripted(script, VOCAB), TOKENIZER).generate("x", SamplingParams(temperature=0, **params))


# Choices.


def test_choices_are_runs_of_their_own_seeds() -> None:
    output = noisy().generate("ab", max_tokens=6, seed=5, n=3)
    assert [(one.choice, one.seed) for one in output.choices] == [(0, 5), (1, 6), (2, 7)]
    assert output.text == output.choices[0].text
    alone = [noisy().generate("ab", max_tokens=6, seed=seed) for seed in (5, 6, 7)]
    assert [one.token_ids for one in output.choices] == [one.token_ids for one in alone]
    assert alone[0].choices == ()


def test_choices_of_several_prompts_keep_their_places() -> None:
    outputs = noisy().generate(["a", "b"], [SamplingParams(n=2, seed=1, max_tokens=3), SamplingParams(max_tokens=3)])
    assert [len(one.choices) for one in outputs] == [2, 0]
    assert [one.index for one in outputs] == [0, 1]
    assert len({one.seed for one in outputs[0].choices}) == 2


def test_pieces_name_their_choice() -> None:
    pieces = list(noisy().stream("ab", max_tokens=4, seed=5, n=2))
    texts = ["".join(piece.text for piece in pieces if piece.choice == choice) for choice in (0, 1)]
    assert texts == [noisy().generate("ab", max_tokens=4, seed=seed).text for seed in (5, 6)]


def test_distinct_answers_are_unlike_each_other() -> None:
    every = noisy().generate("ab", max_tokens=2, seed=1, n=40, top_k=3)
    few = noisy().generate("ab", max_tokens=2, seed=1, n=40, top_k=3, distinct=1.0)
    texts = [one.text for one in every.choices]
    assert [one.text for one in few.choices] == list(dict.fromkeys(texts))
    assert len(few.choices) < 40
    fewer = noisy().generate("ab", max_tokens=2, seed=1, n=40, top_k=3, distinct=0.5)
    assert all(one.text[0] != two.text[0] for one in fewer.choices for two in fewer.choices if one is not two)


def test_distinct_takes_others_from_best_of() -> None:
    ranked = noisy().generate("ab", max_tokens=1, seed=1, n=20, best_of=20, top_k=3)
    found = noisy().generate("ab", max_tokens=1, seed=1, n=2, best_of=20, top_k=3, distinct=True)
    unlike = list(dict.fromkeys(one.text for one in ranked.choices))
    assert [one.text for one in found.choices] == unlike[:2]


def test_best_of_ranks_by_the_mean_log_probability() -> None:
    found = noisy().generate("ab", max_tokens=5, seed=1, n=2, best_of=6)
    singles = [noisy().generate("ab", max_tokens=5, seed=seed, logprobs=0) for seed in range(1, 7)]
    ranked = sorted(singles, key=lambda one: -one.cumulative_logprob / len(one.token_ids))
    assert [one.token_ids for one in found.choices] == [one.token_ids for one in ranked[:2]]
    assert found.logprobs is None
    assert noisy().generate("ab", max_tokens=5, seed=1, best_of=6).token_ids == ranked[0].token_ids
    with pytest.raises(InvalidParameterError, match="best_of"):
        noisy().stream("ab", best_of=2)


# Log-probabilities.


def test_log_probabilities_go_with_the_tokens() -> None:
    pieces = list(noisy().stream("ab", max_tokens=5, seed=1, logprobs=2, entropy=True))
    output = pieces[-1].output
    assert output is not None
    assert [one.token_id for one in output.logprobs] == list(output.token_ids)
    assert output.cumulative_logprob == pytest.approx(sum(one.logprob for one in output.logprobs))
    joined = list(itertools.chain.from_iterable(piece.logprobs for piece in pieces))
    assert joined == list(output.logprobs)
    assert all(len(piece.logprobs) == len(piece.token_ids) for piece in pieces)
    assert all(len(one.top_ids) == 2 and one.entropy > 0 for one in output.logprobs)
    plain = noisy().generate("ab", max_tokens=5, seed=1)
    assert (plain.logprobs, plain.cumulative_logprob) == (None, None)
    assert plain.token_ids == output.token_ids, "to be asked for a report changes nothing"


# Words.


def test_bad_words_with_and_without_a_space() -> None:
    assert says(b"go the end", bad_words=["the"], max_tokens=8).text.startswith("go th")
    assert b"the" not in says(b"go the end", bad_words=["the"], max_tokens=10).text.encode()
    resolved = with_token_ids(SamplingParams(bad_words=["ab", (7,)]), TOKENIZER)
    assert resolved.bad_words == ((97, 98), (32, 97, 98), (7,))


def test_breakers_are_all_tokens_that_hold_the_text() -> None:
    resolved = with_token_ids(SamplingParams(dry_multiplier=1, dry_sequence_breakers=[":", "xy", (9, 8)]), TOKENIZER)
    colon = [token for token in range(VOCAB) if b":" in TOKENIZER.token_bytes(token)]
    assert resolved.dry_sequence_breakers == (*((token,) for token in colon), (120, 121), (9, 8))
    assert len(colon) == 2
    assert with_token_ids(SamplingParams(dry_multiplier=1), TOKENIZER).dry_sequence_breakers is not None
    assert with_token_ids(SamplingParams(), TOKENIZER) == SamplingParams()


def test_the_history_is_prompt_and_output() -> None:
    """No n-gram of two twice, also across the end of the prompt."""
    output = noisy().generate("abcabc", max_tokens=120, seed=2, top_k=3, no_repeat_ngram_size=2)
    tokens = [*b"abc", *output.token_ids]
    assert len(set(itertools.pairwise(tokens))) == len(tokens) - 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("logit_bias", {VOCAB: 1}),
        ("allowed_token_ids", [VOCAB]),
        ("suppress_tokens", [VOCAB]),
        ("bad_words", [(VOCAB,)]),
    ],
)
def test_ids_outside_the_vocabulary(name: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        noisy().generate("a", SamplingParams(**{name: value}))
    assert caught.value.code == "token_out_of_range"
    assert caught.value.details["parameter"] == name


# Least lengths.


def test_min_tokens_bars_the_end_and_stops() -> None:
    """The model wants to end at once; a stop string within the first tokens is text like any other."""
    assert says(b"", min_tokens=3, max_tokens=5).usage.completion_tokens == 4
    output = says(b"a.b.c.d", stop=["."], min_tokens=4, max_tokens=20)
    assert (output.text, output.stop_reason) == ("a.b.c", ".")
    assert says(b"a.b.c.d", stop=["."], max_tokens=20).text == "a"


def test_ban_eos() -> None:
    assert says(b"ab", ban_eos=True, max_tokens=6).finish_detail == "max_tokens"
    assert says(b"ab", ignore_eos=True, max_tokens=6).token_ids == (97, 98, EOS, EOS, EOS, EOS)


# Grammars.


def test_grammar_ends_the_text_when_it_is_complete() -> None:
    pytest.importorskip("llguidance")
    output = noisy().generate("a", regex="[0-9]{3}", seed=4, max_tokens=20)
    assert output.text.isdigit()
    assert len(output.text) == 3
    assert (output.finish_reason, output.finish_detail) == ("stop", "grammar")


def test_json_from_a_noisy_model() -> None:
    pytest.importorskip("llguidance")
    schema = {
        "type": "object",
        "properties": {"id": {"type": "integer", "minimum": 0, "maximum": 99}, "on": {"type": "boolean"}},
        "required": ["id", "on"],
        "additionalProperties": False,
        "x-guidance": {"whitespace_flexible": False},
    }
    outputs = noisy().generate("a", json_schema=schema, n=5, seed=1, max_tokens=60)
    for one in outputs.choices:
        value = json.loads(one.text)
        assert set(value) == {"id", "on"}
        assert 0 <= value["id"] <= 99
    with pytest.raises(InvalidParameterError, match="json_schema"):
        noisy().generate("a", json_schema={"type": "frog"})


@pytest.mark.demo
def test_real_model_follows_a_schema(demo_path: Any) -> None:
    pytest.importorskip("llguidance")
    generator = Generator.from_pretrained(demo_path)
    schema = {"type": "object", "properties": {"color": {"enum": ["red", "green"]}}, "required": ["color"]}
    output = generator.generate("A color in JSON:", json_schema=schema, seed=1, max_tokens=40, temperature=0.5)
    assert json.loads(output.text)["color"] in {"red", "green"}
