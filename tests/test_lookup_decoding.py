"""Prompt look-up decoding: several tokens in one pass of the model, and nothing else changes."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from fakes import FakeTokenizer
from numpy.typing import NDArray
from scripted import Rewinding, scripted_by_prompt

from fastgen import Generator
from fastgen.output import GenerationOutput

TOKENIZER = FakeTokenizer()
EOS = TOKENIZER.eos_ids[0]
VOCAB = TOKENIZER.vocab_size
TEXT = b"The quick brown fox jumps over the lazy dog. "


def copying(tokens: list[int]) -> NDArray[np.float32]:
    """Repeat the text before the last '|', with a slip now and then, and end."""
    start = tokens.index(ord("|"))
    said = len(tokens) - start - 1
    row = np.zeros(VOCAB, np.float32)
    row[tokens[said] if said < start else EOS] = 8.0
    if said % 11 == 5:
        row[ord("?")] = 9.0
    return row


def noisy(tokens: list[int]) -> NDArray[np.float32]:
    """Return logits that depend on the last three tokens: a text in which loops are likely, but not certain."""
    rng = np.random.default_rng(zlib.crc32(bytes(token & 255 for token in tokens[-3:])))
    row = rng.normal(size=VOCAB).astype(np.float32)
    row[rng.integers(97, 123, 2)] += 6.0
    row[EOS] = -20.0
    return row


def generated(model: Any, prompts: list[list[int]], **params: Any) -> list[GenerationOutput]:
    found: list[GenerationOutput] = Generator(model, TOKENIZER).generate(prompts, **params)
    return found


def same(one: list[GenerationOutput], other: list[GenerationOutput]) -> None:
    for a, b in zip(one, other, strict=True):
        assert (a.token_ids, a.text, a.finish_detail, a.stop_reason) == (
            b.token_ids,
            b.text,
            b.finish_detail,
            b.stop_reason,
        )
        assert (a.text_offsets, a.visible_tokens, a.logprobs) == (b.text_offsets, b.visible_tokens, b.logprobs)


PROMPTS = [list(TEXT + b"|"), list(TEXT[:20] * 3 + b"|"), list(b"abc|")]


@pytest.mark.parametrize("guesses", [1, 3, 10, 100])
@pytest.mark.parametrize("ngram", [1, 2, 5])
def test_greedy_output_is_the_same_and_takes_fewer_passes(guesses, ngram):
    plain, quick = Rewinding(copying, VOCAB), Rewinding(copying, VOCAB)
    before = generated(plain, PROMPTS, temperature=0, logprobs=2)
    after = generated(
        quick, PROMPTS, temperature=0, logprobs=2, prompt_lookup_num_tokens=guesses, max_matching_ngram_size=ngram
    )
    same(before, after)
    assert before[0].text.startswith("The q?ick brown")
    assert len(quick.batches) < len(plain.batches) * (0.9 if guesses == 1 else 0.7)


@pytest.mark.parametrize("model", [copying, noisy])
def test_sampled_output_is_the_same_for_a_seed(model):
    params: dict[str, Any] = {
        "temperature": 0.9,
        "top_p": 0.95,
        "seed": 5,
        "max_tokens": 300,
        "frequency_penalty": 0.01,
    }
    before = generated(Rewinding(model, VOCAB), PROMPTS, **params)
    quick = Rewinding(model, VOCAB)
    same(before, generated(quick, PROMPTS, prompt_lookup_num_tokens=6, **params))
    assert any(batch.rows for batch in quick.batches)


@pytest.mark.parametrize(
    "ending",
    [
        {"stop": ["fox j", "zzz"]},
        {"stop": ["k brown"], "include_stop_str_in_output": True},
        {"stop_token_ids": [ord("x")]},
        {"stop_token_sequences": [list(b"own"), list(b"n f")]},
        {"max_tokens": 1},
        {"max_tokens": 7},
        {"repetition_detection": {"max_pattern_size": 30, "min_count": 2}},
    ],
)
def test_every_end_is_at_the_same_token(ending):
    prompt = list(b"The brown fox. The brown fox. The brown fox. |")
    before = generated(Rewinding(copying, VOCAB), [prompt], temperature=0, **ending)
    quick = Rewinding(copying, VOCAB)
    same(before, generated(quick, [prompt], temperature=0, prompt_lookup_num_tokens=8, **ending))
    assert any(batch.rows for batch in quick.batches) or ending == {"max_tokens": 1}


def test_the_context_is_not_passed():
    prompt = list(b"abcabcabc")
    cycle = list(b"abc")

    def model(tokens: list[int]) -> NDArray[np.float32]:
        row = np.zeros(VOCAB, np.float32)
        row[cycle[len(tokens) % 3]] = 1.0
        return row

    quick = Rewinding(model, VOCAB, max_positions=25)
    output = generated(quick, [prompt], temperature=0, prompt_lookup_num_tokens=10)[0]
    assert (output.text, output.finish_detail) == ("abcabcabcabcabca", "context")


def test_streams_are_cut_alike():
    model = Rewinding(copying, VOCAB)
    gen = Generator(model, TOKENIZER)
    pieces = list(gen.stream(PROMPTS[0], temperature=0, prompt_lookup_num_tokens=10))
    assert "".join(piece.text for piece in pieces) == pieces[-1].output.text
    assert all(len(piece.text) == 1 for piece in pieces[:-1])


def test_a_model_that_can_not_go_back_is_given_no_guesses():
    echo = scripted_by_prompt(lambda prompt: [*prompt, EOS], VOCAB)
    prompt = list(b"abcabcabcabc")
    before = generated(echo, [prompt], temperature=0)
    same(before, generated(echo, [prompt], temperature=0, prompt_lookup_num_tokens=10))
    assert before[0].text == "abcabcabcabc"


def test_guesses_become_rare_where_they_fail():
    """A text of four letters by chance: its last letter has always been there before, its last six hardly ever."""
    letters = np.random.default_rng(3).integers(97, 101, 400)

    def model(tokens: list[int]) -> NDArray[np.float32]:
        row = np.zeros(VOCAB, np.float32)
        row[letters[len(tokens)]] = 1.0
        return row

    quick = Rewinding(model, VOCAB)
    generated(quick, [[97]], temperature=0, prompt_lookup_num_tokens=10, max_tokens=300)
    assert 300 < sum(sum(batch.rows or (1,)) for batch in quick.batches) < 3 * 300
    always = Rewinding(model, VOCAB)
    generated(always, [[97]], temperature=0, prompt_lookup_num_tokens=10, max_tokens=300, max_matching_ngram_size=1)
    assert sum(sum(batch.rows or (1,)) for batch in always.batches) > 5 * 300
