"""Checkpoints: what a file or folder holds, and loading it. GGUF and safetensors are data; nothing in them is run.

torch is imported when weights are loaded, not before.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastgen.errors import InvalidParameterError, missing_dependency
from fastgen.gguf import GGUFFile
from fastgen.models.gguf_config import config_from_gguf
from fastgen.models.locate import locate
from fastgen.models.safetensors_weights import SafetensorsWeights
from fastgen.params import SamplingParams
from fastgen.tokenizer import Tokenizer, load_tokenizer

if TYPE_CHECKING:
    import torch

    from fastgen.models.llama import Llama

__all__ = ["Checkpoint", "ModelInfo", "describe", "load", "load_model", "locate"]


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


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that generation needs of a checkpoint.

    Attributes
    ----------
    model : Llama
    tokenizer : Tokenizer
    info : ModelInfo
    defaults : SamplingParams
        What its ``generation_config.json`` recommends; neutral without one.
    """

    model: Llama
    tokenizer: Tokenizer
    info: ModelInfo
    defaults: SamplingParams


def load(
    path: str | Path | None,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    progress: Callable[[str, float], None] | None = None,
) -> Checkpoint:
    """Load weights and tokenizer; arguments and errors as `load_model`."""
    where = locate(path)
    _require_torch()
    with _opened(where) as file, ThreadPoolExecutor(1, "fastgen-tokenizer") as other:
        # Reading weights mostly runs without the GIL, so the tokenizer comes for nothing on a second core.
        tokenizer = other.submit(load_tokenizer, file or where)
        model = _load_weights(where, file, device, dtype, progress)
        info = _describe(where, file)
        recommended = where / "generation_config.json"
        exists = where.is_dir() and recommended.exists()
        defaults = SamplingParams.from_generation_config(recommended) if exists else SamplingParams()
        return Checkpoint(model, tokenizer.result(), info, defaults)


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
    _require_torch()
    with _opened(where) as file:
        return _load_weights(where, file, device, dtype, progress)


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
    with _opened(where) as file:
        return _describe(where, file)


@contextmanager
def _opened(where: Path) -> Iterator[GGUFFile | None]:
    """Open a GGUF file, whose header is read once for all that is in it; other checkpoints yield None."""
    if not _is_gguf(where):
        yield None
        return
    with GGUFFile.open(where) as file:
        yield file


def _require_torch() -> None:
    try:
        import torch  # noqa: F401 - what needs it is imported after this
    except ImportError as error:
        raise missing_dependency("torch", "torch", "loading a model") from error


def _load_weights(
    where: Path,
    file: GGUFFile | None,
    device: str | torch.device,
    dtype: str | torch.dtype,
    progress: Callable[[str, float], None] | None,
) -> Llama:
    import torch

    from fastgen.models.gguf_weights import GGUFWeights
    from fastgen.models.weights import build

    on = _device(device)
    as_type = _dtype(dtype, on)

    def weights_done(fraction: float) -> None:
        if progress is not None:
            progress("weights", fraction)

    if file is not None:
        return build(GGUFWeights(file), device=on, dtype=as_type, name=where.stem, progress=weights_done)
    name = where.name if where.is_dir() else where.stem
    with torch.inference_mode(False):
        return build(SafetensorsWeights(where), device=on, dtype=as_type, name=name, progress=weights_done)


def _describe(where: Path, file: GGUFFile | None) -> ModelInfo:
    types: Counter[str] = Counter()
    if file is not None:
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
