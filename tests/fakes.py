"""Stand-ins for the parts that a test does not test."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from fastgen.tokenizer.table import ByteTable

CHATML_SPECIALS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")


class FakeTokenizer:
    """A tokenizer over bytes: ids 0 to 255 are the bytes, then come plain words, then the special strings.

    Parameters
    ----------
    specials : sequence of str
        Control strings. The first is the BOS token, the last the EOS token.
    words : sequence of bytes
        Tokens of several bytes, for decoding only.
    strip_leading_space : bool
        Whether it behaves as SentencePiece: `encode` adds a space in front, `decode` takes it away.
    """

    def __init__(
        self,
        specials: Sequence[str] = CHATML_SPECIALS,
        *,
        words: Sequence[bytes] = (),
        strip_leading_space: bool = False,
        add_bos: bool = False,
        chat_template: str | None = None,
    ) -> None:
        self._tokens = [bytes([value]) for value in range(256)] + list(words)
        first = len(self._tokens)
        self._tokens += [special.encode() for special in specials]
        self._ids = {special: first + place for place, special in enumerate(specials)}
        self.name = "fake"
        self.vocab_size = len(self._tokens)
        self.special_strings = tuple(specials)
        self.special_ids = frozenset(self._ids.values())
        self.bos_id: int | None = self._ids[specials[0]] if specials else None
        self.eos_ids: tuple[int, ...] = (self._ids[specials[-1]],) if specials else ()
        self.add_bos = add_bos
        self.strip_leading_space = strip_leading_space
        self.chat_template = chat_template
        self.bytes_table = ByteTable.of(self._tokens)
        longest_first = sorted(map(re.escape, specials), key=len, reverse=True)
        self._special = re.compile(f"({'|'.join(longest_first)})" if specials else "((?!))")

    def encode(self, text: str, control_tokens: bool = False) -> list[int]:
        ids: list[int] = []
        if self.strip_leading_space:
            text = " " + text
        for piece in self._special.split(text) if control_tokens else [text]:
            ids += [self._ids[piece]] if control_tokens and piece in self._ids else piece.encode()
        return ids

    def token_bytes(self, token_id: int) -> bytes:
        return self.bytes_table[token_id]

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        shown = [token for token in ids if not (skip_special_tokens and token in self.special_ids)]
        data = b"".join(map(self.token_bytes, shown))
        return (data.removeprefix(b" ") if self.strip_leading_space else data).decode(errors="replace")

    def token_id(self, token: str) -> int | None:
        data = token.encode()
        return self._tokens.index(data) if data in self._tokens else None
