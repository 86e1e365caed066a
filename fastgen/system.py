"""What runs here: versions, levels, packages; the block to paste into a bug report."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
import sysconfig
from typing import Any, Final, Literal

from fastgen import cpu
from fastgen._version import __version__

__all__ = ["show_config"]

PACKAGES: Final = (
    "numpy",
    "torch",
    "tokenizers",
    "sentencepiece",
    "safetensors",
    "gguf",
    "jinja2",
    "llguidance",
    "transformers",
    "huggingface_hub",
)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def show_config(mode: Literal["stdout", "dicts"] = "stdout") -> dict[str, Any] | None:
    """Print what runs here, or return it as dictionaries; nothing heavy is imported for it.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
    """
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    found: dict[str, Any] = {
        "fastgen": {"version": __version__},
        "simd": {"active": cpu.active(), "detected": list(cpu.detected())},
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "gil": gil,
            "free_threaded_build": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        },
        "platform": {"system": platform.platform(), "machine": platform.machine()},
        "packages": {name: _version(name) for name in PACKAGES},
    }
    if mode == "dicts":
        return found
    for section, values in found.items():
        print(f"{section}:")
        for name, value in values.items():
            print(f"  {name}: {value if value is not None else 'not installed'}")
    return None
