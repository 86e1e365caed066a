"""A causal model of the transformers library as a model, one cache for each slot."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastgen.errors import ContextLengthError, InvalidParameterError, missing_dependency
from fastgen.models.contract import Batch

__all__ = ["TransformersCache", "TransformersModel"]

UNBOUNDED = 1 << 20  # positions of a model whose configuration sets no limit


class TransformersCache:
    """One ``DynamicCache`` for each slot. Satisfies `fastgen.models.contract.Cache`.

    Parameters
    ----------
    slots : int
    config : transformers.PreTrainedConfig
        Says which layers have a sliding window.
    """

    __slots__ = ("_config", "lengths", "states")

    def __init__(self, slots: int, config: Any) -> None:
        if slots < 1:
            raise InvalidParameterError("a cache needs at least one slot", slots=slots)
        self._config = config
        self.states: list[Any] = [None] * slots
        self.lengths = [0] * slots

    @property
    def slots(self) -> int:
        """The number of sequences that fit."""
        return len(self.states)

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        total = 0
        for state in self.states:
            for layer in getattr(state, "layers", ()):
                total += sum(part.nbytes for part in (layer.keys, layer.values) if isinstance(part, Tensor))
        return total

    def move(self, source: int, target: int) -> None:
        """Let `target` have the cache of `source`, which starts afresh."""
        if not (0 <= source < self.slots and 0 <= target < self.slots):
            raise InvalidParameterError("this cache has no such slot", source=source, target=target, slots=self.slots)
        if source != target:
            self.states[target], self.lengths[target] = self.states[source], self.lengths[source]
            self.states[source], self.lengths[source] = None, 0

    def at(self, slot: int, start: int) -> Any:
        """Return the cache of a slot, holding exactly the positions below `start`."""
        if start == 0:
            self.states[slot] = _new_state(self._config)
        elif start < self.lengths[slot]:
            # A negative number is how many positions to drop; a positive one counts differently in sliding layers.
            self.states[slot].crop(start - self.lengths[slot])
        self.lengths[slot] = start
        return self.states[slot]


def _new_state(config: Any) -> Any:
    try:
        from transformers import DynamicCache
    except ImportError as error:
        raise missing_dependency("transformers", "hf", "a model of transformers") from error
    return DynamicCache(config=config)


class TransformersModel:
    """A causal language model of transformers. Satisfies `fastgen.models.contract.CausalLM`.

    The segments of a step run one after the other. What the model raises passes through.

    Parameters
    ----------
    hf_model : transformers.PreTrainedModel
        In ``eval()`` mode, on the device where it shall run. It is not changed.
    name : str, optional
    """

    __slots__ = ("_keeps", "_model", "max_positions", "name", "vocab_size")

    def __init__(self, hf_model: Any, name: str | None = None) -> None:
        config: Any = getattr(hf_model, "config", None)
        text: Any = config.get_text_config() if hasattr(config, "get_text_config") else config
        if not callable(hf_model) or not isinstance(getattr(text, "vocab_size", None), int):
            raise InvalidParameterError(
                "not a language model of transformers",
                hint="pass an AutoModelForCausalLM",
                found=type(hf_model).__name__,
            )
        self._model = hf_model
        self.vocab_size: int = text.vocab_size
        self.max_positions: int = getattr(text, "max_position_embeddings", None) or UNBOUNDED
        self.name: str = name or getattr(config, "name_or_path", "") or type(hf_model).__name__
        # Without it the model computes logits of every prompt token.
        self._keeps = "logits_to_keep" in inspect.signature(hf_model.forward).parameters

    @property
    def rewinds(self) -> bool:
        """Whether a sequence can be taken back: the caches of sliding windows and of linear attention forget."""
        layers = _new_state(self._model.config).layers
        return all(type(layer).__name__ == "DynamicLayer" for layer in layers)

    def new_cache(self, slots: int) -> TransformersCache:
        """Return an empty cache for `slots` sequences."""
        return TransformersCache(slots, self._model.config)

    @torch.inference_mode()
    def forward(self, batch: Batch, cache: TransformersCache) -> Tensor:
        """Run one ragged step.

        Returns
        -------
        Tensor [rows, vocab_size]
            The logits of each segment's last token, or of as many last ones as ``batch.rows`` says, in the model's
            dtype.

        Raises
        ------
        InvalidParameterError
            A segment starts beyond what its slot holds.
        ContextLengthError
            A sequence would pass `max_positions`.
        """
        for slot, start, count in zip(batch.slots, batch.starts, batch.counts, strict=True):
            if not 0 <= start <= cache.lengths[slot]:
                raise InvalidParameterError(
                    "a segment must start within or right after its slot's positions",
                    slot=slot,
                    start=start,
                    length=cache.lengths[slot],
                )
            if start + count > self.max_positions:
                raise ContextLengthError(
                    "the sequence would grow past the model's positions",
                    needed=start + count,
                    max_positions=self.max_positions,
                )
        ids = torch.from_numpy(np.array(batch.token_ids, dtype=np.int64)).to(self._model.device)
        found = []
        wanted = batch.rows or (1,) * len(batch.slots)
        segments = zip(batch.slots, batch.starts, torch.split(ids, list(batch.counts)), wanted, strict=True)
        for slot, start, tokens, rows in segments:
            keep = {"logits_to_keep": rows} if self._keeps else {}
            output = self._model(input_ids=tokens[None], past_key_values=cache.at(slot, start), use_cache=True, **keep)
            cache.lengths[slot] = start + len(tokens)
            found.append(output.logits[0, -rows:])
        return torch.cat(found)
