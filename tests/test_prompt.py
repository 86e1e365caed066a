"""PromptBuilder: bytes, trust, UTF-8, views, rollback; Program: steps and white space."""

from __future__ import annotations

import ctypes
import threading
from datetime import datetime
from typing import Any

import pytest
from fakes import FakeTokenizer
from hypothesis import given
from hypothesis import strategies as st

from fastgen import memory
from fastgen.control import ControlTokenWarning
from fastgen.errors import PromptError
from fastgen.program import Program, Programs
from fastgen.prompt import PromptBuilder

CHARS = [
    "a",
    "é",
    "ß",
    "中",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "\U00010000",
    "\U0010ffff",
    "\x00",
    "\x7f",
    "\x80",
    "\u07ff",
    "\u0800",
]
ODD = [
    b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xc2", b"\xe0\x9f\x80", b"\xe0\xa0", b"\xed\xa0\x80", b"\xed\x9f",
    b"\xf0\x8f\xbf\xbf", b"\xf0\x90\x80", b"\xf4\x90\x80\x80", b"\xf5", b"\xff", b"\xe2\x82\xe2\x82\xac",
    b"a\xf1\x80\x80b",
]  # fmt: skip


def fault(call: Any, *args: Any) -> PromptError:
    with pytest.raises(PromptError) as caught:
        call(*args)
    return caught.value


