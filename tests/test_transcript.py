"""Tokens to text with every way to end, against a definition that looks at the whole text again after each token."""

from __future__ import annotations

import codecs
import queue
import random
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from fakes import FakeTokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgen.errors import FastgenError, InvalidParameterError, StreamClosedError
from fastgen.params import SamplingParams
from fastgen.transcript import Transcript

WORDS = ["ab", "abc", "é", "한국", "🙂", "👩‍👩", " the", "aa"]
TOKENIZER = FakeTokenizer(words=[word.encode() for word in WORDS])
EOS = TOKENIZER.eos_ids[0]
IM_END = TOKENIZER.token_id("<|im_end|>")
WORD = {word: 256 + place for place, word in enumerate(WORDS)}


def transcript(tokenizer: FakeTokenizer = TOKENIZER, **params: Any) -> Transcript:
    return Transcript(tokenizer, SamplingParams(**params))  # type: ignore[arg-type]


def said(tokens: Sequence[int], **params: Any) -> tuple[Transcript, list[str]]:
    one = transcript(**params)
    pieces = []
    for token in tokens:
        pieces.append(one.push(token))
        if one.finish_detail:
            break
    return one, pieces


# The definition.


class Ending(NamedTuple):
    text: str
    detail: str | None
    reason: Any
    tokens: int


def first_stop(text: str, stops: Sequence[str]) -> tuple[int, str] | None:
    """Return the end of the stop that completes first, and of those the longest."""
    for end in range(1, len(text) + 1):
        if found := [stop for stop in stops if text[:end].endswith(stop)]:
            return end, max(found, key=lambda stop: len(stop.encode()))
    return None


def defined(tokens: Sequence[int], params: SamplingParams, closed: bool) -> Ending:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    plain, searched = "", ""  # what min_tokens keeps from being searched, and the rest

    def cut(tokens_taken: int) -> Ending | None:
        if found := first_stop(searched, params.stop):
            end, stop = found
            kept = searched[:end] if params.include_stop_str_in_output else searched[: end - len(stop)]
            return Ending(plain + kept, "stop_string", stop, tokens_taken)
        return None

    def finish(detail: str, reason: Any, count: int) -> Ending:
        nonlocal plain, searched
        tail = decoder.decode(b"", final=True)
        if count <= params.min_tokens:
            plain += tail
        else:
            searched += tail
            if found := cut(count):
                return found
        return Ending(plain + searched, detail, reason, count)

    texts_before: list[str] = []
    for place, token in enumerate(tokens):
        count = place + 1
        pending = bool(decoder.getstate()[0])
        texts_before.append(plain + searched + "\N{REPLACEMENT CHARACTER}" * pending)
        is_eos = token in TOKENIZER.eos_ids and not params.ignore_eos
        if is_eos or token in params.stop_token_ids:
            return finish("eos", None, count) if is_eos else finish("stop_token", token, count)
        data = b"" if params.skip_special_tokens and token in TOKENIZER.special_ids else TOKENIZER.token_bytes(token)
        text = decoder.decode(data)
        if count > params.min_tokens:
            recent = tuple(tokens[params.min_tokens : count])
            ended = [one for one in params.stop_token_sequences if recent[-len(one) :] == one]
            if ended:
                sequence = max(ended, key=len)
                if params.include_stop_str_in_output:
                    shown = plain + searched + text + decoder.decode(b"", final=True)
                else:
                    shown = texts_before[count - len(sequence)]
                return Ending(shown, "stop_token", sequence, count)
            searched += text
            if found := cut(count):
                return found
        else:
            plain += text
        if (loop := params.repetition_detection) is not None and count > params.min_tokens:
            for size in range(loop.min_pattern_size, loop.max_pattern_size + 1):
                whole = size * loop.min_count
                if (
                    count >= whole
                    and list(tokens[count - whole : count]) == list(tokens[count - size : count]) * loop.min_count
                ):
                    return finish("repetition", None, count)
    if closed:
        return finish("max_tokens", None, len(tokens))
    return Ending(plain + searched, None, None, len(tokens))


