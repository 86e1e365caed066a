"""Constrained decoding: masks against an enumeration of the language, the rules of the end, refusals, caches."""

from __future__ import annotations

import gc
import json
import random
import sys
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastgen.errors import InvalidParameterError, MissingDependencyError
from fastgen.grammar import Grammar, Matcher, vocabulary
from fastgen.tokenizer import load_tokenizer
from fastgen.tokenizer.table import ByteTable

pytest.importorskip("llguidance")

BYTES = [bytes([byte]) for byte in b'{}[]",: abcdefglnrstux0123456789-.\n\\'] + [b"\xc3", b"\xa9", b"\xf0\x9f", b"\xff"]
WORDS = [b'{"', b'":', b'"a"', b"true", b"tru", b"12", b"],[", b"\xc3\xa9", b"\x99\x82", b"a", b"", b"\xff\xfe", b'"}']
SPECIAL = [b"<eos>", b"<bos>", b"a", b"<eot>"]


class Small:
    """A tokenizer of few tokens, two of them with the same bytes, the last ones special."""

    def __init__(self, eos: Iterable[bytes] = (b"<eos>", b"<eot>"), padding: int = 0) -> None:
        self.tokens = [*BYTES, *WORDS, *[b"a"] * padding, *SPECIAL]
        self.vocab_size = len(self.tokens)
        self.bytes_table = ByteTable.of(self.tokens)
        first = self.vocab_size - len(SPECIAL)
        self.special_ids = frozenset(range(first, self.vocab_size))
        self.eos_ids = tuple(first + SPECIAL.index(token) for token in eos)

    def ids(self, data: bytes) -> list[int]:
        return [self.tokens.index(bytes([byte])) for byte in data]


