"""The shape of the model that a GGUF file's metadata describes."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastgen.errors import CheckpointError
from fastgen.gguf import GGUFFile
from fastgen.models.llama_config import MAX_LAYERS, LlamaConfig, RopeScaling, check_architecture, naming, unsupported

__all__ = ["config_from_gguf"]


def config_from_gguf(file: GGUFFile) -> LlamaConfig:
    """Return the shape of the model that a GGUF file's metadata describes.

    Raises
    ------
    CheckpointError
    """
    path = str(file.path)
    metadata = file.metadata
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str):
        raise CheckpointError("the file does not say its architecture", path=path, field="general.architecture")
    check_architecture(architecture, path)

    def get(key: str, default: Any = None) -> Any:
        value = metadata.get(f"{architecture}.{key}", default)
        if value is None:
            raise CheckpointError("the metadata lacks a setting", path=path, field=f"{architecture}.{key}")
        if isinstance(value, list | np.ndarray):
            raise unsupported(
                "settings that differ from layer to layer are not supported",
                "this is a variant of the architecture",
                path=path,
                field=f"{architecture}.{key}",
            )
        return value

    if get("expert_count", 0):
        raise unsupported("mixtures of experts are not supported", "use a dense model", path=path)
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise CheckpointError("the embedding is missing or not a matrix", path=path, tensor="token_embd.weight")
    layers, hidden, heads = get("block_count"), get("embedding_length"), get("attention.head_count")
    head_dim = get("attention.key_length", hidden // heads if _positive(hidden) and _positive(heads) else 0)
    for key in ("attention.value_length", "rope.dimension_count"):
        if get(key, head_dim) != head_dim:
            raise unsupported(
                "heads whose keys, values and rotary part differ in size are not supported",
                "this is a variant of the architecture",
                path=path,
                field=f"{architecture}.{key}",
            )
    window = get("attention.sliding_window", 0)
    with naming(path):
        return LlamaConfig(
            architecture=architecture,
            vocab_size=embedding.shape[0],
            hidden_size=hidden,
            intermediate_size=get("feed_forward_length"),
            layers=layers,
            heads=heads,
            kv_heads=get("attention.head_count_kv", heads),
            head_dim=head_dim,
            max_positions=get("context_length"),
            norm_eps=get("attention.layer_norm_rms_epsilon"),
            rope_theta=get("rope.freq_base", 10000.0),
            rope_scaling=_rope_scaling(
                get("rope.scaling.type", "linear"), get("rope.scaling.factor", get("rope.scale_linear", 0))
            ),
            qkv_bias="blk.0.attn_q.bias" in file.tensors,
            output_bias="blk.0.attn_output.bias" in file.tensors,
            mlp_bias="blk.0.ffn_gate.bias" in file.tensors,
            qk_norm=architecture == "qwen3",
            tied="output.weight" not in file.tensors,
            windows=(window,) * layers if window and _positive(layers) and layers <= MAX_LAYERS else (),
        )


def _rope_scaling(kind: str, factor: float) -> RopeScaling | None:
    if kind == "none" or (kind == "linear" and factor in (0, 1)):
        return None
    return RopeScaling(kind, factor)


def _positive(value: Any) -> bool:
    return isinstance(value, int) and value > 0
