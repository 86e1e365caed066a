"""The key/value cache: one tensor for each layer, positions before heads, so that a step writes with one copy."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgen.errors import ContextLengthError, InvalidParameterError

__all__ = ["KVCache"]

FIRST_CAPACITY = 256


class KVCache:
    """Keys and values of the live sequences.

    Everything at and beyond a slot's length is zero. So a dense read over several slots meets finite numbers wherever
    it masks, and a sequence that went bad (NaN) leaves nothing behind for the next one in its slot.

    Parameters
    ----------
    layers, slots, kv_heads, head_dim : int
    max_positions : int
        The capacity doubles as positions are written, and never passes this.
    dtype : torch.dtype
    device : torch.device

    Attributes
    ----------
    layers : list of Tensor [slots, capacity, 2 * kv_heads, head_dim]
        For each position the key heads, then the value heads.
    lengths : list of int
        The number of positions each slot holds.
    """

    __slots__ = ("_head_dim", "_kv_heads", "_max_positions", "layers", "lengths")

    def __init__(
        self,
        layers: int,
        slots: int,
        kv_heads: int,
        head_dim: int,
        max_positions: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        if slots < 1:
            raise InvalidParameterError("a cache needs at least one slot", slots=slots)
        self._kv_heads = kv_heads
        self._head_dim = head_dim
        self._max_positions = max_positions
        self.lengths = [0] * slots
        self.layers = [torch.empty(slots, 0, 2 * kv_heads, head_dim, dtype=dtype, device=device) for _ in range(layers)]

    @property
    def slots(self) -> int:
        """The number of sequences that fit."""
        return len(self.lengths)

    @property
    def capacity(self) -> int:
        """Positions of a slot that have memory now."""
        return self.layers[0].shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes allocated now."""
        return sum(layer.nbytes for layer in self.layers)

    def keys(self, layer: int) -> Tensor:
        """Return the keys of a layer as a view: [slots, kv_heads, capacity, head_dim]."""
        return self.layers[layer][:, :, : self._kv_heads].transpose(1, 2)

    def values(self, layer: int) -> Tensor:
        """Return the values of a layer as a view: [slots, kv_heads, capacity, head_dim]."""
        return self.layers[layer][:, :, self._kv_heads :].transpose(1, 2)

    @torch.inference_mode()
    def extend(self, slots: tuple[int, ...], starts: tuple[int, ...], counts: tuple[int, ...]) -> None:
        """Make room for positions that the caller is about to write, and forget what lay at or beyond them.

        Parameters
        ----------
        slots, starts, counts : tuple of int
            For each segment its slot, its first position and its number of tokens.

        Raises
        ------
        ContextLengthError
            A segment would pass `max_positions`. Nothing has changed then.
        InvalidParameterError
            A slot does not exist or appears twice, a segment is empty, or starts beyond what its slot holds. Nothing
            has changed then.
        """
        if len(set(slots)) != len(slots) or not len(slots) == len(starts) == len(counts):
            raise InvalidParameterError("each segment needs one start, one count and a slot of its own", slots=slots)
        needed = 0
        for slot, start, count in zip(slots, starts, counts, strict=True):
            if not 0 <= slot < len(self.lengths):
                raise InvalidParameterError("this cache has no such slot", slot=slot, slots=len(self.lengths))
            if count < 1 or not 0 <= start <= self.lengths[slot]:
                raise InvalidParameterError(
                    "a segment must hold a token and start within or right after its slot's positions",
                    slot=slot,
                    start=start,
                    count=count,
                    length=self.lengths[slot],
                )
            needed = max(needed, start + count)
        if needed > self._max_positions:
            raise ContextLengthError(
                "the sequence would grow past the model's positions", needed=needed, max_positions=self._max_positions
            )
        if needed > self.capacity:
            self._grow(needed)
        for slot, start, count in zip(slots, starts, counts, strict=True):
            end = start + count
            self._clear(slot, end)
            self.lengths[slot] = end

    @torch.inference_mode()
    def move(self, source: int, target: int) -> None:
        """Copy the positions of one slot over another.

        Parameters
        ----------
        source, target : int
            `source` keeps what it holds until it is written again from position 0.

        Raises
        ------
        InvalidParameterError
            A slot does not exist.
        """
        for slot in (source, target):
            if not 0 <= slot < len(self.lengths):
                raise InvalidParameterError("this cache has no such slot", slot=slot, slots=len(self.lengths))
        if source == target:
            return
        length = self.lengths[source]
        self._clear(target, length)
        for layer in self.layers:
            layer[target, :length].copy_(layer[source, :length])
        self.lengths[target] = length

    def _clear(self, slot: int, start: int) -> None:
        end = self.lengths[slot]
        if end > start:
            for layer in self.layers:
                layer[slot, start:end].zero_()

    def _grow(self, needed: int) -> None:
        capacity = min(max(needed, 2 * self.capacity, FIRST_CAPACITY), self._max_positions)
        grown: list[Tensor] = []
        for old in self.layers:
            new = old.new_zeros(old.shape[0], capacity, *old.shape[2:])
            for slot, length in enumerate(self.lengths):
                if length:
                    new[slot, :length].copy_(old[slot, :length])
            grown.append(new)
        self.layers = grown  # only now: running out of memory half way leaves the old layers as they were
