"""A conversation and its slash commands; what fails leaves it as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fastgen.cli.session import Session
from fastgen.errors import FastgenError, InvalidParameterError, LogitsError, PromptError
from fastgen.params import SamplingParams

from .standin import parrot

HI = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "user\nhi\nassistant\n"}]


def session(system: str | None = None, **options: Any) -> Session:
    return Session(parrot(**options), SamplingParams(temperature=0.0, max_tokens=100), system)


def ignore(_: str) -> None:
    pass


def test_answer_and_undo() -> None:
    talk = session()
    written: list[str] = []
    assert talk.answer("hi", written.append) is False
    assert "".join(written) == HI[1]["content"]
    assert talk.messages == HI
    assert talk.last is not None
    talk.answer("more", ignore)
    assert len(talk.messages) == 4
    talk.command("/undo")
    assert talk.messages == HI
    talk.command("/clear")
    assert talk.messages == []
    with pytest.raises(InvalidParameterError):
        talk.command("/undo")


def test_regenerate_replaces_the_last_answer() -> None:
    talk = session()
    with pytest.raises(InvalidParameterError):
        talk.regenerate(ignore)
    talk.answer("hi", ignore)
    talk.command("/set max_tokens 5")
    talk.regenerate(ignore)
    assert talk.messages == [HI[0], {"role": "assistant", "content": "user"}]


def test_an_interrupted_answer_is_kept_unless_it_is_empty() -> None:
    talk = session(interrupt_after=4)
    assert talk.answer("hi", ignore) is True
    assert talk.messages[1]["content"] == "use"
    assert talk.last is not None
    assert talk.last.finish_detail == "cancelled"
    talk = session(interrupt_after=0)
    assert talk.answer("hi", ignore) is True
    assert talk.messages == []


def test_a_failed_answer_leaves_the_conversation() -> None:
    talk = session(fail_after=60)
    talk.answer("hi", ignore)
    with pytest.raises(LogitsError):
        talk.answer("a message that is long enough to fail in the middle", ignore)
    assert talk.messages == HI


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("/set temperature 0.5", "temperature", 0.5),
        ("/set temp 2", "temperature", 2),
        ("/set  top_k   40", "top_k", 40),
        ('/set stop "\\n\\n"', "stop", ("\n\n",)),
        ('/set stop ["a", "b"]', "stop", ("a", "b")),
        ("/set stop the end", "stop", ("the end",)),
        ("/set ignore_eos true", "ignore_eos", True),
        ("/set max_new_tokens 7", "max_tokens", 7),
    ],
)
def test_set(line: str, name: str, value: Any) -> None:
    talk = session()
    said = talk.command(line)
    assert getattr(talk.params, name) == value
    assert said == f"{name} = {json.dumps(value)}"


def test_set_none_goes_back() -> None:
    talk = session()
    for line in ("/set temperature 1.5", "/set temperature none", "/set seed 3", "/set seed none"):
        talk.command(line)
    assert talk.params == SamplingParams(temperature=0.0, max_tokens=100)


def test_set_alone_shows_all() -> None:
    said = session().command("/set")
    assert said is not None
    assert "temperature = 0.0" in said.split("\n")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("/set temperatur 1", "did you mean 'temperature'?"),
        ("/set temperature", "for example: /set temperature none"),
        ("/set temperature hot", None),
        ("/set top_p 7", None),
        ("/sett", "did you mean /set?"),
        ("/regn", "did you mean /regen?"),
        ("/xyzzy", '/help lists them; a message that begins with / goes between """'),
        ("/save", "for example: /save talk.json"),
        ("/save .", "for example: /save talk.json"),
        ("/load", "for example: /load talk.json"),
    ],
)
def test_refused_commands_change_nothing(line: str, hint: str | None) -> None:
    talk = session("Be brief")
    before = talk.params
    with pytest.raises(InvalidParameterError) as caught:
        talk.command(line)
    assert caught.value.hint == hint
    assert (talk.params, talk.system, talk.messages) == (before, "Be brief", [])


def test_system() -> None:
    talk = session()
    assert talk.command("/system") == "there is no system message"
    assert talk.command("/system Be brief") == "system: Be brief"
    talk.answer("hi", ignore)
    assert talk.messages[1]["content"].startswith("system\nBe brief\n")
    talk.command("/system none")
    assert talk.system is None


def test_save_and_load(tmp_path: Path) -> None:
    talk = session("Be brief 🙂")
    talk.answer("hi", ignore)
    talk.command("/set stop end")
    file = tmp_path / "my talk.json"
    file.write_text("what was there before")
    talk.command(f"/save {file}")
    assert list(tmp_path.iterdir()) == [file]
    other = session()
    other.command(f"/load {file}")
    assert (other.messages, other.system, other.params) == (talk.messages, talk.system, talk.params)


USER = {"role": "user", "content": "a"}
ANSWER = {"role": "assistant", "content": "b"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        json.dumps({"messages": [USER]}).encode(),
        json.dumps({"messages": [ANSWER, USER]}).encode(),
        json.dumps({"messages": [USER, {"role": "assistant", "content": 3}]}).encode(),
        json.dumps({"messages": [USER, "b"]}).encode(),
        json.dumps({"messages": [], "system": 3}).encode(),
        json.dumps({"messages": [], "params": [1]}).encode(),
        json.dumps({"messages": [], "params": {"temperature": -1}}).encode(),
        json.dumps({"messages": [], "params": {"nonsense": 1}}).encode(),
    ],
)
def test_a_file_that_is_not_a_conversation(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "talk.json"
    file.write_bytes(content)
    talk = session("Be brief")
    talk.answer("hi", ignore)
    before = (talk.messages, talk.system, talk.params)
    with pytest.raises((PromptError, InvalidParameterError)) as caught:
        talk.command(f"/load {file}")
    assert isinstance(caught.value, FastgenError)
    assert caught.value.details["path"] == str(file)
    assert (talk.messages, talk.system, talk.params) == before


@pytest.mark.parametrize("line", ["/exit", "/bye"])
def test_leaving(line: str) -> None:
    talk = session()
    assert talk.command(line) is None
    assert talk.ended
