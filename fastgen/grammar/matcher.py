"""The state of one sequence in its grammar."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgen.errors import InvalidParameterError
from fastgen.grammar.vocabulary import Vocabulary, reason

__all__ = ["Matcher"]


class Matcher:
    """How far one sequence has come in its grammar; made by `Grammar.matcher`. For one thread at a time."""

    __slots__ = (
        "_at",
        "_cut",
        "_ended",
        "_ends",
        "_kind",
        "_ll",
        "_pointer",
        "_scratch",
        "_shown",
        "_view",
        "_vocabulary",
    )

    def __init__(self, ll: Any, vocabulary: Vocabulary, kind: str, vocab_size: int) -> None:
        self._ll = ll
        self._vocabulary = vocabulary
        self._kind = kind
        # llguidance knows one token more than the tokenizer, its own end, and writes rows of just that length.
        self._scratch: NDArray[np.uint32] = np.zeros(vocabulary.size // 32 + 1, np.uint32)
        self._view = memoryview(self._scratch.data)
        self._pointer = self._scratch.ctypes.data
        self._shown = -(-vocab_size // 32)
        self._cut = min(vocabulary.size, vocab_size)
        self._at = 0  # tokens accepted
        self._ends = 0  # of them, end tokens at the end; llguidance doesn't get to know of these
        self._ended: bool | None = None  # whether nothing but the end is allowed; None: not known for this state

    def row(self) -> NDArray[np.uint32]:
        """Return a row of words for `fill`."""
        return np.zeros(self._shown, np.uint32)

    def fill(self, mask: NDArray[Any]) -> None:
        """Write which tokens are allowed next: token i is bit ``i % 32``, counted from the lowest, of word ``i // 32``.

        This is the layout of llguidance and xgrammar. The bits beyond the tokenizer's vocabulary are 0. All of
        its `eos_ids` are allowed where the text may end and after the end; if it has none, the mask of a text that is
        complete allows nothing, so ask `finished` first.

        Parameters
        ----------
        mask : ndarray of uint32 or int32, [(vocab_size + 31) // 32]
            Overwritten.

        Raises
        ------
        InvalidParameterError
            The mask is of another shape or type, the grammar is too complex to follow from here on, or no token of the
            vocabulary can go on.
        """
        fits = isinstance(mask, np.ndarray) and mask.shape == (self._shown,) and mask.dtype in (np.uint32, np.int32)
        if not fits or not mask.flags.writeable:
            hint = "it must be a writable array of uint32 or int32 with (vocab_size + 31) // 32 words"
            raise InvalidParameterError("the mask is not one for this vocabulary", hint=hint, words=self._shown)
        self._compute()
        words = -(-self._cut // 32)
        mask = mask.view(np.uint32)
        mask[:words] = self._scratch[:words]
        mask[words:] = 0
        if self._cut % 32:
            mask[words - 1] &= np.uint32((1 << self._cut % 32) - 1)

    def accept(self, token_id: int) -> None:
        """Go on by one token. One that is refused leaves the state as it was.

        Raises
        ------
        InvalidParameterError
            The grammar forbids the token (``invalid_value``), or there is no such token (``token_out_of_range``).
        """
        token, vocabulary = index(token_id), self._vocabulary
        if not 0 <= token < vocabulary.size:
            raise InvalidParameterError(
                "a token id is outside the vocabulary",
                code="token_out_of_range",
                token=token,
                vocab_size=vocabulary.size,
            )
        # A Lark grammar may ask for an end token by name, in the midst of a text.
        if not self._ends and self._ll.try_consume_tokens([token]):
            self._ended = None
        elif token in vocabulary.eos_ids and (self._ends or self._ll.is_accepting()):
            self._ends += 1
        else:
            self._check_state()
            raise InvalidParameterError("the grammar forbids the token", parameter=self._kind, token=token, at=self._at)
        self._at += 1

    @property
    def finished(self) -> bool:
        """Whether nothing but the end may follow, or the end has been accepted."""
        if self._ends:
            return True
        if self._ended is None:
            if self._ll.is_stopped():
                self._check_state()
                self._ended = True
            elif not self._ll.is_accepting():
                self._ended = False
            else:
                self._compute()
        return bool(self._ended)

    def rollback(self, count: int) -> None:
        """Take back the last tokens; what comes after is as if they had never been accepted.

        Raises
        ------
        InvalidParameterError
            Fewer have been accepted.
        """
        if not 0 <= count <= self._at:
            raise InvalidParameterError("there are not so many tokens to take back", count=count, accepted=self._at)
        ends = min(count, self._ends)
        if count > ends:
            self._ll.rollback(count - ends)
            self._ended = None
        self._ends -= ends
        self._at -= count

    def _compute(self) -> None:
        """Fill the scratch row, with the tokenizer's ends in place of llguidance's."""
        if self._ends:
            self._scratch[:] = self._vocabulary.ends
            return
        self._ll.unsafe_compute_mask_ptr(self._pointer, self._scratch.nbytes)
        self._check_state()
        word, bit = divmod(self._vocabulary.size, 32)
        self._ended = False
        if self._view[word] >> bit & 1:
            self._view[word] &= ~(1 << bit)
            self._ended = not self._scratch.any()
            np.bitwise_or(self._scratch, self._vocabulary.ends, out=self._scratch)

    def _check_state(self) -> None:
        """Refuse a state in which llguidance has given up, where it would allow the end."""
        if self._ll.is_error() or (self._ll.is_stopped() and not self._ll.is_accepting()):
            why = reason(self._ll) or "no token of the vocabulary can go on"
            raise InvalidParameterError(
                "the grammar can't be followed any further", parameter=self._kind, reason=why, at=self._at
            )
