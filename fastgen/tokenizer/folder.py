"""What lies beside a tokenizer in a model's folder: special tokens, end-of-text ids, the chat template."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fastgen.errors import CheckpointError

__all__ = ["Companions", "read", "template_of"]

MAX_BYTES: Final = 1 << 26
MAX_TOKEN_ID: Final = 1 << 22  # an upper bound for sizes that a file asks for


@dataclass(frozen=True, slots=True, kw_only=True)
class Companions:
    """What the files say, with nothing looked up in the vocabulary yet."""

    bos: str | None = None
    eos: tuple[str | int, ...] = ()
    add_bos: bool | None = None
    chat_template: str | None = None
    added: dict[int, tuple[str, bool]] = field(default_factory=dict)  # id: the token, and whether it is special


def read(tokenizer: Path) -> Companions:
    """Read the files beside ``tokenizer.json`` or ``tokenizer.model``; a file of another name stands alone.

    Raises
    ------
    CheckpointError
        A file is not JSON, or a value is of the wrong type.
    """
    if tokenizer.stem != "tokenizer":
        return Companions()
    folder = tokenizer.parent
    config = _Json(folder / "tokenizer_config.json")
    names = _Json(folder / "special_tokens_map.json")
    generation = _Json(folder / "generation_config.json")
    model = _Json(folder / "config.json")
    eos = config.token("eos_token") or names.token("eos_token")
    jinja = folder / "chat_template.jinja"
    template = template_of(config.values.get("chat_template"), str(config.path))
    return Companions(
        bos=config.token("bos_token") or names.token("bos_token"),
        eos=((eos,) if eos else ()) + generation.ids("eos_token_id") + model.ids("eos_token_id"),
        add_bos=config.flag("add_bos_token"),
        chat_template=_text(jinja) if jinja.is_file() else template,
        added=config.added_tokens(),
    )


def template_of(value: Any, path: str) -> str | None:
    """Return the chat template of a configuration: one text, or the one named ``default`` of several."""
    if isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
        value = {entry.get("name"): entry.get("template") for entry in value}
    if isinstance(value, dict):
        value = value.get("default")
    if value is not None and not isinstance(value, str):
        raise _wrong(path, "chat_template")
    return value


def _wrong(path: str, key: str) -> CheckpointError:
    return CheckpointError("a value has the wrong type", hint="download the file again", path=path, key=key)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError("the file is absurdly large", hint="download it again", path=str(path))
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        hint = "download the file again"
        raise CheckpointError("the file is not UTF-8", hint=hint, path=str(path), offset=error.start) from error
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError("the file can't be read", hint=error.strerror, path=str(path)) from error


class _Json:
    """The object of one JSON file, empty if there is none."""

    __slots__ = ("path", "values")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, Any] = {}
        if not path.is_file():
            return
        text = _text(path)
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            offset = getattr(error, "pos", 0)
            hint = "download the file again"
            raise CheckpointError("the file is not JSON", hint=hint, path=str(path), offset=offset) from error
        if not isinstance(values, dict):
            raise CheckpointError("the file holds no JSON object", hint="download it again", path=str(path))
        self.values = values

    def token(self, key: str) -> str | None:
        value = self.values.get(key)
        if isinstance(value, dict):  # a serialized AddedToken
            value = value.get("content")
        if value is not None and not isinstance(value, str):
            raise _wrong(str(self.path), key)
        return value

    def flag(self, key: str) -> bool | None:
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise _wrong(str(self.path), key)
        return value

    def ids(self, key: str) -> tuple[int, ...]:
        value = self.values.get(key)
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if not all(type(token) is int for token in ids):
            raise _wrong(str(self.path), key)
        return tuple(ids)

    def added_tokens(self) -> dict[int, tuple[str, bool]]:
        key = "added_tokens_decoder"
        entries = self.values.get(key, {})
        added: dict[int, tuple[str, bool]] = {}
        if not isinstance(entries, dict):
            raise _wrong(str(self.path), key)
        for name, entry in entries.items():
            token = int(name) if name.isascii() and name.isdigit() and len(name) < 9 else MAX_TOKEN_ID
            content = entry.get("content") if isinstance(entry, dict) else None
            if token >= MAX_TOKEN_ID or not isinstance(content, str) or not content:
                raise _wrong(str(self.path), key)
            added[token] = content, entry.get("special") is True
        return added
