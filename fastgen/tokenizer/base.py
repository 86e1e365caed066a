"""What all tokenizers share: decoding by the table of bytes, and the traits that the surroundings ask for."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from fastgen.errors import PromptError
from fastgen.tokenizer.table import ByteTable

__all__ = ["TableTokenizer", "Traits", "check_text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a checkpoint says about its vocabulary."""

    name: str
    bos_id: int | None
    eos_ids: tuple[int, ...]
    special_ids: frozenset[int]
    special_strings: tuple[str, ...]
    add_bos: bool
    strip_leading_space: bool
    chat_template: str | None


REMEMBERED: Final = 512  # pieces whose tokens are kept
LONGEST: Final = 1 << 14  # characters of such a piece


class TableTokenizer:
    """A tokenizer that decodes by joining bytes; the subclasses encode.

    Attributes
    ----------
    cuts_at_control : bool
        Whether a text is encoded as its control tokens and, each on its own, the pieces between them. Then the tokens
        of a prompt are those of its pieces, which come back with every turn of a conversation and are remembered.
    """

    # grammars are cached for as long as their tokenizer lives
    __slots__ = ("__weakref__", "_control_ids", "_remembered", "_table", "_traits", "cuts_at_control")

    def __init__(self, table: ByteTable, traits: Traits, cuts_at_control: bool) -> None:
        self._table = table
        self._traits = traits
        self.cuts_at_control = cuts_at_control
        self._control_ids: dict[str, int] = {}
        self._remembered = lru_cache(REMEMBERED)(self._compact)

    @property
    def name(self) -> str:
        """See `fastgen.tokenizer.Tokenizer`."""
        return self._traits.name

    @property
    def vocab_size(self) -> int:
        """See `fastgen.tokenizer.Tokenizer`."""
        return len(self._table)

    @property
    def bos_id(self) -> int | None:
        """See `fastgen.tokenizer.Tokenizer`."""
        return self._traits.bos_id

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """See `fastgen.tokenizer.Tokenizer`."""
        return self._traits.eos_ids

    @property
    def special_ids(self) -> frozenset[int]:
        """See `fastgen.tokenizer.Tokenizer`."""
        return self._traits.special_ids

    @property
    def special_strings(self) -> tuple[str, ...]:
        """See `fastgen.tokenizer.Tokenizer`."""
        return self._traits.special_strings

    @property
    def add_bos(self) -> bool:
        """See `fastgen.tokenizer.Tokenizer`."""
        return self._traits.add_bos

    @property
    def strip_leading_space(self) -> bool:
        """See `fastgen.tokenizer.Tokenizer`."""
        return self._traits.strip_leading_space

    @property
    def chat_template(self) -> str | None:
        """See `fastgen.tokenizer.Tokenizer`."""
        return self._traits.chat_template

    @property
    def bytes_table(self) -> ByteTable:
        """See `fastgen.tokenizer.Tokenizer`."""
        return self._table

    def token_bytes(self, token_id: int) -> bytes:
        """See `fastgen.tokenizer.Tokenizer`."""
        return self._table[token_id]

    def encode(self, text: str, control_tokens: bool = False) -> list[int]:
        """See `fastgen.tokenizer.Tokenizer`."""
        raise NotImplementedError

    def token_id(self, token: str) -> int | None:
        """See `fastgen.tokenizer.Tokenizer`."""
        raise NotImplementedError

    def encode_piece(self, text: str) -> Sequence[int]:
        """Return ``encode(text)``, remembered if the text is not too long. Do not change it."""
        return self._remembered(text) if len(text) <= LONGEST else self.encode(text)

    def control_id(self, string: str) -> int:
        """Return the token that a control string becomes."""
        if string not in self._control_ids:
            found = self.token_id(string)
            if found is None:
                raise KeyError(string)
            self._control_ids[string] = found
        return self._control_ids[string]

    def _compact(self, text: str) -> array[int]:
        return array("i", self.encode(text))

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """Return the text of some tokens: their bytes joined, with U+FFFD for what is not UTF-8.

        The libraries beneath agree on the tokens that they make of a text. They differ on other sequences of ids:

        - ``tokenizers`` reads the letters of an added token as byte-level spelling, and its ``▁`` as a space: an added
          token ``<é>`` loses its accent there. Here added tokens are literal.
        - ``tokenizers`` replaces every byte token of a run that is not UTF-8 as a whole, the sound ones too;
          ``sentencepiece`` replaces byte by byte. Here one U+FFFD stands for each maximal part of a character, as in
          ``bytes.decode(errors="replace")``.
        - The ``Metaspace`` decoder drops all spaces of the first token, and ``sentencepiece`` all leading spaces if it
          collapses them when it encodes. Here at most one space is taken off.
        - ``sentencepiece`` never shows control tokens, and the unknown token as ``" ⁇ "``. Here both are left out or,
          without `skip_special_tokens`, spelled as in the vocabulary.
        """
        piece = self._table.__getitem__
        special = self._traits.special_ids
        if skip_special_tokens:
            raw = b"".join([piece(token) for token in ids if token not in special])
        else:
            raw = b"".join(map(piece, ids))
        if self._traits.strip_leading_space and raw.startswith(b" "):
            raw = raw[1:]
        return raw.decode(errors="replace")


def check_text(text: str) -> None:
    """Refuse a text that has no UTF-8 form, before a library does so in its own way; the offset counts bytes."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PromptError(
            "the text holds a lone surrogate",
            code="prompt_not_utf8",
            hint="decode bytes with errors='replace', not 'surrogateescape'",
            offset=len(text[: error.start].encode()),
        ) from error
