"""Tokenizers of the SentencePiece library: ``.model`` files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from fastgen.control import control_strings
from fastgen.errors import CheckpointError, missing_dependency
from fastgen.tokenizer import folder
from fastgen.tokenizer.base import TableTokenizer, Traits, check_text
from fastgen.tokenizer.table import WORD_START, ByteTable, sentencepiece_table

__all__ = ["SentencePieceTokenizer", "load"]

MAX_BYTES: Final = 1 << 28


class SentencePieceTokenizer(TableTokenizer):
    """A ``sentencepiece.SentencePieceProcessor`` behind the protocol.

    The library never makes control tokens of text. Where they are wanted, the text is cut at them, and each stretch in
    between is a text of its own: a vocabulary with a dummy prefix begins each with a space, as llama.cpp does.
    """

    __slots__ = ("_added", "_ids", "_library_size", "_processor", "_special")

    def __init__(
        self, processor: Any, table: ByteTable, traits: Traits, added: dict[str, int], special: set[str]
    ) -> None:
        """`added`: the tokens to find in texts, of which those in `special` only on request."""
        super().__init__(table, traits, _cuts_at_control(added, special))
        self._processor = processor
        self._library_size: int = processor.GetPieceSize()
        self._ids = added
        self._added = _any_of(added.keys() - special)
        self._special = _any_of(added)

    def encode(self, text: str, control_tokens: bool = False) -> list[int]:
        """See `fastgen.tokenizer.Tokenizer`."""
        check_text(text)
        pattern = self._special if control_tokens else self._added
        ids: list[int] = []
        start = 0
        for match in pattern.finditer(text) if pattern else ():
            ids += self._processor.EncodeAsIds(text[start : match.start()])
            ids.append(self._ids[match[0]])
            start = match.end()
        ids += self._processor.EncodeAsIds(text[start:])
        return ids

    def token_id(self, token: str) -> int | None:
        """See `fastgen.tokenizer.Tokenizer`."""
        if token in self._ids:
            return self._ids[token]
        try:
            found: int = self._processor.PieceToId(token)
        except (TypeError, UnicodeEncodeError):  # a lone surrogate
            return None
        return found if 0 <= found < self._library_size and self._processor.IdToPiece(found) == token else None


def _cuts_at_control(added: Iterable[str], special: set[str]) -> bool:
    """Tell whether no other token that is looked for overlaps with a control string."""
    control = control_strings(tuple(sorted(special)))
    return not any(map(control.touches, set(added) - special))


def _any_of(strings: Iterable[str]) -> re.Pattern[str] | None:
    ordered = sorted(strings, key=len, reverse=True)  # the longest first: "<|end|>" before "<|"
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None


def _open(path: Path) -> tuple[Any, list[str], bool]:
    """Return the library's object, its tokens, and whether it begins a text with a space (``add_dummy_prefix``)."""
    try:
        import sentencepiece
    except ImportError as error:
        raise missing_dependency("sentencepiece", "torch", "a SentencePiece tokenizer") from error
    processor = sentencepiece.SentencePieceProcessor()
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError("the file is absurdly large", hint="download it again", path=str(path))
        processor.LoadFromSerializedProto(path.read_bytes())
        tokens: list[str] = processor.IdToPiece(list(range(processor.GetPieceSize())))
        surfaces: list[str] = processor.EncodeAsPieces("a")
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError("the file can't be read", hint=error.strerror, path=str(path)) from error
    except (RuntimeError, ValueError, TypeError) as error:
        hint = f"the sentencepiece library says: {error}"[:300]
        raise CheckpointError("not a sound SentencePiece model", hint=hint, path=str(path)) from error
    return processor, tokens, bool(surfaces) and surfaces[0].startswith(WORD_START)


def load(path: Path) -> SentencePieceTokenizer:
    """Load a ``.model`` file and what lies beside it; see `fastgen.tokenizer.load_tokenizer`.

    Without a word on it in ``tokenizer_config.json``, a vocabulary that has a BOS token wants it before a prompt.
    """
    companions = folder.read(path)
    processor, tokens, prefix = _open(path)
    size = len(tokens)
    every = range(size)
    control = [token for token in every if processor.IsControl(token) or processor.IsUnknown(token)]
    marks = {tokens[token]: token for token in control}
    tokens += [""] * (max(companions.added, default=-1) + 1 - size)
    extra = {token: content for token, (content, _) in companions.added.items() if token >= size}
    for token, content in extra.items():
        tokens[token] = content
    special = sorted({*control, *(token for token, (_, is_special) in companions.added.items() if is_special)})
    literal = {token: tokens[token].encode() for token in (*special, *extra)}
    marks |= {content: token for token, content in extra.items()} | {tokens[token]: token for token in special}
    bytes_of = [token for token in every if processor.IsByte(token)]

    def named(token: str) -> int | None:
        return marks.get(token)

    own_bos, own_eos = processor.bos_id(), processor.eos_id()  # -1 if there is none
    bos_id = named(companions.bos) if companions.bos else own_bos if own_bos >= 0 else None
    eos = [named(token) if isinstance(token, str) else token for token in companions.eos] or [own_eos]
    traits = Traits(
        name=path.resolve().parent.name if path.stem == "tokenizer" else path.stem,
        bos_id=bos_id,
        eos_ids=tuple(dict.fromkeys(token for token in eos if token is not None and 0 <= token < len(tokens))),
        special_ids=frozenset(special),
        special_strings=tuple(tokens[token] for token in special),
        add_bos=bos_id is not None and companions.add_bos is not False,
        strip_leading_space=prefix,
        chat_template=companions.chat_template,
    )
    table = sentencepiece_table(tokens, literal, bytes_of)
    return SentencePieceTokenizer(processor, table, traits, marks, {tokens[token] for token in special})
