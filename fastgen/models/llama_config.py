"""The shape of a Llama-family decoder, checked once when it is made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from fastgen.errors import CheckpointError

__all__ = ["ARCHITECTURES", "MAX_LAYERS", "LlamaConfig", "RopeScaling", "check_architecture", "naming", "unsupported"]

ARCHITECTURES: Final = ("llama", "mistral", "qwen2", "qwen3")

# Far above every published model, and low enough that no product of two of them leaves 64 bits.
MAX_LAYERS: Final = 4096
_LIMITS: Final = {
    "vocab_size": 1 << 24,
    "hidden_size": 1 << 20,
    "intermediate_size": 1 << 22,
    "layers": MAX_LAYERS,
    "heads": 4096,
    "kv_heads": 4096,
    "head_dim": 8192,
    "max_positions": 1 << 28,
}


def unsupported(message: str, hint: str, **details: Any) -> CheckpointError:
    """Return the error for a sound checkpoint that asks for something this decoder does not do."""
    return CheckpointError(message, code="checkpoint_unsupported", hint=hint, **details)


def check_architecture(architecture: str, path: str | None = None) -> None:
    """Refuse an architecture outside `ARCHITECTURES`."""
    if architecture not in ARCHITECTURES:
        hint = f"supported architectures: {', '.join(ARCHITECTURES)}"
        where = {} if path is None else {"path": path}
        raise unsupported("this architecture is not supported", hint, **where, architecture=architecture)


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Add the file to the errors of checks that don't know it."""
    try:
        yield
    except CheckpointError as error:
        error.details = {"path": path, **error.details}
        raise


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """How the rotary frequencies are stretched for long contexts.

    Parameters
    ----------
    kind : {"linear", "llama3"}
    factor : float
        Divides the frequencies ("llama3": only the low ones).
    low_freq_factor, high_freq_factor : float
        "llama3": wavelengths above ``original_positions / low_freq_factor`` are stretched whole, those below
        ``original_positions / high_freq_factor`` not at all.
    original_positions : int
        "llama3": the context the model was first trained with.
    """

    kind: str
    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_positions: int = 8192

    def __post_init__(self) -> None:
        if self.kind not in ("linear", "llama3"):
            raise unsupported(
                "this rope scaling is not supported", "supported: default, linear, llama3", rope_type=self.kind
            )
        for name in ("factor", "low_freq_factor", "high_freq_factor", "original_positions"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 < value < math.inf:
                raise CheckpointError("a number of the rope scaling is out of range", field=name, value=value)
        if self.kind == "llama3" and self.high_freq_factor <= self.low_freq_factor:
            raise CheckpointError(
                "high_freq_factor must be above low_freq_factor", low=self.low_freq_factor, high=self.high_freq_factor
            )


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """The shape of a decoder of the Llama family.

    Parameters
    ----------
    architecture : {"llama", "mistral", "qwen2", "qwen3"}
    vocab_size, hidden_size, intermediate_size, layers, heads, kv_heads, head_dim, max_positions : int
        `kv_heads` divides `heads`; `head_dim` is even.
    norm_eps : float
        Added to the mean square in RMSNorm.
    rope_theta : float
        The base of the rotary frequencies.
    rope_scaling : RopeScaling, optional
    qkv_bias, output_bias, mlp_bias : bool
        Which linear layers have biases: query, key and value; attention output; gate, up and down.
    qk_norm : bool
        RMSNorm over each head of the queries and keys (qwen3).
    tied : bool
        The head shares the embedding's weights.
    windows : tuple of int
        For each layer the number of positions that a token sees, itself included; 0 is all. Empty: all layers see all.

    Raises
    ------
    CheckpointError
        A number is out of range or contradicts another one (``checkpoint_corrupt``), or the architecture is not
        supported (``checkpoint_unsupported``).
    """

    architecture: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    max_positions: int
    norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling | None = None
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    tied: bool = False
    windows: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_architecture(self.architecture)
        for name, limit in _LIMITS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
                raise CheckpointError("a size of the model is out of range", field=name, value=value, limit=limit)
        if self.heads % self.kv_heads:
            raise CheckpointError(
                "the heads do not divide evenly among the key/value heads", heads=self.heads, kv_heads=self.kv_heads
            )
        if self.head_dim % 2:
            raise CheckpointError("the head dimension must be even for rotary positions", head_dim=self.head_dim)
        if not _is_number(self.norm_eps) or not 0 <= self.norm_eps < 1:
            raise CheckpointError("the epsilon of RMSNorm is out of range", value=self.norm_eps)
        if not _is_number(self.rope_theta) or not 0 < self.rope_theta < math.inf:
            raise CheckpointError("the rotary base is out of range", value=self.rope_theta)
        if self.windows and (len(self.windows) != self.layers or min(self.windows) < 0):
            raise CheckpointError("one window is needed for each layer", windows=len(self.windows), layers=self.layers)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