def allowed(matcher: Matcher, size: int) -> set[int]:
    mask = np.full((size + 31) // 32, -1, np.int32)
    matcher.fill(mask)
    return {token for token in range(32 * len(mask)) if int(mask[token // 32]) >> token % 32 & 1}


def expected(tokenizer: Small, language: set[bytes], prefix: bytes) -> set[int]:
    """Return the tokens after which some text of the language is still ahead, and the ends if this is one."""
    longer = [text for text in language if text.startswith(prefix)]
    found = {
        token
        for token, piece in enumerate(tokenizer.tokens)
        if piece and token not in tokenizer.special_ids and any(text.startswith(prefix + piece) for text in longer)
    }
    return found | (set(tokenizer.eos_ids) if prefix in language else set())


def compare(grammar: Grammar, tokenizer: Small, language: set[bytes]) -> int:
    """Check the mask after every text that begins one of the language; return how many there are."""
    matcher = grammar.matcher(tokenizer.vocab_size)
    seen: set[bytes] = set()

    def walk(prefix: bytes) -> None:
        seen.add(prefix)
        want = expected(tokenizer, language, prefix)
        assert allowed(matcher, tokenizer.vocab_size) == want, prefix
        assert matcher.finished == (want == set(tokenizer.eos_ids)), prefix
        for token in want - set(tokenizer.eos_ids):
            if prefix + tokenizer.tokens[token] not in seen:
                matcher.accept(token)
                walk(prefix + tokenizer.tokens[token])
                matcher.rollback(1)
        for token in set(range(tokenizer.vocab_size)) - want:
            with pytest.raises(InvalidParameterError, match="forbids"):
                matcher.accept(token)
        assert allowed(matcher, tokenizer.vocab_size) == want, prefix

    walk(b"")
    return len(seen)


def texts(*values: Any) -> set[bytes]:
    return {json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() for value in values}


TIGHT = {"x-guidance": {"whitespace_flexible": False}}
OBJECT = {
    "type": "object",
    "properties": {
        "a": {"enum": ["tab", "tar", True]},
        "b": {"type": "integer", "minimum": 8, "maximum": 12},
        "c": {"type": "array", "maxItems": 2, "items": {"type": "array", "maxItems": 1, "items": {"const": 12}}},
    },
    "required": ["a", "b", "c"],
    "additionalProperties": False,
}
ARRAYS: list[Any] = [[], [[]], [[12]], [[], []], [[12], []], [[], [12]], [[12], [12]]]


@pytest.mark.parametrize("padding", [0, 3, 5, 32])  # the vocabulary ends within a word, or at its end
def test_json_schema(padding: int) -> None:
    tokenizer = Small(padding=padding)
    language = texts(
        *({"a": a, "b": b, "c": c} for a in ("tab", "tar", True) for b in range(8, 13) for c in ARRAYS),
    )
    assert compare(Grammar.json_schema(OBJECT | TIGHT, tokenizer), tokenizer, language) > 100


@pytest.mark.parametrize(
    ("pattern", "language"),
    [
        ("true|tru", {"true", "tru"}),
        ("(a|12){1,2}", {"a", "12", "aa", "a12", "12a", "1212"}),
        ("[ad]é?", {"a", "d", "aé", "dé"}),
        ("🙂{0,2}", {"", "🙂", "🙂🙂"}),
        ("", {""}),
        ("[0-9]", set("0123456789")),
        ('"a"|(?i:TR)u', {'"a"', "tru"}),
        (r"[\n\\]a", {"\na", "\\a"}),
    ],
)
def test_regex(pattern: str, language: set[str]) -> None:
    tokenizer = Small()
    compare(Grammar.regex(pattern, tokenizer), tokenizer, {text.encode() for text in language})


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ('start: A ("," A)?\nA: "12" | "é"', {"12", "é", "12,12", "12,é", "é,12", "é,é"}),
        ('start: "true" // a comment at the end', {"true"}),
        ('%llguidance {"no_forcing": false}\nstart: "true"', {"true"}),
        ('start: %json {"const": 12}', {"12"}),
    ],
)
def test_lark(text: str, language: set[str]) -> None:
    tokenizer = Small()
    compare(Grammar.lark(text, tokenizer), tokenizer, {text.encode() for text in language})


def test_recursion() -> None:
    tokenizer = Small()
    matcher = Grammar.lark('start: "a" | "[" start "]"', tokenizer).matcher(tokenizer.vocab_size)
    for _ in range(50):
        matcher.accept(tokenizer.ids(b"[")[0])
        assert not matcher.finished
    matcher.accept(tokenizer.tokens.index(b"a"))
    for _ in range(50):
        assert allowed(matcher, tokenizer.vocab_size) == set(tokenizer.ids(b"]"))
        matcher.accept(tokenizer.ids(b"]")[0])
    assert matcher.finished


def test_a_character_in_parts() -> None:
    tokenizer = Small()
    matcher = Grammar.regex("[à-ÿ]", tokenizer).matcher(tokenizer.vocab_size)
    first, whole = tokenizer.tokens.index(b"\xc3"), tokenizer.tokens.index(b"\xc3\xa9")
    assert allowed(matcher, tokenizer.vocab_size) == {first, whole}
    matcher.accept(first)
    assert allowed(matcher, tokenizer.vocab_size) == {tokenizer.tokens.index(b"\xa9")}


# The end.


def test_the_end() -> None:
    tokenizer = Small()
    matcher = Grammar.regex("ab*", tokenizer).matcher(tokenizer.vocab_size)
    letter_a, letter_b = tokenizer.ids(b"ab")
    ends = set(tokenizer.eos_ids)
    with pytest.raises(InvalidParameterError, match="forbids"):
        matcher.accept(tokenizer.eos_ids[0])
    matcher.accept(letter_a)
    assert (allowed(matcher, tokenizer.vocab_size), matcher.finished) == (ends | {letter_b}, False)
    matcher.accept(tokenizer.eos_ids[1])
    assert (allowed(matcher, tokenizer.vocab_size), matcher.finished) == (ends, True)
    with pytest.raises(InvalidParameterError, match="forbids"):
        matcher.accept(letter_b)
    matcher.accept(tokenizer.eos_ids[0])  # as a caller does that ignores the end
    matcher.rollback(2)
    assert not matcher.finished
    matcher.accept(letter_b)
    matcher.accept(tokenizer.eos_ids[0])
    matcher.rollback(3)
    assert allowed(matcher, tokenizer.vocab_size) == {letter_a, tokenizer.tokens.index(b"a", letter_a + 1)}
    with pytest.raises(InvalidParameterError, match="take back"):
        matcher.rollback(1)


@pytest.mark.parametrize("pattern", ["", "a"])
def test_finished_without_a_mask(pattern: str) -> None:
    tokenizer = Small()
    matcher = Grammar.regex(pattern, tokenizer).matcher(tokenizer.vocab_size)
    for token in tokenizer.ids(pattern.encode()):
        assert not matcher.finished
        matcher.accept(token)
    assert matcher.finished
    matcher.accept(tokenizer.eos_ids[0])
    assert matcher.finished


def test_a_tokenizer_without_an_end() -> None:
    tokenizer = Small(eos=())
    matcher = Grammar.regex("a", tokenizer).matcher(tokenizer.vocab_size)
    matcher.accept(tokenizer.ids(b"a")[0])
    assert allowed(matcher, tokenizer.vocab_size) == set()
    assert matcher.finished


def test_special_tokens_are_no_text() -> None:
    tokenizer = Small()
    size = tokenizer.vocab_size
    found = allowed(Grammar.regex("(?s:.*)", tokenizer).matcher(size), size)
    assert found & tokenizer.special_ids == set(tokenizer.eos_ids)
    matcher = Grammar.lark('start: <bos> "a"', tokenizer).matcher(size)
    assert allowed(matcher, size) == {tokenizer.tokens.index(b"<bos>")}


# The mask.


@pytest.mark.parametrize("difference", [-7, -4, -1, 0, 1, 31, 33, 200])
def test_more_or_fewer_logits_than_tokens(difference: int) -> None:
    tokenizer = Small()
    size = tokenizer.vocab_size + difference
    full = allowed(Grammar.regex("[a-z]*", tokenizer).matcher(tokenizer.vocab_size), tokenizer.vocab_size)
    assert max(full) == tokenizer.vocab_size - 1
    matcher = Grammar.regex("[a-z]*", tokenizer).matcher(size)
    assert allowed(matcher, size) == {token for token in full if token < size}


def test_the_layout_of_the_bits() -> None:
    """Token i is bit i % 32 of word i // 32, as xgrammar and llguidance's own kernels read it."""
    tokenizer = Small()
    token = tokenizer.tokens.index(b"],[")
    mask = np.zeros((tokenizer.vocab_size + 31) // 32, np.uint32)
    matcher = Grammar.lark("start: <bos>", tokenizer).matcher(tokenizer.vocab_size)
    matcher.fill(mask)
    bos = tokenizer.tokens.index(b"<bos>")
    assert mask.tolist() == [1 << bos % 32 if word == bos // 32 else 0 for word in range(len(mask))]
    bits = np.unpackbits(mask.view(np.uint8), bitorder="little")
    assert np.flatnonzero(bits).tolist() == [bos]
    assert bits[token] == 0


def test_a_row_of_a_batch() -> None:
    tokenizer = Small()
    rows = np.full((3, (tokenizer.vocab_size + 31) // 32), 7, np.int32)
    matcher = Grammar.regex("a", tokenizer).matcher(tokenizer.vocab_size)
    matcher.fill(rows[1])
    assert (rows[[0, 2]] == 7).all()
    alone = np.zeros(rows.shape[1], np.int32)
    matcher.fill(alone)
    assert (rows[1] == alone).all()
    matcher.fill(np.asfortranarray(rows)[1])


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros(2, np.uint32),
        np.zeros(3, np.int64),
        np.zeros((1, 3), np.int32),
        [0, 0, 0],
        np.frombuffer(bytes(12), "i4"),
    ],
)
def test_masks_that_do_not_fit(mask: Any) -> None:
    matcher = Grammar.regex("a", Small()).matcher(90)
    with pytest.raises(InvalidParameterError, match="mask"):
        matcher.fill(mask)


# What is refused.


@pytest.mark.parametrize(
    ("make", "text", "reason"),
    [
        (Grammar.json_schema, "{", "not JSON"),
        (Grammar.json_schema, "[" * 100_000, "not JSON"),
        (Grammar.json_schema, '{"maximum": NaN}', "not JSON"),
        (Grammar.json_schema, "9" * 5000, "not JSON"),
        (Grammar.json_schema, {"a": {1}}, "not JSON"),
        (Grammar.json_schema, "[]", "must be an object"),
        (Grammar.json_schema, False, "must be an object"),
        (Grammar.json_schema, '{"enum": ["\\ud800"]}', "surrogate"),
        (Grammar.json_schema, '{"type": "frog"}', "frog"),
        (Grammar.json_schema, '{"$ref": "#/x"}', "/x"),
        (Grammar.json_schema, '{"$ref": "http://localhost/x"}', "localhost"),
        (Grammar.json_schema, '{"not": {}}', "not"),
        (Grammar.json_schema, '{"type": "string", "pattern": "("}', "unclosed group"),
        (Grammar.json_schema, '{"enum": []}', "nsatisfiable"),
        (Grammar.json_schema, '{"allOf":' * 200 + "[]" + "}" * 200, "recursion"),
        (Grammar.json_schema, {"items": {f"{i}": {"$ref": f"#/{i}"} for i in range(1000)}}, "more than 512"),
        (Grammar.regex, "(", "unclosed group"),
        (Grammar.regex, "(?=a)", "look-around"),
        (Grammar.regex, "(" * 5000 + ")" * 5000, "regex"),
        (Grammar.regex, r"[^\x00-\U0010ffff]", "accepts no text"),
        (Grammar.regex, "a\ud800", "surrogate"),
        (Grammar.regex, b"a", "must be a text"),
        (Grammar.lark, "", "no start rule"),
        (Grammar.lark, "start: (", "Expected"),
        (Grammar.lark, "start: x", "unknown name"),
        (Grammar.lark, "start: <nothing>", "unknown special token"),
        (Grammar.lark, 'start: start "a"', "accepts no text"),
        (Grammar.lark, "start: " + "(" * 100_000, "nested"),
        (Grammar.lark, "start: r0\n" + "".join(f"r{i}: r{i + 1}\n" for i in range(5000)), "more than 512 rules"),
        (Grammar.lark, "a" * (1 << 20 | 1), "characters"),
    ],
)
def test_malformed_grammars(make: Callable[..., Grammar], text: Any, reason: str) -> None:
    name = {"json_schema": "json_schema", "regex": "regex", "lark": "grammar"}[make.__name__]
    with pytest.raises(InvalidParameterError, match="not valid") as caught:
        make(text, Small())
    assert (caught.value.code, caught.value.details["parameter"]) == ("invalid_value", name)
    assert reason in caught.value.details["reason"]
    assert "<state>" not in caught.value.details["reason"]


@pytest.mark.parametrize("token", [-1, 1 << 40, 10_000])
def test_tokens_that_do_not_exist(token: int) -> None:
    tokenizer = Small()
    matcher = Grammar.regex("a", tokenizer).matcher(20_000)
    with pytest.raises(InvalidParameterError) as caught:
        matcher.accept(token)
    assert caught.value.code == "token_out_of_range"
    matcher.accept(np.int64(tokenizer.ids(b"a")[0]))


def test_a_text_that_the_vocabulary_can_not_spell() -> None:
    tokenizer = Small()
    matcher = Grammar.regex("aQ", tokenizer).matcher(tokenizer.vocab_size)
    matcher.accept(tokenizer.ids(b"a")[0])
    for ask in (lambda: allowed(matcher, tokenizer.vocab_size), lambda: matcher.finished):
        with pytest.raises(InvalidParameterError, match="any further"):
            ask()


def test_parameters() -> None:
    tokenizer = Small()

    def made(**given: str) -> Grammar | None:
        names = {"json_schema": None, "regex": None, "grammar": None}
        return Grammar.from_params(SimpleNamespace(**{**names, **given}), tokenizer)

    assert made() is None
    size, letter = tokenizer.vocab_size, tokenizer.ids(b"a")[0]
    for given in ({"regex": "a"}, {"grammar": 'start: "a"'}):
        grammar = made(**given)
        assert grammar is not None
        assert letter in allowed(grammar.matcher(size), size)
    schema = made(json_schema='{"const": 12}')
    assert schema is not None
    assert allowed(schema.matcher(size), size) == {tokenizer.ids(b"1")[0], tokenizer.tokens.index(b"12")}
    with pytest.raises(InvalidParameterError, match="only one"):
        made(regex="a", grammar='start: "a"')
    with pytest.raises(InvalidParameterError, match="vocab_size"):
        schema.matcher(0)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingDependencyError, match=r"fastgen-llm\[grammar\]"):
        Grammar.json_schema({}, Small())


# Caches.


def test_compiled_once() -> None:
    tokenizer = Small()
    first = Grammar.json_schema({"const": 1}, tokenizer)
    assert Grammar.json_schema('{"const":1}', tokenizer)._start is first._start
    assert Grammar.json_schema({"const": 1}, Small())._start is not first._start
    assert Grammar.regex("1", tokenizer)._start is not first._start
    for number in range(vocabulary.CACHED):
        Grammar.regex(f"a{number}", tokenizer)
    assert len(first._vocabulary._compiled) == vocabulary.CACHED
    assert Grammar.json_schema({"const": 1}, tokenizer)._start is not first._start


def test_matchers_of_a_grammar_are_independent() -> None:
    tokenizer = Small()
    grammar = Grammar.regex("ab", tokenizer)
    one, other = grammar.matcher(tokenizer.vocab_size), grammar.matcher(tokenizer.vocab_size)
    one.accept(tokenizer.ids(b"a")[0])
    assert allowed(one, tokenizer.vocab_size) == set(tokenizer.ids(b"b"))
    other.accept(tokenizer.ids(b"a")[0])


def test_a_tokenizer_is_not_kept_alive() -> None:
    tokenizer = Small()
    grammar = Grammar.regex("a", tokenizer)
    gone = weakref.ref(tokenizer)
    del tokenizer
    gc.collect()
    assert gone() is None
    assert not grammar.matcher(60).finished


def test_a_tokenizer_that_can_not_be_referenced() -> None:
    class Slotted(Small):
        __slots__ = ()
        __hash__ = None  # type: ignore[assignment]

    assert not Grammar.regex("a", Slotted()).matcher(60).finished


# The demo model's tokenizer.


def walk(grammar: Grammar, tokenizer: Any, rng: random.Random) -> str:
    """Return the text of random allowed tokens, long runs of white space left out of the choice."""
    size = tokenizer.vocab_size + 64
    matcher = grammar.matcher(size)
    mask = np.zeros((size + 31) // 32, np.int32)
    ids: list[int] = []
    while not matcher.finished:
        matcher.fill(mask)
        tokens = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little")).tolist()
        assert tokens
        assert tokens[-1] < tokenizer.vocab_size
        sample = rng.sample(tokens, min(len(tokens), 50))
        token = next((one for one in sample if tokenizer.token_bytes(one).strip()), sample[0])
        matcher.accept(token)
        if token in tokenizer.eos_ids:
            break
        assert token not in tokenizer.special_ids
        ids.append(token)
        assert len(ids) < 20_000
    return tokenizer.decode(ids, skip_special_tokens=False)


PERSON = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["cat", "größer", "🙂"]},
        "age": {"type": "integer", "minimum": -5, "maximum": 1000},
        "name": {"type": "string", "maxLength": 12},
        "grid": {
            "type": "array",
            "minItems": 1,
            "maxItems": 4,
            "items": {"type": "array", "maxItems": 3, "items": {"type": "integer", "minimum": 0, "maximum": 99}},
        },
    },
    "required": ["kind", "age", "grid"],
    "additionalProperties": False,
}


@pytest.mark.demo
def test_random_walks_give_valid_json(demo_path: Path, seed: int) -> None:
    tokenizer = load_tokenizer(demo_path)
    rng = random.Random(seed)
    grammar = Grammar.json_schema(PERSON, tokenizer)
    for _ in range(40):
        value = json.loads(walk(grammar, tokenizer, rng))
        assert {"kind", "age", "grid"} <= set(value) <= set(PERSON["properties"])
        assert value["kind"] in ("cat", "größer", "🙂")
        assert isinstance(value["age"], int)
        assert -5 <= value["age"] <= 1000
        assert len(value.get("name", "")) <= 12
        assert 1 <= len(value["grid"]) <= 4
        assert all(len(row) <= 3 and all(0 <= item <= 99 for item in row) for row in value["grid"])


@pytest.mark.demo
def test_every_token_of_the_demo_model(demo_path: Path) -> None:
    tokenizer = load_tokenizer(demo_path)
    size = tokenizer.vocab_size
    matcher = Grammar.regex("[a-z ]{0,3}", tokenizer).matcher(size)
    fits = {
        token
        for token in set(range(size)) - tokenizer.special_ids
        if (piece := tokenizer.token_bytes(token))
        and len(piece) <= 3
        and all(c in b"abcdefghijklmnopqrstuvwxyz " for c in piece)
    }
    assert allowed(matcher, size) == fits | set(tokenizer.eos_ids)
