"""From a checkpoint's tensors to the fused weights of a `Llama`: every part goes straight into its place, once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from fastgen.errors import CheckpointError
from fastgen.models.llama import Layer, Llama
from fastgen.models.llama_config import LlamaConfig, unsupported
from fastgen.models.rotary import inverse_frequencies

__all__ = ["WeightSource", "build", "check_tensors", "expected_shapes"]

BLOCK_ELEMENTS: Final = 1 << 19  # rows are read in blocks of about this size: measured best between 2**15 and 2**20
HUGE_PAGES: Final = 1 << 22  # bytes from which NumPy asks the kernel for huge pages: fewer faults, fewer TLB misses


class WeightSource(Protocol):
    """The tensors of a checkpoint under the names that Hugging Face gives them."""

    @property
    def path(self) -> Path:
        """The file or folder, for messages."""

    @property
    def config(self) -> LlamaConfig:
        """The shape of the model."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Every tensor's shape, outermost dimension first."""

    @property
    def interleaved(self) -> bool:
        """Whether the rows of queries and keys already have the two values of a rotary pair side by side."""

    @property
    def rope_factors(self) -> Tensor | None:
        """Divisors of the rotary frequencies stored with the weights: float32 [head_dim / 2]."""

    def stored_name(self, name: str) -> str:
        """Return the name of a tensor in the file, for messages."""

    def read(self, name: str, first: int, end: int) -> Tensor:
        """Return rows of a tensor (elements of a vector), valid until the thread's next call.

        The rows are in CPU memory, in any floating-point type. Threads may call at the same time.
        """


class _Part(NamedTuple):
    """One tensor of the checkpoint and its place: `target` is [rows, inputs] or a vector, often a view."""

    name: str
    target: Tensor
    head_dim: int  # rotary pairs of heads of this size have to be brought together; 0: rows stay as they are


