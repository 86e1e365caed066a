"""Rotary positions as one complex multiplication: the two halves of a pair lie side by side."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastgen.models.llama_config import LlamaConfig

__all__ = ["Rotary", "inverse_frequencies", "rotate_"]


def inverse_frequencies(config: LlamaConfig, factors: Tensor | None = None) -> Tensor:
    """Return the angle of each rotary pair per position.

    Parameters
    ----------
    config : LlamaConfig
    factors : Tensor, float32 [head_dim / 2], optional
        Divisors stored in the checkpoint; they stand in for the scaling of the configuration.

    Returns
    -------
    Tensor, float32 [head_dim / 2]
        Radians per position.
    """
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.int64).to(torch.float32) / config.head_dim
    frequencies = 1.0 / (config.rope_theta**exponents)
    scaling = config.rope_scaling
    if factors is not None:
        return frequencies / factors
    if scaling is None:
        return frequencies
    if scaling.kind == "linear":
        return frequencies / scaling.factor
    wavelengths = 2 * math.pi / frequencies
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    slow = torch.where(wavelengths > scaling.original_positions / low, frequencies / scaling.factor, frequencies)
    blend = (scaling.original_positions / wavelengths - low) / (high - low)
    smooth = (1 - blend) * slow / scaling.factor + blend * slow
    medium = (wavelengths >= scaling.original_positions / high) & (wavelengths <= scaling.original_positions / low)
    return torch.where(medium, smooth, slow)


class Rotary:
    """The table of rotations, grown by doubling as positions come into use.

    Parameters
    ----------
    frequencies : Tensor, float32 [head_dim / 2]
        Radians per position of each pair.
    max_positions : int
        The table never grows beyond it.
    """

    __slots__ = ("_frequencies", "_max_positions", "_table")

    def __init__(self, frequencies: Tensor, max_positions: int) -> None:
        self._frequencies = frequencies
        self._max_positions = max_positions
        self._table = torch.empty(0, 1, len(frequencies), dtype=torch.complex64, device=frequencies.device)

    def at(self, positions: Tensor, end: int) -> Tensor:
        """Return the rotations of some positions, all below `end`: complex64 [count, 1, head_dim / 2]."""
        if end > len(self._table):
            rows = min(max(end, 2 * len(self._table), 512), max(self._max_positions, end))
            angles = (
                torch.arange(rows, dtype=torch.float32, device=self._frequencies.device)[:, None] * self._frequencies
            )
            self._table = torch.polar(torch.ones_like(angles), angles)[:, None]
        return self._table.index_select(0, positions)


def rotate_(heads: Tensor, rotations: Tensor) -> None:
    """Turn each adjacent pair of values in place, in float32.

    Parameters
    ----------
    heads : Tensor [tokens, heads, head_dim]
        Pairs lie side by side: (0, 1), (2, 3), ...
    rotations : Tensor, complex64 [tokens, 1, head_dim / 2]
    """
    if heads.dtype == torch.float32:
        heads.view(torch.complex64).mul_(rotations)
    else:
        heads.copy_(heads.float().view(torch.complex64).mul_(rotations).view(torch.float32))
