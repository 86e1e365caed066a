"""The loop: chunks, slots, neighbors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes import FakeTokenizer
from scripted import scripted, scripted_by_prompt

from fastgen.engine import EngineConfig, run
from fastgen.errors import ConfigError, LogitsError
from fastgen.lane import Lane
from fastgen.models.contract import Batch
from fastgen.output import GenerationOutput
from fastgen.params import SamplingParams

TOKENIZER = FakeTokenizer()
EOS = TOKENIZER.eos_ids[0]
VOCAB = TOKENIZER.vocab_size


class Recorder:
    """A model around another one that keeps the batches it was given."""

    def __init__(self, model: Any) -> None:
        self.inner = model
        self.name, self.vocab_size, self.max_positions = "recorder", model.vocab_size, model.max_positions
        self.batches: list[Batch] = []

    def new_cache(self, slots: int) -> Any:
        return self.inner.new_cache(slots)

    def forward(self, batch: Batch, cache: Any) -> Any:
        self.batches.append(batch)
        return self.inner.forward(batch, cache)


def lanes(prompts: list[list[int]], **params: Any) -> list[Lane]:
    chosen = SamplingParams(temperature=0, **params)
    return [Lane(prompt, chosen, TOKENIZER, 50, index) for index, prompt in enumerate(prompts)]


def outputs(model: Any, given: list[Lane], **config: int) -> list[GenerationOutput]:
    found = [piece.output for piece in run(model, given, VOCAB, EngineConfig(**config)) if piece.output]
    return sorted(found, key=lambda output: output.index)


def echo(prompt: list[int]) -> list[int]:
    """Answer with the prompt backwards; prompts of different lengths so end at different steps."""
    return [*reversed(prompt), EOS]


PROMPTS = [list(text) for text in (b"a", b"defgh", b"bc", b"ijk", b"lmnopqrstu", b"v")]


@pytest.mark.parametrize("max_batch", [1, 2, 3, 100])
@pytest.mark.parametrize("prefill_chunk", [1, 3, 512])
def test_neighbors_slots_and_chunks_change_nothing(max_batch, prefill_chunk):
    model = Recorder(scripted_by_prompt(lambda seen: echo(seen), VOCAB))
    # the model answers by the first chunk that it sees, so chunked prompts are compared on their chunk
    got = outputs(model, lanes(PROMPTS), max_batch=max_batch, prefill_chunk=prefill_chunk)
    assert len(got) == len(PROMPTS)
    for batch in model.batches:
        assert len(batch.slots) <= max_batch
        assert len(set(batch.slots)) == len(batch.slots)
        assert len(batch.token_ids) == sum(batch.counts)
        assert len(batch.token_ids) <= max(prefill_chunk, max_batch)
    if prefill_chunk == 512:
        assert [output.text for output in got] == [bytes(reversed(prompt)).decode() for prompt in PROMPTS]
        assert {output.finish_detail for output in got} == {"eos"}


def test_long_prompts_are_read_in_chunks_and_every_token_once():
    model = Recorder(scripted([ord("x"), EOS], VOCAB))
    prompt = list(range(100))
    outputs(model, lanes([prompt]), prefill_chunk=32)
    reading = [batch for batch in model.batches if batch.starts[0] < 100]
    assert [batch.counts for batch in reading] == [(32,), (32,), (32,), (4,)]
    assert [batch.starts for batch in reading] == [(0,), (32,), (64,), (96,)]
    assert [token for batch in reading for token in batch.token_ids] == prompt


def test_live_sequences_stay_dense():
    model = Recorder(scripted_by_prompt(echo, VOCAB))
    outputs(model, lanes(PROMPTS), max_batch=4)
    decoding = [batch for batch in model.batches if set(batch.counts) == {1} and min(batch.starts) > 0]
    assert decoding
    assert all(batch.slots == tuple(range(len(batch.slots))) for batch in decoding)


def test_positions_follow_the_tokens():
    model = Recorder(scripted([ord("x")] * 5 + [EOS], VOCAB))
    outputs(model, lanes([[1, 2, 3]]))
    assert [(batch.starts, tuple(batch.token_ids)) for batch in model.batches[:3]] == [
        ((0,), (1, 2, 3)),
        ((3,), (ord("x"),)),
        ((4,), (ord("x"),)),
    ]


def test_bad_row_ends_its_sequence_only():
    good = scripted_by_prompt(echo, VOCAB)

    class Faulty(Recorder):
        def forward(self, batch: Batch, cache: Any) -> Any:
            logits = np.array(self.inner.forward(batch, cache))
            for row, token in enumerate(batch.token_ids if set(batch.counts) == {1} else ()):
                if token == ord("g"):
                    logits[row, 3] = np.nan
            return logits

    got = outputs(Faulty(good), lanes(PROMPTS))
    assert [output.finish_reason for output in got] == ["stop", "error", "stop", "stop", "stop", "stop"]
    assert got[1].error.code == "logits_nonfinite"
    assert got[1].error.details == {"row": 1, "step": 2, "index": 3, "counts": {"nan": 1, "inf": 0}}
    assert got[1].text == "hg"
    others = [0, 2, 3, 4, 5]
    assert [got[i].text for i in others] == [bytes(reversed(PROMPTS[i])).decode() for i in others]


def test_logits_beyond_the_vocabulary_are_never_chosen():
    model = scripted([VOCAB + 5], VOCAB + 10)
    (output,) = outputs(model, lanes([[1]], max_tokens=3))
    assert set(output.token_ids) == {0}  # all other logits are equal: the lowest id


def test_wrong_number_of_rows_is_refused():
    class Short(Recorder):
        def forward(self, batch: Batch, cache: Any) -> Any:
            return self.inner.forward(batch, cache)[:-1]

    with pytest.raises(LogitsError, match="wrong number of rows") as caught:
        outputs(Short(scripted([EOS], VOCAB)), lanes(PROMPTS))
    assert caught.value.code == "logits_invalid"


def test_error_of_the_model_reaches_the_caller():
    class Broken(Recorder):
        def forward(self, batch: Batch, cache: Any) -> Any:
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        outputs(Broken(scripted([EOS], VOCAB)), lanes(PROMPTS))


def test_interruption_gives_out_what_is_held_and_goes_on():
    class Interrupted(Recorder):
        def forward(self, batch: Batch, cache: Any) -> Any:
            if len(self.batches) == 4:
                raise KeyboardInterrupt
            return super().forward(batch, cache)

    model = Interrupted(scripted([*b"abcd"], VOCAB))
    pieces = run(model, lanes([[1], [2], [3]], stop="bcdX"), VOCAB, EngineConfig(max_batch=2))
    found = []
    with pytest.raises(KeyboardInterrupt):
        found.extend(iter(lambda: next(pieces), None))
    ended = {piece.index: piece.output for piece in found if piece.output}
    assert {index: output.text for index, output in ended.items()} == {0: "abcd", 1: "abcd", 2: ""}
    assert {output.finish_reason for output in ended.values()} == {"abort"}


def test_closing_the_iterator_ends_the_work():
    model = Recorder(scripted([ord("x")], VOCAB))
    pieces = run(model, lanes([[1]]), VOCAB, EngineConfig())
    next(pieces)
    pieces.close()
    assert len(model.batches) == 1


@pytest.mark.parametrize("settings", [{"max_batch": 0}, {"prefill_chunk": -1}, {"max_batch": True}, {"max_batch": 1.5}])
def test_bad_settings(settings):
    with pytest.raises(ConfigError) as caught:
        EngineConfig.of(settings)
    assert caught.value.details["setting"] == next(iter(settings))


def test_unknown_setting_names_the_known_ones():
    with pytest.raises(ConfigError, match="max_batch, prefill_chunk"):
        EngineConfig.of({"max_bach": 3})
    assert EngineConfig.of({"max_batch": 3}) == EngineConfig(max_batch=3)
    assert EngineConfig.of(None) == EngineConfig()
