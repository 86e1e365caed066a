"""How alike texts are, and how alike vectors: edit distance, shingles, token sets, cosine; validity of UTF-8.

    >>> from fastgen import text
    >>> text.levenshtein("kitten", "sitting")
    3

Used on the answers of one request (`distinct`), on prompts that share a beginning (`common_prefix`), and by whoever
measures what models write. Results are the same on every SIMD level. All functions may be called from several threads;
what is large runs without the GIL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fastgen.errors import InvalidParameterError
from fastgen.kernels import utf8
from fastgen.kernels.similarity import (
    common_prefix,
    jaccard,
    levenshtein,
    levenshtein_many,
    similarity,
    token_overlap,
)
from fastgen.kernels.vectors import cosine

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "common_prefix",
    "cosine",
    "distinct",
    "jaccard",
    "levenshtein",
    "levenshtein_many",
    "similarity",
    "token_overlap",
    "valid_utf8",
]


def valid_utf8(data: Buffer) -> bool:
    """Return whether bytes are UTF-8, by the rules of the Unicode standard: no overlong forms, no surrogates.

    Parameters
    ----------
    data : bytes-like

    Raises
    ------
    InvalidParameterError
        It is not bytes-like.
    """
    return utf8.valid(data)


def distinct(texts: Iterable[str | bytes | Sequence[int]], threshold: float = 0.9) -> list[int]:
    """Return which texts to keep of some that may resemble each other, such as the answers of one request.

    In order, a text is kept unless its `similarity` to one that was kept before is at least `threshold`.

    Parameters
    ----------
    texts : iterable of str, bytes, or sequences of int
        All of one kind.
    threshold : float, default 0.9
        Above 0, at most 1; 1 drops only exact duplicates.

    Returns
    -------
    list of int
        Places in `texts`, ascending.

    Raises
    ------
    InvalidParameterError
        The threshold is out of its range, or as `levenshtein`.

    Notes
    -----
    Compares each text with each that is kept: at worst ``len(texts) ** 2 / 2`` edit distances, each with the limit that
    the threshold implies.
    """
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 < threshold <= 1:
        raise InvalidParameterError("threshold must be a number above 0 and at most 1", threshold=threshold)
    if isinstance(texts, (str, bytes, bytearray, memoryview)):
        raise InvalidParameterError("texts must be a collection of texts, not one text", type=type(texts).__name__)
    kept: list[tuple[int, Any]] = []
    for place, text in enumerate(texts):
        if not any(_resemble(text, other, threshold) for _, other in kept):
            kept.append((place, text))
    return [place for place, _ in kept]


def _resemble(a: Any, b: Any, threshold: float) -> bool:
    """Return whether ``similarity(a, b) >= threshold``, without the exact distance of texts that differ more."""
    try:
        longer = max(len(a), len(b))
    except TypeError as error:
        raise InvalidParameterError("not a text", hint="pass str, bytes, or a flat sequence of token ids") from error
    if not longer:
        return levenshtein(a, b) == 0
    # the division is `similarity`'s own, so that rounding can't tell the two apart
    limit = int((1.0 - threshold) * longer) + 1
    while limit and 1.0 - limit / longer < threshold:
        limit -= 1
    return levenshtein(a, b, limit=limit) <= limit
