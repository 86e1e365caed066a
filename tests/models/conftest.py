"""Tiny checkpoints with random weights, written without any model library."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

SETTINGS: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "hidden_act": "silu",
}


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a checkpoint; its keywords change ``config.json``."""

    def write(name: str = "tiny", dtype: Any = torch.float32, **settings: Any) -> Path:
        from fastgen.models.hf_config import config_from_json
        from fastgen.models.weights import expected_shapes

        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(SETTINGS | settings))
        generator = torch.Generator().manual_seed(7)
        tensors = {
            name: (torch.randn(shape, generator=generator) * 0.2 + name.endswith("norm.weight")).to(dtype)
            for name, shape in expected_shapes(config_from_json(folder / "config.json")).items()
        }
        safetensors_torch.save_file(tensors, folder / "model.safetensors")
        return folder

    return write
