"""What a model is to the engine: ragged batches in, rows of logits for the ends of their segments out.

This module imports neither torch nor NumPy, so that adapters without torch stay light.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

__all__ = ["Batch", "Cache", "CausalLM"]


class Batch(NamedTuple):
    """One ragged step: prefill chunks and single decode tokens together.

    Attributes
    ----------
    token_ids : sequence of int
        The segments' tokens, one segment after the other.
    slots : tuple of int
        The cache slot of each segment; no slot appears twice.
    starts : tuple of int
        The position of each segment's first token. Positions at and after it that the slot already holds are forgotten.
    counts : tuple of int
        The number of tokens of each segment, at least 1; they add up to ``len(token_ids)``.
    rows : tuple of int, optional
        For how many of its last tokens each segment gets logits, at least 1 and at most its count; None: for the last
        one only.
    """

    token_ids: Sequence[int]
    slots: tuple[int, ...]
    starts: tuple[int, ...]
    counts: tuple[int, ...]
    rows: tuple[int, ...] | None = None

    def logit_places(self) -> list[int]:
        """Return which of `token_ids` get a row of logits, in order."""
        places: list[int] = []
        end = 0
        for count, rows in zip(self.counts, self.rows or (1,) * len(self.counts), strict=True):
            end += count
            places += range(end - rows, end)
        return places


class Cache(Protocol):
    """What a model remembers about the sequences of its slots."""

    @property
    def slots(self) -> int:
        """The number of sequences that fit."""

    @property
    def nbytes(self) -> int:
        """Bytes allocated now."""

    def move(self, source: int, target: int) -> None:
        """Copy what one slot holds over another, which keeps the live slots dense."""


class CausalLM(Protocol):
    """A language model that the engine can step.

    `forward` returns the rows of logits that the batch asks for, segment by segment: shape [rows, vocab_size], a torch
    tensor or a NumPy array of float32, float16 or (torch only) bfloat16. The rows may be overwritten by the next call.

    A model may say ``rewinds = True``: then a segment may start before the end of what its slot holds, and ask for
    several rows, which prompt look-up decoding needs. Others are given one row for each segment, and no way back.
    """

    @property
    def name(self) -> str:
        """A short name for people."""

    @property
    def vocab_size(self) -> int | None:
        """The length of a row of logits; None while a wrapped callable has not told it yet."""

    @property
    def max_positions(self) -> int:
        """The largest number of positions of one sequence, prompt and answer together."""

    def new_cache(self, slots: int) -> Any:
        """Return an empty `Cache` that grows by itself as positions are written."""

    def forward(self, batch: Batch, cache: Any) -> Any:
        """Run one step and return the logits."""
