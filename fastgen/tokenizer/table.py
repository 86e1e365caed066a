"""How the spellings of vocabularies become bytes."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from fastgen.tokenizer.bytetable import ByteTable

__all__ = ["ByteTable", "byte_level_table", "sentencepiece_table"]

WORD_START: Final = "▁"  # how SentencePiece spells a space
BYTE_TOKEN: Final = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _byte_alphabet() -> str:
    """Return the characters that stand for the bytes 0 to 255 in byte-level vocabularies (GPT-2's choice)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return "".join(chr(byte if byte in printable else next(others)) for byte in range(256))


_ALPHABET: Final = _byte_alphabet()
_ENCODER: Final = codecs.charmap_build(_ALPHABET)
_BYTE_OF: Final = np.full(0x200, -1, np.int16)  # by character; -1 for those outside the alphabet
_BYTE_OF[[ord(character) for character in _ALPHABET]] = np.arange(256)
_PLAIN: Final = frozenset(map(chr, range(0x21, 0x7F)))  # stand for themselves, as text and as bytes


def byte_level_table(tokens: Sequence[str], literal: Mapping[int, bytes]) -> ByteTable:
    """Return the table of a byte-level vocabulary: each character of a token stands for a byte.

    Parameters
    ----------
    tokens : sequence of str
        Spelled as in the vocabulary. A token with a character outside the alphabet stands for its own UTF-8.
    literal : mapping of int to bytes
        The tokens that are not spelled so: added and control tokens.
    """
    if all(_PLAIN.issuperset(tokens[token]) and tokens[token].encode() == piece for token, piece in literal.items()):
        # One byte for each character, if all are in the alphabet: the lengths of the strings are those of the bytes.
        units = np.frombuffer("".join(tokens).encode("utf-16-le", "surrogatepass"), "<u2")
        raw = _BYTE_OF[np.minimum(units, len(_BYTE_OF) - 1)]
        if raw.min(initial=0) >= 0:
            return ByteTable(raw.astype(np.uint8), map(len, tokens), len(tokens))
    pieces = [_byte_level_piece(token) for token in tokens]
    for token_id, piece in literal.items():
        pieces[token_id] = piece
    return ByteTable.of(pieces)


def _byte_level_piece(token: str) -> bytes:
    try:
        return codecs.charmap_encode(token, "strict", _ENCODER)[0]
    except UnicodeEncodeError:
        return token.encode(errors="surrogateescape")


def sentencepiece_table(tokens: Sequence[str], literal: Mapping[int, bytes], byte_ids: Iterable[int]) -> ByteTable:
    """Return the table of a SentencePiece vocabulary: ``▁`` stands for a space, ``<0x0A>`` for a byte.

    Parameters
    ----------
    tokens : sequence of str
    literal : mapping of int to bytes
        The tokens that are not spelled so: added and control tokens.
    byte_ids : iterable of int
        The tokens that may be spelled ``<0x0A>``.
    """
    pieces = "\0".join(tokens).replace(WORD_START, " ").encode(errors="surrogateescape").split(b"\0")
    if len(pieces) != len(tokens):  # a token has a NUL of its own, or there are none
        pieces = [token.replace(WORD_START, " ").encode(errors="surrogateescape") for token in tokens]
    for token_id in byte_ids:
        if match := BYTE_TOKEN.fullmatch(tokens[token_id]):
            pieces[token_id] = bytes.fromhex(match[1])
    for token_id, raw in literal.items():
        pieces[token_id] = raw
    return ByteTable.of(pieces)
