"""A sampler's plan in words, with the passes over the row that its steps take."""

from __future__ import annotations

from typing import Final

from fastgen.params import SamplingParams
from fastgen.plan import Op, Plan

__all__ = ["explain"]

LIST_MOST: Final = 8192  # FG_LIST_MOST

WORDS: Final = {
    "temperature": "temperature {a:g}: scores are divided by it; no pass",
    "dynatemp": "dynamic temperature {a:g} to {b:g} by the entropy",
    "top_k": "top_k {a:.0f}",
    "top_p": "top_p {a:g}",
    "min_p": "min_p {a:g}",
    "typical_p": "typical_p {a:g}",
    "epsilon_cutoff": "epsilon_cutoff {a:g}",
    "eta_cutoff": "eta_cutoff {a:g}",
    "top_n_sigma": "top_n_sigma {a:g}",
    "xtc": "XTC with probability {a:g}, threshold {b:g}",
    "mirostat_1": "mirostat 1, tau {a:g}, eta {b:g}",
    "mirostat_2": "mirostat 2, tau {a:g}, eta {b:g}",
}

# What a step costs while the row is whole. A list costs no pass.
COSTS: Final = {
    "dynatemp": "1 weighing pass with the entropy",
    "top_k": "1 filter pass, which skips blocks without a candidate; what it finds is a list",
    "top_p": "1 weighing pass; tokens are checked when they are drawn, a fifth of a pass on average at 0.95",
    "min_p": "1 filter pass; few candidates become a list",
    "typical_p": "1 weighing pass with the entropy; tokens are checked when they are drawn",
    "epsilon_cutoff": "1 weighing pass and 1 filter pass; few candidates become a list",
    "eta_cutoff": "1 weighing pass with the entropy and 1 filter pass; few candidates become a list",
    "top_n_sigma": "1 pass for mean and deviation, 1 filter pass; few candidates become a list",
    "xtc": "1 weighing pass, 1 visit",
    "mirostat_1": "1 filter pass for the 100 best, another for what it keeps",
    "mirostat_2": "1 weighing pass, 1 filter pass",
}


def explain(params: SamplingParams, plan: Plan) -> str:
    """Return one line for each step, in order; `Sampler.passes` counts what a row really took."""
    lines = ["scan: 1 pass for the maximum, maxima of stretches, NaN and +inf"]
    edits = _edits(params, plan)
    if edits:
        lines.append(f"edits of single scores, no pass: {', '.join(edits)}")
    if params.allowed_token_ids is not None:
        lines.append("allowed_token_ids: a bitmask, applied in the scan")
    listed = False
    for op in plan.ops:
        lines.append(_step(op, listed))
        listed = listed or (op.kind == "top_k" and op.a <= LIST_MOST)
    lines.append(_draw(plan, listed))
    if params.logprobs is not None or params.entropy:
        lines.append(_report(params))
    return "\n".join(lines)


def _step(op: Op, listed: bool) -> str:
    words = WORDS[op.kind].format(a=op.a, b=op.b, c=op.c)
    if op.kind == "temperature":
        return words
    return f"{words}: in the list, no pass" if listed else f"{words}: {COSTS[op.kind]}"


def _draw(plan: Plan, listed: bool) -> str:
    if plan.greedy:
        return "greedy: the largest score, the lowest id among equals"
    if listed:
        return "draw: from the list, no pass"
    weighed = any(op.kind in ("top_p", "typical_p") for op in plan.ops)
    return "draw: from the sums of the weighing pass" if weighed else "draw: 1 weighing pass, or none from a list"


def _edits(params: SamplingParams, plan: Plan) -> list[str]:
    named = {
        "logit_bias": params.logit_bias is not None,
        "penalties of tokens seen": plan.has_penalties,
        "DRY": params.dry_multiplier > 0,
        "no_repeat_ngram_size": params.no_repeat_ngram_size > 0,
        "bad_words": bool(params.bad_words),
        "suppress_tokens": bool(params.suppress_tokens),
        "min_tokens": params.min_tokens > 0,
    }
    return [name for name, active in named.items() if active]


def _report(params: SamplingParams) -> str:
    if params.logprobs_mode == "raw_logits" and not params.entropy:
        return "logits: the best by 1 filter pass"
    return f"{params.logprobs_mode}: 1 weighing pass unless a step has made the same sum; the best by 1 filter pass"
