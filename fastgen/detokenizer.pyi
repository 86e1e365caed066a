from collections.abc import Sequence
from typing import Any, Literal, Self, final

from fastgen.tokenizer import Tokenizer

__all__ = ["Detokenizer"]

@final
class Detokenizer:
    most: int
    def __new__(
        cls,
        tokenizer: Tokenizer,
        skip_special_tokens: bool = True,
        *,
        spaces_between_special_tokens: bool = False,
        hold: Literal["codepoint", "grapheme"] = "codepoint",
    ) -> Self: ...
    @property
    def pending(self) -> int: ...
    def push(self, token_id: int) -> str: ...
    def push_many(self, token_ids: Sequence[int] | Any) -> str: ...
    def flush(self) -> str: ...
