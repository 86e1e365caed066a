"""The weights of a model in a folder in Hugging Face's layout: ``config.json`` and one or more safetensors files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastgen.errors import CheckpointError, missing_dependency
from fastgen.models.hf_config import config_from_json, read_json
from fastgen.models.llama_config import unsupported

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SafetensorsWeights"]

INDEX: Final = "model.safetensors.index.json"
DTYPES: Final = {"F32": 4, "F16": 2, "BF16": 2}  # name: bytes


class SafetensorsWeights:
    """The tensors of a folder, mapped and not copied. Satisfies `fastgen.models.weights.WeightSource`.

    Parameters
    ----------
    path : Path
        The folder, or one safetensors file that holds all weights and has ``config.json`` beside it.
    framework : {"pt", "numpy"}, optional
        Whose tensors the library makes. With "numpy" torch is not imported; only the shapes can be used then.

    Raises
    ------
    CheckpointError
        A file is missing, truncated or corrupt, or asks for what is not supported.
    MissingDependencyError
        The package safetensors is not installed.
    """

    __slots__ = ("_files", "config", "dtypes", "interleaved", "path", "rope_factors", "shapes")

    def __init__(self, path: Path, framework: str = "pt") -> None:
        self.path = path
        self.interleaved = False
        self.rope_factors: Tensor | None = None
        folder = path if path.is_dir() else path.parent
        self.config = config_from_json(folder / "config.json")
        self._files: dict[str, Any] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, str] = {}
        for shard in _shards(path):
            self._add(shard, framework)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors in the files."""
        return sum(math.prod(shape) * DTYPES[self.dtypes[name]] for name, shape in self.shapes.items())

    def stored_name(self, name: str) -> str:
        """Return the name of a tensor in the file: the same."""
        return name

    def read(self, name: str, first: int, end: int) -> Tensor:
        """Return rows `first` to `end` of a tensor: a view on the mapped file, in the file's dtype."""
        values: Tensor = self._files[name].get_slice(name)[first:end]
        return values

    def _add(self, shard: Path, framework: str) -> None:
        try:
            from safetensors import SafetensorError, safe_open
        except ImportError as error:
            raise missing_dependency("safetensors", "torch", "reading safetensors files") from error
        try:
            file: Any = safe_open(shard, framework=framework)
            names = list(file.keys())
            for name in names:
                entry = file.get_slice(name)
                self._check(shard, name, entry.get_dtype())
                self.shapes[name] = tuple(entry.get_shape())
                self.dtypes[name] = entry.get_dtype()
        except SafetensorError as error:
            hint = f"download it again ({error})"
            raise CheckpointError("the safetensors file is truncated or corrupt", hint=hint, path=str(shard)) from error
        except CheckpointError:
            raise
        except OSError as error:
            raise CheckpointError("the file can't be read", hint=str(error), path=str(shard)) from error
        self._files.update(dict.fromkeys(names, file))

    def _check(self, shard: Path, name: str, dtype: str) -> None:
        if name in self.shapes:
            raise CheckpointError("two files hold the same tensor", path=str(shard), tensor=name)
        if dtype not in DTYPES:
            hint = f"supported types: {', '.join(DTYPES)}"
            raise unsupported(
                "a tensor is stored in a type that is not supported", hint, path=str(shard), tensor=name, type=dtype
            )


def _shards(path: Path) -> list[Path]:
    """Return the files that hold the weights."""
    if path.is_file():
        return [path]
    index = path / INDEX
    if not index.exists():
        files = sorted(path.glob("*.safetensors"))
        if (path / "model.safetensors") in files:
            return [path / "model.safetensors"]
        if len(files) == 1:
            return files
        raise CheckpointError(
            "the folder lacks its weights",
            hint=f"it needs model.safetensors, or {INDEX} and the files it names",
            path=str(path),
        )
    weights = read_json(index).get("weight_map")
    if not isinstance(weights, dict) or not weights:
        raise CheckpointError("the index lacks its weight_map", path=str(index))
    shards = []
    for name in sorted({str(value) for value in weights.values()}):
        shard = path / name
        # A name may not lead out of the folder.
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise CheckpointError(
                "the index names a file that is not a plain safetensors name", path=str(index), file=name
            )
        if not shard.exists():
            raise CheckpointError(
                "the index names a file that is missing", hint="download it", path=str(index), file=name
            )
        shards.append(shard)
    return shards
