"""Sampling parameters: what is accepted, how problems are told, other spellings, other sources."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle
from pathlib import Path
from typing import Any

import pytest

from fastgen.errors import CheckpointError, InvalidParameterError, UnknownParameterError
from fastgen.params import GREEDY_BELOW, SamplingParams

NAMES = [field.name for field in dataclasses.fields(SamplingParams)]


def problem(**given: Any) -> InvalidParameterError:
    with pytest.raises(InvalidParameterError) as caught:
        SamplingParams(**given)
    return caught.value


def test_defaults_are_neutral() -> None:
    assert SamplingParams().to_dict() == {
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "min_p": 0.0,
        "seed": None,
        "max_tokens": None,
        "stop": (),
        "stop_token_ids": (),
        "ignore_eos": False,
        "include_stop_str_in_output": False,
        "skip_special_tokens": True,
    }
    assert not SamplingParams().greedy


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("temperature", [0, 0.0, -0.0, 1, 2, 1e-300, 1e-5, 0.7, 100, 100.0]),
        ("top_k", [0, 1, 50, 1 << 31]),
        ("top_p", [5e-324, 0.5, 1, 1.0]),
        ("min_p", [0, 0.0, 0.05, 1, 1.0]),
        ("seed", [None, 0, 1, -1, -(1 << 63), (1 << 63) - 1, (1 << 64) - 1]),
        ("max_tokens", [None, 1, 1 << 31]),
        ("stop", [(), ("a",), ("a", "\n\n", "é", "\U0001f600", "\x00")]),
        ("stop_token_ids", [(), (0,), (5, 0, 1 << 31)]),
        ("ignore_eos", [False, True]),
        ("include_stop_str_in_output", [False, True]),
        ("skip_special_tokens", [False, True]),
    ],
)
def test_values_in_range(name: str, values: list[Any]) -> None:
    for value in values:
        assert getattr(SamplingParams(**{name: value}), name) == value


NUMBERS = (math.nan, math.inf, -math.inf, 10**400, -(10**400), 10**5000, "1", None, True, [1], 1j)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("temperature", [-1, -1e-9, 100.1, *NUMBERS]),
        ("top_k", [-2, 1.0, 0.5, (1 << 31) + 1, *NUMBERS]),
        ("top_p", [0, 0.0, -0.1, 2, 1.0000001, *NUMBERS]),
        ("min_p", [-0.1, 1.05, 2, *NUMBERS]),
        ("seed", [1.0, 1 << 64, -(1 << 63) - 1, "x", True, math.nan, 10**5000]),
        ("max_tokens", [0, -1, 1.0, (1 << 31) + 1, 10**30, 10**5000, math.nan, math.inf, "1", True]),
        ("stop", ["", ("",), ("a", ""), ("a", 1), (None,), b"a", (b"a",), "\ud800", ("a\udfff",), 1, {"a": 1}, True]),
        ("stop_token_ids", [-1, (-1,), (1.0,), ("1",), (True,), True, (1 << 40,), "1", b"12", 1.5]),
        ("ignore_eos", [0, 1, None, "true"]),
        ("include_stop_str_in_output", [0, 1, None, "true"]),
        ("skip_special_tokens", [0, 1, None, "true"]),
    ],
)
def test_values_out_of_range(name: str, values: list[Any]) -> None:
    for value in values:
        error = problem(**{name: value})
        assert (error.code, error.status) == ("invalid_value", 400)
        assert error.details["parameter"] == name
        [told] = error.details["problems"]
        assert told.startswith(f"{name}=")
        assert "must be" in told
        assert len(str(error)) < 1000


def test_long_values_are_cut_short() -> None:
    assert len(str(problem(stop=b"x" * 1_000_000))) < 1000


def test_all_problems_are_told_at_once() -> None:
    error = problem(temperature=-1, top_p=0, max_tokens=0, stop=[""], seed=7, ignore_eos="no")
    assert error.details["parameter"] == "temperature"
    assert [text.split("=")[0] for text in error.details["problems"]] == [
        "temperature",
        "top_p",
        "max_tokens",
        "stop",
        "ignore_eos",
    ]
    for name, value in (("temperature", -1), ("top_p", 0), ("max_tokens", 0)):
        assert f"{name}={value}: must be" in str(error)


def test_one_or_many() -> None:
    assert SamplingParams(stop="ab").stop == ("ab",)
    assert SamplingParams(stop=["a", "b"]).stop == ("a", "b")
    assert SamplingParams(stop=(text for text in "ab")).stop == ("a", "b")
    assert SamplingParams(stop=None, stop_token_ids=None).to_dict() == SamplingParams().to_dict()
    assert SamplingParams(stop_token_ids=7).stop_token_ids == (7,)
    assert SamplingParams(stop_token_ids=range(3)).stop_token_ids == (0, 1, 2)


def test_off_is_zero() -> None:
    assert SamplingParams(top_k=-1).top_k == 0
    assert SamplingParams(top_k=-1) == SamplingParams()


@pytest.mark.parametrize(
    ("temperature", "greedy"), [(0, True), (9.99e-6, True), (GREEDY_BELOW, False), (1e-300, True), (1, False)]
)
def test_greedy(temperature: float, greedy: bool) -> None:
    assert SamplingParams(temperature=temperature).greedy is greedy


# Names.


@pytest.mark.parametrize("name", ["max_new_tokens", "max_completion_tokens", "n_predict", "max_tokens"])
def test_names_of_max_tokens(name: str) -> None:
    assert SamplingParams(**{name: 9}).max_tokens == 9
    assert SamplingParams().replace(**{name: 9}).max_tokens == 9
    with pytest.raises(InvalidParameterError, match="max_tokens"):
        SamplingParams(**{name: 0})


def test_name_of_temperature() -> None:
    assert SamplingParams(temp=0.5).temperature == 0.5


@pytest.mark.parametrize("given", [{"max_tokens": 1, "max_new_tokens": 1}, {"temp": 1, "temperature": 1}])
def test_given_twice(given: dict[str, Any]) -> None:
    for order in (given, dict(reversed(given.items()))):
        with pytest.raises(InvalidParameterError, match="given twice"):
            SamplingParams(**order)


def test_do_sample() -> None:
    assert SamplingParams(do_sample=False).greedy
    assert SamplingParams(do_sample=True, temperature=0.3).temperature == 0.3
    assert SamplingParams(temperature=0.3).replace(do_sample=False).greedy
    for value in ("no", 0, None):
        with pytest.raises(InvalidParameterError, match="do_sample"):
            SamplingParams(do_sample=value)


def outcome(**given: Any) -> Any:
    try:
        return SamplingParams(**given)
    except InvalidParameterError as error:
        return error.code


def test_order_of_keywords_does_not_matter() -> None:
    assert outcome(do_sample=False, temperature=0.5) == outcome(temperature=0.5, do_sample=False)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("temprature", "temperature"),
        ("topk", "top_k"),
        ("top-p", "top_p"),
        ("max_new_token", "max_new_tokens"),
        ("stops", "stop"),
    ],
)
def test_did_you_mean(name: str, meant: str) -> None:
    with pytest.raises(UnknownParameterError) as caught:
        SamplingParams(**{name: 1})
    assert caught.value.code == "unknown_parameter"
    assert caught.value.details == {"parameter": name}
    assert caught.value.hint == f"did you mean {meant!r}?"
    assert isinstance(caught.value, TypeError)


def test_unlike_anything() -> None:
    with pytest.raises(UnknownParameterError) as caught:
        SamplingParams().replace(quux=1)
    assert caught.value.hint is not None
    assert all(name in caught.value.hint for name in NAMES)


def test_keywords_only() -> None:
    with pytest.raises(TypeError):
        SamplingParams(0.5)  # type: ignore[misc]


# A value.


def test_replace_leaves_the_original() -> None:
    params = SamplingParams(temperature=0.5, stop=["x"], seed=4)
    changed = params.replace(temp=0.9, stop=None)
    assert changed == SamplingParams(temperature=0.9, seed=4)
    assert params == SamplingParams(temperature=0.5, stop="x", seed=4)
    with pytest.raises(InvalidParameterError):
        params.replace(top_p=3)
    assert dataclasses.replace(params, top_k=5) == params.replace(top_k=5)


def test_frozen() -> None:
    params = SamplingParams(top_k=3)
    for name in NAMES:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(params, name, 1)
    with pytest.raises((AttributeError, TypeError)):
        params.other = 1  # type: ignore[attr-defined]
    assert params == SamplingParams(top_k=3)


def test_hash_and_equality() -> None:
    assert len({SamplingParams(), SamplingParams(top_k=-1), SamplingParams(stop=[]), SamplingParams(top_k=2)}) == 2
    assert SamplingParams(stop=["a"]) == SamplingParams(stop="a")
    assert SamplingParams(seed=1) != SamplingParams(seed=2)


def test_copies() -> None:
    params = SamplingParams(temperature=0.3, stop=["a"], seed=-1)
    for other in (
        pickle.loads(pickle.dumps(params)),
        copy.copy(params),
        copy.deepcopy(params),
        SamplingParams(**params.to_dict()),
    ):
        assert other == params
        assert hash(other) == hash(params)


def test_repr_shows_what_differs() -> None:
    assert repr(SamplingParams()) == "SamplingParams()"
    params = SamplingParams(temperature=0.5, stop="x", seed=0)
    assert repr(params) == "SamplingParams(temperature=0.5, seed=0, stop=('x',))"
    assert eval(repr(params), {"SamplingParams": SamplingParams}) == params


# Other sources.


def test_from_openai() -> None:
    request = {
        "model": "m",
        "messages": [],
        "temperature": 0.2,
        "top_p": 0.9,
        "max_completion_tokens": 5,
        "stop": ["a", "b"],
        "seed": 3,
        "n": 1,
        "stream": True,
        "top_k": None,
    }
    expected = SamplingParams(temperature=0.2, top_p=0.9, max_tokens=5, stop=("a", "b"), seed=3)
    assert SamplingParams.from_openai(request) == expected
    assert SamplingParams.from_openai({}) == SamplingParams()
    assert SamplingParams.from_openai({"max_tokens": 5}) == SamplingParams(max_tokens=5)
    assert SamplingParams.from_openai({"max_tokens": 5, "max_completion_tokens": 5}) == SamplingParams(max_tokens=5)
    assert SamplingParams.from_openai({"max_tokens": None, "max_completion_tokens": 5}) == SamplingParams(max_tokens=5)


@pytest.mark.parametrize(
    "request_body",
    [
        {"max_tokens": 5, "max_completion_tokens": 6},
        {"max_tokens": 0},
        {"max_completion_tokens": 0},
        {"max_tokens": [1]},
        {"temperature": "hot"},
        {"top_p": 2},
        {"stop": [""]},
    ],
)
def test_from_openai_refuses(request_body: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        SamplingParams.from_openai(request_body)
    assert caught.value.status == 400


def test_from_generation_config(tmp_path: Path) -> None:
    settings = {
        "do_sample": True,
        "temperature": 0.6,
        "top_k": 20,
        "top_p": 0.95,
        "eos_token_id": [1, 2],
        "transformers_version": "5",
    }
    expected = SamplingParams(temperature=0.6, top_k=20, top_p=0.95)
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps(settings))
    for source in (settings, path, str(path), tmp_path):
        assert SamplingParams.from_generation_config(source) == expected
    assert SamplingParams.from_generation_config({}) == SamplingParams()
    assert SamplingParams.from_generation_config({"min_p": None}) == SamplingParams()
    assert SamplingParams.from_generation_config({"do_sample": False, "temperature": 0.6, "top_p": 7}).greedy


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"1", b"null", b"\xff\xfe", b'{"a": 1}trailing'])
def test_from_generation_config_that_is_broken(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "generation_config.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        SamplingParams.from_generation_config(tmp_path)
    assert caught.value.details["path"] == str(path)
    assert caught.value.code == "checkpoint_corrupt"


def test_from_generation_config_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        SamplingParams.from_generation_config(tmp_path / "nothing.json")
    with pytest.raises(CheckpointError, match="out of range"):
        SamplingParams.from_generation_config({"top_p": 5})
