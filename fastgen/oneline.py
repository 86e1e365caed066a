"""Generation in one line, with a model that is loaded once and kept."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from fastgen.generator import Generator
from fastgen.output import Piece

__all__ = ["generate", "stream"]

MAX_TOKENS: Final = 256  # a first try should end, whatever the model


@lru_cache(maxsize=1)
def _generator() -> Generator:
    return Generator.from_pretrained(None)


def generate(prompt: Any, params: Any = None, **overrides: Any) -> Any:
    """Generate with the model that ``$FASTGEN_MODEL`` names, else the demo model; `Generator.generate` has the details.

    Without `params` at most 256 tokens are generated unless ``max_tokens`` says otherwise.
    """
    return _generator().generate(prompt, params, **_bounded(params, overrides))


def stream(prompt: Any, params: Any = None, **overrides: Any) -> Iterator[Piece]:
    """Stream with the model that ``$FASTGEN_MODEL`` names, else the demo model; `Generator.stream` has the details.

    Without `params` at most 256 tokens are generated unless ``max_tokens`` says otherwise.
    """
    return _generator().stream(prompt, params, **_bounded(params, overrides))


def _bounded(params: Any, overrides: dict[str, Any]) -> dict[str, Any]:
    return (
        overrides
        if params is not None or {"max_tokens", "max_new_tokens"} & overrides.keys()
        else {"max_tokens": MAX_TOKENS, **overrides}
    )
