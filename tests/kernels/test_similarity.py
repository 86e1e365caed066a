"""Edit distance, shingles and token sets: literals, obvious answers, lengths around registers, bad arguments."""

from __future__ import annotations

import itertools
import operator
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastgen import InvalidParameterError, cpu
from fastgen.kernels import similarity

EDGES = [0, 1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 130]
# strings of each inner width: 1, 2 and 4 bytes a code point
ALPHABETS = ["ab c", "aé\xff", "ab日本", "a日😀𝕏"]
texts = st.one_of(*[st.text(alphabet, max_size=140) for alphabet in ALPHABETS], st.text(max_size=40))


def table(a: Sequence[Any], b: Sequence[Any]) -> int:
    """Return the edit distance by the table of Wagner and Fischer."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        corner, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (x != y))
    return row[-1]


def grams(text: Any, n: int) -> set[Any]:
    """Return the n-grams of a text; one shorter than n is its own."""
    if len(text) < n:
        return {text} if text else set()
    return {text[i : i + n] for i in range(len(text) - n + 1)}


def index(a: set[Any], b: set[Any]) -> float:
    return len(a & b) / len(a | b) if a | b else 1.0


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [
        ("kitten", "sitting", 3),
        ("Saturday", "Sunday", 3),
        ("flaw", "lawn", 2),
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("abc", "abc", 0),
        ("ab", "ba", 2),
        ("héllo", "hello", 1),
        ("日本語", "日本", 1),
        ("😀😁", "😁😀", 2),
        ("e\u0301", "é", 2),
        (b"kitten", b"sitting", 3),
        ("é".encode(), "è".encode(), 1),
        ([1, 2, 3], [1, 3, 4], 2),
        (np.arange(5), np.arange(1, 6, dtype=np.uint16), 2),
        ([], [7], 1),
        ("a" * 64 + "b" * 64, "b" * 64 + "a" * 64, 128),
        ("x" + "ab" * 300, "ab" * 300 + "y", 2),
    ],
)
def test_levenshtein_literals(level: str, a: Any, b: Any, distance: int) -> None:
    assert similarity.levenshtein(a, b) == distance
    assert similarity.levenshtein(b, a) == distance
    assert similarity.levenshtein(a, b, limit=distance) == distance
    if distance:
        assert similarity.levenshtein(a, b, limit=distance - 1) == distance


@pytest.mark.parametrize(
    ("a", "b", "expected"), [("", "", 1.0), ("", "a", 0.0), ("abcd", "abce", 0.75), ("kitten", "sitting", 4 / 7)]
)
def test_similarity_literals(level: str, a: str, b: str, expected: float) -> None:
    assert similarity.similarity(a, b) == expected


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_lengths_around_words(level: str, alphabet: str, rng: np.random.Generator) -> None:
    """Every pair of lengths; with a limit too, and among many."""
    letters = np.array(list(alphabet))
    lengths = range(131) if level != "scalar" and alphabet == ALPHABETS[0] else EDGES
    columns = ["".join(rng.choice(letters, length)) for length in EDGES]
    for length in lengths:
        row = "".join(rng.choice(letters, length))
        expected = [table(row, column) for column in columns]
        assert [similarity.levenshtein(row, column) for column in columns] == expected
        assert similarity.levenshtein_many(row, columns).tolist() == expected
        for limit in (0, 7, 64):
            cut = [min(distance, limit + 1) for distance in expected]
            assert [similarity.levenshtein(row, column, limit=limit) for column in columns] == cut
            assert similarity.levenshtein_many(row, columns, limit=limit).tolist() == cut


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(a=texts, b=texts, limit=st.integers(0, 150), n=st.integers(1, 20))
def test_any_texts(level: str, a: str, b: str, limit: int, n: int) -> None:
    distance = table(a, b)
    assert similarity.levenshtein(a, b) == distance
    assert similarity.levenshtein(a, b, limit=limit) == min(distance, limit + 1)
    assert similarity.levenshtein(list(map(ord, a)), list(map(ord, b))) == distance
    assert similarity.levenshtein_many(a, [b, a, ""]).tolist() == [distance, 0, len(a)]
    assert similarity.common_prefix(a, b) == sum(1 for _ in itertools.takewhile(bool, map(operator.eq, a, b)))
    assert similarity.jaccard(a, b, n) == index(grams(a, n), grams(b, n))
    wide = a.encode("utf-8", "surrogatepass"), b.encode("utf-8", "surrogatepass")
    assert similarity.levenshtein(*wide) == table(*wide)
    assert similarity.jaccard(*wide, n) == index(grams(wide[0], n), grams(wide[1], n))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text("abc日", max_size=30), inside=st.text("abc日", max_size=30), at=st.integers(0, 30))
def test_metric(level: str, text: str, inside: str, at: int) -> None:
    """Symmetric; zero for equal texts alone; an insertion costs its length; the triangle holds."""
    other = text[:at] + inside + text[at:]
    assert similarity.levenshtein(text, other) == similarity.levenshtein(other, text) == len(inside)
    assert (similarity.levenshtein(text, inside) == 0) == (text == inside)
    direct = similarity.levenshtein(text, inside)
    assert direct <= similarity.levenshtein(text, other) + similarity.levenshtein(other, inside)


@pytest.mark.parametrize("rows", [511, 512, 513, 1023, 1024, 1025, 2049, 2500])
def test_stripes(level: str, rows: int, rng: np.random.Generator) -> None:
    """A pattern of several stripes, edited in known places, with the band of every limit around the distance."""
    ids = rng.integers(0, 1 << 20, rows)
    other = np.delete(ids, [3, rows // 2])
    other[rows // 3] += 1
    other = np.insert(other, rows - 5, 5)
    assert similarity.levenshtein(ids, other) == 4
    assert [similarity.levenshtein(ids, other, limit=limit) for limit in (0, 3, 4, 5, 700)] == [1, 4, 4, 4, 4]
    text, edited = "".join(chr(0x4E00 + i % 20000) for i in ids), "".join(chr(0x4E00 + i % 20000) for i in other)
    assert similarity.levenshtein(text, edited) == 4


def test_levels_agree(rng: np.random.Generator) -> None:
    letters = np.array(list("abcdefgh"))
    pairs = [["".join(rng.choice(letters, length)) for length in rng.integers(0, 1500, 2)] for _ in range(20)]
    found = []
    for name in cpu.detected():
        with cpu.force(name):
            found.append([similarity.levenshtein(*pair, limit=limit) for pair in pairs for limit in (None, 300)])
    assert all(one == found[0] for one in found)


def test_many(level: str) -> None:
    many = ["sitting", "", "kitten", "kit日", "x" * 300, "mitten" * 20]
    assert similarity.levenshtein_many("kitten", many).tolist() == [3, 6, 0, 3, 300, 115]
    assert similarity.levenshtein_many("kitten", iter(many), limit=4).tolist() == [3, 5, 0, 3, 5, 5]
    assert similarity.levenshtein_many("", ["", "ab"]).tolist() == [0, 2]
    assert similarity.levenshtein_many("a", []).tolist() == []
    assert similarity.levenshtein_many(b"ab", [b"b", bytearray(b"ab"), memoryview(b"xab")]).tolist() == [1, 0, 1]
    assert similarity.levenshtein_many([1, 2], [[2], [1, 2, 3], np.zeros(0, np.int64)]).tolist() == [1, 1, 2]
    everything = "".join(map(chr, range(64)))  # as many different symbols as rows
    assert similarity.levenshtein_many(everything, [everything[1:], everything]).tolist() == [1, 0]
    assert similarity.levenshtein_many("kitten", many).dtype == np.int64


@pytest.mark.parametrize("distinct", [1, 14, 15, 16, 30, 31, 32, 62, 63, 64])
def test_many_with_every_size_of_alphabet(level: str, distinct: int, rng: np.random.Generator) -> None:
    letters = np.array([chr(0x21 + 3 * i) for i in range(distinct + 3)])
    needle = "".join(rng.permutation(letters[:distinct])) + "".join(rng.choice(letters[:distinct], 64 - distinct))
    many = ["".join(rng.choice(letters, length)) for length in rng.integers(0, 150, 40)]
    assert similarity.levenshtein_many(needle, many).tolist() == [table(needle, text) for text in many]


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 128, 129, 256, 257, 300, 511, 512, 513])
def test_many_with_every_height(level: str, rows: int, rng: np.random.Generator) -> None:
    letters = np.array(list("abcdefgh\xff"))
    needle = "".join(rng.choice(letters, rows))
    many = [needle[: int(length)] + needle[int(start) :] for length, start in rng.integers(0, rows + 1, (9, 2))]
    many += ["".join(rng.choice(letters, length)) for length in (0, 1, 100, 333)]
    assert similarity.levenshtein_many(needle, many).tolist() == [table(needle, text) for text in many]


@pytest.mark.parametrize(
    ("a", "b", "n", "expected"),
    [
        ("abcd", "abce", 3, 1 / 3),
        ("abcd", "abcd", 3, 1.0),
        ("abc", "xyz", 3, 0.0),
        ("", "", 3, 1.0),
        ("", "abc", 3, 0.0),
        ("ab", "ab", 3, 1.0),
        ("ab", "cd", 3, 0.0),
        ("ab", "abc", 3, 0.0),
        ("aaaa", "aa", 1, 1.0),
        ("aaaa", "aaab", 2, 0.5),
        ("日本語", "日本人", 2, 1 / 3),
        (b"abcd", b"abce", 3, 1 / 3),
        ([1, 2, 3], [2, 3, 4], 1, 0.5),
        ([1, 2, 3, 4, 5], [9, 2, 3, 4, 5], 4, 1 / 3),
        ("abcdefghij", "abcdefghij", 10**9, 1.0),
    ],
)
def test_jaccard_literals(a: Any, b: Any, n: int, expected: float) -> None:
    assert similarity.jaccard(a, b, n) == expected


def test_jaccard_of_long_texts(rng: np.random.Generator) -> None:
    letters = np.array(list("abcdefgh"))
    a, b = ("".join(rng.choice(letters, 5000)) for _ in "ab")
    for n in (1, 2, 3, 4, 8, 9, 17, 100):
        assert similarity.jaccard(a, b, n) == index(grams(a, n), grams(b, n))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [([1, 2, 3], [3, 4], 0.5), ([1, 1, 2], [2, 1], 1.0), ([], [], 1.0), ([], [1], 0.0), ([1], [2], 0.0)],
)
def test_token_overlap_literals(a: list[int], b: list[int], expected: float) -> None:
    assert similarity.token_overlap(a, b) == expected
    assert similarity.token_overlap(np.array(a, np.int64), np.array(b, np.uint32)) == expected


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("abcd", "abxd", 2),
        ("", "a", 0),
        ("日本", "日本語", 2),
        ("ab", "ab日", 2),
        (b"ab", b"ab", 2),
        ([1, 2], [1, 3], 1),
    ],
)
def test_common_prefix_literals(level: str, a: Any, b: Any, expected: int) -> None:
    assert similarity.common_prefix(a, b) == expected


def test_common_prefix_of_every_length(level: str) -> None:
    for length in range(300):
        for size in {0, 1, length // 2, length - 1, length} & set(range(length + 1)):
            a = bytes(range(256)) * 2
            b = a[:size] + (bytes([a[size] ^ 1]) + a[size + 1 :])
            assert similarity.common_prefix(a[:length], b[: max(length, size + 1)]) == size
            assert similarity.levenshtein(a[: size + 1], b[: size + 1]) == 1


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ("a", b"a", "different kinds"),
        ("a", [97], "different kinds"),
        (None, "a", "not a text"),
        (["a"], ["b"], "not a text"),
        ([[1]], [[1]], "not a text"),
        ([1.5], [1], "not a text"),
        (3, 4, "not a text"),
        ([-1], [1], "token id"),
        ([1 << 31], [1], "token id"),
        ([1 << 70], [1], "not a text"),
    ],
)
def test_bad_texts(a: Any, b: Any, message: str) -> None:
    for call in (similarity.levenshtein, similarity.similarity, similarity.common_prefix, similarity.jaccard):
        with pytest.raises(InvalidParameterError, match=message):
            call(a, b)
    with pytest.raises(InvalidParameterError, match=message):
        similarity.levenshtein_many(a, [a, b])


def test_bad_parameters() -> None:
    limit: Any
    for limit in (-1, 1.5, "3", True, 1 << 62):
        with pytest.raises(InvalidParameterError, match="limit"):
            similarity.levenshtein("a", "b", limit=limit)
    for n in (0, -1, 2.0, None, True):
        with pytest.raises(InvalidParameterError, match="n must be"):
            similarity.jaccard("a", "b", n)  # type: ignore[arg-type]
    for texts in ("abc", b"abc"):
        with pytest.raises(InvalidParameterError, match="collection"):
            similarity.levenshtein_many("a", texts)
    with pytest.raises(InvalidParameterError, match="integers"):
        similarity.token_overlap("ab", "ab")  # type: ignore[arg-type]


def test_too_long_is_refused_unless_the_limit_makes_it_short(level: str) -> None:
    a, b = b"\0" + b"ab" * 400_000 + b"\0", b"\1" + b"ab" * 400_000 + b"\1"
    with pytest.raises(InvalidParameterError, match="too long"):
        similarity.levenshtein(a, b)
    if level != "scalar":
        assert similarity.levenshtein(a, b, limit=2) == 2


def test_from_many_threads(level: str, rng: np.random.Generator) -> None:
    letters = np.array(list("abcd"))
    pairs = [tuple("".join(rng.choice(letters, length)) for length in (3000, 2900)) for _ in range(4)]
    expected = [similarity.levenshtein(*pair) for pair in pairs]
    found: list[list[int]] = []

    def work() -> None:
        found.append([similarity.levenshtein(*pair) for pair in pairs])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4
