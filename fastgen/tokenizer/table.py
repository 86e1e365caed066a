"""The bytes of every token of a vocabulary, and how the spellings of vocabularies become bytes."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping, Sequence
from operator import index
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fastgen.errors import InvalidParameterError

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


class ByteTable:
    """The bytes of the tokens, one after the other.

    Attributes
    ----------
    blob : bytes
    offsets : ndarray of uint32, [vocabulary + 1]
        The bytes of token ``i`` are ``blob[offsets[i]:offsets[i + 1]]``. Read-only.
    """

    __slots__ = ("_bounds", "blob", "offsets")

    def __init__(self, blob: bytes, lengths: Iterable[int], count: int) -> None:
        self.blob = blob
        self.offsets: NDArray[np.uint32] = np.zeros(count + 1, np.uint32)
        np.cumsum(np.fromiter(lengths, np.uint32, count), dtype=np.uint32, out=self.offsets[1:])
        self.offsets.flags.writeable = False
        self._bounds = memoryview(self.offsets.data)  # its items are Python integers, which NumPy is slow to make

    @classmethod
    def of(cls, pieces: Sequence[bytes]) -> ByteTable:
        """Make a table of the bytes of each token."""
        return cls(b"".join(pieces), map(len, pieces), len(pieces))

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, token_id: int) -> bytes:
        """Return the bytes of a token.

        Raises
        ------
        InvalidParameterError
            ``token_out_of_range``.
        """
        token = index(token_id)
        if not 0 <= token < len(self._bounds) - 1:
            raise InvalidParameterError(
                "a token id is outside the vocabulary",
                code="token_out_of_range",
                hint="the ids may come from another model's tokenizer",
                token=token,
                vocab_size=len(self),
            )
        return self.blob[self._bounds[token] : self._bounds[token + 1]]


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
            return ByteTable(raw.astype(np.uint8).tobytes(), map(len, tokens), len(tokens))
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
