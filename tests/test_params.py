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
from fastgen.rules import RULES
from fastgen.values import RepetitionDetection

NAMES = [field.name for field in dataclasses.fields(SamplingParams)]


def problem(**given: Any) -> InvalidParameterError:
    with pytest.raises(InvalidParameterError) as caught:
        SamplingParams(**given)
    return caught.value


def test_defaults_are_neutral() -> None:
    assert SamplingParams().to_dict() == {
        "temperature": 1.0,
        "dynatemp_range": 0.0,
        "dynatemp_exponent": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "min_p": 0.0,
        "typical_p": 1.0,
        "top_n_sigma": 0.0,
        "epsilon_cutoff": 0.0,
        "eta_cutoff": 0.0,
        "xtc_probability": 0.0,
        "xtc_threshold": 0.1,
        "mirostat": 0,
        "mirostat_tau": 5.0,
        "mirostat_eta": 0.1,
        "dry_multiplier": 0.0,
        "dry_base": 1.75,
        "dry_allowed_length": 2,
        "dry_penalty_last_n": -1,
        "dry_sequence_breakers": None,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "repetition_window": None,
        "frequency_window": None,
        "penalize_prompt": None,
        "no_repeat_ngram_size": 0,
        "logit_bias": None,
        "allowed_token_ids": None,
        "suppress_tokens": (),
        "bad_words": (),
        "ban_eos": False,
        "sampler_order": None,
        "ties": None,
        "profile": "fastgen",
        "nan_policy": "error",
        "seed": None,
        "n": 1,
        "best_of": None,
        "distinct": 0.0,
        "max_tokens": None,
        "min_tokens": 0,
        "stop": (),
        "stop_token_ids": (),
        "stop_token_sequences": (),
        "ignore_eos": False,
        "include_stop_str_in_output": False,
        "repetition_detection": None,
        "prompt_lookup_num_tokens": 0,
        "max_matching_ngram_size": 8,
        "skip_special_tokens": True,
        "spaces_between_special_tokens": False,
        "hold": "codepoint",
        "logprobs": None,
        "logprobs_mode": "raw_logprobs",
        "entropy": False,
        "json_schema": None,
        "regex": None,
        "grammar": None,
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
        ("stop_token_ids", [(), (0,), (5, 0, (1 << 31) - 1)]),
        ("stop_token_sequences", [(), ((1,),), ((1, 2), ((1 << 31) - 1, 0))]),
        ("distinct", [0.0, 0.5, 1.0]),
        ("repetition_detection", [None, (1, 1, 2), (1 << 16, 5, 1 << 15)]),
        ("prompt_lookup_num_tokens", [0, 1, 10, 1 << 31]),
        ("max_matching_ngram_size", [1, 8, 256]),
        ("spaces_between_special_tokens", [False, True]),
        ("hold", ["codepoint", "grapheme"]),
        ("ignore_eos", [False, True]),
        ("include_stop_str_in_output", [False, True]),
        ("skip_special_tokens", [False, True]),
        ("dynatemp_range", [0, 0.5, 1, 100]),
        ("dynatemp_exponent", [1e-9, 1, 100]),
        ("typical_p", [5e-324, 0.5, 1]),
        ("top_n_sigma", [0, 1, 1.5, 1e300]),
        ("epsilon_cutoff", [0, 3e-4, 0.999]),
        ("eta_cutoff", [0, 3e-4, 0.999]),
        ("xtc_probability", [0, 0.5, 1]),
        ("xtc_threshold", [0, 0.1, 0.5, 1]),
        ("mirostat", [0, 1, 2]),
        ("mirostat_tau", [1e-9, 5, 1e9]),
        ("mirostat_eta", [1e-9, 0.1, 1]),
        ("dry_multiplier", [0, 0.8, 100]),
        ("dry_base", [1, 1.75, 1e9]),
        ("dry_allowed_length", [1, 2, 1 << 31]),
        ("dry_penalty_last_n", [-1, 0, 1 << 31]),
        ("dry_sequence_breakers", [None, (), ("\n", "ab", (3,), (3, 4))]),
        ("repetition_penalty", [5e-324, 0.5, 1, 100]),
        ("presence_penalty", [-100, 0, 0.5, 2, 100]),
        ("frequency_penalty", [-100, 0, 0.5, 2, 100]),
        ("repetition_window", [None, -1, 0, 64, 1 << 31]),
        ("frequency_window", [None, -1, 0, 64, 1 << 31]),
        ("penalize_prompt", [None, False, True]),
        ("no_repeat_ngram_size", [0, 1, 3]),
        ("logit_bias", [None, ((3, 0.5), (7, -math.inf))]),
        ("allowed_token_ids", [None, (0,), (0, 5, (1 << 31) - 1)]),
        ("suppress_tokens", [(), (0, 5)]),
        ("bad_words", [(), ("a", (1, 2), (0,), " b")]),
        ("ban_eos", [False, True]),
        ("sampler_order", [None, ("top_k", "temperature"), ()]),
        ("ties", [None, "cut", "keep"]),
        ("profile", ["fastgen", "hf", "vllm", "llamacpp", "sglang", "mlx"]),
        ("nan_policy", ["error", "mask"]),
        ("n", [1, 128]),
        ("best_of", [None, 1, 128]),
        ("min_tokens", [0, 1, 1 << 31]),
        ("logprobs", [None, 0, 20, -1]),
        ("logprobs_mode", ["raw_logprobs", "processed_logprobs", "raw_logits", "processed_logits"]),
        ("entropy", [False, True]),
        ("json_schema", [None, "{}", '{"type":"object"}']),
        ("regex", [None, "[0-9]+"]),
        ("grammar", [None, "start: /a/"]),
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
        ("stop_token_ids", [-1, (-1,), (1.0,), ("1",), (True,), True, (1 << 31,), (1 << 40,), "1", b"12", 1.5]),
        ("stop_token_sequences", [1, (1,), ("ab",), ((),), ((-1,),), ((1, 1 << 31),), ((1.0, 2),), "ab"]),
        ("distinct", [-0.1, 1.1, math.nan, "1", None]),
        ("repetition_detection", [5, (), (4, 5, 2), (4, 1, 1), (4, 1, 0), (-1, 1, 2), (4.0, 1, 2), (1, 1, 2, 3)]),
        ("repetition_detection", [((1 << 16) + 1, 1, 2), (2, 1, (1 << 15) + 1), (True, 1, 2), {"size": 4}, "412"]),
        ("prompt_lookup_num_tokens", [-1, 1.0, True, None, "3"]),
        ("max_matching_ngram_size", [0, -1, 257, 1.0, True]),
        ("spaces_between_special_tokens", [0, 1, None, "true"]),
        ("hold", ["word", None, 1, ""]),
        ("ignore_eos", [0, 1, None, "true"]),
        ("include_stop_str_in_output", [0, 1, None, "true"]),
        ("skip_special_tokens", [0, 1, None, "true"]),
        ("dynatemp_range", [-0.1, 100.1, *NUMBERS]),
        ("dynatemp_exponent", [0, -1, 100.1, *NUMBERS]),
        ("typical_p", [0, -0.1, 1.01, *NUMBERS]),
        ("top_n_sigma", NUMBERS),
        ("epsilon_cutoff", [-0.1, 1, 1.0, *NUMBERS]),
        ("eta_cutoff", [-0.1, 1, 1.0, *NUMBERS]),
        ("xtc_probability", [-0.1, 1.01, *NUMBERS]),
        ("xtc_threshold", [-0.1, 1.01, *NUMBERS]),
        ("mirostat", [-1, 3, 1.0, *NUMBERS]),
        ("mirostat_tau", [0, -1, *NUMBERS]),
        ("mirostat_eta", [0, -1, *NUMBERS]),
        ("dry_multiplier", [-0.1, 100.1, *NUMBERS]),
        ("dry_base", [0.99, 0, *NUMBERS]),
        ("dry_allowed_length", [0, -1, 2.0, *NUMBERS]),
        ("dry_penalty_last_n", [-2, 2.0, *NUMBERS]),
        ("dry_sequence_breakers", ["", ("",), (3,), 3, ((),), ((-1,),), (("a",),), {"a": 1}, b"a", ("\ud800",)]),
        ("repetition_penalty", [0, -1, 100.1, *NUMBERS]),
        ("presence_penalty", [-100.1, 100.1, *NUMBERS]),
        ("frequency_penalty", [-100.1, 100.1, *NUMBERS]),
        ("repetition_window", [-2, 64.0, True, "64", (1 << 31) + 1]),
        ("frequency_window", [-2, 64.0, True, "64", (1 << 31) + 1]),
        ("penalize_prompt", [0, 1, "true"]),
        ("no_repeat_ngram_size", [-1, 2.0, *NUMBERS]),
        (
            "logit_bias",
            [
                {-1: 1},
                {1 << 31: 1},
                {"x": 1},
                {"-1": 1},
                {"": 1},
                {"²": 1},
                {"9" * 5000: 1},
                {1.0: 1},
                {True: 1},
                {5: True},
                {5: None},
                {5: "1"},
                {5: math.nan},
                {5: math.inf},
                {5: 1, "5": 1},
                ((5, 1), (5, 2)),
                (5, 1),
                ((5,),),
                "5",
                5,
                False,
            ],
        ),
        ("allowed_token_ids", [(), [], (-1,), (1 << 31,), ("a",), (1.0,), True, "1"]),
        ("suppress_tokens", [(-1,), (1 << 31,), ("a",), (1.0,), True, "1", ((1,),)]),
        ("bad_words", ["", ("",), (1, 2), 1, ((),), ([-1],), (["a"],), (None,), ("\udfff",), {"a": 1}, b"a", True]),
        ("ban_eos", [0, 1, None, "true"]),
        ("sampler_order", [("top_q",), ("top_k", "top_k"), (1,), (None,), 1, {"top_k": 1}, "penalties", ("typ_p",)]),
        ("ties", ["", "random", 1, True, ["cut"]]),
        ("profile", [None, "", "openai", "HF", 1, ["hf"]]),
        ("nan_policy", [None, "", "ignore", 1, True]),
        ("n", [0, -1, 129, 1.0, *NUMBERS]),
        ("best_of", [0, -1, 129, 1.0, True, "1", math.nan]),
        ("min_tokens", [-1, 1.0, *NUMBERS]),
        ("logprobs", [-2, 1.0, "1", math.nan, [1], 10**5000]),
        ("logprobs_mode", [None, "", "raw", 1]),
        ("entropy", [0, 1, None, "true"]),
        (
            "json_schema",
            [
                "",
                "{",
                "[]",
                "null",
                "true",
                [],
                True,
                1,
                b"{}",
                {"a": math.nan},
                '{"a": 1e999}',
                {"a": {1}},
                {"a": "\ud800"},
                '{"a":' * 100_000,
            ],
        ),
        ("regex", ["", 1, True, b"a", ["a"], "\ud800"]),
        ("grammar", ["", 1, True, b"a", ["a"], "\ud800"]),
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


def test_every_parameter_has_a_rule() -> None:
    assert list(RULES) == NAMES


def test_loops_as_vllm_writes_them() -> None:
    params = SamplingParams(repetition_detection={"max_pattern_size": 8, "min_pattern_size": 0, "min_count": 3})
    assert params.repetition_detection == RepetitionDetection(8, 1, 3)
    assert params.replace(top_k=1).repetition_detection == (8, 1, 3)
    off = {"max_pattern_size": 0, "min_pattern_size": 0, "min_count": 0}
    assert SamplingParams(repetition_detection=off).repetition_detection is None


def test_distinct_by_a_word() -> None:
    assert SamplingParams(distinct=True).distinct == 0.9
    assert SamplingParams(distinct=False).distinct == 0.0


def test_off_by_other_numbers() -> None:
    for value in (-1, -1.0, 0, -0.5):
        assert SamplingParams(top_n_sigma=value) == SamplingParams()
    assert repr(SamplingParams(top_n_sigma=-1)) == "SamplingParams()"


def test_logprobs_of_true_and_false() -> None:
    assert SamplingParams(logprobs=True).logprobs == 0
    assert SamplingParams(logprobs=True).logprobs is not False
    assert SamplingParams(logprobs=False).logprobs is None


def test_logit_bias() -> None:
    params = SamplingParams(logit_bias={"50256": -100, 7: 1000, 3: False, 9: -1e300, 4: -math.inf, 0: 10**400, 5: 2})
    assert params.logit_bias == (
        (0, 100.0),
        (3, -math.inf),
        (4, -math.inf),
        (5, 2.0),
        (7, 100.0),
        (9, -100.0),
        (50256, -100.0),
    )
    assert all(type(token) is int and type(bias) is float for token, bias in params.logit_bias)
    assert SamplingParams(logit_bias={8: 1, "2": 3}).to_dict()["logit_bias"] == {2: 3.0, 8: 1.0}
    assert SamplingParams(logit_bias=[[8, 1], (2, 3)]) == SamplingParams(logit_bias={"8": 1, 2: 3})
    assert SamplingParams(logit_bias={}) == SamplingParams(logit_bias=()) == SamplingParams()
    for same in (params.replace(top_k=0), SamplingParams(**params.to_dict()), dataclasses.replace(params)):
        assert same == params
        assert hash(same) == hash(params)


@pytest.mark.parametrize(
    ("bias", "told"),
    [
        ({-1: 5}, "(wrong is -1)"),
        ({"zwei": 5}, "(wrong is 'zwei')"),
        ({77: math.nan}, "(wrong is nan for the id 77)"),
        ({7: 1, "7": 1}, "(the id 7 is there twice)"),
    ],
)
def test_logit_bias_names_the_id(bias: dict[Any, Any], told: str) -> None:
    many = {**dict.fromkeys(range(1000, 2000), 0.5), **bias}
    assert problem(logit_bias=many).details["problems"][0].endswith(told)


def test_ids_are_sorted_and_unique() -> None:
    assert SamplingParams(allowed_token_ids=[5, 1, 5]).allowed_token_ids == (1, 5)
    assert SamplingParams(allowed_token_ids=5).allowed_token_ids == (5,)
    assert SamplingParams(suppress_tokens=[5, 1, 5]).suppress_tokens == (1, 5)
    assert SamplingParams(suppress_tokens=None).suppress_tokens == ()


def test_words() -> None:
    assert SamplingParams(bad_words="ab").bad_words == ("ab",)
    assert SamplingParams(bad_words=["a", [1, 2], range(2)]).bad_words == ("a", (1, 2), (0, 1))
    assert SamplingParams(bad_words=None).bad_words == ()
    assert SamplingParams(dry_sequence_breakers=["\n", [4]]).dry_sequence_breakers == ("\n", (4,))
    assert "(wrong is 1)" in str(problem(bad_words=[1, 2]))


def test_json_schema_is_stored_as_json() -> None:
    text = '{"type":"object","properties":{"zé":{"enum":[1,true,null]},"a":{}}}'
    schema = {"type": "object", "properties": {"zé": {"enum": [1, True, None]}, "a": {}}}
    assert SamplingParams(json_schema=schema).json_schema == text
    assert SamplingParams(json_schema=json.dumps(schema, indent=2)).json_schema == text
    assert SamplingParams(json_schema=text).replace(n=2).json_schema == text


# Values that contradict each other.


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"min_tokens": 6, "max_tokens": 5}, "min_tokens=6: must be at most max_tokens, 5"),
        ({"n": 3, "best_of": 2}, "best_of=2: must be at least n, 3"),
        (
            {"mirostat": 2, "top_k": 5, "xtc_probability": 0.5},
            "mirostat=2: takes the place of the truncation samplers, so these must be off: top_k, xtc_probability",
        ),
        (
            {"sampler_order": ["top_k"], "top_k": 5, "top_p": 0.5, "temperature": 0.5},
            "sampler_order=('top_k',): must name what is set and would be silently ignored: temperature, top_p",
        ),
        (
            {"sampler_order": ["top_k"], "dynatemp_range": 0.5, "xtc_probability": 1},
            "sampler_order=('top_k',): must name what is set and would be silently ignored: temperature, xtc",
        ),
        (
            {"json_schema": "{}", "grammar": "g"},
            "grammar='g': must be the only one of json_schema, regex and grammar; json_schema is set too",
        ),
    ],
)
def test_contradictions(given: dict[str, Any], told: str) -> None:
    error = problem(**given)
    assert error.details["problems"] == [told]
    assert error.details["parameter"] == told.split("=")[0]


