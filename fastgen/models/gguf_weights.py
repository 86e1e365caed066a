"""The weights and the shape of a Llama-family model in a GGUF file."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastgen.errors import CheckpointError, missing_dependency
from fastgen.gguf import GGUFFile
from fastgen.kernels.quant import BLOCKS, dequantize
from fastgen.models.gguf_config import config_from_gguf
from fastgen.models.llama_config import unsupported

__all__ = ["GGUFWeights"]

LIBRARY_TYPES: Final = frozenset({"Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"})  # by the gguf package, in NumPy
SUPPORTED_TYPES: Final = frozenset({"F32", *BLOCKS}) | LIBRARY_TYPES

_TOP: Final = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_IN_LAYER: Final = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_ROPE_FACTORS: Final = "rope_freqs.weight"


class GGUFWeights:
    """The tensors of a GGUF file under Hugging Face names, dequantized as they are read.

    Satisfies `fastgen.models.weights.WeightSource`.

    Parameters
    ----------
    file : GGUFFile
        Stays the caller's to close.

    Raises
    ------
    CheckpointError
        The file's architecture, a type of tensor or a setting is not supported, or its metadata contradicts itself.
    """

    __slots__ = ("_file", "_names", "_scratch", "config", "interleaved", "path", "rope_factors", "shapes")

    def __init__(self, file: GGUFFile) -> None:
        self._file = file
        self._scratch = threading.local()
        self.path: Path = file.path
        self.config = config_from_gguf(file)
        # Files of the "llama" architecture (mistral among them) have each rotary pair side by side, those of qwen2 and
        # qwen3 not.
        self.interleaved = self.config.architecture == "llama"
        self._names = {_canonical(name): name for name in file.tensors if name != _ROPE_FACTORS}
        self.shapes = {name: file.tensors[stored].shape for name, stored in self._names.items()}
        for stored in self._names.values():
            self._check_type(stored)
        self.rope_factors = self._read_rope_factors()

    def stored_name(self, name: str) -> str:
        """Return the name of a tensor in the file."""
        return self._names.get(name) or _stored(name)

    def read(self, name: str, first: int, end: int) -> Tensor:
        """Return rows `first` to `end` of a tensor as float32, valid until the thread's next call."""
        stored = self._names[name]
        info = self._file.tensors[stored]
        count = (end - first) * (info.shape[-1] if len(info.shape) > 1 else 1)
        bytes_per_row = info.nbytes // info.shape[0]
        if len(info.shape) == 1:  # a vector may be stored in blocks: all or nothing
            first, end, count, bytes_per_row = 0, 1, info.shape[0], info.nbytes
        data = self._file.data(stored)[first * bytes_per_row : end * bytes_per_row]
        values = self._buffer(count)
        if info.type_name == "F32":
            values[:] = data.view("<f4")
        elif info.type_name in BLOCKS:
            dequantize(info.type_name, data, values)
        else:
            values[:] = _dequantize_by_library(data, info.type_name)
        return torch.from_numpy(values.reshape(-1, info.shape[-1]) if len(info.shape) > 1 else values)

    def _buffer(self, count: int) -> NDArray[np.float32]:
        buffer: NDArray[np.float32] | None = getattr(self._scratch, "buffer", None)
        if buffer is None or buffer.size < count:
            buffer = self._scratch.buffer = np.empty(count, np.float32)
        return buffer[:count]

    def _check_type(self, stored: str) -> None:
        info = self._file.tensors[stored]
        if info.type_name not in SUPPORTED_TYPES:
            raise unsupported(
                "a tensor is stored in a type that is not supported",
                f"supported types: {', '.join(sorted(SUPPORTED_TYPES))}",
                path=str(self.path),
                tensor=stored,
                type=info.type_name,
                offset=info.offset,
            )

    def _read_rope_factors(self) -> Tensor | None:
        info = self._file.tensors.get(_ROPE_FACTORS)
        if info is None:
            return None
        expected = (self.config.head_dim // 2,)
        if info.shape != expected or info.type_name != "F32":
            raise CheckpointError(
                "the rotary factors have the wrong shape or type",
                path=str(self.path),
                expected=expected,
                found=info.shape,
                type=info.type_name,
            )
        factors = self._file.data(_ROPE_FACTORS).view("<f4").astype(np.float32)
        if not (np.isfinite(factors) & (factors > 0)).all():
            raise CheckpointError("the rotary factors must be positive", path=str(self.path), offset=info.offset)
        return torch.from_numpy(factors)


def _canonical(stored: str) -> str:
    if stored in _TOP:
        return _TOP[stored]
    prefix, _, rest = stored.partition(".")
    index, _, rest = rest.partition(".")
    stem, _, kind = rest.rpartition(".")
    if prefix == "blk" and index.isdigit():
        return f"model.layers.{index}.{_IN_LAYER.get(stem, stem)}.{kind}"
    return stored


def _stored(name: str) -> str:
    for stored, canonical in _TOP.items():
        if canonical == name:
            return stored
    index, _, rest = name.removeprefix("model.layers.").partition(".")
    stem, _, kind = rest.rpartition(".")
    for stored, canonical in _IN_LAYER.items():
        if canonical == stem:
            return f"blk.{index}.{stored}.{kind}"
    return name


def _dequantize_by_library(data: NDArray[np.uint8], type_name: str) -> NDArray[np.float32]:
    try:
        from gguf import GGMLQuantizationType
        from gguf.quants import dequantize as reference
    except ImportError as error:
        raise missing_dependency("gguf", "torch", f"reading {type_name} weights") from error
    values: NDArray[np.float32] = reference(data, GGMLQuantizationType[type_name])
    return values.reshape(-1)
