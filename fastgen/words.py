"""Texts in sampling parameters, turned into the tokens that a sampler works on."""

from __future__ import annotations

from typing import Final
from weakref import WeakKeyDictionary

from fastgen.params import SamplingParams
from fastgen.tokenizer import Tokenizer

__all__ = ["with_token_ids"]

BREAKERS: Final = ("\n", ":", '"', "*")  # llama.cpp's default

_containing: WeakKeyDictionary[Tokenizer, dict[str, tuple[tuple[int, ...], ...]]] = WeakKeyDictionary()


def with_token_ids(params: SamplingParams, tokenizer: Tokenizer) -> SamplingParams:
    """Return the parameters with token ids in place of the texts of `bad_words` and `dry_sequence_breakers`.

    A bad word is barred with and without a space before it, as vLLM does. A breaker is every token that contains the
    text, and the tokens that the text is encoded as. A stop string that is a special token ends the text at that token
    too: where special tokens are left out of the text, it would never be found.
    """
    changes: dict[str, tuple[int | tuple[int, ...], ...]] = {}
    if params.skip_special_tokens and params.stop:
        special = {tokenizer.token_id(stop) for stop in params.stop if stop in tokenizer.special_strings}
        if missing := sorted(token for token in special if token is not None and token not in params.stop_token_ids):
            changes["stop_token_ids"] = (*params.stop_token_ids, *missing)
    if any(isinstance(word, str) for word in params.bad_words):
        changes["bad_words"] = tuple(
            ids
            for word in params.bad_words
            for ids in (_spellings(word, tokenizer) if isinstance(word, str) else (word,))
        )
    if params.dry_multiplier > 0:
        given = BREAKERS if params.dry_sequence_breakers is None else params.dry_sequence_breakers
        sequences = dict.fromkeys(
            ids for one in given for ids in (_breakers(one, tokenizer) if isinstance(one, str) else (one,))
        )
        changes["dry_sequence_breakers"] = tuple(sequences)
    return params.replace(**changes) if changes else params


def _spellings(word: str, tokenizer: Tokenizer) -> tuple[tuple[int, ...], ...]:
    encoded = (tuple(tokenizer.encode(text)) for text in (word, " " + word.lstrip(" ")))
    return tuple(dict.fromkeys(ids for ids in encoded if ids))


def _breakers(text: str, tokenizer: Tokenizer) -> tuple[tuple[int, ...], ...]:
    known = _containing.setdefault(tokenizer, {})
    if text not in known:
        raw = text.encode()
        tokens = [(token,) for token in range(tokenizer.vocab_size) if raw in tokenizer.token_bytes(token)]
        whole = tuple(tokenizer.encode(text))
        known[text] = (*tokens, *([whole] if len(whole) > 1 else []))
    return known[text]
