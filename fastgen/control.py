"""Control strings: what a tokenizer treats as control tokens, and how text of users is kept from becoming one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from fastgen.errors import PromptError

if TYPE_CHECKING:
    from fastgen.tokenizer import Tokenizer

__all__ = ["ControlStrings", "Hidden", "control_strings", "encode_apart"]

STAND_INS: Final = range(0x20000, 0x2A6E0)  # rare ideographs: no case, no space, printable (repr() keeps them)


class ControlStrings:
    """The control strings of a tokenizer, and what of a text could be one, alone or together with its neighbors."""

    def __init__(self, strings: tuple[str, ...]) -> None:
        longest_first = sorted(filter(None, set(strings)), key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        self.joined = "\0".join(longest_first)
        self.heads = {string[:size] for string in longest_first for size in range(1, len(string))}
        self.tails = {string[-size:] for string in longest_first for size in range(1, len(string))}
        self.longest = max(map(len, longest_first), default=0)

    def occurrences(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the spans of all control strings, overlapping ones too; of those with one start, the longest."""
        match = self.pattern.search(text)
        while match:
            yield match.span()
            match = self.pattern.search(text, match.start() + 1)

    def suspects(self, text: str, whole: bool) -> Iterator[tuple[int, int]]:
        """Yield the spans that are control strings or, at either end, may be part of one; if `whole`, all of it too."""
        yield from self.occurrences(text)
        body = text.strip()
        start = text.find(body)
        end = start + len(body)
        for size in range(1, min(self.longest, len(body) + 1)):
            if body[-size:] in self.heads:
                yield end - size, end
            if body[:size] in self.tails:
                yield start, start + size
        if whole and body in self.joined:
            yield start, end


control_strings = lru_cache(maxsize=8)(ControlStrings)


class Hidden:
    """Puts stand-ins, which the prompt does not hold, for characters of messages: a rendering shows where they went."""

    def __init__(self, control: ControlStrings, text: str) -> None:
        taken = set(text)
        free = (chr(code) for code in STAND_INS if chr(code) not in taken)
        self._control = control
        self._stand_ins = dict(zip(sorted(set(control.joined)), free, strict=False))
        if len(self._stand_ins) < len(set(control.joined)):
            raise PromptError("the messages use up all rare ideographs", hint="send other text")
        self._originals = str.maketrans({stand_in: char for char, stand_in in self._stand_ins.items()})

    def message(self, message: dict[str, Any]) -> dict[str, Any]:
        return {
            key if key in ("role", "content") else self._text(key): (
                value if key == "role" else self._value(value, whole=key == "content")
            )
            for key, value in message.items()
        }

    def reveal(self, text: str) -> str:
        return text.translate(self._originals)

    def _value(self, value: Any, whole: bool = False) -> Any:
        if isinstance(value, str):
            return self._text(value, whole)
        if isinstance(value, dict):
            return {self._text(key): self._value(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)([self._value(item) for item in value])
        return value

    def _text(self, text: str, whole: bool = False) -> str:
        spans = list(self._control.suspects(text, whole))
        chars = list(text) if spans else []
        for start, end in spans:
            blank = text[start:end].isspace()
            for place in range(start, end):
                # White space stays, for templates trim it; a control string of nothing else must be hidden too.
                if blank or not text[place].isspace():
                    chars[place] = self._stand_ins[text[place]]
        return "".join(chars) if spans else text


def encode_apart(text: str, skeleton: str, control: ControlStrings, tokenizer: Tokenizer) -> list[int]:
    """Encode a prompt; `skeleton` has stand-ins where messages wrote what may be part of a control string."""
    unsafe = bytearray(len(text))
    for start, end in control.occurrences(text):
        if skeleton[start:end] != text[start:end]:
            unsafe[start:end] = b"\1" * (end - start)
    ids: list[int] = []
    done = before = 0
    for start, end in [*(match.span() for match in control.pattern.finditer(skeleton)), (len(text), len(text))]:
        # text[before:start] lies between two control strings of the template. Only where a message put a control string
        # there is it encoded on its own, so that all other text meets the tokenizer in one piece.
        if unsafe.find(1, before, start) >= 0:
            if done < before:
                ids += tokenizer.encode(text[done:before], control_tokens=True)
            ids += tokenizer.encode(text[before:start], control_tokens=False)
            done = start
        before = end
    if done < len(text):
        ids += tokenizer.encode(text[done:], control_tokens=True)
    return ids
