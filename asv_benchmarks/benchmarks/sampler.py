"""Choosing one token from a row of logits: fastgen against transformers, torch and llama.cpp, one thread."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

from fastgen import Sampler, SamplingParams, cpu
from fastgen.kernels.logits import maximum

from .common import (
    ROWS,
    VOCABULARIES,
    Bench,
    Figure,
    Peer,
    UnsupportedError,
    history,
    level_of,
    logits,
    package,
    paired,
)
from .kernels import logits as kernels
from .sampler_peers import CALLS

HISTORY = 1024  # tokens before the choice, for the plans that look at them
PLANS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "neutral": {},
    "top_p": {"temperature": 0.8, "top_p": 0.95},
    "top_k_top_p": {"temperature": 0.8, "top_k": 50, "top_p": 0.95},
    "min_p": {"temperature": 0.8, "min_p": 0.05},
    "default": {"repetition_penalty": 1.1, "temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05},
    "typical": {"typical_p": 0.9},
    "eta": {"eta_cutoff": 1e-3},
    "epsilon": {"epsilon_cutoff": 3e-4},
    "top_n_sigma": {"top_n_sigma": 1.0},
    "xtc": {"xtc_probability": 0.5, "xtc_threshold": 0.1, "min_p": 0.02},
    "dry": {"dry_multiplier": 0.8},
    "mirostat2": {"mirostat": 2},
    "penalties_top_p": {"repetition_penalty": 1.1, "top_p": 0.95},
    "llamacpp_default": {"profile": "llamacpp", "temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05},
    "llamacpp_no_top_k": {"profile": "llamacpp", "temperature": 0.8, "top_k": 0, "top_p": 0.95, "min_p": 0.05},
}

# What the figures have to reach: how many times faster, and how many passes of `maximum` over the row at most.
FASTER = {
    ("top_p", "transformers"): 300, ("typical", "transformers"): 300, ("penalties_top_p", "transformers"): 300,
    ("top_k_top_p", "transformers"): 100, ("default", "transformers"): 100,
    ("llamacpp_default", "llamacpp"): 20, ("llamacpp_no_top_k", "llamacpp"): 100,
}  # fmt: skip
PASSES = {"default": 2.5, "top_p": 8.0, "neutral": 6.0}


def text_before(settings: dict[str, Any], vocab: int) -> Any:
    """Return the tokens before the choice: `HISTORY` of them, or one where nothing looks at them."""
    if "dry_multiplier" in settings:
        return history("repetitive", HISTORY, vocab)
    return history("random", HISTORY if "repetition_penalty" in settings else 1, vocab)


def fastgen_call(settings: dict[str, Any], row: Any, tokens: Any) -> Callable[[], Any]:
    sampler = Sampler(SamplingParams(seed=1, **settings), vocab_size=len(row))
    sampler.observe(tokens, prompt=True)
    return lambda: sampler.sample(row)


def max_call(settings: dict[str, Any], row: Any, tokens: Any) -> Callable[[], Any]:
    return lambda: maximum(row)


def peer(impl: str, plan: str, kind: str, vocab: int) -> Peer:
    """Return a call that chooses a token; impl "max" is one pass of fastgen's over the row, for its largest score."""
    settings, row = PLANS[plan], logits(kind, vocab)
    calls = {**CALLS, "max": max_call}
    return Peer(calls.get(impl, fastgen_call)(settings, row, text_before(settings, vocab)), level_of(impl))


def speedup(impl: str, plan: str, kind: str, vocab: int) -> float:
    """Return how many times faster than a peer fastgen is; NaN, which asv shows as missing, for what the peer lacks."""
    try:
        theirs = peer(impl, plan, kind, vocab)
    except NotImplementedError:
        return math.nan
    return paired(peer("fastgen", plan, kind, vocab), theirs).ratio


class Sample(Bench):
    param_names = ("impl", "plan", "row", "vocab")
    params = (
        ["fastgen", "fastgen-avx2", "fastgen-scalar", "transformers", "torch", "torch-sort", "llamacpp"],
        list(PLANS), ROWS, VOCABULARIES,
    )  # fmt: skip

    def setup(self, impl: str, plan: str, kind: str, vocab: int) -> None:
        self.call, level = peer(impl, plan, kind, vocab)
        cpu.force(level)

    def time_sample(self, impl: str, plan: str, kind: str, vocab: int) -> None:
        self.call()


class Speedup:
    version = "1"
    param_names = ("plan", "row", "vocab")
    params = (list(PLANS), ROWS, VOCABULARIES)

    def track_speedup_vs_transformers(self, plan: str, kind: str, vocab: int) -> float:
        return speedup("transformers", plan, kind, vocab)

    track_speedup_vs_transformers.unit = "x faster"  # type: ignore[attr-defined]

    def track_speedup_vs_torch_sort(self, plan: str, kind: str, vocab: int) -> float:
        return speedup("torch-sort", plan, kind, vocab)

    track_speedup_vs_torch_sort.unit = "x faster"  # type: ignore[attr-defined]

    def track_speedup_vs_llamacpp(self, plan: str, kind: str, vocab: int) -> float:
        return speedup("llamacpp", plan, kind, vocab)

    track_speedup_vs_llamacpp.unit = "x faster"  # type: ignore[attr-defined]

    def track_vs_max_pass(self, plan: str, kind: str, vocab: int) -> float:
        return paired(peer("max", plan, kind, vocab), peer("fastgen", plan, kind, vocab)).ratio

    track_vs_max_pass.unit = "passes"  # type: ignore[attr-defined]


def installed_peers() -> list[str]:
    """Return the peers to compare with; says which are missing."""
    found = []
    for impl, module in (("transformers", "transformers"), ("torch-sort", "torch"), ("llamacpp", "llama_cpp")):
        try:
            package(module)
        except NotImplementedError as reason:
            print(f"sampler: no rows against {impl}, {reason}", file=sys.stderr)
        else:
            found.append(impl)
    return found


def described(plan: str) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in PLANS[plan].items())
    return "greedy" if plan == "greedy" else settings or "temperature 1"


def figures() -> Iterator[Figure]:
    """Yield every plan against every peer that has it, and what plans cost in passes over the row."""
    peers = installed_peers()
    levels = [(f"fastgen-{level}", f", {level} forced") for level in cpu.detected()[1:-1]]
    for vocab in VOCABULARIES[::-1]:
        for impl, forced in [("fastgen", ""), *levels]:
            for operation in ("argmax", "max"):
                pair = paired(kernels.peer(impl, operation, vocab), kernels.peer("numpy", operation, vocab))
                yield Figure(f"{operation} of {vocab:,} logits{forced}", "numpy", pair)
            for plan in PLANS:
                for kind in ("random", "peaked"):
                    what = f"one token of {vocab:,}, {described(plan)}, {kind} row{forced}"
                    ours = peer(impl, plan, kind, vocab)
                    for other in peers:
                        try:
                            theirs = peer(other, plan, kind, vocab)
                        except UnsupportedError:
                            continue
                        name = "torch.argmax" if (plan, other) == ("greedy", "transformers") else other
                        yield Figure(what, name, paired(ours, theirs), target=FASTER.get((plan, other)))
                    if plan in PASSES:
                        one_pass = maximum_peer(impl, kind, vocab)
                        yield Figure(what, "one max pass", paired(ours, one_pass), "passes", PASSES[plan])


def maximum_peer(impl: str, kind: str, vocab: int) -> Peer:
    return Peer(max_call({}, logits(kind, vocab), None), level_of(impl))
