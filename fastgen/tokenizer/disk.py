"""Small files that save work at the next start: what they hold can always be computed again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["directory", "load", "store"]

VARIABLE: Final = "FASTGEN_CACHE_DIR"
MAX_BYTES: Final = 1 << 28


def directory() -> Path:
    """Return the folder of the cache: ``$FASTGEN_CACHE_DIR``, else the user's own for fastgen."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen)
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("fastgen", appauthor=False))


def load(name: str) -> bytes | None:
    """Return what was stored under a name, or None if there is nothing or it is damaged."""
    path = directory() / name
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    digest, payload = content[:32], content[32:]
    return payload if hashlib.sha256(payload).digest() == digest else None


def store(name: str, payload: bytes) -> None:
    """Store something under a name, at once or not at all; where one can't write, do nothing."""
    target = directory() / name
    temporary: str | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=name)
        with open(handle, "wb") as file:
            file.write(hashlib.sha256(payload).digest() + payload)
        os.replace(temporary, target)
    except OSError:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
