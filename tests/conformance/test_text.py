"""Edit distances against rapidfuzz."""

from __future__ import annotations

import numpy as np
import pytest

from fastgen import text


@pytest.mark.parametrize("alphabet", ["ab", "abcdefghijklmnopqrstuvwxyz .,", "ab日本語", "a😀日é"])
def test_levenshtein_agrees_with_rapidfuzz(level: str, alphabet: str, rng: np.random.Generator) -> None:
    levenshtein = pytest.importorskip("rapidfuzz.distance").Levenshtein
    letters = np.array(list(alphabet))
    for _ in range(200):
        a, b = ("".join(rng.choice(letters, length)) for length in rng.integers(0, 400, 2))
        limit = int(rng.integers(0, 300))
        assert text.levenshtein(a, b) == levenshtein.distance(a, b)
        assert text.levenshtein(a, b, limit=limit) == levenshtein.distance(a, b, score_cutoff=limit)
        assert text.similarity(a, b) == levenshtein.normalized_similarity(a, b)
        assert text.common_prefix(a, b) == pytest.importorskip("rapidfuzz.distance").Prefix.similarity(a, b)