def expected_shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of all tensors that a model of this shape needs."""
    hidden, mlp = config.hidden_size, config.intermediate_size
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config.vocab_size, hidden),
        "model.norm.weight": (hidden,),
    }
    if not config.tied:
        shapes["lm_head.weight"] = (config.vocab_size, hidden)
    matrices = {
        "self_attn.q_proj": (queries, hidden, config.qkv_bias),
        "self_attn.k_proj": (keys, hidden, config.qkv_bias),
        "self_attn.v_proj": (keys, hidden, config.qkv_bias),
        "self_attn.o_proj": (hidden, queries, config.output_bias),
        "mlp.gate_proj": (mlp, hidden, config.mlp_bias),
        "mlp.up_proj": (mlp, hidden, config.mlp_bias),
        "mlp.down_proj": (hidden, mlp, config.mlp_bias),
    }
    for index in range(config.layers):
        prefix = f"model.layers.{index}."
        shapes[f"{prefix}input_layernorm.weight"] = (hidden,)
        shapes[f"{prefix}post_attention_layernorm.weight"] = (hidden,)
        for name, (rows, inputs, bias) in matrices.items():
            shapes[f"{prefix}{name}.weight"] = (rows, inputs)
            if bias:
                shapes[f"{prefix}{name}.bias"] = (rows,)
        if config.qk_norm:
            shapes[f"{prefix}self_attn.q_norm.weight"] = (config.head_dim,)
            shapes[f"{prefix}self_attn.k_norm.weight"] = (config.head_dim,)
    return shapes


def check_tensors(source: WeightSource) -> None:
    """Compare a checkpoint's tensors with what its configuration calls for.

    Raises
    ------
    CheckpointError
        A tensor is missing or has another shape (``checkpoint_corrupt``), or one is there that would change the result
        and has no place in this decoder (``checkpoint_unsupported``).
    """
    found = source.shapes
    expected = expected_shapes(source.config)
    path = str(source.path)
    for name, shape in expected.items():
        if name not in found:
            raise CheckpointError(
                "a tensor is missing",
                hint="the file is incomplete, or it is of another architecture than it says",
                path=path,
                tensor=source.stored_name(name),
                expected=shape,
            )
        if tuple(found[name]) != shape:
            raise CheckpointError(
                "a tensor has the wrong shape",
                path=path,
                tensor=source.stored_name(name),
                expected=shape,
                found=found[name],
            )
    for name in found:
        if name not in expected and (name.endswith(".bias") or _in_a_layer(name, source.config.layers)):
            raise unsupported(
                "a tensor that this architecture has no place for would change the result",
                "the checkpoint is of a variant that is not supported",
                path=path,
                tensor=source.stored_name(name),
            )


def build(
    source: WeightSource,
    *,
    device: torch.device,
    dtype: torch.dtype,
    name: str,
    progress: Callable[[float], None] | None = None,
) -> Llama:
    """Check a checkpoint's tensors and read them into a model.

    Parameters
    ----------
    source : WeightSource
    device, dtype
        Of the model's weights and cache.
    name : str
        The model's name for people.
    progress : callable, optional
        Called with the fraction that is done, from the calling thread.

    Returns
    -------
    Llama
    """
    check_tensors(source)
    # For one to some dozens of rows in float32, gemm over [inputs, outputs] in memory is up to 1.4 times as fast on
    # CPUs as over [outputs, inputs]. Everything else keeps the checkpoint's order, for which the bfloat16 and GPU
    # kernels are tuned.
    columns = device.type == "cpu" and dtype == torch.float32
    config = source.config
    parts: list[_Part] = []

    def matrix(*names: str, pairs: int = 0) -> Tensor:
        """Allocate one matrix for several tensors, one above the other; the first `pairs` of them hold rotary heads."""
        rows = [source.shapes[name][0] for name in names]
        inputs = source.shapes[names[0]][1]
        stored = _empty((inputs, sum(rows)) if columns else (sum(rows), inputs), dtype, device)
        by_rows = stored.t() if columns else stored
        _place(names, rows, by_rows, pairs)
        return by_rows.t()

    def vector(*names: str, pairs: int = 0) -> Tensor:
        rows = [source.shapes[name][0] for name in names]
        stored = _empty((sum(rows),), dtype, device)
        _place(names, rows, stored, pairs)
        return stored

    def _place(names: tuple[str, ...], rows: list[int], stored: Tensor, pairs: int) -> None:
        head_dim = 0 if source.interleaved else config.head_dim
        for index, (name, target) in enumerate(zip(names, torch.split(stored, rows), strict=True)):
            parts.append(_Part(name, target, head_dim if index < pairs else 0))

    def layer(index: int) -> Layer:
        attention, mlp = f"model.layers.{index}.self_attn.", f"model.layers.{index}.mlp."
        qkv = [f"{attention}{letter}_proj" for letter in "qkv"]
        gate_up = [f"{mlp}gate_proj", f"{mlp}up_proj"]
        norms = [f"{attention}q_norm.weight"] * config.heads + [f"{attention}k_norm.weight"] * config.kv_heads
        return Layer(
            attention_norm=vector(f"model.layers.{index}.input_layernorm.weight"),
            qkv=matrix(*(f"{name}.weight" for name in qkv), pairs=2),
            output=matrix(f"{attention}o_proj.weight"),
            mlp_norm=vector(f"model.layers.{index}.post_attention_layernorm.weight"),
            gate_up=matrix(*(f"{name}.weight" for name in gate_up)),
            down=matrix(f"{mlp}down_proj.weight"),
            window=config.windows[index] if config.windows else 0,
            qk_norm=vector(*norms, pairs=len(norms)).view(-1, config.head_dim) if config.qk_norm else None,
            qkv_bias=vector(*(f"{name}.bias" for name in qkv), pairs=2) if config.qkv_bias else None,
            output_bias=vector(f"{attention}o_proj.bias") if config.output_bias else None,
            gate_up_bias=vector(*(f"{name}.bias" for name in gate_up)) if config.mlp_bias else None,
            down_bias=vector(f"{mlp}down_proj.bias") if config.mlp_bias else None,
        )

    head = matrix("model.embed_tokens.weight" if config.tied else "lm_head.weight")
    if config.tied:
        embedding = head.t()
    else:
        embedding = _empty((config.vocab_size, config.hidden_size), dtype, device)
        parts.append(_Part("model.embed_tokens.weight", embedding, 0))
    layers = [layer(index) for index in range(config.layers)]
    norm = vector("model.norm.weight")
    _fill(source, parts, progress)
    frequencies = inverse_frequencies(config, source.rope_factors)
    return Llama(config, embedding, layers, norm, head, frequencies, name)


def _fill(source: WeightSource, parts: list[_Part], progress: Callable[[float], None] | None) -> None:
    blocks: list[tuple[_Part, int, int]] = []
    for part in parts:
        rows, *inputs = part.target.shape
        step = max(1, BLOCK_ELEMENTS // (inputs[0] if inputs else 1))
        if part.head_dim:
            step = max(step // part.head_dim, 1) * part.head_dim
        blocks += [(part, first, min(first + step, rows)) for first in range(0, rows, step)]

    def fill(block: tuple[_Part, int, int]) -> None:
        part, first, end = block
        target, values = part.target[first:end], source.read(part.name, first, end)
        if part.head_dim:
            halves = torch.unflatten(values, 0, (-1, 2, part.head_dim // 2)).transpose(1, 2)
            torch.unflatten(target, 0, (-1, part.head_dim // 2, 2)).copy_(halves)
        else:
            target.copy_(values)

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8), "fastgen-load") as pool:
        for done, _ in enumerate(pool.map(fill, blocks), 1):
            if progress is not None and (done % 64 == 0 or done == len(blocks)):
                progress(done / len(blocks))


def _empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    if device.type == "cpu" and dtype == torch.float32 and 4 * int(np.prod(shape)) >= HUGE_PAGES:
        return torch.from_numpy(np.empty(shape, np.float32))
    return torch.empty(shape, dtype=dtype, device=device)


def _in_a_layer(name: str, layers: int) -> bool:
    prefix, _, rest = name.partition("model.layers.")
    index = rest.partition(".")[0]
    # Files of old converters carry the rotary table, which follows from the configuration.
    return not prefix and index.isdigit() and int(index) < layers and not name.endswith("rotary_emb.inv_freq")
