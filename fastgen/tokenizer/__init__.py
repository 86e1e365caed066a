"""Text to token ids and back: one protocol over the tokenizers that checkpoints bring.

The libraries behind it (``tokenizers``, ``sentencepiece``) are imported when a tokenizer is loaded, not before.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fastgen.errors import CheckpointError, ModelNotFoundError
from fastgen.gguf import GGUFFile

if TYPE_CHECKING:
    from fastgen.tokenizer.table import ByteTable

__all__ = ["Tokenizer", "from_transformers", "load_tokenizer"]


class Tokenizer(Protocol):
    """What the rest of fastgen asks of a tokenizer. All methods are safe to call from any thread."""

    @property
    def name(self) -> str:
        """A name for people: of the model or of the file."""

    @property
    def vocab_size(self) -> int:
        """One more than the greatest token id. A model may have more logits than that, as padding."""

    @property
    def bos_id(self) -> int | None:
        """The token that opens a text, if there is one."""

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """The tokens that end a generation, the principal one first."""

    @property
    def special_ids(self) -> frozenset[int]:
        """The tokens that `decode` leaves out: control tokens and the unknown token."""

    @property
    def special_strings(self) -> tuple[str, ...]:
        """The strings of `special_ids`, in the order of the ids."""

    @property
    def add_bos(self) -> bool:
        """Whether the model expects `bos_id` before a prompt. `encode` never adds it."""

    @property
    def strip_leading_space(self) -> bool:
        """Whether one space is taken off the start of a decoded text, as `encode` put one there."""

    @property
    def chat_template(self) -> str | None:
        """The source of the model's Jinja chat template."""

    @property
    def bytes_table(self) -> ByteTable:
        """The bytes of every token."""

    def encode(self, text: str, control_tokens: bool = False) -> list[int]:
        """Return the token ids of a text, without any that open or close it.

        With `control_tokens` the strings of control tokens (``"<|im_end|>"``) become these tokens; without, they are
        text like any other: say True only for text that you wrote.

        Raises
        ------
        PromptError
            ``prompt_not_utf8``: the text holds a lone surrogate.
        """

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """Return the text of some tokens: their bytes joined, with U+FFFD for what is not UTF-8.

        Raises
        ------
        InvalidParameterError
            ``token_out_of_range``: an id is negative or not below `vocab_size`.
        """

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes of one token; raises like `decode`."""

    def token_id(self, token: str) -> int | None:
        """Return the id of a token, spelled as in the vocabulary, or None."""


def load_tokenizer(source: str | os.PathLike[str] | GGUFFile) -> Tokenizer:
    """Load a tokenizer.

    Parameters
    ----------
    source : path or GGUFFile
        A ``tokenizer.json``, a SentencePiece ``.model``, a ``.gguf`` file, or a folder with one of the first two. What
        lies beside them (``tokenizer_config.json``, ``special_tokens_map.json``, ``generation_config.json``,
        ``config.json``, ``chat_template.jinja``) is read as well.

    Raises
    ------
    ModelNotFoundError
        Nothing is there, or the folder holds no tokenizer.
    CheckpointError
        A file is corrupt (``checkpoint_corrupt``) or of an unknown kind (``checkpoint_unsupported``).
    MissingDependencyError
        The library for this kind is not installed.
    """
    if isinstance(source, GGUFFile):
        from fastgen.tokenizer import vocabulary

        return vocabulary.load(source)
    path = Path(source)
    if path.is_dir():
        for name in ("tokenizer.json", "tokenizer.model"):
            if (path / name).is_file():
                return load_tokenizer(path / name)
        hint = "it needs a tokenizer.json or a tokenizer.model"
        raise ModelNotFoundError("the folder holds no tokenizer", hint=hint, path=str(path))
    if not path.exists():
        raise ModelNotFoundError("there is no such file", hint="check the path", path=str(path))
    match path.suffix.lower():
        case ".gguf":
            with GGUFFile.open(path) as file:
                return load_tokenizer(file)
        case ".json":
            from fastgen.tokenizer import bpe

            return bpe.load(path)
        case ".model":
            from fastgen.tokenizer import sentencepiece

            return sentencepiece.load(path)
    hint = "give a tokenizer.json, a .model, a .gguf or a folder"
    raise CheckpointError("an unknown kind of tokenizer", code="checkpoint_unsupported", hint=hint, path=str(path))


def from_transformers(tokenizer: Any) -> Tokenizer:
    """Adapt a tokenizer of the transformers library; it is copied, so that changing it later has no effect.

    Raises
    ------
    CheckpointError
        ``checkpoint_unsupported``: it is not backed by the ``tokenizers`` library, or of a kind whose text can't be
        told token by token (WordPiece, for example).
    """
    from fastgen.tokenizer import bpe

    return bpe.from_transformers(tokenizer)
