"""Tokenizers out of the vocabularies that GGUF files hold."""

from __future__ import annotations

import hashlib
from itertools import compress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastgen.errors import CheckpointError
from fastgen.gguf import GGUFFile
from fastgen.tokenizer import disk
from fastgen.tokenizer.base import Traits
from fastgen.tokenizer.bpe import BackendTokenizer, foreign_code, import_tokenizers, known_ids
from fastgen.tokenizer.pre import KINDS, Kind
from fastgen.tokenizer.table import BYTE_TOKEN, WORD_START, byte_level_table, sentencepiece_table

__all__ = ["load"]

NORMAL: Final = 1  # the types of tokens in tokenizer.ggml.token_type
UNKNOWN: Final = 2
CONTROL: Final = 3
USER_DEFINED: Final = 4
BYTE: Final = 6

MERGES_VERSION: Final = b"1"  # of the cached form; change it with the rule of `_merges_of_scores`
END_OF_TURN: Final = ("<|eot_id|>", "<|im_end|>", "<end_of_turn>", "<|end|>")


class _Vocabulary:
    """The metadata of a vocabulary, checked."""

    __slots__ = ("control", "file", "ids", "literal", "tokens", "types")

    def __init__(self, file: GGUFFile) -> None:
        self.file = file
        words = file.metadata.get("tokenizer.ggml.tokens")
        if not isinstance(words, list) or not words or not isinstance(words[0], str):
            raise self.wrong("tokenizer.ggml.tokens", "the file holds no vocabulary")
        count = len(words)
        types = self.array("tokenizer.ggml.token_type", "iu", count)
        self.types: NDArray[np.int64] = np.full(count, NORMAL, np.int64) if types is None else types.astype(np.int64)
        # Files exist in which the tokens that steer a generation are marked as ordinary ones.
        for role in ("bos", "eos", "eot", "eom"):
            if (token := self.token(role)) is not None:
                self.types[token] = CONTROL
        marked = np.isin(self.types, (UNKNOWN, CONTROL, USER_DEFINED))
        self.literal = {i: words[i].encode(errors="surrogateescape") for i in np.flatnonzero(marked).tolist()}
        self.control: list[int] = np.flatnonzero((self.types == CONTROL) | (self.types == UNKNOWN)).tolist()
        self.tokens = self._spelled(words)
        self.ids = dict(zip(self.tokens, range(count), strict=True))
        if len(self.ids) != count:
            twice = next(i for i, token in enumerate(self.tokens) if self.ids[token] != i)
            raise self.wrong("tokenizer.ggml.tokens", "a token appears twice", token=self.tokens[twice])

    def _spelled(self, words: list[str]) -> list[str]:
        """Return the tokens with stand-ins, which no text can reach, for those that are empty or not UTF-8."""
        if "" not in words and _is_utf8("".join(words)):
            return words
        odd = [i for i, word in enumerate(words) if not word or not _is_utf8(word)]
        words = list(words)
        for i in odd:
            self.literal[i] = words[i].encode(errors="surrogateescape")
            words[i] = f"\0{i}"
        return words

    def wrong(self, key: str, message: str, **details: Any) -> CheckpointError:
        return CheckpointError(message, hint="convert the model again", path=str(self.file.path), key=key, **details)

    def array(self, key: str, kinds: str, count: int) -> NDArray[Any] | None:
        value = self.file.metadata.get(key)
        if value is None:
            return None
        if not isinstance(value, np.ndarray) or value.dtype.kind not in kinds or len(value) != count:
            raise self.wrong(key, "the vocabulary's arrays do not fit each other")
        return value

    def setting(self, key: str, kind: type[Any]) -> Any:
        value = self.file.metadata.get(key)
        if value is not None and type(value) is not kind:
            raise self.wrong(key, "a value has the wrong type", value=value)
        if isinstance(value, str) and not _is_utf8(value):
            raise self.wrong(key, "a text is not UTF-8")
        return value

    def token(self, role: str) -> int | None:
        """Return the id of the token in a role, None if there is none or the id is outside the vocabulary."""
        value = self.setting(f"tokenizer.ggml.{role}_token_id", int)
        return value if value is not None and 0 <= value < len(self.file.metadata["tokenizer.ggml.tokens"]) else None


