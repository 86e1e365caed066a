"""From parameters to the steps of a sampler: what is active, in order, with its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from fastgen.params import SamplingParams
from fastgen.profiles import PROFILES, SAMPLERS, Profile

__all__ = ["HIGH_IDS_FIRST", "INCLUSIVE", "KEEP_TIES", "OF_WHOLE", "Op", "Plan", "compile_plan"]

KEEP_TIES: Final = 1
HIGH_IDS_FIRST: Final = 2
INCLUSIVE: Final = 4
OF_WHOLE: Final = 8


class Op(NamedTuple):
    """One step over a row.

    Parameters
    ----------
    kind : str
        ``temperature`` (a: divisor), ``dynatemp`` (a, b: lowest and highest temperature, c: exponent), ``top_k``
        (a: k), ``top_p``, ``min_p``, ``epsilon_cutoff``, ``eta_cutoff`` (a: probability), ``typical_p`` (a: mass),
        ``top_n_sigma`` (a: n), ``xtc`` (a: probability, b: threshold), ``mirostat_1``, ``mirostat_2`` (a: tau, b: eta).
    a, b, c : float
        Its numbers; those without a meaning are 0.
    flags : int
        A sum of KEEP_TIES (top_k, xtc), HIGH_IDS_FIRST, INCLUSIVE and OF_WHOLE (top_p).
    """

    kind: str
    a: float = 0.0
    b: float = 0.0
    c: float = 0.0
    flags: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a sampler does for one set of parameters.

    Parameters
    ----------
    ops : tuple of Op
        The active steps in order, after biases and penalties; none when greedy.
    greedy : bool
        Whether the largest score is taken.
    repetition_window, frequency_window : int
        How many of the last tokens count for repetition_penalty, and for presence_penalty and frequency_penalty. -1 is
        all, 0 none.
    repetition_counts_prompt, frequency_counts_prompt : bool
        Whether tokens of the prompt count for them.
    has_penalties : bool
        Whether repetition_penalty, presence_penalty or frequency_penalty can change a score.
    uses_history : bool
        Whether earlier tokens can change a score: by these, DRY, no_repeat_ngram_size or bad_words of several tokens.
    """

    ops: tuple[Op, ...]
    greedy: bool
    repetition_window: int
    frequency_window: int
    repetition_counts_prompt: bool
    frequency_counts_prompt: bool
    has_penalties: bool
    uses_history: bool


def compile_plan(params: SamplingParams) -> Plan:
    """Return the steps for `params`, with what its profile decides filled in."""
    profile = PROFILES[params.profile]
    repetition_window = profile.repetition_window if params.repetition_window is None else params.repetition_window
    frequency_window = profile.frequency_window if params.frequency_window is None else params.frequency_window
    prompt = params.penalize_prompt
    has_penalties = (params.repetition_penalty != 1 and repetition_window != 0) or (
        (params.presence_penalty != 0 or params.frequency_penalty != 0) and frequency_window != 0
    )
    return Plan(
        ops=() if params.greedy else _ops(params, profile),
        greedy=params.greedy,
        repetition_window=int(repetition_window),
        frequency_window=int(frequency_window),
        repetition_counts_prompt=profile.repetition_counts_prompt if prompt is None else prompt,
        frequency_counts_prompt=profile.frequency_counts_prompt if prompt is None else prompt,
        has_penalties=has_penalties,
        uses_history=has_penalties
        or (params.dry_multiplier > 0 and params.dry_penalty_last_n != 0)
        or params.no_repeat_ngram_size > 0
        # How many tokens a text has is the tokenizer's to say.
        or any(isinstance(word, str) or len(word) > 1 for word in params.bad_words),
    )


def _ops(params: SamplingParams, profile: Profile) -> tuple[Op, ...]:
    if params.mirostat:
        mirostat = Op(f"mirostat_{params.mirostat}", float(params.mirostat_tau), float(params.mirostat_eta))
        return (*_temperature(params), mirostat)
    order = profile.order if params.sampler_order is None else params.sampler_order
    return tuple(op for name in order for op in _step(name, params, profile))


def _temperature(params: SamplingParams) -> tuple[Op, ...]:
    middle, width = float(params.temperature), float(params.dynatemp_range)
    if width > 0:
        return (Op("dynatemp", max(0.0, middle - width), middle + width, float(params.dynatemp_exponent)),)
    return (Op("temperature", middle),) if middle != 1 else ()


def _step(name: str, params: SamplingParams, profile: Profile) -> tuple[Op, ...]:
    """Return a sampler's step, or nothing if it is off."""
    if name == "temperature":
        return _temperature(params)
    field, off = SAMPLERS[name]
    value = float(getattr(params, field))
    if value == off:
        return ()
    if name == "xtc":
        flags = KEEP_TIES if profile.xtc_keep_ties else 0
        return (Op(name, value, float(params.xtc_threshold), flags=flags),)
    flags = 0
    if name == "top_k":
        flags = KEEP_TIES if (params.ties or profile.ties) == "keep" else 0
    elif name == "top_p":
        flags = (
            (HIGH_IDS_FIRST if profile.high_ids_first else 0)
            | (INCLUSIVE if profile.top_p_inclusive else 0)
            | (OF_WHOLE if profile.top_p_of_whole else 0)
        )
    return (Op(name, value, flags=flags),)