class TestBuilding:
    def test_chatml(self) -> None:
        prompt = PromptBuilder()
        assert prompt.message("system", "Be brief.") is prompt
        prompt.message("user", b"Gr\xc3\xbc\xc3\x9fe").open()
        expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nGrüße<|im_end|>\n<|im_start|>assistant\n"
        assert bytes(prompt) == expected.encode()
        assert str(prompt) == expected
        assert bytes(memoryview(prompt)) == expected.encode()
        assert len(prompt) == 96
        assert repr(prompt) == "<PromptBuilder of 96 bytes>"

    def test_segments_tell_who_wrote_what(self) -> None:
        prompt = PromptBuilder().message("user", "Hi").control("<|im_start|>").text("a", trusted=True).text(b"b")
        assert prompt.segments == [
            (0, 12, True), (12, 16, False), (16, 17, True), (17, 19, False), (19, 43, True), (43, 44, False),
        ]  # fmt: skip
        assert prompt.masked("\0") == "<|im_start|>\0\0\0\0\n\0\0<|im_end|>\n<|im_start|>a\0"

    def test_an_empty_text_is_no_segment(self) -> None:
        prompt = PromptBuilder().text("").text(b"", trusted=True)
        assert (len(prompt), bytes(prompt), str(prompt), prompt.segments) == (0, b"", "", [])
        assert not prompt

    def test_clear(self) -> None:
        prompt = PromptBuilder().text("x" * 5000)
        prompt.clear()
        assert (bytes(prompt), prompt.segments) == (b"", [])
        prompt.text("y")
        assert (bytes(prompt), prompt.segments) == (b"y", [(0, 1, False)])

    @pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 511, 512, 513, 4096, 100_000, (1 << 20) + 1])
    def test_sizes(self, size: int) -> None:
        text = "".join(chr(97 + place % 26) for place in range(size))
        once = PromptBuilder().text(text)
        assert bytes(once) == text.encode()
        bits = PromptBuilder()
        for start in range(0, size, 1 + size // 100):
            bits.text(text[start : start + 1 + size // 100])
        assert bytes(bits) == text.encode()

    def test_many_segments(self) -> None:
        prompt = PromptBuilder()
        for place in range(1000):
            prompt.text("ab", trusted=place % 2 == 1)
        assert prompt.segments == [(2 * place, 2 * place + 2, place % 2 == 1) for place in range(1000)]

    @pytest.mark.parametrize("char", [char for char in CHARS if not "\ud800" <= char <= "\udfff"])
    def test_chars_of_every_length(self, char: str) -> None:
        for text in (char, char * 300, "a" + char + "b", char + "\U0001f642", char + "中"):
            assert bytes(PromptBuilder().text(text)) == text.encode()
            assert bytes(PromptBuilder().text(text.encode())) == text.encode()

    @pytest.mark.parametrize("value", [None, 3, ["a"], bytearray(b"a"), memoryview(b"a")])
    def test_other_types_are_refused(self, value: Any) -> None:
        prompt = PromptBuilder().message("user", "Hi")
        before = bytes(prompt)
        assert fault(prompt.text, value).details == {"type": type(value).__name__}
        assert fault(prompt.message, "user", value).details == {"type": type(value).__name__, "message_index": 1}
        assert fault(prompt.message, value, "x").details == {"type": type(value).__name__, "message_index": 1}
        assert fault(prompt.control, value).details == {"type": type(value).__name__}
        assert bytes(prompt) == before

    def test_subclasses_are_what_they_hold(self) -> None:
        class Text(str):
            def __str__(self) -> str:
                return "other"

        class Bytes(bytes):
            pass

        prompt = PromptBuilder().text(Text("añ")).control(Text("b")).text(Bytes(b"c"))
        assert bytes(prompt) == "añbc".encode()

    def test_errors_is_checked(self) -> None:
        assert fault(lambda: PromptBuilder(errors="ignore")).code == "prompt_invalid"  # type: ignore[arg-type]

    def test_too_long(self) -> None:
        prompt = PromptBuilder()
        assert fault(prompt.reserve, (1 << 31) + 1).details == {"bytes": (1 << 31) + 1, "limit": 1 << 31}
        prompt.reserve(-5)
        assert bytes(prompt.text("a")) == b"a"

    def test_estimate(self) -> None:
        messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": b"x" * 300}]
        prompt = PromptBuilder()
        for message in messages:
            prompt.message(message["role"], message["content"])
        assert PromptBuilder.estimate(messages) == len(prompt)
        for text in ("é" * 9, "中a" * 9, "🙂é" * 9, b"\xff" * 9):
            prompt = PromptBuilder(errors="replace").message("user", text)
            assert PromptBuilder.estimate([{"role": "user", "content": text}]) == len(prompt)
        assert fault(PromptBuilder.estimate, [{"role": "user", "content": 3}]).details == {"type": "int"}


class TestUtf8:
    @pytest.mark.parametrize(
        ("text", "offset"),
        [(b"ab\xff", 2), (b"\x80", 0), ("é€".encode() + b"\xed\xa0\x80", 5), (b"0123456789abcdef\xe2\x82", 16)],
    )
    def test_the_offset_of_bytes(self, text: bytes, offset: int) -> None:
        prompt = PromptBuilder().message("user", "Hi")
        before, segments = bytes(prompt), prompt.segments
        error = fault(prompt.message, "user", text)
        assert (error.code, error.details) == ("prompt_not_utf8", {"offset": offset, "message_index": 1})
        assert fault(prompt.text, text).details == {"offset": offset}
        assert (bytes(prompt), prompt.segments) == (before, segments)

    @pytest.mark.parametrize(("text", "offset"), [("\ud800", 0), ("é\udfff", 2), ("中\ud83d", 3), ("🙂\udc00x", 4)])
    def test_the_offset_of_a_lone_surrogate(self, text: str, offset: int) -> None:
        error = fault(PromptBuilder().message, "user", text)
        assert (error.code, error.details) == ("prompt_not_utf8", {"offset": offset, "message_index": 0})
        assert fault(PromptBuilder().open, text).details == {"offset": offset, "message_index": 0}

    @pytest.mark.parametrize("text", ODD)
    def test_one_replacement_for_each_maximal_subpart(self, text: bytes) -> None:
        assert str(PromptBuilder(errors="replace").text(text)) == text.decode(errors="replace")
        padded = b"01234567" + text + b"01234567"
        assert str(PromptBuilder(errors="replace").text(padded)) == padded.decode(errors="replace")

    def test_surrogates_are_replaced_one_by_one(self) -> None:
        assert str(PromptBuilder(errors="replace").text("a\ud83d\ude42b")) == "a\ufffd\ufffdb"

    @given(st.binary(max_size=40))
    def test_any_bytes(self, text: bytes) -> None:
        assert str(PromptBuilder(errors="replace").text(text)) == text.decode(errors="replace")
        sound = text.decode(errors="ignore").encode()
        if sound == text:
            assert bytes(PromptBuilder().text(text)) == text
        else:
            with pytest.raises(UnicodeDecodeError) as caught:
                text.decode()
            assert fault(PromptBuilder().text, text).details == {"offset": caught.value.start}

    def test_all_sequences_of_two_bytes_and_the_bounds_of_longer_ones(self) -> None:
        edges = [
            0x00,
            0x7F,
            0x80,
            0x8F,
            0x90,
            0x9F,
            0xA0,
            0xBF,
            0xC0,
            0xC2,
            0xDF,
            0xE0,
            0xED,
            0xEF,
            0xF0,
            0xF4,
            0xF5,
            0xFF,
        ]
        prompt = PromptBuilder(errors="replace")
        texts = [bytes([a, b]) for a in range(256) for b in range(256)]
        texts += [bytes([a, b, c]) for a in range(0xE0, 0xF6) for b in edges for c in edges]
        texts += [bytes([a, b, c, d]) for a in range(0xF0, 0xF6) for b in edges for c in edges for d in edges]
        for text in texts:
            prompt.clear()
            assert str(prompt.text(text)) == text.decode(errors="replace")

    @given(st.text(st.characters(codec=None), max_size=30))
    def test_any_str(self, text: str) -> None:
        try:
            expected = text.encode()
        except UnicodeEncodeError as error:
            details = {"offset": len(text[: error.start].encode())}
            assert fault(PromptBuilder().text, text).details == details
        else:
            assert bytes(PromptBuilder().text(text)) == expected


class TestViews:
    def test_what_is_viewed_does_not_change(self) -> None:
        prompt = PromptBuilder().text("abc")
        view = memoryview(prompt)
        assert view.readonly
        assert (view.format, view.shape, view.tobytes()) == ("B", (3,), b"abc")
        calls: list[Any] = [
            lambda: prompt.text("x"), lambda: prompt.control("x"), lambda: prompt.message("a", "b"), prompt.open,
            prompt.clear, lambda: prompt.reserve(9), lambda: Program(["x"]).write(prompt, []),
            lambda: Programs().write(prompt, [], 0),
        ]  # fmt: skip
        for call in calls:
            error = fault(call)
            assert (error.code, error.details) == ("concurrent_use", {"views": 1})
        with memoryview(prompt) as second:
            assert fault(prompt.clear).details == {"views": 2}
            assert second == view
        view.release()
        assert bytes(prompt.text("d")) == b"abcd"

    def test_a_view_keeps_the_prompt_alive(self) -> None:
        view = memoryview(PromptBuilder().text("x" * 1000))
        others = [PromptBuilder().text("y" * 1000) for _ in range(10)]
        assert view.tobytes() == b"x" * 1000
        assert len(others) == 10

    def test_writing_through_a_view_is_refused(self) -> None:
        with pytest.raises(TypeError):
            memoryview(PromptBuilder().text("a"))[0] = 98
        with pytest.raises(TypeError):
            ctypes.c_char.from_buffer(PromptBuilder().text("a"))


class TestPool:
    def test_memory_comes_back(self) -> None:
        before = memory.stats()["prompts"]
        prompts = [PromptBuilder().text("x" * 3000) for _ in range(4)]
        assert memory.stats()["prompts"].lent == before.lent + 4
        del prompts
        kept = memory.stats()["prompts"]
        assert kept.lent_bytes == before.lent_bytes
        prompt = PromptBuilder().text("x" * 3000)
        after = memory.stats()["prompts"]
        assert (after.hits, after.lent_bytes) == (kept.hits + 1, kept.lent_bytes + 3072)
        prompt.clear()
        assert memory.stats()["prompts"].lent_bytes == before.lent_bytes

    @pytest.mark.parametrize("text", ["a" * 256, "é" * 128, "中" * 85, "🙂" * 64, b"a" * 256, b"\xc3\xa9" * 128])
    def test_256_bytes_stay_in_the_object(self, text: str | bytes) -> None:
        for size in (300, 600, 1200):
            PromptBuilder().text("x" * size).clear()  # blocks that could be taken
        before = memory.stats()["prompts"].lent
        prompt = PromptBuilder().text(text)
        assert memory.stats()["prompts"].lent == before
        prompt.text("aa")
        assert memory.stats()["prompts"].lent > before

    def test_the_pool_is_bounded(self) -> None:
        prompts = [PromptBuilder().text("x" * (5 << 20)) for _ in range(12)]
        prompts += [PromptBuilder().text("x" * (17 << 20))]
        del prompts
        assert memory.stats()["prompts"].held_bytes <= 1 << 26

    def test_threads(self) -> None:
        faults: list[str] = []

        def work(number: int) -> None:
            prompt = PromptBuilder()
            for turn in range(300):
                text = chr(97 + number) * (100 * (turn % 40))
                if str(prompt.text(text)) != text:
                    faults.append(text)
                prompt.clear()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not faults


class TestEncode:
    def test_control_tokens_come_from_trusted_text_only(self) -> None:
        tokenizer = FakeTokenizer()
        start, end, _ = (256, 257, 258)
        prompt = PromptBuilder().message("user", "a<|im_end|>").open()
        assert prompt.encode(tokenizer) == [start, *b"user\na<|im_end|>", end, 10, start, *b"assistant\n"]
        half = PromptBuilder().control("<|im_").text("end|>").control("<|im_end|>")
        assert half.encode(tokenizer) == [*b"<|im_end|>", end]

    def test_the_opt_out_warns(self) -> None:
        prompt = PromptBuilder().text("<|im_end|>")
        with pytest.warns(ControlTokenWarning, match="forge"):
            assert prompt.encode(FakeTokenizer(), allow_control_tokens=True) == [257]


class TestProgram:
    def test_steps(self) -> None:
        program = Program(["<", ("content", 1), "|", ("content", 0), ">", ("clock", "%Y-%m")], [(0, "bad"), (1, None)])
        prompt = PromptBuilder().text("x")
        assert program.write(prompt, ["a", "é"], datetime(2024, 7, 1))
        assert str(prompt) == "x<é|a>2024-07"
        assert prompt.segments == [
            (0, 1, False),
            (1, 2, True),
            (2, 4, False),
            (4, 5, True),
            (5, 6, False),
            (6, 14, True),
        ]
        for contents in (["bad", "x"], ["a", " \u3000"], ["a", ""], ["a", "\ud800"], ["a"], ["a", b"b"], ["a", None]):
            assert not program.write(prompt, contents)
            assert str(prompt) == "x<é|a>2024-07"

    @pytest.mark.parametrize(
        ("parts", "guards", "error"),
        [
            ([("content", -1)], [], ValueError),
            (["a"], [(-1, "x")], ValueError),
            ([("content",)], [], IndexError),
            ([3], [], TypeError),
            ([("content", "a")], [], ValueError),
        ],
    )
    def test_nonsense_is_refused(self, parts: Any, guards: Any, error: type[Exception]) -> None:
        with pytest.raises(error):
            Program(parts, guards)

    def test_a_clock_can_not_touch_what_is_being_written(self) -> None:
        prompt = PromptBuilder().text("before")

        class Clock:
            def strftime(self, form: str) -> str:
                prompt.clear()
                return form

        program = Program([("strip", ("a ", ("clock", "%Y"), " "), True, True)])
        assert program.write(prompt, [], Clock())  # type: ignore[arg-type]
        assert str(prompt) == "a %Y"

        class Viewer:
            def strftime(self, form: str) -> str:
                self.view = memoryview(prompt)
                return form

        viewer = Viewer()
        assert fault(program.write, prompt, [], viewer).code == "concurrent_use"
        assert str(prompt) == "a %Y"

    def test_long_prompts_of_repeated_contents_are_left_to_jinja(self) -> None:
        program = Program([("content", 0)] * 100)
        prompt = PromptBuilder()
        assert program.write(prompt, ["a" * 10_000])
        prompt.clear()
        assert not program.write(prompt, ["a" * 11_000])
        assert len(prompt) == 0

    def test_a_program_that_was_never_made(self) -> None:
        with pytest.raises(TypeError):
            Program.__new__(Program).write(PromptBuilder(), ["a"])

    def test_strips_within_strips(self) -> None:
        nested: Any = ("content", 0)
        for _ in range(8):
            nested = ("strip", (" ", nested), True, True)
        prompt = PromptBuilder()
        assert Program([nested]).write(prompt, [" a "])
        assert str(prompt) == "a"
        with pytest.raises(ValueError, match="strips"):
            Program([("strip", (nested,), True, True)])

    @given(
        before=st.text(" \n\u3000a", max_size=3),
        contents=st.lists(st.text(" \t\x1f\x85\xa0\u1680\u200b\u2028\u3000aé🙂", max_size=6), min_size=2, max_size=2),
        middle=st.text(" \u2003x", max_size=3),
        left=st.booleans(),
        right=st.booleans(),
    )
    def test_white_space_is_what_python_says(
        self, before: str, contents: list[str], middle: str, left: bool, right: bool
    ) -> None:
        prompt = PromptBuilder().text(before)
        program = Program(["[", ("strip", (("content", 0), middle, ("content", 1)), left, right), "]"])
        assert program.write(prompt, contents)
        body = contents[0] + middle + contents[1]
        body = body.strip() if left and right else body.lstrip() if left else body.rstrip() if right else body
        assert str(prompt) == before + "[" + body + "]"
        marks = "".join("T" if trusted else "u" for start, end, trusted in prompt.segments for _ in range(start, end))
        everything = "u" * len(before.encode()) + "T"
        spelled = [("u", contents[0]), ("T", middle), ("u", contents[1])]
        flags = "".join(flag * len(text.encode()) for flag, text in spelled)
        whole = (contents[0] + middle + contents[1]).encode()
        cut = len(whole) - len(whole.decode().lstrip().encode()) if left else 0
        assert marks == everything + flags[cut : cut + len(body.encode())] + "T"
        assert all(start < end for start, end, _ in prompt.segments)
        assert all(one[2] != other[2] for one, other in zip(prompt.segments, prompt.segments[1:], strict=False))


class TestPrograms:
    def test_only_the_plain_kind_of_message(self) -> None:
        programs = Programs()
        programs.learn(["user"], 1, Program([("content", 0)]))
        prompt = PromptBuilder()

        class Odd(dict[str, str]):
            pass

        class OddText(str):
            pass

        refused: list[Any] = [
            [{"content": "a", "role": "user"}],
            [{"role": "user", "content": "a", "name": "x"}],
            [{"role": "user"}],
            [{"role": "user", "text": "a"}],
            [{"kind": "user", "content": "a"}],
            [{"role": "user", "content": None}],
            [{"role": "user", "content": b"a"}],
            [{"role": "user", "content": OddText("a")}],
            [{"role": OddText("user"), "content": "a"}],
            [Odd(role="user", content="a")],
            [{"role": "system", "content": "a"}],
            [{"role": "user", "content": "a"}] * 2,
            [{1: "user", "content": "a"}],
            ["user"],
            [],
            "user",
            7,
            None,
        ]
        for messages in refused:
            assert not programs.write(prompt, messages, 1)
        assert not programs.write(prompt, [{"role": "user", "content": "a"}], 0)
        assert not programs.write(prompt, [{"role": "user", "content": "a"}], 9)
        assert bytes(prompt) == b""
        for messages in ([{"role": "user", "content": "a"}], ({"role": "user", "content": "b"},)):
            assert programs.write(prompt, messages, 1)
        assert bytes(prompt) == b"ab"

    def test_what_is_known(self) -> None:
        programs = Programs()
        assert programs.known(["user"], 0) is None
        programs.learn(["user"], 0, True)
        programs.learn(["user", "tool"], 0, "it looks into a content")
        assert programs.known(["user"], 0) is True
        assert programs.known(["user"], 1) is None
        assert programs.known(["user", "tool"], 0) == "it looks into a content"
        assert not programs.write(PromptBuilder(), [{"role": "user", "content": "a"}], 0)
        with pytest.raises(ValueError, match="more messages"):
            programs.learn(["user"], 0, Program([("content", 1)]))

    def test_the_tree_is_bounded(self) -> None:
        programs = Programs()
        programs.learn(["user"], 0, True)
        for number in range(10_000):
            programs.learn([str(number)], 0, True)
        assert programs.known(["user"], 0) is None
        assert programs.known(["9999"], 0) is True
        programs.learn(["a"] * 257, 0, True)
        assert programs.known(["a"] * 257, 0) is None
