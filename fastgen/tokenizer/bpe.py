"""Tokenizers of the ``tokenizers`` library: ``tokenizer.json`` files, and those inside transformers' tokenizers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from fastgen.control import control_strings
from fastgen.errors import CheckpointError, FastgenError, missing_dependency
from fastgen.tokenizer import folder
from fastgen.tokenizer.base import TableTokenizer, Traits, check_text
from fastgen.tokenizer.table import WORD_START, ByteTable, byte_level_table, sentencepiece_table

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BackendTokenizer", "from_transformers", "import_tokenizers", "load"]

PARTS: Final = ("normalizer", "pre_tokenizer", "decoder")


def import_tokenizers() -> Any:
    """Return the module ``tokenizers``.

    Raises
    ------
    MissingDependencyError
    """
    try:
        import tokenizers
    except ImportError as error:
        raise missing_dependency("tokenizers", "torch", "this tokenizer") from error
    return tokenizers


class BackendTokenizer(TableTokenizer):
    """A ``tokenizers.Tokenizer`` behind the protocol.

    Whether such an object recognizes control tokens in a text is a setting of the object, which no two threads could
    use differently at a time. So there are two that share the vocabulary, and neither is changed after `__init__`.
    """

    __slots__ = ("_marked", "_plain")

    def __init__(self, backend: Any, table: ByteTable, traits: Traits) -> None:
        super().__init__(table, traits, _cuts_at_control(backend, traits.special_strings))
        self._marked = _twin(backend, encode_special_tokens=False)
        self._plain = _twin(backend, encode_special_tokens=True)

    @property
    def backend(self) -> Any:
        """The library's object, which recognizes control tokens. Do not change it."""
        return self._marked

    def encode(self, text: str, control_tokens: bool = False) -> list[int]:
        """See `fastgen.tokenizer.Tokenizer`.

        A vocabulary may lack the means to spell a character; the library then leaves it out or puts the unknown token.
        """
        check_text(text)
        chosen = self._marked if control_tokens else self._plain
        # not the variant for batches, which is a fifth faster: it starts threads that do not outlive a fork
        ids: list[int] = chosen.encode(text, add_special_tokens=False).ids
        return ids

    def token_id(self, token: str) -> int | None:
        """See `fastgen.tokenizer.Tokenizer`."""
        try:
            found: int | None = self._marked.token_to_id(token)
        except (TypeError, UnicodeEncodeError):  # a lone surrogate
            return None
        return found


def _twin(backend: Any, *, encode_special_tokens: bool) -> Any:
    """Return a tokenizer of the same model and parts, without the post-processor, truncation and padding."""
    library = import_tokenizers()
    added = backend.get_added_tokens_decoder()
    twin = library.Tokenizer(backend.model)
    for part in PARTS:
        if (value := getattr(backend, part)) is not None:
            setattr(twin, part, value)
    # The library gives added tokens the ids of the vocabulary, or else the next free ones: in the order of the ids, the
    # same as before.
    twin.add_tokens([added[token] for token in sorted(added)])
    twin.encode_special_tokens = encode_special_tokens
    return twin


def _cuts_at_control(backend: Any, special: tuple[str, ...]) -> bool:
    """Tell whether what lies between control tokens is encoded without regard to what lies around.

    The library cuts a text at added tokens first, and then normalizes and cuts each piece alone; but an added token may
    take the white space beside it, or overlap with a control string, and ``Metaspace`` may look whether a piece is the
    first.
    """
    added = backend.get_added_tokens_decoder().values()
    control = control_strings(special)
    plain = (token.content for token in added if not token.special)
    if any(
        token.lstrip or token.rstrip or token.single_word or (token.special and token.normalized) for token in added
    ):
        return False
    if any(map(control.touches, plain)) or not set(special) <= {token.content for token in added if token.special}:
        return False
    part = backend.pre_tokenizer
    return part is None or '"first"' not in part.__getstate__().decode()


class _Spelling(NamedTuple):
    """How a vocabulary spells bytes, as its decoder tells."""

    kind: Literal["byte level", "sentencepiece"]
    byte_tokens: bool
    strip_leading_space: bool


def _spelling(decoder: Any, path: str) -> _Spelling:
    """Read a decoder's description; raises CheckpointError for one that does not work token by token."""
    spec: dict[str, Any] = json.loads(decoder.__getstate__()) if decoder is not None else {"type": "none"}
    kinds: set[Literal["byte level", "sentencepiece"]] = set()
    byte_tokens = strip = False
    steps: list[dict[str, Any]] = spec["decoders"] if spec["type"] == "Sequence" else [spec]
    for step in steps:
        match step:
            case {"type": "ByteLevel"}:
                kinds.add("byte level")
            case {"type": "Replace", "pattern": {"String": pattern}, "content": " "} if pattern == WORD_START:
                kinds.add("sentencepiece")
            case {"type": "Metaspace", "replacement": replacement} if replacement == WORD_START:
                kinds.add("sentencepiece")
                strip = strip or step.get("prepend_scheme", "always") != "never"
            case {"type": "ByteFallback"}:
                byte_tokens = True
            case {"type": "Strip", "content": " ", "start": (0 | 1) as start, "stop": 0}:
                strip = strip or start == 1
            case {"type": "Fuse"}:
                pass
            case _:
                kinds.clear()
                break
    if len(kinds) != 1:
        raise CheckpointError(
            "a kind of decoder whose text can't be told token by token",
            code="checkpoint_unsupported",
            hint="byte-level and SentencePiece vocabularies are supported",
            path=path,
            decoder=spec["type"],
        )
    return _Spelling(kinds.pop(), byte_tokens, strip)


