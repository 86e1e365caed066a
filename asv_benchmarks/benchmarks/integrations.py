"""A step of sampling inside `generate()` of transformers: its processors and draw, or fastgen in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fastgen import cpu

from .common import ROWS, VOCABULARIES, Bench, Pair, Peer, level_of, logits, package, paired

HISTORY = 512  # tokens before the step
PLANS: dict[str, dict[str, Any]] = {
    "top_p": {"temperature": 0.8, "top_p": 0.95},
    "top_k_top_p_repetition": {"temperature": 0.8, "top_k": 50, "top_p": 0.95, "repetition_penalty": 1.1},
}


def history(vocab: int) -> Any:
    torch = package("torch")
    return torch.randint(0, vocab, (1, HISTORY), generator=torch.Generator().manual_seed(1))


def fastgen_call(plan: str, row: Any) -> Callable[[], Any]:
    """Return what `generate()` does with `fastgen.integrations.transformers.sampling`; the text grows by a token."""
    torch = package("torch")
    package("transformers")
    from fastgen.integrations.transformers import sampling

    processors = package("transformers.generation.logits_process").LogitsProcessorList(
        sampling(seed=1, **PLANS[plan])["logits_processor"]
    )
    ids, scores = history(len(row)), torch.from_numpy(row)[None]

    def call() -> Any:
        nonlocal ids
        token = torch.argmax(processors(ids, scores), dim=-1)
        ids = torch.cat([ids[:, -4 * HISTORY :], token[:, None]], dim=-1)
        return token

    return call


def transformers_call(plan: str, row: Any) -> Callable[[], Any]:
    torch, process = package("torch"), package("transformers.generation.logits_process")
    settings = PLANS[plan]
    processors = process.LogitsProcessorList()
    if "repetition_penalty" in settings:
        processors.append(process.RepetitionPenaltyLogitsProcessor(settings["repetition_penalty"]))
    processors.append(process.TemperatureLogitsWarper(settings["temperature"]))
    if "top_k" in settings:
        processors.append(process.TopKLogitsWarper(settings["top_k"]))
    processors.append(process.TopPLogitsWarper(settings["top_p"]))
    ids, scores = history(len(row)), torch.from_numpy(row)[None]

    def call() -> Any:
        nonlocal ids
        probabilities = torch.nn.functional.softmax(processors(ids, scores), dim=-1)
        token = torch.multinomial(probabilities, num_samples=1).squeeze(1)
        ids = torch.cat([ids[:, -4 * HISTORY :], token[:, None]], dim=-1)
        return token

    return call


def peer(impl: str, plan: str, kind: str, vocab: int) -> Peer:
    call = transformers_call if impl == "transformers" else fastgen_call
    return Peer(call(plan, logits(kind, vocab)), level_of(impl))


class Step(Bench):
    param_names = ("impl", "plan", "row", "vocab")
    params = (["fastgen", "transformers"], list(PLANS), ROWS, VOCABULARIES)

    def setup(self, impl: str, plan: str, kind: str, vocab: int) -> None:
        self.call, level = peer(impl, plan, kind, vocab)
        cpu.force(level)

    def time_step(self, impl: str, plan: str, kind: str, vocab: int) -> None:
        self.call()


class Speedup:
    version = "1"
    param_names = ("plan", "row", "vocab")
    params = (list(PLANS), ROWS, VOCABULARIES)

    def track_speedup_vs_transformers(self, plan: str, kind: str, vocab: int) -> float:
        return paired(peer("fastgen", plan, kind, vocab), peer("transformers", plan, kind, vocab)).ratio

    track_speedup_vs_transformers.unit = "x faster"  # type: ignore[attr-defined]


def integrations_rows() -> Iterator[tuple[str, str, Pair]]:
    """Yield what is measured, the peer, and both times, for the figures of the README."""
    for vocab in VOCABULARIES:
        for plan, settings in PLANS.items():
            names = ", ".join(f"{name} {value}" for name, value in settings.items())
            for kind in ("random", "peaked"):
                pair = paired(*(peer(impl, plan, kind, vocab) for impl in ("fastgen", "transformers")))
                yield f"a step of generate(), {vocab:,} logits, {names}, {kind} row", "transformers", pair
