"""Sampling parameters from requests of OpenAI's shape and from generation configs of transformers."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fastgen.errors import CheckpointError, InvalidParameterError
from fastgen.params import SamplingParams

SCHEMA = {"type": "object", "properties": {"b": {}, "a": {}}}
SCHEMA_TEXT = '{"type":"object","properties":{"b":{},"a":{}}}'


def test_a_whole_request() -> None:
    request = {
        "model": "m",
        "messages": [],
        "user": "u",
        "n": 2,
        "best_of": 3,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "logit_bias": {"50256": -100, "3": 200},
        "logprobs": True,
        "top_logprobs": 5,
        "max_completion_tokens": 9,
        "repetition_penalty": 1.1,
        "min_tokens": 2,
        "bad_words": ["no"],
        "allowed_token_ids": [3, 1],
        "profile": "vllm",
        "ignore_eos": None,
    }
    assert SamplingParams.from_openai(request) == SamplingParams(
        n=2,
        best_of=3,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        logit_bias=((3, 100.0), (50256, -100.0)),
        logprobs=5,
        max_tokens=9,
        repetition_penalty=1.1,
        min_tokens=2,
        bad_words=("no",),
        allowed_token_ids=(1, 3),
        profile="vllm",
    )


def test_aliases_in_requests() -> None:
    request = {"n_predict": 9, "repeat_penalty": 1.5, "repeat_last_n": 32, "typ_p": 0.5}
    assert SamplingParams.from_openai(request) == SamplingParams(
        max_tokens=9, repetition_penalty=1.5, repetition_window=32, frequency_window=32, typical_p=0.5
    )


@pytest.mark.parametrize(
    ("request_body", "logprobs"),
    [
        ({}, None),
        ({"logprobs": False}, None),
        ({"logprobs": None}, None),
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": None}, 0),
        ({"logprobs": True, "top_logprobs": 20}, 20),
        ({"logprobs": False, "top_logprobs": 0}, None),
        ({"logprobs": 0}, 0),
        ({"logprobs": 5}, 5),
        ({"logprobs": 5, "top_logprobs": 5}, 5),
    ],
)
def test_logprobs(request_body: dict[str, Any], logprobs: int | None) -> None:
    assert SamplingParams.from_openai(request_body).logprobs == logprobs


@pytest.mark.parametrize(
    ("request_body", "expected"),
    [
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": None}, {}),
        ({"response_format": {"type": "json_object"}}, {"json_schema": '{"type":"object"}'}),
        ({"response_format": {"type": "json_object", "schema": SCHEMA}}, {"json_schema": SCHEMA_TEXT}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
            {"json_schema": SCHEMA_TEXT},
        ),
        ({"guided_json": SCHEMA}, {"json_schema": SCHEMA_TEXT}),
        ({"guided_json": SCHEMA_TEXT}, {"json_schema": SCHEMA_TEXT}),
        ({"guided_regex": "a+"}, {"regex": "a+"}),
        ({"guided_grammar": "start: /a/"}, {"grammar": "start: /a/"}),
        ({"json_schema": SCHEMA, "response_format": {"type": "text"}}, {"json_schema": SCHEMA_TEXT}),
    ],
)
def test_formats(request_body: dict[str, Any], expected: dict[str, Any]) -> None:
    assert SamplingParams.from_openai(request_body) == SamplingParams(**expected)


@pytest.mark.parametrize(
    ("request_body", "parameter"),
    [
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": False, "top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": 2, "top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": "3"}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": True}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": -2}, "top_logprobs"),
        ({"logprobs": "yes"}, "logprobs"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": ["text"]}}, "response_format"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": SCHEMA}}, "response_format"),
        ({"response_format": {"type": "json_object"}, "guided_json": {}}, "json_schema"),
        ({"response_format": {"type": "json_object"}, "guided_regex": "a"}, "regex"),
        ({"guided_json": {}, "json_schema": {}}, "json_schema"),
        ({"guided_json": "{"}, "json_schema"),
        ({"max_tokens": 5, "n_predict": 5}, "max_tokens"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"presence_penalty": 300}, "presence_penalty"),
    ],
)
def test_requests_that_are_refused(request_body: dict[str, Any], parameter: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        SamplingParams.from_openai(request_body)
    assert caught.value.status == 400
    assert caught.value.details["parameter"] == parameter


CONFIG = {
    "temperature": 0.6,
    "top_k": 20,
    "typical_p": 0.9,
    "epsilon_cutoff": 3e-4,
    "eta_cutoff": 2e-3,
    "repetition_penalty": 1.05,
    "no_repeat_ngram_size": 3,
    "min_new_tokens": 4,
    "suppress_tokens": [9, 2],
    "bad_words_ids": [[5, 6], [7]],
    "pad_token_id": 0,
}
KEPT_WHEN_GREEDY = {
    "repetition_penalty": 1.05,
    "no_repeat_ngram_size": 3,
    "min_tokens": 4,
    "suppress_tokens": (2, 9),
    "bad_words": ((5, 6), (7,)),
}


def test_generation_config() -> None:
    assert SamplingParams.from_generation_config(CONFIG) == SamplingParams(
        temperature=0.6, top_k=20, typical_p=0.9, epsilon_cutoff=3e-4, eta_cutoff=2e-3, **KEPT_WHEN_GREEDY
    )
    greedy = SamplingParams(temperature=0.0, **KEPT_WHEN_GREEDY)
    assert SamplingParams.from_generation_config({**CONFIG, "do_sample": False}) == greedy
    assert SamplingParams.from_generation_config(dict.fromkeys(CONFIG)) == SamplingParams()


@pytest.mark.parametrize(
    "config",
    [
        {"repetition_penalty": 0},
        {"repetition_penalty": math.nan},
        {"typical_p": 2},
        {"bad_words_ids": [5]},
        {"do_sample": False, "repetition_penalty": -1},
    ],
)
def test_generation_config_out_of_range(config: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="out of range"):
        SamplingParams.from_generation_config(config)
