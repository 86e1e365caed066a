"""One sequence: how tokens become pieces, and each way to end."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeTokenizer

from fastgen.lane import Lane
from fastgen.output import Piece
from fastgen.params import SamplingParams

TOKENIZER = FakeTokenizer()
EOS = TOKENIZER.eos_ids[0]
IM_END = TOKENIZER.token_id("<|im_end|>")


def lane(limit: int = 100, **params: object) -> Lane:
    return Lane([1], SamplingParams(temperature=0, **params), TOKENIZER, limit)  # type: ignore[arg-type]


def feed(one: Lane, tokens: bytes | list[int]) -> list[Piece]:
    """Step the lane with rows whose largest logit is each token in turn, until it ends."""
    pieces = []
    for token in tokens:
        if one.finished:
            break
        logits = np.zeros(TOKENIZER.vocab_size, np.float32)
        logits[token] = 1
        piece = one.step(logits)
        if piece is not None:
            pieces.append(piece)
    return pieces


def test_each_character_leaves_when_it_is_whole():
    pieces = feed(lane(), "aé🙂".encode())
    assert [piece.text for piece in pieces] == ["a", "é", "🙂"]
    assert [len(piece.token_ids) for piece in pieces] == [1, 2, 4]
    assert not any(piece.finish_reason for piece in pieces)


def test_eos_ends_without_text_and_is_counted():
    one = lane()
    last = feed(one, [*b"Hi", EOS])[-1]
    assert (last.text, last.finish_reason, last.finish_detail, last.stop_reason) == ("", "stop", "eos", None)
    assert last.output.text == "Hi"
    assert last.output.token_ids == (*b"Hi", EOS)
    usage = last.output.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (1, 3, 4)


def test_ignore_eos_goes_on_and_leaves_stop_token_ids_alone():
    last = feed(lane(ignore_eos=True, stop_token_ids=[ord("x")]), [*b"a", EOS, *b"bx"])[-1]
    assert last.output.text == "ab"
    assert (last.finish_detail, last.stop_reason) == ("stop_token", ord("x"))


def test_special_tokens_are_shown_on_request():
    assert feed(lane(skip_special_tokens=False), [IM_END])[0].text == "<|im_end|>"
    assert feed(lane(), [IM_END, *b"a"])[0].text == "a"


def test_stop_string_is_cut_and_named():
    pieces = feed(lane(stop=["DE"]), b"ABCDEF")
    assert "".join(piece.text for piece in pieces) == "ABC"
    assert (pieces[-1].finish_detail, pieces[-1].stop_reason) == ("stop_string", "DE")
    assert pieces[-1].output.token_ids == tuple(b"ABCDE")


def test_stop_string_is_kept_on_request():
    assert feed(lane(stop="DE", include_stop_str_in_output=True), b"ABCDEF")[-1].output.text == "ABCDE"


def test_refuted_beginning_of_a_stop_leaves_once_and_in_order():
    pieces = feed(lane(stop=["</s>"]), b"a </b> c")
    assert "".join(piece.text for piece in pieces) == "a </b> c"
    assert [piece.text for piece in pieces[:4]] == ["a", " ", "</b", ">"]


@pytest.mark.parametrize(("end", "detail"), [([EOS], "eos"), ([ord("!")], "stop_token")])
def test_held_text_comes_out_at_the_end(end, detail):
    last = feed(lane(stop=["TREX"], stop_token_ids=[ord("!")]), [*b"UNO TRE", *end])[-1]
    assert (last.text, last.output.text, last.finish_detail) == ("TRE", "UNO TRE", detail)


def test_held_text_comes_out_at_the_limit():
    last = feed(lane(limit=7, max_tokens=7, stop=["TREX"]), b"UNO TREX")[-1]
    assert (last.output.text, last.finish_reason, last.finish_detail) == ("UNO TRE", "length", "max_tokens")


def test_limit_of_the_context_is_told_apart_from_max_tokens():
    assert feed(lane(limit=2, max_tokens=5), b"abc")[-1].finish_detail == "context"
    assert feed(lane(limit=2), b"abc")[-1].finish_detail == "context"


def test_unfinished_character_becomes_a_replacement_at_the_end():
    last = feed(lane(), [*"a🙂".encode()[:-1], EOS])[-1]
    assert last.output.text == "a\N{REPLACEMENT CHARACTER}"


def test_replacement_character_at_the_end_can_complete_a_stop():
    last = feed(lane(stop=["a\N{REPLACEMENT CHARACTER}"]), [*b"xa", 0xF0, EOS])[-1]
    assert (last.output.text, last.finish_detail) == ("x", "stop_string")


def test_eos_at_the_last_allowed_token_is_a_stop():
    assert feed(lane(limit=3, max_tokens=3), [*b"ab", EOS])[-1].finish_detail == "eos"


def test_stop_string_at_the_last_allowed_token_is_a_stop():
    assert feed(lane(limit=3, max_tokens=3, stop="c"), b"abc")[-1].finish_detail == "stop_string"


def test_bad_row_ends_the_sequence_with_its_error_and_keeps_the_text():
    one = Lane([1], SamplingParams(temperature=0, stop="zz"), TOKENIZER, 100, index=7)
    feed(one, b"az")
    row = np.zeros(TOKENIZER.vocab_size, np.float32)
    row[[5, 9]] = np.nan, np.inf
    last = one.step(row)
    assert (last.text, last.finish_reason, last.finish_detail) == ("z", "error", "logits_nonfinite")
    assert last.output.text == "az"
    assert last.output.error.details == {"row": 7, "step": 2, "index": 5, "counts": {"nan": 1, "inf": 1}}


def test_cancel_ends_with_what_was_held():
    one = lane(stop="bcd")
    feed(one, b"abc")
    last = one.cancel()
    assert (last.text, last.finish_reason, last.finish_detail) == ("bc", "abort", "cancelled")


def test_timings_add_up():
    one = lane()
    one.admit()
    timings = feed(one, [*b"abc", EOS])[-1].output.timings
    assert 0 <= timings.queue <= timings.ttft <= timings.total
    assert timings.ttft == pytest.approx(timings.queue + timings.prefill)
    assert timings.total == pytest.approx(timings.ttft + timings.decode)
    assert timings.tokens_per_second == pytest.approx(3 / timings.decode)


def test_tokens_of_pieces_add_up_to_those_of_the_output():
    pieces = feed(lane(stop=["xyz"]), [*"aé xy🙂".encode(), EOS])
    assert sum((piece.token_ids for piece in pieces), ()) == pieces[-1].output.token_ids
    assert "".join(piece.text for piece in pieces) == pieces[-1].output.text
