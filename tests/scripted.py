"""A model that says what the test tells it to: real machinery around logits that are known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