def check(tokens: list[int], params: SamplingParams, rng: random.Random) -> None:
    expected = defined(tokens, params, closed=True)
    one = Transcript(TOKENIZER, params)  # type: ignore[arg-type]
    pieces: list[str] = []
    for token in tokens:
        if one.finish_detail is None:
            pieces.append(one.push(token))
    assert one.token_count == expected.tokens
    if one.finish_detail is None:
        assert defined(tokens, params, closed=False).detail is None
        pieces.append(one.close("max_tokens"))
    assert (one.text, one.finish_detail, one.stop_reason) == expected[:3]
    assert "".join(pieces) == one.text
    check_places(one, tokens[: expected.tokens])
    # in one call, or in several
    many = Transcript(TOKENIZER, params)  # type: ignore[arg-type]
    joined, place = "", 0
    while place < len(tokens) and many.finish_detail is None:
        size = rng.randint(1, 5)
        joined += many.push_many(tokens[place : place + size])
        place += size
    assert many.token_count == expected.tokens
    if many.finish_detail is None:
        joined += many.close("max_tokens")
    assert (joined, many.text, many.finish_detail, many.stop_reason) == (
        one.text,
        one.text,
        one.finish_detail,
        one.stop_reason,
    )
    assert (many.text_offsets, many.visible_tokens) == (one.text_offsets, one.visible_tokens)


def check_places(one: Transcript, tokens: Sequence[int]) -> None:
    """Each token's text begins where that of the tokens before it ends, and the visible ones make the text."""
    offsets, text = one.text_offsets, one.text
    assert len(offsets) == len(tokens) == one.token_count
    assert list(offsets) == sorted(offsets)
    assert all(0 <= offset <= len(text) for offset in offsets)
    visible = one.visible_tokens
    assert all(offset < len(text) for offset in offsets[:visible][-1:])
    shown = [token for token in tokens[:visible] if token not in TOKENIZER.special_ids]
    whole = b"".join(map(TOKENIZER.token_bytes, shown)).decode(errors="replace")
    assert whole.startswith(text.removesuffix("\N{REPLACEMENT CHARACTER}"))


ALPHABET = [ord("a"), ord("b"), 0xF0, 0x9F, 0x99, 0x82, WORD["ab"], WORD["abc"], WORD["é"], WORD["한국"], WORD["aa"]]
TOKENS = st.lists(st.sampled_from([*ALPHABET, IM_END]), max_size=24)
STRINGS = ["a", "ab", "bab", "abca", "é", "한", "국a", "🙂", "\ufffd", "aaa", "b\ufffd"]
STOPS = st.lists(st.sampled_from(STRINGS), max_size=3)
SEQUENCES = st.lists(st.lists(st.sampled_from(ALPHABET[:8]), min_size=1, max_size=3), max_size=2)


@given(
    TOKENS,
    STOPS,
    SEQUENCES,
    st.lists(st.sampled_from([ord("b"), WORD["é"]]), max_size=1),
    st.integers(0, 5),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, (2, 1, 3), (3, 2, 2)]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=1500, deadline=None)
def test_the_definition(tokens, stops, sequences, stop_ids, min_tokens, include, has_eos, loops, rng):
    params = SamplingParams(
        stop=stops,
        stop_token_sequences=sequences,
        stop_token_ids=stop_ids,
        min_tokens=min_tokens,
        include_stop_str_in_output=include,
        repetition_detection=loops,
    )
    check([*tokens, EOS] if has_eos else tokens, params, rng)


# Literals. The numbers are those of the list of tricky cases that the tests of stops and detokenizers follow.


