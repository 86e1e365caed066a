"""``fastgen generate --batch``: files of prompts, results in their order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fastgen.cli.batch import Job, read_jobs
from fastgen.errors import FastgenError, InvalidParameterError, PromptError

from .conftest import Run
from .standin import parrot

MESSAGES = [{"role": "user", "content": "hi"}]


def test_lines_are_prompts() -> None:
    assert read_jobs("one\r\n\n  \n{two}\n", "x.txt") == [Job(1, "one", {}), Job(4, "{two}", {})]


def test_json_lines() -> None:
    text = f'{{"prompt": "one", "temp": 0, "id": "a"}}\n\n{json.dumps({"messages": MESSAGES})}\n'
    expected = [Job(1, "one", {"temp": 0}, "a"), Job(3, MESSAGES, {})]
    assert read_jobs(text, "x.jsonl") == expected
    assert read_jobs(text, "stdin") == expected


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("{", PromptError),
        ("[]", PromptError),
        ("{}", PromptError),
        ('{"prompt": ""}', PromptError),
        ('{"prompt": 3}', PromptError),
        ('{"messages": []}', PromptError),
        ('{"messages": ["x"]}', PromptError),
        ('{"prompt": "x", "messages": [{}]}', PromptError),
        ('{"prompt": "x", "temperature": -1}', InvalidParameterError),
        ('{"prompt": "x", "temperatur": 1}', InvalidParameterError),
    ],
)
def test_a_bad_line_is_named(line: str, kind: type[FastgenError]) -> None:
    with pytest.raises(kind) as caught:
        read_jobs(f'{{"prompt": "fine"}}\n{line}\n', "x.jsonl")
    assert caught.value.details["line"] == 2


def test_a_file_without_prompts() -> None:
    with pytest.raises(PromptError) as caught:
        read_jobs("\n \n", "x.txt")
    assert caught.value.code == "prompt_empty"


def write(folder: Path, *lines: dict[str, Any]) -> str:
    file = folder / "prompts.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return str(file)


def test_results_keep_the_order_and_the_id(run: Run, tmp_path: Path) -> None:
    file = write(
        tmp_path,
        {"prompt": "a long prompt that ends last", "id": 17},
        {"messages": MESSAGES},
        {"prompt": "abcdef", "max_tokens": 2, "seed": 5},
    )
    output = tmp_path / "out.jsonl"
    result = run("generate", "--raw", "--batch", "-f", file, "-o", str(output), "--temp", "0")
    assert (result.exit_code, result.output) == (0, "")
    found = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert [one["text"] for one in found] == ["a long prompt that ends last", "user\nhi\nassistant\n", "ab"]
    assert [one.get("id") for one in found] == [17, None, None]
    assert [one["index"] for one in found] == [0, 1, 2]
    assert found[2]["seed"] == 5


def test_a_failed_sequence_does_not_harm_the_others(run: Run, tmp_path: Path) -> None:
    file = write(tmp_path, {"prompt": "ab"}, {"prompt": "abcdef"}, {"prompt": "b"})
    result = run("generate", "--raw", "--batch", "-f", file, "--temp", "0", model=parrot(fail_after=4))
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert [one["finish_reason"] for one in found] == ["stop", "error", "stop"]
    assert found[1]["text"] == "abcd"
    assert found[1]["error"]["code"] == "logits_nonfinite"


def test_a_prompt_beyond_the_context_names_its_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("\nab\n\nabcdef\n")
    output = tmp_path / "out.jsonl"
    args = ("generate", "--raw", "--batch", "-f", str(file), "-o", str(output))
    result = run(*args, model=parrot(max_positions=4))
    assert result.exit_code == 2
    assert "line=4" in result.stderr
    assert not output.exists()


def test_where_results_go_is_checked_first(run: Run, tmp_path: Path) -> None:
    file = write(tmp_path, {"prompt": "ab"})
    assert run("generate", "--batch", "-f", file, "-o", str(tmp_path / "none" / "out")).exit_code == 2
    assert run("generate", "hi", "-o", str(tmp_path / "out")).exit_code == 2


def test_ctrl_c_keeps_what_is_complete(run: Run, tmp_path: Path) -> None:
    file = write(tmp_path, {"prompt": "ab"}, {"prompt": "abcdef"})
    result = run("generate", "--raw", "--batch", "-f", file, "--temp", "0", model=parrot(interrupt_after=4))
    assert result.exit_code == 130
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["text"], line["finish_reason"]) for line in lines] == [("ab", "stop"), ("abcd", "abort")]
