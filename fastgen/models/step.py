"""Any callable as a model: ``step(ids, state) -> logits``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgen.errors import ContextLengthError, InvalidParameterError, LogitsError
from fastgen.models.contract import Batch

__all__ = ["StateCache", "StepModel"]


class StateCache:
    """One dict for each slot, the callable's own. Satisfies `fastgen.models.contract.Cache`.

    Parameters
    ----------
    slots : int
    """

    __slots__ = ("lengths", "states")

    def __init__(self, slots: int) -> None:
        if slots < 1:
            raise InvalidParameterError("a cache needs at least one slot", slots=slots)
        self.states: list[dict[Any, Any]] = [{} for _ in range(slots)]
        self.lengths = [0] * slots

    @property
    def slots(self) -> int:
        """The number of sequences that fit."""
        return len(self.states)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays and tensors that the states hold at their top level."""
        return sum(int(getattr(value, "nbytes", 0)) for state in self.states for value in state.values())

    def move(self, source: int, target: int) -> None:
        """Let `target` have the state of `source`, which starts afresh: two sequences never share a state."""
        if not (0 <= source < self.slots and 0 <= target < self.slots):
            raise InvalidParameterError("this cache has no such slot", source=source, target=target, slots=self.slots)
        if source != target:
            self.states[target], self.lengths[target] = self.states[source], self.lengths[source]
            self.states[source], self.lengths[source] = {}, 0


class StepModel:
    """A callable as a model. Satisfies `fastgen.models.contract.CausalLM`.

    Parameters
    ----------
    step : callable
        ``step(ids, state) -> logits``: `ids` is an int64 array [1, tokens] with the tokens that are new, `state` a dict
        that belongs to the sequence and is empty at its first call. The logits are [vocab], [1, vocab] or [1, tokens,
        vocab], of NumPy or torch; of the last form only the last token's row is used. What it raises passes through.
    vocab_size : int, optional
        The length of a row. Without it the first call tells.
    max_positions : int, optional
        Tokens of one sequence, prompt and answer together.
    name : str, optional
    """

    __slots__ = ("max_positions", "name", "step", "vocab_size")

    def __init__(
        self,
        step: Callable[[NDArray[np.int64], dict[Any, Any]], Any],
        vocab_size: int | None = None,
        max_positions: int = 1 << 20,
        name: str | None = None,
    ) -> None:
        if not callable(step):
            raise InvalidParameterError("a step must be callable: step(ids, state) -> logits", step=repr(step))
        if vocab_size is not None and vocab_size < 1:
            raise InvalidParameterError("vocab_size must be positive", vocab_size=vocab_size)
        if max_positions < 1:
            raise InvalidParameterError("max_positions must be positive", max_positions=max_positions)
        self.step = step
        self.vocab_size = vocab_size
        self.max_positions = max_positions
        self.name = name or str(getattr(step, "__name__", type(step).__name__))

    def new_cache(self, slots: int) -> StateCache:
        """Return a cache of empty states."""
        return StateCache(slots)

    def forward(self, batch: Batch, cache: StateCache) -> NDArray[np.float32]:
        """Call the step once for each segment.

        Returns
        -------
        ndarray, float32 [segments, vocab_size]

        Raises
        ------
        LogitsError
            A result is not a row of logits, or of another length than before (``logits_invalid``).
        InvalidParameterError
            A segment starts neither at 0 nor where its sequence ends: a state can't be taken back.
        ContextLengthError
            A sequence would pass `max_positions`.
        """
        for slot, start, count in zip(batch.slots, batch.starts, batch.counts, strict=True):
            if start not in (0, cache.lengths[slot]):
                raise InvalidParameterError(
                    "the state of a callable can't be taken back", slot=slot, start=start, length=cache.lengths[slot]
                )
            if start + count > self.max_positions:
                raise ContextLengthError(
                    "the sequence would grow past the model's positions",
                    needed=start + count,
                    max_positions=self.max_positions,
                )
        ids = np.asarray(batch.token_ids, dtype=np.int64)
        rows: list[NDArray[np.float32]] = []
        first = 0
        for slot, start, count in zip(batch.slots, batch.starts, batch.counts, strict=True):
            if start == 0:
                cache.states[slot] = {}
            rows.append(self._row(self.step(ids[None, first : first + count], cache.states[slot]), count, slot))
            first += count
            cache.lengths[slot] = start + count
        return np.stack(rows)

    def _row(self, logits: Any, count: int, slot: int) -> NDArray[np.float32]:
        """Return the last token's row, as float32."""
        if hasattr(logits, "detach"):  # a torch tensor, without importing torch to ask
            logits = logits.detach().float().cpu().numpy()
        try:
            array = np.asarray(logits)
        except (TypeError, ValueError) as error:
            raise _invalid(f"a {type(logits).__name__}", self.vocab_size, slot) from error
        fits = (
            array.ndim == 1
            or (array.ndim == 2 and len(array) == 1)
            or (array.ndim == 3 and array.shape[:2] == (1, count))
        )
        if not fits or array.dtype.kind != "f" or array.shape[-1] == 0:
            raise _invalid(f"{array.dtype}{list(array.shape)}", self.vocab_size, slot)
        row: NDArray[np.float32] = array.reshape(-1, array.shape[-1])[-1].astype(np.float32, copy=False)
        if self.vocab_size is None:
            self.vocab_size = row.size
        elif row.size != self.vocab_size:
            raise _invalid(f"{array.dtype}{list(array.shape)}", self.vocab_size, slot)
        return row


def _invalid(found: str, vocab_size: int | None, slot: int) -> LogitsError:
    return LogitsError(
        "a step did not return a row of logits",
        code="logits_invalid",
        hint="return floats of shape [vocab], [1, vocab] or [1, tokens, vocab], always of one vocabulary size",
        found=found,
        vocab_size=vocab_size,
        slot=slot,
    )
