"""Attention over the cache for a ragged step: decode rows together, each prefill chunk by itself.

Query heads that share a key/value head are treated as so many queries of that one head, so keys and values are never
repeated.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name that torch code uses
from torch import Tensor

from fastgen.models.contract import Batch

__all__ = ["Group", "attend", "plan"]


class Span(NamedTuple):
    """The cache positions that a group reads, and what each query may see of them (None: all, or causal)."""

    first: int
    end: int
    mask: Tensor | None


class Group(NamedTuple):
    """Segments that attend in one call.

    Attributes
    ----------
    rows : slice or Tensor, int64
        Which tokens of the step.
    slots : slice or Tensor, int64
        Which slots of the cache.
    decode : bool
        One token for each slot; otherwise one slot and a chunk of at least two tokens.
    spans : dict of int to Span
        For each window size in use (0: no window).
    """

    rows: slice | Tensor
    slots: slice | Tensor
    decode: bool
    spans: dict[int, Span]


def plan(batch: Batch, windows: set[int], dtype: torch.dtype, device: torch.device) -> list[Group]:
    """Group the segments of a step and make their masks, once for all layers.

    Parameters
    ----------
    batch : Batch
    windows : set of int
        The window sizes of the model's layers; 0 is no window.
    dtype, device
        Those of the queries: a mask is added to their scores.
    """
    groups: list[Group] = []
    rows: list[int] = []
    slots: list[int] = []
    positions: list[int] = []
    row = 0
    for slot, start, count in zip(batch.slots, batch.starts, batch.counts, strict=True):
        if count == 1:
            rows.append(row)
            slots.append(slot)
            positions.append(start)
        else:
            spans = {window: _chunk_span(start, count, window, dtype, device) for window in windows}
            groups.append(Group(slice(row, row + count), slice(slot, slot + 1), False, spans))
        row += count
    if rows:
        spans = {window: _decode_span(positions, window, dtype, device) for window in windows}
        groups.append(Group(_select(rows, device), _select(slots, device), True, spans))
    return groups


def attend(heads: Tensor, cache: Tensor, groups: list[Group], window: int, kv_heads: int) -> Tensor:
    """Return the attention's output of one layer.

    Parameters
    ----------
    heads : Tensor [tokens, query heads + 2 * kv_heads, head_dim]
        Queries first; keys and values are read from the cache, which already holds this step's.
    cache : Tensor [slots, capacity, 2 * kv_heads, head_dim]
    groups : list of Group
    window : int
        That of the layer.
    kv_heads : int

    Returns
    -------
    Tensor [tokens, query heads * head_dim]
    """
    tokens, _, head_dim = heads.shape
    query_heads = heads.shape[1] - 2 * kv_heads
    width = query_heads * head_dim
    queries = heads[:, :query_heads].view(tokens, kv_heads, query_heads // kv_heads, head_dim)
    if len(groups) == 1:
        return _attend_group(queries, cache, groups[0], window, kv_heads).reshape(tokens, width)
    output = heads.new_empty(tokens, width)
    for group in groups:
        result = _attend_group(queries[group.rows], cache, group, window, kv_heads)
        output[group.rows] = result.reshape(-1, width)
    return output


def _attend_group(queries: Tensor, cache: Tensor, group: Group, window: int, kv_heads: int) -> Tensor:
    """Return [tokens, kv_heads, heads per kv head, head_dim]."""
    first, end, mask = group.spans[window]
    if isinstance(group.slots, slice):
        read = cache[group.slots, first:end]
    else:
        read = cache[:, first:end].index_select(0, group.slots)
    read = read.transpose(1, 2)
    keys, values = read[:, :kv_heads], read[:, kv_heads:]
    if group.decode:
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    shared = queries.shape[2]
    # One slot: the key/value heads take the place of the batch, the query heads that share them that of the heads.
    output = F.scaled_dot_product_attention(
        queries.permute(1, 2, 0, 3),
        keys.transpose(0, 1).expand(-1, shared, -1, -1),
        values.transpose(0, 1).expand(-1, shared, -1, -1),
        attn_mask=mask,
        is_causal=mask is None,
    )
    return output.permute(2, 0, 1, 3)


def _chunk_span(start: int, count: int, window: int, dtype: torch.dtype, device: torch.device) -> Span:
    end = start + count
    first = max(0, start - window + 1) if window else 0
    if start == 0 and not 0 < window < end:
        return Span(0, end, None)
    queries = torch.arange(start, end, device=device)[:, None]
    return Span(first, end, _mask(queries, torch.arange(first, end, device=device), window, dtype))


def _decode_span(positions: list[int], window: int, dtype: torch.dtype, device: torch.device) -> Span:
    low, high = min(positions), max(positions)
    first = max(0, low - window + 1) if window else 0
    if low == high:
        return Span(first, high + 1, None)
    queries = torch.tensor(positions, device=device)[:, None, None, None]
    return Span(first, high + 1, _mask(queries, torch.arange(first, high + 1, device=device), window, dtype))


def _mask(queries: Tensor, keys: Tensor, window: int, dtype: torch.dtype) -> Tensor:
    """Return 0 where the query position sees the key position and -inf elsewhere."""
    hidden = keys > queries
    if window:
        hidden |= keys <= queries - window
    return torch.zeros(hidden.shape, dtype=dtype, device=keys.device).masked_fill_(hidden, float("-inf"))


def _select(indices: list[int], device: torch.device) -> slice | Tensor:
    first = indices[0]
    if indices == list(range(first, first + len(indices))):
        return slice(first, first + len(indices))
    return torch.tensor(indices, device=device)
