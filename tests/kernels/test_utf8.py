"""UTF-8: literals on every level, bytes.decode as the judge, faults at every position, memory, bad arguments."""

from __future__ import annotations

import codecs
import threading
from array import array
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import guarded, unaligned

from fastgen import cpu
from fastgen.errors import InvalidParameterError
from fastgen.kernels import utf8

TEXT = (
    "The quick brown fox jumps over the lazy dog. Tous les êtres humains naissent libres et égaux en dignité. "
    "Съешь же ещё этих мягких французских булок. 人工智能是计算机科学的一个分支。"
    "すべての人間は、生まれながらにして自由であり。"
    "모든 인간은 태어날 때부터 자유로우며. सभी मनुष्यों को गौरव और अधिकारों के. يولد جميع الناس أحرارا. "
    "😀🎉👩‍👩‍👧‍👦🚀 \U0010ffff\U00010000\uffff\ud7ff"
).encode()

FAULTS = {
    "lone continuation": b"\x80",
    "overlong 2": b"\xc0\x80",
    "overlong 2, last": b"\xc1\xbf",
    "overlong 3": b"\xe0\x9f\xbf",
    "overlong 4": b"\xf0\x8f\xbf\xbf",
    "surrogate": b"\xed\xa0\x80",
    "surrogate, last": b"\xed\xbf\xbf",
    "above U+10FFFF": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "never": b"\xff",
    "cut after 1 of 2": b"\xc3",
    "cut after 1 of 3": b"\xe4",
    "cut after 2 of 3": b"\xe4\xbd",
    "cut after 3 of 4": b"\xf0\x9f\x98",
}