@pytest.mark.parametrize(
    "off",
    [
        {"top_k": 1},
        {"top_p": 0.9},
        {"min_p": 0.1},
        {"typical_p": 0.9},
        {"top_n_sigma": 1},
        {"epsilon_cutoff": 0.1},
        {"eta_cutoff": 0.1},
        {"xtc_probability": 0.1},
    ],
)
def test_mirostat_stands_alone(off: dict[str, Any]) -> None:
    for version in (1, 2):
        assert "mirostat" in str(problem(mirostat=version, **off))
    assert SamplingParams(mirostat=2, temperature=0.5, repetition_penalty=1.1, xtc_threshold=0.2).mirostat == 2


def test_what_does_not_contradict() -> None:
    for given in (
        {"min_tokens": 5, "max_tokens": 5},
        {"n": 3, "best_of": 3},
        {"sampler_order": ["top_k"], "top_k": 5},
        {"sampler_order": ["top_k"], "temperature": 0},
        {"sampler_order": ["top_k"], "temperature": 0, "dynatemp_range": 1},
        {"dynatemp_range": 2.0, "temperature": 0.5},
    ):
        SamplingParams(**given)


def test_contradictions_are_told_with_the_rest() -> None:
    error = problem(top_p=0, n=3, best_of=2, min_tokens=5, max_tokens=-1, sampler_order=("top_q",), top_k=3)
    assert [text.split("=")[0] for text in error.details["problems"]] == [
        "top_p",
        "sampler_order",
        "max_tokens",
        "best_of",
    ]


