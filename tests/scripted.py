"""A model that says what the test tells it to: real machinery around logits that are known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgen.models.contract import Batch
from fastgen.models.step import StepModel


def scripted(script: Sequence[int], vocab_size: int, **options: Any) -> StepModel:
    """Return a model whose greedy answer to any prompt is `script`, then its last token for ever."""

    def step(ids: NDArray[np.int64], state: dict[str, Any]) -> NDArray[np.float32]:
        place = state.get("place", 0)
        state["place"] = place + 1
        logits = np.zeros((1, vocab_size), np.float32)
        logits[0, script[min(place, len(script) - 1)]] = 10.0
        return logits

    return StepModel(step, vocab_size, **options)


def scripted_by_prompt(answer: Callable[[list[int]], Sequence[int]], vocab_size: int, **options: Any) -> StepModel:
    """Return a model whose greedy answer depends on the prompt it read."""

    def step(ids: NDArray[np.int64], state: dict[str, Any]) -> NDArray[np.float32]:
        seen = state.setdefault("seen", [])
        seen.extend(ids[0].tolist())
        prompt = state.setdefault("prompt", list(seen))
        script = answer(prompt)
        place = len(seen) - len(prompt)
        logits = np.zeros((1, vocab_size), np.float32)
        logits[0, script[min(place, len(script) - 1)]] = 10.0
        return logits

    return StepModel(step, vocab_size, **options)


class Sequences:
    """The tokens that each slot holds, as a cache."""

    def __init__(self, slots: int) -> None:
        self.tokens: list[list[int]] = [[] for _ in range(slots)]
        self.slots, self.nbytes = slots, 0

    def move(self, source: int, target: int) -> None:
        self.tokens[target] = list(self.tokens[source])


class Rewinding:
    """A model whose logits are a function of all tokens before, and which can be taken back.

    Parameters
    ----------
    logits : callable
        ``logits(tokens) -> row``: float32 [vocab_size].
    """

    rewinds = True

    def __init__(
        self, logits: Callable[[list[int]], NDArray[np.float32]], vocab_size: int, max_positions: int = 1 << 20
    ) -> None:
        self.logits, self.vocab_size, self.max_positions, self.name = logits, vocab_size, max_positions, "rewinding"
        self.batches: list[Batch] = []

    def new_cache(self, slots: int) -> Sequences:
        return Sequences(slots)

    def forward(self, batch: Batch, cache: Sequences) -> NDArray[np.float32]:
        self.batches.append(batch)
        rows: list[NDArray[np.float32]] = []
        first = 0
        wanted = batch.rows or (1,) * len(batch.slots)
        for slot, start, count, keep in zip(batch.slots, batch.starts, batch.counts, wanted, strict=True):
            held = cache.tokens[slot]
            assert start <= len(held), "a gap"
            assert start + count <= self.max_positions
            held[start:] = batch.token_ids[first : first + count]
            first += count
            rows += [self.logits(held[:end]) for end in range(start + count - keep + 1, start + count + 1)]
        return np.stack(rows)