def prefix(text: bytes) -> int:
    """Return what Python says `validate` must be."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.start
    return len(text)


def held_back(text: bytes) -> int:
    """Return what Python says `tail` must be.

    It holds half a surrogate back, too, which its error handler "surrogatepass" has a use for.
    """
    if len(text) > 1 and text[-2] == 0xED and 0xA0 <= text[-1] <= 0xBF:
        return 0
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(text)
    return len(decoder.getstate()[0])


def assert_as_python(text: bytes) -> None:
    expected = prefix(text)
    assert utf8.validate(text) == expected, text
    assert utf8.valid(text) is (expected == len(text)), text
    assert utf8.tail(text) == held_back(text), text
    if expected == len(text):
        assert utf8.count(text) == len(text.decode())


@pytest.mark.parametrize(
    ("text", "well_formed", "starts", "tail"),
    [
        (b"", 0, 0, 0),
        (b"\x00", 1, 1, 0),
        (b"a\x7f", 2, 2, 0),
        ("é中😀".encode(), 9, 3, 0),
        (b"\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 18, 6, 0),
        (b"\xed\x9f\xbf\xee\x80\x80", 6, 2, 0),
        (b"ab\x80", 2, 2, 0),
        (b"a\xc0\x80", 1, 2, 0),
        (b"\xc3", 0, 1, 1),
        (b"a\xe4\xbd", 1, 2, 2),
        (b"\xf0\x9f\x98", 0, 1, 3),
        (b"\xe0\x80", 0, 1, 0),  # overlong already
        (b"\xed\xa0", 0, 1, 0),  # a surrogate already
        (b"\xf4\x90", 0, 1, 0),  # too large already
        (b"\xf5", 0, 1, 0),
        (b"\xff\xc3", 0, 2, 1),  # `tail` does not ask what stands before
        (b"\xe4\xbd\xe4\xbd", 0, 2, 2),
        (b"\x80\x80\x80", 0, 0, 0),
    ],
)
def test_literals(text: bytes, well_formed: int, starts: int, tail: int, level: str) -> None:
    assert utf8.validate(text) == well_formed
    assert utf8.valid(text) is (well_formed == len(text))
    assert utf8.count(text) == starts
    assert utf8.tail(text) == tail


def test_all_strings_of_one_and_two_bytes(level: str) -> None:
    for size in (1, 2):
        for values in product(range(256), repeat=size):
            assert_as_python(bytes(values))


def test_strings_of_three_and_four_bytes(level: str, rng: np.random.Generator) -> None:
    """Bytes at both sides of every bound, and random ones."""
    edges = b"\x00\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xec\xed\xee\xf0\xf1\xf4\xf5\xff"
    for values in product(edges, repeat=3):
        assert_as_python(bytes(values))
    choices = np.frombuffer(edges, np.uint8)
    for row in [*rng.choice(choices[2:], (8000, 4)), *rng.integers(128, 256, (8000, 4), np.uint8)]:
        assert_as_python(row.tobytes())


@pytest.mark.parametrize("filler", ["a", "é", "中", "😀"])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_each_fault_at_each_position(fault: bytes, filler: str, level: str) -> None:
    unit = filler.encode()
    for place in (*range(150), *range(505, 525), *range(570, 585), 1000):
        before = (b"x" * (place % len(unit)) + unit * (place // len(unit)))[:place]
        for after in (b"", unit, unit * 200):
            text = before + fault + after
            assert utf8.validate(text) == place
            assert not utf8.valid(text)
        assert utf8.validate(before) == place


def test_sequences_across_every_boundary(level: str) -> None:
    for character in ("é", "中", "😀"):
        for place in range(140):
            text = b"x" * place + character.encode() + b"x" * 600
            assert utf8.valid(text)
            for missing in range(1, len(character.encode())):
                cut = b"x" * place + character.encode()[:-missing]
                assert utf8.validate(cut) == place
                assert utf8.tail(cut) == len(cut) - place
                assert utf8.validate(cut + b"x" * 600) == place


@pytest.mark.parametrize("at", ["start", "end"])
def test_lengths_beside_guard_pages(at: str, level: str) -> None:
    source = TEXT.decode() * 2
    for size in range(514):
        text = source.encode()[: size + 3].decode(errors="ignore").encode()[:size]  # may end inside a sequence
        text += b"x" * (size - len(text))
        with guarded(size, at=at) as memory:
            memory[:] = np.frombuffer(text, np.uint8)
            assert utf8.validate(memory) == prefix(text)
            assert utf8.count(memory) == sum(byte & 0xC0 != 0x80 for byte in text)
            assert utf8.tail(memory) == held_back(text)


def test_offsets(level: str, rng: np.random.Generator) -> None:
    for offset in range(64):
        for size in (1, 15, 33, 66, 67, 130, 513, *rng.integers(0, 700, 6).tolist()):
            text = bytearray((TEXT * 2)[:size])
            if size and rng.random() < 0.5:
                text[int(rng.integers(size))] = int(rng.integers(256))
            assert utf8.validate(unaligned(np.frombuffer(text, np.uint8), offset)) == prefix(bytes(text))


@given(st.data())
def test_mutations_of_real_text(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(TEXT)))
    text = bytearray((TEXT[start:] + TEXT * 2)[: data.draw(st.integers(0, 1500))])
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(text)))
        text[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=4))
    expected = prefix(bytes(text))
    starts = sum(byte & 0xC0 != 0x80 for byte in text)
    for level in cpu.detected():
        with cpu.force(level):
            assert utf8.validate(text) == expected
            assert utf8.count(text) == starts
            assert utf8.tail(text) == held_back(bytes(text))


@given(st.text(max_size=300), st.integers(0, 1200))
def test_pieces_join(text: str, cut: int) -> None:
    """What `tail` holds back is what the next piece needs, wherever a text is cut."""
    data = text.encode()
    first = data[:cut]
    whole = len(first) - utf8.tail(first)
    assert utf8.valid(first[:whole])
    assert utf8.valid(data[whole:])
    assert utf8.count(first[:whole]) + utf8.count(data[whole:]) == len(text)


def test_long_texts(level: str, rng: np.random.Generator) -> None:
    long = TEXT * 300
    assert utf8.valid(long)
    assert utf8.count(long) == len(long.decode())
    assert utf8.count(b"a" * 1_000_003) == 1_000_003
    assert utf8.count(b"\x80" * 1_000_003) == 0
    for place in rng.integers(0, len(long), 50).tolist():
        broken = long[:place] + b"\xff" + long[place + 1 :]
        assert utf8.validate(broken) == prefix(broken)


def test_any_contiguous_buffer_is_taken(level: str) -> None:
    text = "né".encode()
    for given_text in (text, bytearray(text), memoryview(text), array("B", text), np.frombuffer(text, np.uint8)):
        assert utf8.validate(given_text) == 3
        assert utf8.count(given_text) == 2
    assert utf8.count(np.full((2, 3), 0x61626364, np.uint32)) == 24
    for nothing in (bytearray(), array("B"), memoryview(b""), np.empty(0, np.uint8), np.empty((0, 3), np.float32)):
        assert (utf8.validate(nothing), utf8.valid(nothing), utf8.count(nothing), utf8.tail(nothing)) == (0, True, 0, 0)


@pytest.mark.parametrize("function", [utf8.validate, utf8.valid, utf8.count, utf8.tail])
@pytest.mark.parametrize("text", ["text", None, 3, [1], memoryview(b"abcdef")[::2], np.zeros((4, 4), np.uint8)[:, 1]])
def test_other_arguments_are_refused(function: Any, text: Any) -> None:
    with pytest.raises(InvalidParameterError, match="contiguous bytes-like") as caught:
        function(text)
    assert caught.value.details == {"type": type(text).__name__}
    assert caught.value.hint == ("encode it first" if isinstance(text, str) else "pass bytes")


def test_a_buffer_is_let_go(level: str) -> None:
    for size in (10, 100_000):
        text = bytearray(b"x" * size)
        utf8.validate(text)
        text.append(0)  # raises BufferError as long as a view of it exists
        assert len(text) == size + 1


def test_a_buffer_is_held_while_the_gil_is_not() -> None:
    text = bytearray(b"x" * 30_000_000)
    started, refused = threading.Event(), []

    def measure() -> None:
        started.set()
        for _ in range(20):
            assert utf8.valid(text)

    worker = threading.Thread(target=measure)
    worker.start()
    started.wait()
    while worker.is_alive():
        try:
            text.append(0)
            text.pop()
        except BufferError:
            refused.append(True)
    worker.join()
    assert refused
