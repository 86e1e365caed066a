"""``fastgen chat``: through a pipe and on a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import TESTS, Run
from .standin import parrot

Program = Callable[..., "subprocess.Popen[bytes]"]
GREEDY = ("--temp", "0")


def test_answers_only_on_stdout(run: Run) -> None:
    result = run("chat", *GREEDY, stdin="hi\n\n   \n")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "user\nhi\nassistant\n", "")


def test_it_remembers(run: Run) -> None:
    result = run("chat", "-s", "Be brief", *GREEDY, stdin="one\ntwo 🙂\n")
    first = "system\nBe brief\nuser\none\nassistant\n"
    second = f"system\nBe brief\nuser\none\nassistant\n{first}\nuser\ntwo 🙂\nassistant\n"
    assert result.stdout == first + second


def test_several_lines(run: Run) -> None:
    result = run("chat", *GREEDY, stdin='"""one\n\n /two\n"""\n/clear\n"""/help"""\n/clear\n"""\nopen end\n')
    answers = ("one\n\n /two\n", "/help", "\nopen end")
    assert result.stdout == "".join(f"user\n{text}\nassistant\n" for text in answers)


def test_commands_speak_on_stderr(run: Run) -> None:
    result = run("chat", stdin="/help\n/?\n/stats\n/system Be brief\n/exit\nnever read\n")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.count("/regen") == 2
    assert "no complete answer yet" in result.stderr
    assert "system: Be brief" in result.stderr


def test_errors_do_not_end_it_but_show_in_the_exit_code(run: Run) -> None:
    result = run("chat", *GREEDY, stdin=b"/set temperatur 1\n/savee x\nab\xff\n/load /none\nhi\n")
    assert result.exit_code == 2
    assert result.stdout == "user\nhi\nassistant\n"
    assert "did you mean 'temperature'?" in result.stderr
    assert "did you mean /save?" in result.stderr
    assert f"offset={len('/set temperatur 1') + 1 + len('/savee x') + 1 + 2}" in result.stderr
    assert "No such file" in result.stderr


def test_regen_with_a_fixed_seed_says_so(run: Run) -> None:
    result = run("chat", *GREEDY, "--seed", "1", stdin="hi\n/regen\n")
    assert result.stdout == "user\nhi\nassistant\n" * 2
    assert "/set seed none" in result.stderr


def test_ctrl_c_stops_the_answer_only(run: Run) -> None:
    result = run("chat", *GREEDY, stdin="hi\n/undo\n", model=parrot(interrupt_after=4))
    assert result.exit_code == 0
    assert result.stdout == "use\n"  # the first of the four tokens is a control token
    assert "(stopped)" in result.stderr
    assert "taken back" in result.stderr


def test_a_full_context_hints_at_clear(run: Run) -> None:
    result = run("chat", *GREEDY, stdin="a message that is too long\n/clear\nhi\n", model=parrot(max_positions=30))
    assert result.exit_code == 2
    assert "/clear forgets the conversation" in result.stderr
    assert result.stdout == "user\nhi\n"
    assert "the context is full" in result.stderr


def test_end_by_max_tokens_is_said(run: Run) -> None:
    result = run("chat", *GREEDY, "--max-tokens", "3", "--stats", stdin="hi\n")
    assert "max_tokens = 3" in result.stderr
    assert "Generation:  3 tokens" in result.stderr


def test_a_model_without_template(run: Run) -> None:
    result = run("chat", stdin="hi\n", model=parrot(chat_template=None))
    assert result.exit_code == 2
    assert "fastgen generate --raw" in result.stderr


def test_unexpected_errors_do_not_end_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    model = parrot()

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model, "stream", broken)
    result = run("chat", stdin="hi\n/system\n", model=model)
    assert result.exit_code == 1
    assert "RuntimeError: out of memory" in result.stderr
    assert "there is no system message" in result.stderr


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *args: str, **environment: str) -> None:
        self.text = ""
        ours, theirs = pty.openpty()
        env = {
            **os.environ,
            "TERM": "xterm",
            "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]),
            **environment,
        }
        command = [sys.executable, str(TESTS / "cli" / "standin.py"), *args]
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True
        )
        os.close(theirs)
        self._file = ours

    def until(self, wanted: str, seconds: float = 60) -> str:
        """Read until a text appears and return what came before it."""
        deadline = time.monotonic() + seconds
        while wanted not in self.text:
            ready, _, _ = select.select([self._file], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{wanted!r} is not in {self.text!r}"
            self.text += os.read(self._file, 4096).decode()
        before, _, self.text = self.text.partition(wanted)
        return before

    def interrupt_until(self, wanted: str) -> None:
        """Press Ctrl-C until a text appears: Python may miss one that comes just before it waits for a line."""
        for _ in range(20):
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(AssertionError):
                self.until(wanted, 2)
                return
        raise AssertionError(f"{wanted!r} is not in {self.text!r}")

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def close(self) -> int:
        code = self.process.wait(60)
        os.close(self._file)
        return code


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    pytest.importorskip("readline")
    started: list[Terminal] = []

    def start(*args: str, **environment: str) -> Terminal:
        started.append(Terminal(*args, **environment))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def test_on_a_terminal(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    chat = terminal("chat", *GREEDY, XDG_STATE_HOME=str(tmp_path), NO_COLOR="1", PARROT_PAUSE="0.02")
    chat.until(">>> ")
    chat.type("hello\n")
    chat.until("assistant")
    chat.until(">>> ")
    chat.interrupt_until("(Ctrl-D or /exit leaves)")  # at the prompt: a new line
    chat.until(">>> ")
    chat.type("a long message to be stopped\n")
    chat.until("user\r\na ")
    chat.interrupt_until("(stopped)")
    chat.until(">>> ")
    chat.type("/clear\n")
    chat.until(">>> ")
    chat.type('"""two\nlines"""\n')
    chat.until("... ")
    chat.until(">>> ")
    chat.type("\x04")
    assert chat.close() == 0
    (history,) = tmp_path.rglob("chat_history")
    assert "hello" in history.read_text("utf-8").split("\n")
    assert history.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("environment", "colored"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_the_prompt_has_a_color(
    terminal: Callable[..., Terminal], tmp_path: Path, environment: dict[str, str], colored: bool
) -> None:
    chat = terminal("chat", XDG_STATE_HOME=str(tmp_path), **environment)
    before = chat.until(">>> ")
    chat.type("\x04")
    assert chat.close() == 0
    assert ("\x1b[31m" in before) is colored
    assert bool(re.search(r"\x1b\[\d*m", before)) is colored
