"""Control strings: what a tokenizer treats as control tokens, and how text of users is kept from becoming one.

A prompt is encoded from its text and a skeleton, which is as long and has other characters wherever a control string
could come from a user. A control string of the text that the skeleton lacks is text. Programs mark what they write, so
their skeleton is at hand (`encode_prompt`); for Jinja it is rendered from messages in disguise (`Hidden`).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from fastgen.errors import PromptError
from fastgen.tokenizer.base import TableTokenizer

if TYPE_CHECKING:
    from fastgen.prompt import PromptBuilder
    from fastgen.tokenizer import Tokenizer

__all__ = [
    "ControlStrings",
    "ControlTokenWarning",
    "Hidden",
    "check_roles",
    "control_strings",
    "encode_apart",
    "encode_prompt",
    "warn_of_control_tokens",
]

MAX_ROLES: Final = 256  # that are remembered
STAND_INS: Final = range(0x20000, 0x2A6E0)  # rare ideographs: no case, no space, printable (repr() keeps them)


class ControlTokenWarning(UserWarning):
    """Text that was not written by the application is allowed to become control tokens."""


class ControlStrings:
    """The control strings of a tokenizer, and what of a text could be one, alone or together with its neighbors."""

    def __init__(self, strings: tuple[str, ...]) -> None:
        longest_first = sorted(filter(None, set(strings)), key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        self.joined = "\0".join(longest_first)
        self.heads = {string[:size] for string in longest_first for size in range(1, len(string))}
        self.tails = {string[-size:] for string in longest_first for size in range(1, len(string))}
        self.longest = max(map(len, longest_first), default=0)
        taken = {char for string in longest_first for char in string}
        self.blank = next((char for char in map(chr, range(128)) if char not in taken), None)
        self.innocent: set[str] = set()  # roles without a control string

    def occurrences(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the spans of all control strings, overlapping ones too; of those with one start, the longest."""
        match = self.pattern.search(text)
        while match:
            yield match.span()
            match = self.pattern.search(text, match.start() + 1)

    def touches(self, text: str) -> bool:
        """Tell whether a text could share characters with a control string, whatever stands around it."""
        sizes = range(1, min(self.longest, len(text) + 1))
        return (
            self.pattern.search(text) is not None
            or text in self.joined
            or any(text[-size:] in self.heads or text[:size] in self.tails for size in sizes)
        )

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
                value if key == "role" else self.value(value, whole=key == "content")
            )
            for key, value in message.items()
        }

    def reveal(self, text: str) -> str:
        return text.translate(self._originals)

    def value(self, value: Any, whole: bool = False) -> Any:
        if isinstance(value, str):
            return self._text(value, whole)
        if isinstance(value, dict):
            return {self._text(key): self.value(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)([self.value(item) for item in value])
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


def check_roles(messages: Sequence[Mapping[str, Any]], tokenizer: Tokenizer) -> None:
    """Refuse roles that hold a control string."""
    control = control_strings(tuple(tokenizer.special_strings))
    for place, message in enumerate(messages):
        role = message["role"]
        if role in control.innocent:
            continue
        if control.pattern.search(role):
            raise PromptError(
                "a role holds a control string",
                hint="a role is a plain word such as user or assistant",
                message_index=place,
                role=role,
            )
        if len(control.innocent) < MAX_ROLES:
            control.innocent.add(role)


def warn_of_control_tokens() -> None:
    warnings.warn(
        "control strings in messages become control tokens: whoever writes a message can forge the others",
        ControlTokenWarning,
        stacklevel=3,
    )


def encode_prompt(prompt: PromptBuilder, tokenizer: Tokenizer, *, allow_control_tokens: bool = False) -> list[int]:
    """Return the token ids of a prompt: control tokens where it is trusted, plain text where not."""
    text = str(prompt)
    if allow_control_tokens:
        warn_of_control_tokens()
        return tokenizer.encode(text, control_tokens=True)
    control = control_strings(tuple(tokenizer.special_strings))
    if control.blank is None:
        raise PromptError("every ASCII character is part of a control string", hint="use another tokenizer")
    skeleton = prompt.masked(control.blank)
    return encode_apart(text, skeleton, control, tokenizer)


def encode_apart(text: str, skeleton: str, control: ControlStrings, tokenizer: Tokenizer) -> list[int]:
    """Encode a prompt; `skeleton` has stand-ins where messages wrote what may be part of a control string."""
    if isinstance(tokenizer, TableTokenizer) and tokenizer.cuts_at_control:
        return _encode_pieces(text, skeleton, control, tokenizer)
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


def _encode_pieces(text: str, skeleton: str, control: ControlStrings, tokenizer: TableTokenizer) -> list[int]:
    """The same for a tokenizer that encodes what lies between control tokens on its own."""
    ids: list[int] = []
    before = 0
    for match in control.pattern.finditer(skeleton):
        start, end = match.span()
        if before < start:
            ids.extend(tokenizer.encode_piece(text[before:start]))
        ids.append(tokenizer.control_id(match[0]))
        before = end
    if before < len(text):
        ids.extend(tokenizer.encode_piece(text[before:]))
    return ids
