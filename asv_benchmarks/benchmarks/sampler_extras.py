"""What reports, masks, histories, batches and grammars add to the sampler's time: each against the same without it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastgen import Sampler, SamplerBatch, SamplingParams, cpu
from fastgen.workspace import Workspace

from .common import (
    ROWS,
    VOCABULARIES,
    Figure,
    Pair,
    Peer,
    demo_file,
    history,
    level_of,
    logits,
    logits_rows,
    mostly_allowed,
    package,
    paired,
)
from .sampler import PLANS, text_before
from .sampler_peers import transformers_call

BATCH = 64
LONG_HISTORY = 4096
BASES: dict[str, dict[str, Any]] = {**PLANS, "top_p_at_1": {"top_p": 0.95}}
ADDITIONS: dict[str, dict[str, Any]] = {
    "logprobs_20": {"logprobs": 20},
    "bitmask": {},  # given to `sample`
    "entropy": {"entropy": True},
    "dry": {"dry_multiplier": 0.8},
    "no_repeat_ngram": {"no_repeat_ngram_size": 3},
}
# What is added to which plan, and how much longer it may take.
ADDED: dict[tuple[str, str], float | None] = {
    ("logprobs_20", "neutral"): 1.15, ("logprobs_20", "top_p_at_1"): 1.15, ("logprobs_20", "default"): 1.15,
    ("bitmask", "top_k_top_p"): 1.15, ("bitmask", "default"): 1.15, ("bitmask", "top_p"): 1.15,
    ("entropy", "top_p"): None, ("dry", "top_p"): None, ("no_repeat_ngram", "top_p"): None,
}  # fmt: skip
BATCHED = ["default", "top_p"]
SCHEMA = json.dumps({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]})
WRITTEN = '{"name": "A'


def addition_pair(addition: str, plan: str, kind: str, vocab: int, impl: str = "fastgen") -> Pair:
    """Measure a plan with the addition against the plan alone; both have the same history."""
    base = BASES[plan]
    tokens = text_before(base, vocab)
    if addition in ("dry", "no_repeat_ngram"):
        tokens = history("repetitive", LONG_HISTORY, vocab)
    row, mask = logits(kind, vocab), mostly_allowed(vocab)

    def call(added: bool) -> Callable[[], Any]:
        params = SamplingParams(seed=1, **base, **(ADDITIONS[addition] if added else {}))
        sampler = Sampler(params, vocab_size=vocab)
        sampler.observe(tokens, prompt=True)
        if added and addition == "bitmask":
            return lambda: sampler.sample(row, mask=mask)
        return lambda: sampler.sample(row)

    return paired(*(Peer(call(added), level_of(impl)) for added in (True, False)))


def samplers(plan: str, vocab: int, **shared: Any) -> list[Sampler]:
    """Return the samplers of a batch, each with a seed of its own and the history of its plan."""
    made = [Sampler(SamplingParams(seed=seed, **BASES[plan]), vocab, **shared) for seed in range(BATCH)]
    for sampler in made:
        sampler.observe(text_before(BASES[plan], vocab), prompt=True)
    return made


def batch_call(plan: str, kind: str, vocab: int, threads: int = 1) -> Callable[[], Any]:
    batch, rows = SamplerBatch(samplers(plan, vocab), threads=threads), logits_rows(kind, vocab, BATCH)
    return lambda: batch.sample(rows)


def singles_call(plan: str, kind: str, vocab: int) -> Callable[[], Any]:
    """Return what a loop over the same rows does; the samplers share scratch memory as those of a batch do."""
    calls = list(zip(samplers(plan, vocab, workspace=Workspace()), logits_rows(kind, vocab, BATCH), strict=True))
    return lambda: [sampler.sample(row) for sampler, row in calls]


def batch_pair(plan: str, kind: str, vocab: int, impl: str = "fastgen") -> Pair:
    return paired(*(Peer(make(plan, kind, vocab), level_of(impl)) for make in (batch_call, singles_call)))


def threads_pair(plan: str, kind: str, vocab: int, impl: str = "fastgen") -> Pair:
    return paired(*(Peer(batch_call(plan, kind, vocab, threads), level_of(impl)) for threads in (2, 1)))


def constrained_pair(plan: str, kind: str) -> Pair:
    """Measure a step under a JSON schema, within a string, on the demo model's vocabulary.

    Ours fills the mask and samples with it. The peer has llguidance fill its mask and apply it with its NumPy kernel to
    a copy of the row, and then samples as transformers does. Both walk the same grammar with the same llguidance.
    """
    package("transformers")
    llguidance = package("llguidance.numpy")
    from fastgen.grammar import Grammar
    from fastgen.grammar.vocabulary import Vocabulary
    from fastgen.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(demo_file())
    size = tokenizer.vocab_size
    matcher = Grammar.json_schema(SCHEMA, tokenizer).matcher(size)
    bare = Vocabulary.of(tokenizer).start("json_schema", f"start: %json {SCHEMA}").deep_copy()
    for token in tokenizer.encode(WRITTEN):
        matcher.accept(token)
        bare.consume_token(token)
    row, mask = logits(kind, size), matcher.row()
    sampler = Sampler(SamplingParams(seed=1, **BASES[plan]), vocab_size=size)
    bits, scores = llguidance.allocate_token_bitmask(1, size + 1), np.empty_like(row)  # it adds an end of its own
    choose = transformers_call(BASES[plan], scores, text_before(BASES[plan], size))

    def ours() -> Any:
        matcher.fill(mask)
        return sampler.sample(row, mask=mask)

    def theirs() -> Any:
        llguidance.fill_next_token_bitmask(bare, bits)
        scores[:] = row
        llguidance.apply_token_bitmask_inplace(scores, bits)
        return choose()

    return paired(Peer(ours, level_of("fastgen")), Peer(theirs, level_of("fastgen")))


class Added:
    version = "1"
    param_names = ("addition", "row", "vocab")
    params = ([" + ".join((plan, addition)) for addition, plan in ADDED], ROWS, VOCABULARIES)

    def track_cost(self, added: str, kind: str, vocab: int) -> float:
        plan, addition = added.split(" + ")
        return 1 / addition_pair(addition, plan, kind, vocab).ratio

    track_cost.unit = "x the plan alone"  # type: ignore[attr-defined]


class Batch:
    version = "1"
    param_names = ("plan", "row", "vocab")
    params = (BATCHED, ["random", "peaked"], VOCABULARIES)

    def track_cost(self, plan: str, kind: str, vocab: int) -> float:
        return 1 / batch_pair(plan, kind, vocab).ratio

    track_cost.unit = "x single samplers"  # type: ignore[attr-defined]

    def track_speedup_of_two_threads(self, plan: str, kind: str, vocab: int) -> float:
        return threads_pair(plan, kind, vocab).ratio

    track_speedup_of_two_threads.unit = "x faster"  # type: ignore[attr-defined]


class Constrained:
    version = "1"
    param_names = ("plan", "row")
    params = (["top_k_top_p", "top_p"], ["random", "peaked"])

    def setup(self, plan: str, kind: str) -> None:
        demo_file()
        for name in ("llguidance.numpy", "transformers"):
            package(name)

    def track_speedup(self, plan: str, kind: str) -> float:
        return constrained_pair(plan, kind).ratio

    track_speedup.unit = "x faster"  # type: ignore[attr-defined]


def figures() -> Iterator[Figure]:
    """Yield what each addition costs, batches against single samplers, two threads against one, and a JSON schema."""
    levels = [(f"fastgen-{level}", f", {level} forced") for level in cpu.detected()[1:-1]]
    for vocab in VOCABULARIES[::-1]:
        for impl, forced in [("fastgen", ""), *levels]:
            for kind in ("random", "peaked"):
                where = f"{vocab:,} logits{forced}, {kind} row"
                for (addition, plan), target in ADDED.items():
                    pair = addition_pair(addition, plan, kind, vocab, impl)
                    yield Figure(f"{addition} added to {plan}, {where}", "without it", pair, "cost", target)
                for plan in BATCHED:
                    what = f"batch of {BATCH}, {plan}, {where}s"
                    pair = batch_pair(plan, kind, vocab, impl)
                    yield Figure(what, "single samplers", pair, "cost", 1.05)
                    yield Figure(f"{what}, 2 threads", "1 thread", threads_pair(plan, kind, vocab, impl), target=1.8)


def constrained_figures() -> Iterator[Figure]:
    for plan in Constrained.params[0]:
        for kind in Constrained.params[1]:
            what = f"a step under a JSON schema, {plan}, the demo model's vocabulary, {kind} row"
            yield Figure(what, "llguidance + transformers", constrained_pair(plan, kind))
