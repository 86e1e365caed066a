"""Detokenizer: token ids to text, one whole code point after the other, each as soon as its last byte is there."""

from __future__ import annotations

import codecs
from operator import index
from typing import TYPE_CHECKING

from fastgen.errors import InvalidParameterError

if TYPE_CHECKING:
    from fastgen.tokenizer import Tokenizer

__all__ = ["Detokenizer"]


class Detokenizer:
    """Text of a stream of token ids.

    The joined results of `push` and of the final `flush` equal ``tokenizer.decode(ids, skip_special_tokens)`` of all
    ids, whatever bytes the tokens hold. A character whose bytes are spread over several tokens is held back until it is
    whole; malformed bytes become one U+FFFD for each maximal subpart, as in ``bytes.decode(errors="replace")``.

    Parameters
    ----------
    tokenizer : Tokenizer
        Where the bytes of the tokens come from.
    skip_special_tokens : bool, default True
        Whether special tokens have no text.
    """

    __slots__ = ("_at_start", "_decoder", "_skipped", "_strip", "_table")

    def __init__(self, tokenizer: Tokenizer, skip_special_tokens: bool = True) -> None:
        self._table = tokenizer.bytes_table
        self._skipped = tokenizer.special_ids if skip_special_tokens else frozenset()
        self._strip = tokenizer.strip_leading_space
        self._at_start = True
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished character are held back: 0 to 3."""
        return len(self._decoder.getstate()[0])

    def push(self, token_id: int) -> str:
        """Add a token and return the text that it completes, often its own, sometimes none.

        Parameters
        ----------
        token_id : int
            A token id, 0 <= id < vocabulary size.

        Returns
        -------
        str
            Whole code points.

        Raises
        ------
        InvalidParameterError
            The id is not an integer, or outside the vocabulary (``code="token_out_of_range"``); nothing has changed.
        """
        try:
            token = index(token_id)
        except TypeError as error:
            raise InvalidParameterError(
                "a token id must be an integer", hint="push one id at a time", type=type(token_id).__name__
            ) from error
        if token in self._skipped:
            return ""
        data = self._table[token]
        if self._at_start and data:
            # SentencePiece puts a space before a text to encode; the first bytes of the whole decode give it back.
            self._at_start = False
            if self._strip:
                data = data.removeprefix(b" ")
        return self._decoder.decode(data)

    def flush(self) -> str:
        """End the decode: return the text of what is held back (one U+FFFD for an unfinished character, else nothing).

        Afterwards the detokenizer is as new, ready for another stream.
        """
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        self._at_start = True
        return text
