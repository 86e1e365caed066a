"""The Llama-family decoder in plain torch: fused weights, one ragged forward, nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name that torch code uses
from torch import Tensor

from fastgen.errors import InvalidParameterError
from fastgen.models.attention import attend, plan
from fastgen.models.cache import KVCache
from fastgen.models.contract import Batch
from fastgen.models.llama_config import LlamaConfig, RopeScaling
from fastgen.models.rotary import Rotary, rotate_

__all__ = ["Layer", "Llama", "LlamaConfig", "RopeScaling"]


@dataclass(slots=True)
class Layer:
    """The weights of one layer. Matrices are [inputs, outputs]; the rows' order in memory is the loader's choice.

    Attributes
    ----------
    attention_norm, mlp_norm : Tensor [hidden_size]
    qkv : Tensor [hidden_size, (heads + 2 * kv_heads) * head_dim]
        Queries, keys, values. Within a query or key head the two values of a rotary pair are neighbors.
    output : Tensor [heads * head_dim, hidden_size]
    gate_up : Tensor [hidden_size, 2 * intermediate_size]
    down : Tensor [intermediate_size, hidden_size]
    window : int
        The number of positions a token sees, itself included; 0 is all.
    qk_norm : Tensor [heads + kv_heads, head_dim], optional
        The weight of the norm over each query and key head, in the order of `qkv`.
    qkv_bias, output_bias, gate_up_bias, down_bias : Tensor, optional
    """

    attention_norm: Tensor
    qkv: Tensor
    output: Tensor
    mlp_norm: Tensor
    gate_up: Tensor
    down: Tensor
    window: int = 0
    qk_norm: Tensor | None = None
    qkv_bias: Tensor | None = None
    output_bias: Tensor | None = None
    gate_up_bias: Tensor | None = None
    down_bias: Tensor | None = None


class Llama:
    """A decoder of the Llama family (llama, mistral, qwen2, qwen3). Satisfies `fastgen.models.contract.CausalLM`.

    Sequences may be taken back to any earlier position.

    Parameters
    ----------
    config : LlamaConfig
    embedding : Tensor [vocab_size, hidden_size]
    layers : list of Layer
    norm : Tensor [hidden_size]
    head : Tensor [hidden_size, vocab_size]
        May be a view of `embedding`.
    frequencies : Tensor, float32 [head_dim / 2]
        Radians per position of each rotary pair.
    name : str, optional
    """

    __slots__ = ("_rotary", "_windows", "config", "device", "dtype", "embedding", "head", "layers", "name", "norm")

    rewinds = True

    def __init__(
        self,
        config: LlamaConfig,
        embedding: Tensor,
        layers: list[Layer],
        norm: Tensor,
        head: Tensor,
        frequencies: Tensor,
        name: str = "llama",
    ) -> None:
        self.config = config
        self.embedding = embedding
        self.layers = layers
        self.norm = norm
        self.head = head
        self.name = name
        self.dtype = embedding.dtype
        self.device = embedding.device
        self._rotary = Rotary(frequencies.to(self.device), config.max_positions)
        self._windows = {layer.window for layer in layers}

    @property
    def vocab_size(self) -> int:
        """The length of a row of logits."""
        return self.config.vocab_size

    @property
    def max_positions(self) -> int:
        """The largest number of positions of one sequence."""
        return self.config.max_positions

    def new_cache(self, slots: int) -> KVCache:
        """Return an empty cache for `slots` sequences."""
        config = self.config
        return KVCache(
            config.layers, slots, config.kv_heads, config.head_dim, config.max_positions, self.dtype, self.device
        )

    @torch.inference_mode()
    def forward(self, batch: Batch, cache: KVCache) -> Tensor:
        """Run one ragged step.

        Parameters
        ----------
        batch : Batch
        cache : KVCache
            Made by `new_cache`; gains the batch's positions.

        Returns
        -------
        Tensor, float32 [rows, vocab_size]
            The logits of each segment's last token, or of as many last ones as ``batch.rows`` says.

        Raises
        ------
        InvalidParameterError
            A token id is outside the vocabulary (``token_out_of_range``), or the batch does not fit the cache. The
            cache is unchanged.
        ContextLengthError
            A sequence would pass `max_positions`. The cache is unchanged.
        """
        ids = self._check(batch)
        cache.extend(batch.slots, batch.starts, batch.counts)
        positions = _positions(batch)
        where = np.repeat(np.asarray(batch.slots) * cache.capacity, batch.counts) + positions
        tokens, where_t, positions_t = torch.from_numpy(np.stack((ids, where, positions))).to(self.device).unbind()
        rotations = self._rotary.at(positions_t, int(positions.max()) + 1)
        groups = plan(batch, self._windows, self.dtype, self.device)

        eps, kv_heads, head_dim = self.config.norm_eps, self.config.kv_heads, self.config.head_dim
        turned = self.config.heads + kv_heads
        x = F.embedding(tokens, self.embedding)
        count = len(ids)
        for layer, kv in zip(self.layers, cache.layers, strict=True):
            heads = _linear(_rms_norm(x, layer.attention_norm, eps), layer.qkv, layer.qkv_bias)
            heads = heads.view(count, -1, head_dim)
            queries_keys = heads[:, :turned]
            if layer.qk_norm is not None:
                queries_keys.copy_(_rms_norm(queries_keys, None, eps).mul_(layer.qk_norm))
            rotate_(queries_keys, rotations)
            kv.view(-1, 2 * kv_heads, head_dim).index_copy_(0, where_t, heads[:, self.config.heads :])
            mixed = attend(heads, kv, groups, layer.window, kv_heads)
            _add_linear(x, mixed, layer.output, layer.output_bias)
            gate, up = _linear(_rms_norm(x, layer.mlp_norm, eps), layer.gate_up, layer.gate_up_bias).chunk(2, -1)
            _add_linear(x, F.silu(gate, inplace=True).mul_(up), layer.down, layer.down_bias)

        places = batch.logit_places()
        if count != len(places):
            x = x.index_select(0, torch.tensor(places, device=self.device))
        return torch.mm(_rms_norm(x, self.norm, eps), self.head).float()

    def _check(self, batch: Batch) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        ids = np.asarray(batch.token_ids, dtype=np.int64)
        if ids.ndim != 1 or ids.size == 0 or ids.size != sum(batch.counts):
            raise InvalidParameterError(
                "the counts of a batch must add up to its tokens", tokens=ids.size, counts=batch.counts
            )
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= self.config.vocab_size:
            raise InvalidParameterError(
                "a token id is outside the vocabulary",
                code="token_out_of_range",
                token=low if low < 0 else high,
                vocab_size=self.config.vocab_size,
            )
        return ids


def _positions(batch: Batch) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    if len(batch.counts) == len(batch.token_ids):
        return np.asarray(batch.starts, dtype=np.int64)
    return np.concatenate(
        [
            np.arange(start, start + count, dtype=np.int64)
            for start, count in zip(batch.starts, batch.counts, strict=True)
        ]
    )


def _rms_norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    if x.dtype != torch.float32:
        return F.rms_norm(x, x.shape[-1:], weight, eps)
    # sqrt(mean(x**2) + eps) == hypot(|x|, sqrt(size * eps)) / sqrt(size): less than half the small operations of
    # F.rms_norm.
    size = x.shape[-1]
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    scaled = x / length.hypot_(x.new_full((), math.sqrt(size * eps))).mul_(size**-0.5)
    return scaled if weight is None else scaled.mul_(weight)


def _linear(x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    return torch.mm(x, matrix) if bias is None else torch.addmm(bias, x, matrix)


def _add_linear(x: Tensor, inputs: Tensor, matrix: Tensor, bias: Tensor | None) -> None:
    """Add ``inputs @ matrix + bias`` to `x` in place."""
    x.addmm_(inputs, matrix)
    if bias is not None:
        x.add_(bias)
