"""How byte-level vocabularies cut a text into words before they merge bytes: the kinds named in GGUF files.

A GGUF file names its kind (``tokenizer.ggml.pre``) and leaves the rule to the reader. The rules are llama.cpp's, with
the regular expressions of the models' own ``tokenizer.json`` where llama.cpp had to rewrite them for its regex engine.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["KINDS", "Kind"]


class Kind(NamedTuple):
    """One rule.

    Attributes
    ----------
    patterns : tuple of str
        Applied one after the other, each to what the ones before have cut: matches and the gaps between are words.
    whole_words : bool
        A word that is a token is that token, whatever the merges say.
    add_bos : bool
        Whether a prompt begins with BOS if the file does not say.
    """

    patterns: tuple[str, ...]
    whole_words: bool = False
    add_bos: bool = False


_GPT2: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_DIGIT: Final = r"\p{N}"
_NEWER: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{digits}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3: Final = _NEWER.replace("{digits}", "{1,3}")
_QWEN2: Final = _NEWER.replace("{digits}", "")
_LOWER: Final = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
_UPPER: Final = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
_TAIL: Final = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SUFFIX: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_TEKKEN: Final = rf"{_LOWER}|{_UPPER}|\p{{N}}|{_TAIL}"
_GPT4O: Final = rf"{_LOWER}{_SUFFIX}|{_UPPER}{_SUFFIX}|\p{{N}}{{1,3}}|{_TAIL}"
_DEEPSEEK3: Final = (
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
_PUNCTUATION_FIRST: Final = (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")

_RULES: Final = {
    Kind((_GPT2,)): "gpt-2 phi-2 mpt olmo jais gigachat roberta-bpe jina-es jina-de jina-v1-en jina-v2-es jina-v2-de "
    "jina-v2-code",
    Kind((_DIGIT, _GPT2)): "smollm starcoder refact command-r codeshell exaone minerva-7b",
    Kind((_LLAMA3,), whole_words=True, add_bos=True): "llama-bpe llama3 llama-v3 falcon3 pixtral",
    Kind((_LLAMA3,)): "dbrx smaug-bpe chatglm-bpe",
    Kind((_QWEN2,)): "qwen2 stablelm2 megrez deepseek-r1-qwen",
    Kind((_TEKKEN,), whole_words=True, add_bos=True): "tekken",
    Kind((_GPT4O,)): "gpt-4o llama4",
    Kind(_DEEPSEEK3): "deepseek-v3",
    Kind((r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, "[0-9][0-9][0-9]")): "falcon",
    Kind(_PUNCTUATION_FIRST): "default",
}

KINDS: Final[dict[str, Kind]] = {name: kind for kind, names in _RULES.items() for name in names.split()}