def _tokens(backend: Any, path: str) -> list[str]:
    vocabulary: dict[str, int] = backend.get_vocab(with_added_tokens=True)
    size = max(vocabulary.values(), default=-1) + 1
    if not 0 < size <= folder.MAX_TOKEN_ID:
        hint = "the vocabulary is empty, or an id is absurd"
        raise CheckpointError("the vocabulary has no sensible size", hint=hint, path=path, size=size)
    tokens = [""] * size
    for token, token_id in vocabulary.items():
        tokens[token_id] = token
    return tokens


def _adapt(backend: Any, path: str, name: str, companions: folder.Companions) -> BackendTokenizer:
    spelling = _spelling(backend.decoder, path)
    tokens = _tokens(backend, path)
    added = backend.get_added_tokens_decoder()
    literal = {token_id: token.content.encode() for token_id, token in added.items()}
    if spelling.kind == "byte level":
        table = byte_level_table(tokens, literal)
    else:
        table = sentencepiece_table(tokens, literal, range(len(tokens)) if spelling.byte_tokens else ())
    special = sorted(token_id for token_id, token in added.items() if token.special)
    bos_id = None if companions.bos is None else backend.token_to_id(companions.bos)
    eos = [backend.token_to_id(token) if isinstance(token, str) else token for token in companions.eos]
    add_bos = companions.add_bos
    if add_bos is None:
        add_bos = bos_id in backend.encode("").ids[:1]
    traits = Traits(
        name=name,
        bos_id=bos_id,
        eos_ids=known_ids(eos, len(tokens)),
        special_ids=frozenset(special),
        special_strings=tuple(added[token_id].content for token_id in special),
        add_bos=add_bos and bos_id is not None,
        strip_leading_space=spelling.strip_leading_space,
        chat_template=companions.chat_template,
    )
    return BackendTokenizer(backend, table, traits)


def known_ids(ids: Sequence[int | None], size: int) -> tuple[int, ...]:
    """Return the ids that a vocabulary of this size has, once each, in order: no other can ever be sampled."""
    return tuple(dict.fromkeys(token for token in ids if token is not None and 0 <= token < size))


@contextmanager
def foreign_code(path: str) -> Iterator[None]:
    """Turn what the library says about a file into CheckpointError.

    It raises ValueError, OverflowError and bare Exception, and its Rust code may panic; other errors are ours.
    """
    try:
        yield
    except FastgenError:
        raise
    except OSError as error:
        raise CheckpointError("the file can't be read", hint=error.strerror, path=path) from error
    except BaseException as error:
        foreign = isinstance(error, (ValueError, OverflowError, RecursionError)) or type(error) is Exception
        if not foreign and type(error).__name__ != "PanicException":
            raise
        text = f"the tokenizers library says: {error}"
        raise CheckpointError("not a sound tokenizer file", hint=text[:300], path=path) from error


def load(path: Path) -> BackendTokenizer:
    """Load a ``tokenizer.json`` and what lies beside it; see `fastgen.tokenizer.load_tokenizer`."""
    library = import_tokenizers()
    companions = folder.read(path)
    name = path.resolve().parent.name if path.stem == "tokenizer" else path.stem
    with foreign_code(str(path)):
        content = path.read_bytes()
        backend = library.Tokenizer.from_buffer(content)
        _check_ids(backend, content, str(path))
        return _adapt(backend, str(path), name, companions)


def _check_ids(backend: Any, content: bytes, path: str) -> None:
    """Refuse a file whose added tokens the library would quietly give other ids: it leaves no gaps between them."""
    # The one list of this name in a file that the library took; to parse all of a vocabulary again would take long.
    found = re.search(rb'"added_tokens"\s*:\s*(?=\[)', content)
    added = json.JSONDecoder().raw_decode(content[found.end() :].decode())[0] if found else []
    for token in added:
        if backend.token_to_id(token["content"]) != token["id"]:
            raise CheckpointError(
                "the ids of the added tokens have gaps",
                code="checkpoint_unsupported",
                hint="the tokenizers library can't keep such ids",
                path=path,
                token=token["content"],
            )


def from_transformers(tokenizer: Any) -> BackendTokenizer:
    """Adapt a tokenizer of transformers; see `fastgen.tokenizer.from_transformers`."""
    library = import_tokenizers()
    backend = getattr(tokenizer, "backend_tokenizer", None)
    name = getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__
    if not isinstance(backend, library.Tokenizer):
        raise CheckpointError(
            "a tokenizer without the tokenizers library behind it",
            code="checkpoint_unsupported",
            hint="load it with transformers.AutoTokenizer and use_fast=True, or give its files to load_tokenizer",
            type=type(tokenizer).__name__,
        )
    eos = tokenizer.eos_token_id
    companions = folder.Companions(
        bos=tokenizer.bos_token,
        eos=tuple(eos) if isinstance(eos, list) else () if eos is None else (eos,),
        chat_template=folder.template_of(getattr(tokenizer, "chat_template", None), name),
    )
    with foreign_code(name):
        return _adapt(backend, name, name, companions)
