"""hold="grapheme": clusters leave whole, by the rules of UAX #29, against literals and the package regex."""

from __future__ import annotations

import itertools
import unicodedata

import pytest
from fakes import FakeTokenizer
from hypothesis import given
from hypothesis import strategies as st

from fastgen.detokenizer import Detokenizer

WORDS = [b"", b" ", b" the", "안".encode()[:2], b"\x80\x80", "👩‍".encode(), "\u0301".encode()]


def pieces(detokenizer: Detokenizer, ids: list[int]) -> list[str]:
    return [*(detokenizer.push(token) for token in ids), detokenizer.flush()]


CLUSTERS = [
    ["a", "b", " ", "c"],
    ["e\u0301", "o\u0308\u0304", "x"],
    ["👩‍👩‍👧‍👦", "👍🏽", "❤️‍🔥", "👁️‍🗨️", "!"],
    ["🇩🇪", "🇫🇷", "🇯", "a", "🇯🇵"],
    ["🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", "."],
    ["각", "한", "\u1112\u1161\u11ab", "\u1100\u1100\uac00", "\uac00\u11a8\u11a8"],
    ["क्षि", "न्दी", "क", "क्‌", "ष"],  # conjuncts; a zero-width non-joiner prevents one
    ["\r\n", "\n", "\r", "\r\n", "\u0301", "x\u200d\t"],
    ["\u0600\u0661", "\u0600\n"],  # ARABIC NUMBER SIGN stands before what it belongs to
    ["👩‍", "x", "☺\u200d☺"],
    ["ที่", "กำ", "ไ", "ท", "ย"],
]


@pytest.mark.parametrize("clusters", CLUSTERS, ids="".join)
def test_clusters_leave_whole(clusters: list[str]) -> None:
    """UAX #29: byte by byte, each piece is one cluster, or one and the control character that ends it."""
    detokenizer = Detokenizer(FakeTokenizer(), hold="grapheme")
    for _ in range(2):
        found = pieces(detokenizer, list("".join(clusters).encode()))
        assert [piece for piece in found if piece] == clusters


@pytest.mark.parametrize("clusters", CLUSTERS, ids="".join)
def test_clusters_of_many_tokens_at_once(clusters: list[str]) -> None:
    detokenizer = Detokenizer(FakeTokenizer(), hold="grapheme")
    text = "".join(clusters)
    last = "" if unicodedata.category(text[-1]) == "Cc" else clusters[-1]
    assert detokenizer.push_many(list(text.encode())) == text.removesuffix(last)
    assert detokenizer.pending == len(last.encode())
    assert detokenizer.flush() == last
    assert detokenizer.pending == 0


def test_a_control_character_is_not_held_back() -> None:
    detokenizer = Detokenizer(FakeTokenizer(), hold="grapheme")
    assert [detokenizer.push(byte) for byte in b"a\n\tb\r\nc"] == ["", "a\n", "\t", "", "b", "\r\n", ""]


def test_long_clusters_leave_in_stretches_of_whole_code_points() -> None:
    zalgo = "a" + "\u0301" * 100
    detokenizer = Detokenizer(FakeTokenizer(), hold="grapheme")
    found = []
    for byte in zalgo.encode():
        found.append(detokenizer.push(byte))
        assert detokenizer.pending <= 64 + 1
    assert [piece for piece in found if piece] == ["a" + "\u0301" * 31, "\u0301" * 32, "\u0301" * 32]
    assert detokenizer.flush() == "\u0301" * 5


# One of each class: other, control, extend, the non-joiner, linkers that extend or not, consonant, joiner, flag letter,
# prepend, spacing mark, Hangul L V T LV LVT, picture, CR, LF.
CLASSES = "a\u200b\u0301\u200c\u094d\u1cf5\u0915\u200d\U0001f1e9\u0600\u0903\u1100\u1161\u11a8\uac00\uac01☺\r\n"


def segments(text: str) -> list[str]:
    """Return the clusters of a text by the package regex, or skip: it must know the same version of Unicode."""
    regex = pytest.importorskip("regex")
    try:
        knows = regex.match(r"\p{InCB=Linker}", "\u1cf5")
    except regex.error:
        knows = None
    if not knows:
        pytest.skip("the package regex knows another version of Unicode")
    found: list[str] = regex.findall(r"\X", text)
    return found


def check_segments(text: str) -> None:
    expected = segments(text)
    whole = Detokenizer(FakeTokenizer(), hold="grapheme")
    found = [whole.push(byte) for byte in text.encode()] + [whole.flush()]
    ends, cluster_ends = ({*itertools.accumulate(map(len, some))} for some in (found, expected))
    assert ends <= {0, *cluster_ends}, text
    assert all(len(segments(piece)) <= 2 for piece in found), text  # one, and the control character that ends it


def test_clusters_of_every_three_classes_are_those_of_the_regex_package() -> None:
    for three in itertools.product(CLASSES, repeat=3):
        check_segments("".join(three))


@given(text=st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(CLASSES)), max_size=20))
def test_clusters_are_those_of_the_regex_package(text: str) -> None:
    check_segments(text)


@given(ids=st.lists(st.integers(0, 255 + len(WORDS) + 3), max_size=24), skip=st.booleans(), strip=st.booleans())
def test_joined_clusters_are_the_decode(ids: list[int], skip: bool, strip: bool) -> None:
    tokenizer = FakeTokenizer(words=WORDS, strip_leading_space=strip)
    detokenizer = Detokenizer(tokenizer, skip, hold="grapheme")
    for _ in range(2):
        assert "".join(pieces(detokenizer, ids)) == tokenizer.decode(ids, skip_special_tokens=skip)
