"""The shape of a model from the ``config.json`` of a folder in Hugging Face's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from fastgen.errors import CheckpointError
from fastgen.models.llama_config import MAX_LAYERS, LlamaConfig, RopeScaling, check_architecture, naming, unsupported

__all__ = ["config_from_json", "read_json"]

MAX_JSON: Final = 1 << 26  # bytes; the index of the largest checkpoints in use is a few megabytes

_CLASSES: Final = frozenset({"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"})


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises
    ------
    CheckpointError
        The file is missing, too large, not JSON, or not an object.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_JSON + 1)
    except OSError as error:
        raise CheckpointError("the file can't be read", hint=error.strerror, path=str(path)) from error
    if len(text) > MAX_JSON:
        raise CheckpointError("the file is too large", path=str(path), limit=MAX_JSON)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise CheckpointError("the file is not JSON", hint=error.msg, path=str(path), offset=error.pos) from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise CheckpointError("the file is not JSON", path=str(path)) from error
    if not isinstance(value, dict):
        raise CheckpointError("the file does not hold a JSON object", path=str(path))
    return value


def config_from_json(path: Path) -> LlamaConfig:
    """Read ``config.json``.

    Raises
    ------
    CheckpointError
        The file is corrupt, lacks a setting or holds one out of its range (``checkpoint_corrupt``), or describes a
        model that is not supported (``checkpoint_unsupported``).
    """
    settings = read_json(path)
    where = str(path)
    kind = settings.get("model_type")
    if not isinstance(kind, str):
        raise CheckpointError("the file does not say its model_type", path=where)
    check_architecture(kind, where)
    _refuse(settings, where)

    def get(key: str, default: Any = None) -> Any:
        value = settings.get(key)
        value = default if value is None else value
        if value is None:
            raise CheckpointError("a setting is missing", path=where, field=key)
        return value

    hidden, heads, layers = get("hidden_size"), get("num_attention_heads"), get("num_hidden_layers")
    if not all(type(value) is int and value > 0 for value in (hidden, heads, layers)) or layers > MAX_LAYERS:
        raise CheckpointError(
            "a size of the model is out of range",
            path=where,
            hidden_size=hidden,
            num_attention_heads=heads,
            num_hidden_layers=layers,
        )
    biased = kind in ("llama", "qwen3") and _flag(settings, "attention_bias", where)
    with naming(where):
        scaling, theta = _rope(settings)
        return LlamaConfig(
            architecture=kind,
            vocab_size=get("vocab_size"),
            hidden_size=hidden,
            intermediate_size=get("intermediate_size"),
            layers=layers,
            heads=heads,
            kv_heads=get("num_key_value_heads", heads if kind == "llama" else None),
            head_dim=get("head_dim", 128 if kind == "qwen3" else hidden // heads),
            max_positions=get("max_position_embeddings"),
            norm_eps=get("rms_norm_eps", 1e-6),
            rope_theta=theta,
            rope_scaling=scaling,
            qkv_bias=biased or kind == "qwen2",
            output_bias=biased,
            mlp_bias=kind == "llama" and _flag(settings, "mlp_bias", where),
            qk_norm=kind == "qwen3",
            tied=_flag(settings, "tie_word_embeddings", where),
            windows=_windows(settings, kind, layers, where),
        )


def _refuse(settings: dict[str, Any], path: str) -> None:
    """Refuse what would change the result and is not implemented."""
    for key in ("quantization_config", "compression_config"):
        if settings.get(key) is not None:
            raise unsupported(
                "quantized safetensors are not supported",
                "use the GGUF file of the model or its unquantized weights",
                path=path,
                field=key,
            )
    classes = settings.get("architectures")
    if classes and (not isinstance(classes, list) or not _CLASSES.intersection(map(str, classes))):
        raise unsupported(
            "the checkpoint is not of a causal language model", "supported: LlamaForCausalLM and its kin", path=path,
            architectures=classes,
        )  # fmt: skip
    if settings.get("hidden_act", "silu") not in ("silu", "swish"):
        raise unsupported(
            "this activation is not supported", "supported: silu", path=path, hidden_act=settings["hidden_act"]
        )


def _rope(settings: dict[str, Any]) -> tuple[RopeScaling | None, float]:
    """Return the scaling and the base, from the keys of transformers 4 or 5."""
    rope = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise CheckpointError("the rope settings are not an object", found=rope)
    theta = rope.get("rope_theta", settings.get("rope_theta"))
    partial = rope.get("partial_rotary_factor", settings.get("partial_rotary_factor"))
    if partial not in (None, 1):
        raise unsupported(
            "partial rotary embeddings are not supported", "this is a variant", partial_rotary_factor=partial
        )
    kind = rope.get("rope_type", rope.get("type", "default"))
    scaling = None
    if not isinstance(kind, str):
        raise CheckpointError("a setting is of the wrong type", field="rope_type", found=kind)
    if kind != "default":
        names = {
            "factor": "factor",
            "low_freq_factor": "low_freq_factor",
            "high_freq_factor": "high_freq_factor",
            "original_max_position_embeddings": "original_positions",
        }
        needed = names if kind == "llama3" else ("factor",)
        for name in needed:
            if kind in ("linear", "llama3") and rope.get(name) is None:
                raise CheckpointError("a setting of the rope scaling is missing", field=name)
        scaling = RopeScaling(kind, **{ours: rope[name] for name, ours in names.items() if rope.get(name) is not None})
    return scaling, 10000.0 if theta is None else theta


def _windows(settings: dict[str, Any], kind: str, layers: int, path: str) -> tuple[int, ...]:
    window = settings.get("sliding_window")
    used = kind == "mistral" or (kind in ("qwen2", "qwen3") and _flag(settings, "use_sliding_window", path))
    if window is None or not used:
        return ()
    if type(window) is not int or window < 1:
        raise CheckpointError("the sliding window is out of range", path=path, sliding_window=window)
    types = settings.get("layer_types")
    if kind == "mistral":
        return (window,) * layers
    if types is None:
        first = settings.get("max_window_layers", layers)
        if type(first) is not int:
            raise CheckpointError("a setting is of the wrong type", path=path, field="max_window_layers", found=first)
        return tuple(window if index >= first else 0 for index in range(layers))
    sizes = {"full_attention": 0, "sliding_attention": window}
    if not isinstance(types, list) or len(types) != layers or not all(name in sizes for name in types):
        raise CheckpointError("layer_types must name full_attention or sliding_attention for each layer", path=path)
    return tuple(sizes[name] for name in types)


def _flag(settings: dict[str, Any], key: str, path: str) -> bool:
    value = settings.get(key)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise CheckpointError("a setting is of the wrong type", path=path, field=key, found=value)
    return value
