"""Checkpoints: what a file or folder holds, and loading it. GGUF and safetensors are data; nothing in them is run.

torch is imported when weights are loaded, not before.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastgen.errors import InvalidParameterError, missing_dependency
from fastgen.gguf import GGUFFile
from fastgen.models.gguf_config import config_from_gguf
from fastgen.models.locate import locate
from fastgen.models.safetensors_weights import SafetensorsWeights

if TYPE_CHECKING:
    import torch

    from fastgen.models.llama import Llama

__all__ = ["ModelInfo", "describe", "load_model", "locate"]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a checkpoint holds.

    Attributes
    ----------
    name : str
    architecture : str
    parameters : int
        The number of weights in the file.
    bytes : int
        Their size in the file.
    quantization : str
        The type that most of the matrices have: ``"Q4_1"``, ``"BF16"``, ...
    context : int
        The largest number of positions.
    vocab_size : int
    path : Path
    """

    name: str
    architecture: str
    parameters: int
    bytes: int
    quantization: str
    context: int
    vocab_size: int
    path: Path


def describe(path: str | Path) -> ModelInfo:
    """Read a checkpoint's header: no weights are loaded and torch is not imported.

    Parameters
    ----------
    path : str or Path
        As `locate` takes it.

    Raises
    ------
    CheckpointError, ModelNotFoundError, MissingDependencyError
    """
    where = locate(path)
    types: Counter[str] = Counter()
    if _is_gguf(where):
        with GGUFFile.open(where) as file:
            config = config_from_gguf(file)
            parameters = sum(math.prod(info.shape) for info in file.tensors.values())
            size = sum(info.nbytes for info in file.tensors.values())
            for info in file.tensors.values():
                types[info.type_name] += len(info.shape) > 1
            named = file.metadata.get("general.name")
        name = named if isinstance(named, str) and named else where.stem
    else:
        weights = SafetensorsWeights(where, framework="numpy")
        config = weights.config
        parameters = sum(math.prod(shape) for shape in weights.shapes.values())
        size = weights.nbytes
        types.update(weights.dtypes[name] for name, shape in weights.shapes.items() if len(shape) > 1)
        name = where.name if where.is_dir() else where.stem
    quantization = types.most_common(1)[0][0] if types else "none"
    return ModelInfo(
        name, config.architecture, parameters, size, quantization, config.max_positions, config.vocab_size, where
    )


def load_model(
    path: str | Path | None,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    progress: Callable[[str, float], None] | None = None,
) -> Llama:
    """Load a checkpoint's weights.

    Parameters
    ----------
    path : str, Path or None
        As `locate` takes it.
    device : str or torch.device, optional
        ``"auto"``: CUDA if there is one, else the CPU.
    dtype : str or torch.dtype, optional
        float32, bfloat16 or float16. ``"auto"``: float32 on the CPU, else bfloat16.
    progress : callable, optional
        Called with a stage (``"weights"``) and the fraction of it that is done.

    Returns
    -------
    Llama

    Raises
    ------
    ModelNotFoundError, MissingDependencyError
    CheckpointError
        The checkpoint is corrupt or not supported.
    InvalidParameterError
        `device` or `dtype` is none that torch has here.
    """
    where = locate(path)
    try:
        import torch  # noqa: F401 - only to say what is missing
    except ImportError as error:
        raise missing_dependency("torch", "torch", "loading a model") from error
    from fastgen.models.gguf_weights import GGUFWeights
    from fastgen.models.weights import build

    on = _device(device)
    as_type = _dtype(dtype, on)

    def weights_done(fraction: float) -> None:
        if progress is not None:
            progress("weights", fraction)

    if _is_gguf(where):
        with GGUFFile.open(where) as file:
            return build(GGUFWeights(file), device=on, dtype=as_type, name=where.stem, progress=weights_done)
    name = where.name if where.is_dir() else where.stem
    return build(SafetensorsWeights(where), device=on, dtype=as_type, name=name, progress=weights_done)


def _is_gguf(path: Path) -> bool:
    """Whether a path that `locate` returned is a GGUF file: everything else is a folder or a safetensors file."""
    return path.suffix != ".safetensors" and not path.is_dir()


def _device(device: str | torch.device) -> torch.device:
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(1, device=found)  # a device that torch knows by name may not be here
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        raise InvalidParameterError(
            "torch has no such device here", hint='use "auto" or "cpu"', device=str(device)
        ) from error
    return found


def _dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    import torch

    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    found = known.get(dtype) if isinstance(dtype, str) else dtype
    if found is None or found not in known.values():
        raise InvalidParameterError(
            "weights can't be of this type", hint=f"one of: auto, {', '.join(known)}", dtype=str(dtype)
        )
    return found