def test_24_a_stop_within_a_token_cuts_text_and_tokens_at_one_place():
    one, pieces = said([WORD["abc"], ord("d"), ord("e")], stop="cd")
    assert (pieces, one.text, one.stop_reason) == (["ab", ""], "ab", "cd")
    assert (one.token_count, one.visible_tokens, one.text_offsets) == (2, 1, (0, 2))
    kept, pieces = said([WORD["abc"], ord("d"), ord("e")], stop="cd", include_stop_str_in_output=True)
    assert (pieces, kept.visible_tokens, kept.text_offsets) == (["ab", "cd"], 2, (0, 3))


def test_25_refuted_text_leaves_once():
    _, pieces = said([*b"a </b"], stop="</s>")
    assert pieces == ["a", " ", "", "", "</b"]


def test_28_held_text_comes_out_at_every_end():
    for detail in ("max_tokens", "cancelled", "logits_nonfinite"):
        one, pieces = said([*b"UNO TRE"], stop="TREX")
        assert (one.close(detail), one.text, one.finish_detail) == ("TRE", "UNO TRE", detail)
        assert "".join(pieces) == "UNO "


def test_29_characters_of_single_bytes_and_clusters():
    _, pieces = said([*"🙂".encode(), *b"a"])
    assert pieces == ["", "", "", "🙂", "a"]
    family = "👩\u200d👩\u200d👦"
    one, pieces = said([*family.encode(), *b"a"], hold="grapheme")
    assert [piece for piece in pieces if piece] == [family]
    assert (one.text, one.close("max_tokens"), one.text) == (family, "a", family + "a")


def test_35_a_stop_within_the_first_tokens_is_text():
    one, _ = said([*b"a.b.c"], stop=".", min_tokens=3)
    assert (one.text, one.token_count) == ("a.b", 4)
    one, _ = said([*b"aaaaaa"], repetition_detection=(1, 1, 2), min_tokens=4)
    assert (one.text, one.finish_detail) == ("aaaaa", "repetition")


def test_37_a_special_token_has_text_only_if_it_is_shown():
    one, _ = said([ord("a"), IM_END, ord("b")], stop="<|im_end|>", skip_special_tokens=False)
    assert (one.text, one.finish_detail) == ("a", "stop_string")
    one, _ = said([ord("a"), IM_END, ord("b")], stop="<|im_end|>")
    assert (one.text, one.finish_detail) == ("ab", None)


def test_38_a_stop_that_is_tokenized_in_another_way():
    one, _ = said([WORD["ab"], ord("c"), ord("!")], stop=["abc"])
    assert (one.text, one.stop_reason) == ("", "abc")


def test_a_stop_sequence_holds_the_text_of_its_beginning():
    one, pieces = said([*b"xabay", *b"abc", *b"z"], stop_token_sequences=[[97, 98, 99], [98, 99, 100]])
    assert pieces == ["x", "", "", "ab", "ay", "", "", ""]
    assert (one.text, one.finish_detail, one.stop_reason) == ("xabay", "stop_token", (97, 98, 99))
    assert (one.token_count, one.visible_tokens) == (8, 5)
    kept, _ = said([*b"xabc"], stop_token_sequences=[[97, 98, 99]], include_stop_str_in_output=True)
    assert (kept.text, kept.visible_tokens) == ("xabc", 4)


def test_a_stop_sequence_ends_within_a_character():
    one, pieces = said([ord("a"), 0xF0, 0x9F, 0x99, 0x82], stop_token_sequences=[[0x9F, 0x99]])
    assert (pieces, one.text) == (["a", "", "", "\N{REPLACEMENT CHARACTER}"], "a\N{REPLACEMENT CHARACTER}")
    assert one.visible_tokens == 2


def test_a_stop_sequence_keeps_a_held_cluster():
    one, _ = said([WORD["👩‍👩"], *b"ab"], stop_token_sequences=[[97, 98]], hold="grapheme")
    assert (one.text, one.visible_tokens) == ("👩‍👩", 1)


