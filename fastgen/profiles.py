"""How each engine chains its samplers: the order, and what it does where engines differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

__all__ = ["DEFAULT_PROFILE", "PROFILES", "SAMPLERS", "Profile"]

DEFAULT_PROFILE: Final = "fastgen"

# What an order is made of: the parameter behind each name, and the value at which it does nothing.
SAMPLERS: Final[Mapping[str, tuple[str, float]]] = MappingProxyType(
    {
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
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What the samplers and penalties of one engine do where engines differ.

    Parameters
    ----------
    order : tuple of str
        All names of `SAMPLERS`, in the order of application.
    ties : str
        ``"cut"``: top_k keeps exactly k tokens, lower ids first among equals; ``"keep"``: it keeps all that equal the
        k-th.
    high_ids_first : bool
        Whether higher ids come first among equal scores in top_p.
    top_p_of_whole : bool
        Whether top_p is measured on the mass before top_k, instead of what top_k leaves.
    top_p_inclusive : bool
        Whether top_p keeps one token more when the mass before it is exactly top_p.
    repetition_window, frequency_window : int
        How many of the last tokens count for repetition_penalty, and for presence_penalty and frequency_penalty, unless
        the parameters say otherwise. -1 is all, 0 none.
    repetition_counts_prompt, frequency_counts_prompt : bool
        Whether tokens of the prompt count for them.
    xtc_keep_ties : bool
        Whether XTC spares all tokens that equal the one it spares.
    """

    order: tuple[str, ...]
    ties: str = "cut"
    high_ids_first: bool = False
    top_p_of_whole: bool = False
    top_p_inclusive: bool = False
    repetition_window: int = -1
    frequency_window: int = -1
    repetition_counts_prompt: bool = True
    frequency_counts_prompt: bool = False
    xtc_keep_ties: bool = False


PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        DEFAULT_PROFILE: Profile(order=tuple(SAMPLERS)),
        # transformers has neither top_n_sigma nor XTC: they come after all that it has. It has no presence and no
        # frequency penalty either: these are OpenAI's.
        "hf": Profile(
            order=(
                "temperature",
                "top_k",
                "top_p",
                "min_p",
                "typical_p",
                "epsilon_cutoff",
                "eta_cutoff",
                "top_n_sigma",
                "xtc",
            ),
            ties="keep",
            high_ids_first=True,
        ),
        # vLLM ends with top_p; what it lacks follows in the order of hf.
        "vllm": Profile(
            order=(
                "temperature",
                "min_p",
                "top_k",
                "top_p",
                "typical_p",
                "epsilon_cutoff",
                "eta_cutoff",
                "top_n_sigma",
                "xtc",
            ),
            ties="keep",
            high_ids_first=True,
        ),
        # llama.cpp lacks the two cutoffs: they come last, and see the scores after temperature as they do in hf.
        "llamacpp": Profile(
            order=(
                "top_n_sigma",
                "top_k",
                "typical_p",
                "top_p",
                "min_p",
                "xtc",
                "temperature",
                "epsilon_cutoff",
                "eta_cutoff",
            ),
            repetition_window=64,
            frequency_window=64,
            frequency_counts_prompt=True,
        ),
        # SGLang ends with min_p; what it lacks follows in the order of hf.
        "sglang": Profile(
            order=(
                "temperature",
                "top_k",
                "top_p",
                "min_p",
                "typical_p",
                "epsilon_cutoff",
                "eta_cutoff",
                "top_n_sigma",
                "xtc",
            ),
            top_p_of_whole=True,
            top_p_inclusive=True,
            repetition_counts_prompt=False,
        ),
        # mlx-lm divides by the temperature at the very end: what it lacks stands right before that, in the order of hf.
        "mlx": Profile(
            order=(
                "top_p",
                "min_p",
                "xtc",
                "top_k",
                "typical_p",
                "epsilon_cutoff",
                "eta_cutoff",
                "top_n_sigma",
                "temperature",
            ),
            high_ids_first=True,
            repetition_window=20,
            frequency_window=20,
            frequency_counts_prompt=True,
            xtc_keep_ties=True,
        ),
    }
)