# Several answers.


@pytest.mark.parametrize(
    ("seed", "seeds"),
    [
        (5, (5, 6, 7)),
        (0, (0, 1, 2)),
        (-1, (-1, 0, 1)),
        (-(1 << 63), (-(1 << 63), -(1 << 63) + 1, -(1 << 63) + 2)),
        ((1 << 63) - 1, ((1 << 63) - 1, 1 << 63, (1 << 63) + 1)),
        ((1 << 64) - 2, ((1 << 64) - 2, (1 << 64) - 1, 0)),
        (None, (None, None, None)),
    ],
)
def test_children(seed: int | None, seeds: tuple[int | None, ...]) -> None:
    expected = tuple(SamplingParams(seed=one, temperature=0.5, logit_bias={1: False}) for one in seeds)
    for several in ({"n": 3}, {"n": 2, "best_of": 3}):
        parent = SamplingParams(seed=seed, temperature=0.5, logit_bias={1: False}, **several)
        assert parent.children() == expected
    assert SamplingParams(seed=seed).children() == (SamplingParams(seed=seed),)


# Names.


def test_aliases() -> None:
    assert SamplingParams(typ_p=0.5).typical_p == 0.5
    assert SamplingParams(repeat_penalty=1.5).repetition_penalty == 1.5
    assert SamplingParams(num_return_sequences=2).n == 2
    assert SamplingParams(min_new_tokens=2).min_tokens == 2
    params = SamplingParams().replace(repeat_last_n=64)
    assert (params.repetition_window, params.frequency_window) == (64, 64)
    with pytest.raises(UnknownParameterError):
        SamplingParams(penalty_alpha=0.6)


@pytest.mark.parametrize("name", ["max_new_tokens", "max_completion_tokens", "n_predict", "max_tokens"])
def test_names_of_max_tokens(name: str) -> None:
    assert SamplingParams(**{name: 9}).max_tokens == 9
    assert SamplingParams().replace(**{name: 9}).max_tokens == 9
    with pytest.raises(InvalidParameterError, match="max_tokens"):
        SamplingParams(**{name: 0})


def test_name_of_temperature() -> None:
    assert SamplingParams(temp=0.5).temperature == 0.5


@pytest.mark.parametrize(
    "given",
    [
        {"max_tokens": 1, "max_new_tokens": 1},
        {"temp": 1, "temperature": 1},
        {"repeat_last_n": 1, "frequency_window": 1},
    ],
)
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
        ("repetition_penality", "repetition_penalty"),
        ("repeat_last", "repeat_last_n"),
        ("xtc_propability", "xtc_probability"),
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
    params = SamplingParams(
        temperature=0.3, stop=["a"], seed=-1, logit_bias={3: False}, bad_words=["a", [1]], json_schema={"a": [1]}
    )
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