def test_large_ids_in_stop_sequences():
    huge = FakeTokenizer(words=[bytes([97 + place % 26]) for place in range(70_000)])
    one = transcript(huge, stop_token_sequences=[[256 + 32768, 256 + 69_999], [255, 256 + 65536]])
    ids = [256 + 32768, 256 + 69_998, 256 + 32768, 256 + 69_999]
    assert one.push_many(np.array(ids, np.int32)) == "ig"
    assert (one.finish_detail, one.stop_reason) == ("stop_token", (256 + 32768, 256 + 69_999))
    params = SamplingParams(stop_token_sequences=[[2**31 - 1, 0]])
    assert Transcript(TOKENIZER, params).push(0) == "\0"  # type: ignore[arg-type]


def test_precedence_at_one_token():
    x = ord("x")
    everything: dict[str, Any] = {"stop_token_sequences": [[x, x]], "stop": "xx", "repetition_detection": (1, 1, 2)}
    assert said([x, x], **everything)[0].stop_reason == (x, x)
    assert said([x, x], **{**everything, "stop_token_sequences": []})[0].stop_reason == "xx"
    assert said([x, x], repetition_detection=(1, 1, 2))[0].finish_detail == "repetition"
    assert said([x], stop="x", stop_token_ids=[x])[0].finish_detail == "stop_token"
    assert said([EOS], stop_token_ids=[EOS])[0].finish_detail == "eos"
    one = said([EOS], stop_token_ids=[EOS], ignore_eos=True)[0]
    assert (one.finish_detail, one.stop_reason) == ("stop_token", EOS)


def test_many_stop_tokens():
    ids = list(range(0, 256, 2))
    for token in range(256):
        one, _ = said([token], stop_token_ids=ids[::-1])
        assert (one.finish_detail == "stop_token") is (token % 2 == 0)


@pytest.mark.parametrize("token", [-1, 1 << 20, 1 << 40, -(1 << 70), "a", None, 1.5])
def test_what_is_no_token_changes_nothing(token):
    one, _ = said([0xF0, 0x9F], stop="🙂a")
    with pytest.raises(InvalidParameterError):
        one.push(token)
    assert one.token_count == 2
    assert [one.push(0x99), one.push(0x82), one.push(ord("b"))] == ["", "", "🙂b"]


def test_push_many_takes_what_comes_before_a_bad_token():
    one = transcript()
    with pytest.raises(InvalidParameterError) as caught:
        one.push_many([97, 98, 10_000, 99])
    assert (caught.value.code, caught.value.details["token"]) == ("token_out_of_range", 10_000)
    assert (one.token_count, one.text) == (2, "ab")


def test_after_the_end_nothing_is_taken():
    one, _ = said([EOS])
    for call in (lambda: one.push(97), lambda: one.push_many([97]), lambda: one.close("cancelled")):
        with pytest.raises(StreamClosedError):
            call()
    assert (one.text, one.finish_detail, one.token_count) == ("", "eos", 1)


def test_a_long_text_grows():
    one = transcript(stop="zzz", stop_token_sequences=[[1, 2, 3]])
    for _ in range(50):
        one.push_many([WORD["한국"], ord("a")] * 100)
    assert one.text == "한국a" * 5000
    assert one.text_offsets == tuple(place // 2 * 3 + place % 2 * 2 for place in range(10_000))
    assert one.visible_tokens == 10_000


def test_a_transcript_serves_one_thread_at_a_time():
    one = transcript()
    ids = np.full(3_000_000, ord("a"), np.int32)
    seen: list[str] = []
    started = threading.Event()

    def look() -> None:
        started.set()
        while one_done.empty():
            try:
                seen.append(one.text[-1:])
                one.push(ord("a"))
            except FastgenError as error:
                seen.append(error.code)

    one_done: queue.SimpleQueue[int] = queue.SimpleQueue()
    thread = threading.Thread(target=look)
    thread.start()
    started.wait()
    codes = set()
    for _ in range(5):
        try:
            one.push_many(ids)
        except FastgenError as error:
            codes.add(error.code)
    one_done.put(1)
    thread.join()
    assert codes <= {"concurrent_use"}
    assert set(seen) <= {"", "a", "concurrent_use"}