def _is_utf8(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def load(file: GGUFFile) -> BackendTokenizer:
    """Build the tokenizer of a GGUF file; see `fastgen.tokenizer.load_tokenizer`.

    Notes
    -----
    Ids of end-of-text are ``eos``, ``eot`` and ``eom`` of the metadata. Files older than the key ``eot`` are looked
    through for a control token of the usual names for the end of a turn.
    """
    vocabulary = _Vocabulary(file)
    match kind := vocabulary.setting("tokenizer.ggml.model", str):
        case "gpt2":
            return _byte_level(vocabulary)
        case "llama":
            return _sentencepiece(vocabulary)
    hint = "the kinds gpt2 (byte-level BPE) and llama (SentencePiece BPE) are supported"
    raise CheckpointError(
        "an unknown kind of vocabulary", code="checkpoint_unsupported", hint=hint, path=str(file.path), model=kind
    )


def _byte_level(vocabulary: _Vocabulary) -> BackendTokenizer:
    library = import_tokenizers()
    path = str(vocabulary.file.path)
    name = vocabulary.setting("tokenizer.ggml.pre", str) or "default"
    kind = KINDS.get(name)
    if kind is None:
        raise CheckpointError(
            "an unknown rule for cutting text into words",
            code="checkpoint_unsupported",
            hint="use the model's folder with its tokenizer.json",
            path=path,
            pre=name,
        )
    with foreign_code(path):
        merges = _listed_merges(vocabulary)
        model = library.models.BPE(vocabulary.ids, merges, ignore_merges=kind.whole_words)
        backend = library.Tokenizer(model)
        backend.pre_tokenizer = _cutter(kind)
        backend.decoder = library.decoders.ByteLevel()
        table = byte_level_table(vocabulary.tokens, vocabulary.literal)
        _mark(backend, vocabulary)
        return BackendTokenizer(backend, table, _traits(vocabulary, kind.add_bos, vocabulary.token("bos"), False))


def _listed_merges(vocabulary: _Vocabulary) -> list[tuple[str, str]]:
    key = "tokenizer.ggml.merges"
    listed = vocabulary.file.metadata.get(key)
    if not isinstance(listed, list) or not all(isinstance(merge, str) for merge in listed):
        raise vocabulary.wrong(key, "the file lists no merges")
    if not _is_utf8("".join(listed)):
        raise vocabulary.wrong(key, "a merge is not UTF-8")
    pairs = [merge.partition(" ")[::2] for merge in listed]
    # Neither half of a merge can be empty, and spaces have another spelling.
    if not all(map(all, pairs)):
        raise vocabulary.wrong(key, "a merge is not a pair of tokens")
    return pairs


def _cutter(kind: Kind) -> Any:
    library = import_tokenizers()
    splits = [library.pre_tokenizers.Split(library.Regex(pattern), "isolated") for pattern in kind.patterns]
    spelling = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return library.pre_tokenizers.Sequence([*splits, spelling])


def _sentencepiece(vocabulary: _Vocabulary) -> BackendTokenizer:
    library = import_tokenizers()
    path = str(vocabulary.file.path)
    prefix = vocabulary.setting("tokenizer.ggml.add_space_prefix", bool) is not False
    unknown = vocabulary.token("unknown")
    with foreign_code(path):
        if "tokenizer.ggml.merges" in vocabulary.file.metadata:
            merges = _listed_merges(vocabulary)
        else:
            merges = _merges(vocabulary)
        model = library.models.BPE(
            vocabulary.ids,
            merges,
            unk_token=None if unknown is None else vocabulary.tokens[unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
        backend = library.Tokenizer(model)
        spaces = library.normalizers.Replace(" ", WORD_START)
        start = [library.normalizers.Prepend(WORD_START)] if prefix else []
        backend.normalizer = library.normalizers.Sequence([*start, spaces])
        decoders = library.decoders
        strip = [decoders.Strip(" ", 1, 0)] if prefix else []
        steps = [decoders.Replace(WORD_START, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
        backend.decoder = decoders.Sequence(steps)
        _mark(backend, vocabulary)
        bytes_of = np.flatnonzero(vocabulary.types == BYTE).tolist()
        if "tokenizer.ggml.token_type" not in vocabulary.file.metadata:
            bytes_of = [i for i, token in enumerate(vocabulary.tokens) if BYTE_TOKEN.fullmatch(token)]
        table = sentencepiece_table(vocabulary.tokens, vocabulary.literal, bytes_of)
        return BackendTokenizer(backend, table, _traits(vocabulary, True, vocabulary.token("bos"), prefix))


def _merges(vocabulary: _Vocabulary) -> list[tuple[str, str]]:
    """Return the merges that the scores imply, from the cache if they have been worked out before."""
    file, tokens = vocabulary.file, vocabulary.tokens
    scores = vocabulary.array("tokenizer.ggml.scores", "f", len(tokens))
    if scores is None:
        raise vocabulary.wrong("tokenizer.ggml.scores", "the vocabulary has neither scores nor merges")
    digest = hashlib.sha256(MERGES_VERSION)
    for part in (file.raw("tokenizer.ggml.tokens"), scores.tobytes(), vocabulary.types.tobytes()):
        digest.update(hashlib.sha256(part).digest())
    name = f"merges-{digest.hexdigest()}"
    stored = disk.load(name)
    pairs = None if stored is None or len(stored) % 8 else np.frombuffer(stored, "<u4").reshape(-1, 2)
    if pairs is None or pairs.max(initial=0) >= len(tokens):
        pairs = _merges_of_scores(vocabulary, scores)
        disk.store(name, pairs.tobytes())
    spelled = tokens.__getitem__
    return list(zip(map(spelled, pairs[:, 0].tolist()), map(spelled, pairs[:, 1].tolist()), strict=True))


def _merges_of_scores(vocabulary: _Vocabulary, scores: NDArray[Any]) -> NDArray[np.uint32]:
    """Return pairs of token ids, the first to merge first: uint32 [merges, 2].

    SentencePiece merges whichever neighbors make the token of the highest score, and at equal scores the leftmost.
    Every way to put a token together from two is a merge here, with the longer left half first. A list of ranks can't
    tell the leftmost, so texts in which two ways to the same token overlap may be cut differently.
    """
    normal = vocabulary.types == NORMAL
    ids = dict(compress(vocabulary.ids.items(), normal.tolist()))
    found: list[tuple[int, int, int, int]] = []
    for token, token_id in ids.items():
        for cut in range(len(token) - 1, 0, -1):
            left = ids.get(token[:cut])
            if left is not None and (right := ids.get(token[cut:])) is not None:
                found.append((token_id, -cut, left, right))
    made = np.array(found, np.int64).reshape(-1, 4)
    order = np.lexsort((made[:, 1], -scores[made[:, 0]].astype(np.float64)))
    return np.ascontiguousarray(made[order, 2:].astype("<u4"))


def _mark(backend: Any, vocabulary: _Vocabulary) -> None:
    """Tell the library which tokens to look for in texts: control tokens, on request, and user-defined ones, always."""
    library = import_tokenizers()
    control = set(vocabulary.control)
    wanted = sorted(control.union(np.flatnonzero(vocabulary.types == USER_DEFINED).tolist()))
    backend.add_tokens(
        [
            library.AddedToken(vocabulary.tokens[token], normalized=False, special=token in control)
            for token in wanted
            if vocabulary.tokens[token][0] != "\0"
        ]
    )


def _traits(vocabulary: _Vocabulary, add_bos: bool, bos_id: int | None, strip: bool) -> Traits:
    tokens = vocabulary.tokens
    control = set(vocabulary.control)
    eot = vocabulary.token("eot")
    if eot is None:
        named = (vocabulary.ids.get(token) for token in END_OF_TURN)
        eot = next((token for token in named if token in control), None)
    said = vocabulary.setting("tokenizer.ggml.add_bos_token", bool)
    return Traits(
        name=vocabulary.setting("general.name", str) or vocabulary.file.path.stem,
        bos_id=bos_id,
        eos_ids=known_ids((vocabulary.token("eos"), eot, vocabulary.token("eom")), len(tokens)),
        special_ids=frozenset(control),
        special_strings=tuple(tokens[token] for token in vocabulary.control),
        add_bos=bos_id is not None and (add_bos if said is None else said),
        strip_leading_space=strip,
        chat_template=vocabulary.setting("tokenizer.chat_template", str),
    )
