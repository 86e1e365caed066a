"""The chains of other engines: names, order and habits, as their sources have them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from fastgen.profiles import PROFILES, SAMPLERS
from fastgen.rules import RULES

# name: the samplers which the engine itself has, in its order.
OWN = {
    "fastgen": "temperature top_n_sigma top_k typical_p top_p min_p epsilon_cutoff eta_cutoff xtc",
    "hf": "temperature top_k top_p min_p typical_p epsilon_cutoff eta_cutoff",
    "vllm": "temperature min_p top_k top_p",
    "llamacpp": "top_n_sigma top_k typical_p top_p min_p xtc temperature",
    "sglang": "temperature top_k top_p min_p",
    "mlx": "top_p min_p xtc top_k temperature",
}


@pytest.mark.parametrize("name", OWN)
def test_order(name: str) -> None:
    order, own = PROFILES[name].order, OWN[name].split()
    assert [sampler for sampler in order if sampler in own] == own
    assert sorted(order) == sorted(SAMPLERS)


@pytest.mark.parametrize("name", ["hf", "vllm", "sglang", "llamacpp"])
def test_what_an_engine_lacks_comes_last(name: str) -> None:
    own = OWN[name].split()
    assert list(PROFILES[name].order[: len(own)]) == own


def test_what_mlx_lacks_comes_before_temperature() -> None:
    assert PROFILES["mlx"].order == (
        "top_p",
        "min_p",
        "xtc",
        "top_k",
        "typical_p",
        "epsilon_cutoff",
        "eta_cutoff",
        "top_n_sigma",
        "temperature",
    )


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("ties", ["cut", "keep", "keep", "cut", "cut", "cut"]),
        ("high_ids_first", [False, True, True, False, False, True]),
        ("top_p_of_whole", [False, False, False, False, True, False]),
        ("top_p_inclusive", [False, False, False, False, True, False]),
        ("repetition_window", [-1, -1, -1, 64, -1, 20]),
        ("frequency_window", [-1, -1, -1, 64, -1, 20]),
        ("repetition_counts_prompt", [True, True, True, True, False, True]),
        ("frequency_counts_prompt", [False, False, False, True, False, True]),
        ("xtc_keep_ties", [False, False, False, False, False, True]),
    ],
)
def test_habits(field: str, values: list[Any]) -> None:
    assert list(PROFILES) == ["fastgen", "hf", "vllm", "llamacpp", "sglang", "mlx"]
    assert [getattr(profile, field) for profile in PROFILES.values()] == values


def test_off_values_are_the_defaults() -> None:
    assert SAMPLERS == {
        "temperature": ("temperature", 1.0),
        "top_n_sigma": ("top_n_sigma", 0.0),
        "top_k": ("top_k", 0),
        "typical_p": ("typical_p", 1.0),
        "top_p": ("top_p", 1.0),
        "min_p": ("min_p", 0.0),
        "epsilon_cutoff": ("epsilon_cutoff", 0.0),
        "eta_cutoff": ("eta_cutoff", 0.0),
        "xtc": ("xtc_probability", 0.0),
    }
    assert {field for field, _ in SAMPLERS.values()} <= set(RULES)


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PROFILES["hf"].ties = "cut"  # type: ignore[misc]
    with pytest.raises(TypeError):
        PROFILES["own"] = PROFILES["hf"]  # type: ignore[index]
