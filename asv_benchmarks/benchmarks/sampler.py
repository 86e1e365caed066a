"""Choosing one token from a row of logits: fastgen against the processors of transformers and torch, one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastgen import Sampler, SamplingParams, cpu
from fastgen.kernels.logits import maximum

from .common import ROWS, VOCABULARIES, Bench, Peer, level_of, logits, package, paired

PLANS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "neutral": {},
    "top_p": {"temperature": 0.8, "top_p": 0.95},
    "top_k_top_p": {"temperature": 0.8, "top_k": 50, "top_p": 0.95},
    "min_p": {"temperature": 0.8, "min_p": 0.05},
}


def fastgen_call(plan: str, row: Any) -> Callable[[], Any]:
    sample = Sampler(SamplingParams(seed=1, **PLANS[plan]), vocab_size=len(row)).sample
    return lambda: sample(row)


def transformers_call(plan: str, row: Any) -> Callable[[], Any]:
    """Return what `generate()` of transformers does between the model and the token."""
    torch, process = package("torch"), package("transformers.generation.logits_process")
    settings = PLANS[plan]
    ids, scores = torch.zeros((1, 1), dtype=torch.long), torch.from_numpy(row)[None]
    processors = process.LogitsProcessorList()
    if "temperature" in settings:
        processors.append(process.TemperatureLogitsWarper(settings["temperature"] or 1.0))
    if "top_k" in settings:
        processors.append(process.TopKLogitsWarper(settings["top_k"]))
    if "top_p" in settings:
        processors.append(process.TopPLogitsWarper(settings["top_p"]))
    if "min_p" in settings:
        processors.append(process.MinPLogitsWarper(settings["min_p"]))
    if plan == "greedy":
        return lambda: torch.argmax(scores, dim=-1)

    def call() -> Any:
        probabilities = torch.nn.functional.softmax(processors(ids, scores), dim=-1)
        return torch.multinomial(probabilities, num_samples=1)

    return call


def torch_call(plan: str, row: Any) -> Callable[[], Any]:
    torch = package("torch")
    if plan != "greedy":
        raise NotImplementedError("torch has no such sampler")
    scores = torch.from_numpy(row)
    return lambda: torch.argmax(scores).item()


def peer(impl: str, plan: str, kind: str, vocab: int) -> Peer:
    """Return a call that chooses a token; impl "max" is one pass of fastgen's over the row, for its largest score."""
    row = logits(kind, vocab)
    calls = {"transformers": transformers_call, "torch": torch_call, "max": lambda _, row: lambda: maximum(row)}
    return Peer(calls.get(impl, fastgen_call)(plan, row), level_of(impl))


class Sample(Bench):
    param_names = ("impl", "plan", "row", "vocab")
    params = (
        ["fastgen", "fastgen-avx2", "fastgen-scalar", "transformers", "torch"], list(PLANS), ROWS, VOCABULARIES,
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
        return paired(peer("fastgen", plan, kind, vocab), peer("transformers", plan, kind, vocab)).ratio

    track_speedup_vs_transformers.unit = "x faster"  # type: ignore[attr-defined]

    def track_vs_max_pass(self, plan: str, kind: str, vocab: int) -> float:
        return paired(peer("max", plan, kind, vocab), peer("fastgen", plan, kind, vocab)).ratio

    track_vs_max_pass.unit = "passes"  # type: ignore[attr-defined]
