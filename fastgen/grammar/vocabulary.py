"""A tokenizer's vocabulary in llguidance's form, and the cache of the grammars compiled for it."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from fastgen.errors import InvalidParameterError, missing_dependency
from fastgen.tokenizer import Tokenizer

__all__ = ["Vocabulary", "check", "invalid", "llguidance", "reason"]

CACHED: Final = 64  # compiled grammars for each tokenizer
MAX_SIZE: Final = 1 << 20  # characters of a grammar
MAX_REASON: Final = 1000

# Without it llguidance allows only the canonical token where the text is forced, and asks the tokenizer which that is.
EXACT: Final = '\n%llguidance {"no_forcing": true}\n'


class Vocabulary:
    """A tokenizer as llguidance sees it, and the grammars compiled for it. It does not keep the tokenizer alive.

    Attributes
    ----------
    size : int
        Tokens of the tokenizer. llguidance knows one more, its own end of a text.
    eos_ids : frozenset of int
    ends : ndarray of uint32, [size // 32 + 1]
        The mask that allows these only.
    """

    __slots__ = ("_compiled", "_ll", "_lock", "ends", "eos_ids", "size")

    def __init__(self, tokenizer: Tokenizer) -> None:
        table = tokenizer.bytes_table
        self.size = len(table)
        self.eos_ids = frozenset(token for token in tokenizer.eos_ids if 0 <= token < self.size)
        self.ends: NDArray[np.uint32] = np.zeros(self.size // 32 + 1, np.uint32)
        for token in self.eos_ids:
            self.ends[token // 32] |= np.uint32(1 << token % 32)
        # llguidance takes a first byte of 0xFF as the mark of special tokens; no UTF-8 holds one.
        tokens = [b"" if (piece := table[token])[:1] == b"\xff" else piece for token in range(self.size)]
        source = _Source([*tokens, b"<end>"], [*tokenizer.special_ids, *self.eos_ids, self.size], self.size)
        self._ll = llguidance().LLTokenizer(source)
        source.tokens = []
        self._compiled: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Vocabulary:
        """Return the one of a tokenizer, which is kept for as long as the tokenizer lives."""
        try:
            with _lock:
                found = _vocabularies.get(tokenizer)
                if found is None:
                    found = _vocabularies[tokenizer] = cls(tokenizer)
            return found
        except TypeError:  # a tokenizer of someone else's that can't be hashed or weakly referenced
            return cls(tokenizer)

    def start(self, kind: str, source: str) -> Any:
        """Return llguidance's matcher at the start of a grammar, to be copied.

        Raises
        ------
        InvalidParameterError
        """
        key = kind, source
        with self._lock:
            if key in self._compiled:
                self._compiled.move_to_end(key)
                return self._compiled[key]
        made = self._compile(kind, source)  # may take a second, so other threads are not kept waiting
        with self._lock:
            self._compiled[key] = made
            while len(self._compiled) > CACHED:
                self._compiled.popitem(last=False)
        return made

    def _compile(self, kind: str, source: str) -> Any:
        check(kind, source)
        start = llguidance().LLMatcher(self._ll, source + EXACT, log_level=0)
        if not start.is_error():
            start.compute_bitmask()  # finds grammars that accept nothing
        if start.is_error() or (start.is_stopped() and not start.is_accepting()):
            raise invalid(kind, reason(start) or "it accepts no text that the vocabulary can spell")
        return start


class _Source:
    """What llguidance asks of a Python tokenizer."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokens: list[bytes], special_ids: list[int], end: int) -> None:
        self.tokens = tokens
        self.special_token_ids = special_ids
        self.eos_token_id = end

    def __call__(self, text: str) -> list[int]:
        raise NotImplementedError("grammars are matched without encoding texts")


_vocabularies: WeakKeyDictionary[Tokenizer, Vocabulary] = WeakKeyDictionary()
_lock = threading.Lock()


def llguidance() -> Any:
    """Return the library."""
    try:
        import llguidance as library
    except ImportError as error:
        raise missing_dependency("llguidance", "grammar", "Constrained decoding") from error
    return library


def check(kind: str, text: str) -> None:
    """Refuse what is no text, too long, or has no UTF-8 form."""
    if not isinstance(text, str):
        raise invalid(kind, "it must be a text")
    if len(text) > MAX_SIZE:
        raise invalid(kind, f"it has more than {MAX_SIZE} characters")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise invalid(kind, "it holds a lone surrogate")


def invalid(kind: str, reason: str) -> InvalidParameterError:
    """Return the error for a grammar that can't be compiled."""
    return InvalidParameterError("the grammar is not valid", parameter=kind, reason=reason)


def reason(matcher: Any) -> str:
    """Return what llguidance says is wrong, without the dump of its state; "" if only that nothing can follow."""
    message = re.split(r"\n<(?:state|backtrace|grammar)>", matcher.get_error())[0].strip()
    return "" if message.startswith("NoExtension") else message[:MAX_REASON]
