"""The sampling options of ``generate`` and ``chat``: each reaches its parameter, grammars come from files too."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastgen.cli.options import OPTIONS
from fastgen.cli.results import plain
from fastgen.generator import Generator
from fastgen.params import SamplingParams

from .conftest import Run

PLAIN = [
    ("--temp", "0.5", "temperature", 0.5),
    ("--temperature", "0.5", "temperature", 0.5),
    ("--top-p", "0.5", "top_p", 0.5),
    ("--top-k", "7", "top_k", 7),
    ("--min-p", "0.1", "min_p", 0.1),
    ("--seed", "3", "seed", 3),
    ("--stop", "zz", "stop", ("zz",)),
]
NEW = [
    ("--profile", "vllm", "profile", "vllm"),
    ("--typical-p", "0.5", "typical_p", 0.5),
    ("--top-n-sigma", "1.5", "top_n_sigma", 1.5),
    ("--xtc-probability", "0.5", "xtc_probability", 0.5),
    ("--xtc-threshold", "0.2", "xtc_threshold", 0.2),
    ("--mirostat", "2", "mirostat", 2),
    ("--repeat-penalty", "1.2", "repetition_penalty", 1.2),
    ("--presence-penalty", "0.5", "presence_penalty", 0.5),
    ("--frequency-penalty", "-0.5", "frequency_penalty", -0.5),
    ("--min-tokens", "2", "min_tokens", 2),
    ("--regex", "[a-z]+", "regex", "[a-z]+"),
    ("--stop-token", "5", "stop_token_ids", (5,)),
    ("--stop-loops", "32", "repetition_detection", (32, 1, 4)),
    ("--stop-loops", "16,3", "repetition_detection", (16, 1, 3)),
    ("--lookup", "8", "prompt_lookup_num_tokens", 8),
    ("--hold", "grapheme", "hold", "grapheme"),
]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[SamplingParams]:
    """Return the parameters with which the generator is called, which gives nothing back."""
    found: list[SamplingParams] = []

    def stream(_: Generator, prompt: Any, params: SamplingParams | None = None, **given: Any) -> Iterator[Any]:
        found.append((params or SamplingParams()).replace(**given))
        return iter(())

    monkeypatch.setattr(Generator, "stream", stream)
    return found


def test_every_option_has_a_case() -> None:
    assert {name for _, _, name, _ in (*PLAIN, *NEW)} | {"json_schema", "grammar", "include_stop_str_in_output"} == set(
        OPTIONS
    )


def test_every_option_is_a_parameter() -> None:
    assert set(OPTIONS) <= {field.name for field in dataclasses.fields(SamplingParams)}


@pytest.mark.parametrize("command", ["generate", "chat"])
def test_help_has_all_of_them(run: Run, command: str) -> None:
    text = run(command, "--help").stdout
    assert [option for option, *_ in (*PLAIN, *NEW) if option not in text] == []
    assert "--json-schema FILE|JSON" in text
    assert "--grammar FILE|TEXT" in text


def test_keeping_the_stop_needs_no_value(run: Run, seen: list[SamplingParams]) -> None:
    run("generate", "hi", "--stop", "x", "--keep-stop")
    run("generate", "hi", "--stop", "x")
    assert [one.include_stop_str_in_output for one in seen] == [True, False]


@pytest.mark.parametrize("text", ["many", "3,x", "1,2,3"])
def test_loops_take_numbers(run: Run, text: str) -> None:
    assert run("generate", "hi", "--stop-loops", text).exit_code == 2


@pytest.mark.parametrize(("option", "text", "name", "value"), [*PLAIN, *NEW])
@pytest.mark.parametrize("command", [("generate", "hi"), ("chat",)])
def test_values_reach_the_generator(
    run: Run, seen: list[SamplingParams], command: tuple[str, ...], option: str, text: str, name: str, value: Any
) -> None:
    run(*command, option, text, stdin="hi\n")
    assert getattr(seen[0], name) == value


@pytest.mark.parametrize("args", [("--typical-p", "2"), ("--mirostat", "3"), ("--n", "0"), ("--profile", "nothing")])
def test_values_are_checked(run: Run, args: tuple[str, str]) -> None:
    assert run("generate", "hi", *args).exit_code == 2


@pytest.mark.parametrize("option", ["json_schema", "grammar"])
def test_grammars_as_text_or_file(run: Run, seen: list[SamplingParams], tmp_path: Path, option: str) -> None:
    text = {"json_schema": ' {"type": "integer"}', "grammar": 'start: "é"'}[option]
    file = tmp_path / "grammar.txt"
    file.write_text(text, "utf-8")
    flag = "--" + option.replace("_", "-")
    run("generate", "hi", flag, text)
    run("generate", "hi", flag, str(file))
    kept = {"json_schema": '{"type":"integer"}', "grammar": text}[option]
    assert [getattr(params, option) for params in seen] == [kept, kept]


@pytest.mark.parametrize("flag", ["--json-schema", "--grammar"])
def test_files_that_can_not_be_read(run: Run, tmp_path: Path, flag: str) -> None:
    for name in ("nothing.txt", "a" * 5000):
        result = run("generate", "hi", flag, name)
        assert result.exit_code == 2
        assert "there is no file" in result.stderr
    file = tmp_path / "latin1.txt"
    file.write_bytes(b"\xe9")
    assert "not UTF-8" in run("generate", "hi", flag, str(file)).stderr


def test_a_grammar_that_is_not_valid(run: Run) -> None:
    pytest.importorskip("llguidance")
    result = run("generate", "hi", "--json-schema", '{"type": "frog"}')
    assert result.exit_code == 2
    assert "frog" in result.stderr


def test_constrained_text(run: Run) -> None:
    pytest.importorskip("llguidance")
    result = run("generate", "--raw", "abcdef", "--temp", "0", "--regex", "xyz")
    assert (result.exit_code, result.stdout) == (0, "xyz\n")


def test_several_answers(run: Run) -> None:
    assert run("generate", "--raw", "abc", "--temp", "0", "--n", "2").stdout == "abc\n\nabc\n"
    lines = run("generate", "--raw", "abc", "--temp", "0", "--n", "2", "--json").stdout.splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["abc", "abc"]


def test_several_answers_are_not_for_batches(run: Run) -> None:
    assert run("generate", "--batch", "--n", "2", stdin="a\n").exit_code == 2


@pytest.mark.parametrize("form", [(), ("--stream",)])
def test_log_probabilities(run: Run, form: tuple[str, ...]) -> None:
    lines = run("generate", "--raw", "ab", "--temp", "0", "--logprobs", "2", "--json", *form).stdout.splitlines()
    found = [json.loads(line) for line in lines]
    assert all(one.get("logprobs") for one in found if one.get("token_ids"))
    assert "seed" in found[-1]


def test_no_log_probabilities_unless_asked_for(run: Run) -> None:
    assert "logprobs" not in json.loads(run("generate", "hi", "--temp", "0", "--json").stdout)


def test_log_probabilities_as_json() -> None:
    @dataclasses.dataclass
    class Entry:
        token: int
        raw: bytes
        top: Any

    entry = Entry(3, b"\xc3", {1: np.float32(-0.5), 2: float("-inf")})
    assert plain((entry, None)) == [{"token": 3, "raw": [0xC3], "top": {1: -0.5, 2: -9999.0}}, None]
    json.dumps(plain((entry, np.arange(2))), allow_nan=False)
