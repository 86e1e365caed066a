from __future__ import annotations

import pytest

from fastgen.tokenizer.pre import KINDS

TEXT = "I've 1234½ x\n\n  THEY'LL  a,b!"

# What each rule makes of TEXT, one name for each rule.
CUTS = {
    "gpt-2": ["I", "'ve", " 1234½", " x", "\n\n ", " THEY", "'", "LL", " ", " a", ",", "b", "!"],
    "smollm": ["I", "'ve", " ", "1", "2", "3", "4", "½", " x", "\n\n ", " THEY", "'", "LL", " ", " a", ",", "b", "!"],
    "llama-bpe": ["I", "'ve", " ", "123", "4½", " x", "\n\n", " ", " THEY", "'LL", " ", " a", ",b", "!"],
    "dbrx": ["I", "'ve", " ", "123", "4½", " x", "\n\n", " ", " THEY", "'LL", " ", " a", ",b", "!"],
    "qwen2": ["I", "'ve", " ", "1", "2", "3", "4", "½", " x", "\n\n", " ", " THEY", "'LL", " ", " a", ",b", "!"],
    "tekken": ["I", "'ve", " ", "1", "2", "3", "4", "½", " x", "\n\n", " ", " THEY", "'LL", " ", " a", ",b", "!"],
    "gpt-4o": ["I've", " ", "123", "4½", " x", "\n\n", " ", " THEY'LL", " ", " a", ",b", "!"],
    "deepseek-v3": ["I", "'ve", " ", "123", "4½", " x", "\n\n", " ", " THEY", "'LL", " ", " a", ",b", "!"],
    "falcon": ["I", "'", "ve", " ", "123", "4½", " x", "\n\n ", " THEY", "'", "LL", " ", " a", ",", "b", "!"],
    "default": ["I", "'", "ve", " ", "123", "4½", " x", "\n\n ", " THEY", "'", "LL", " ", " a", ",", "b", "!"],
}


@pytest.mark.parametrize("name", CUTS)
def test_cuts(name: str) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    parts = tokenizers.pre_tokenizers
    splits = [parts.Split(tokenizers.Regex(pattern), "isolated") for pattern in KINDS[name].patterns]
    cut = [word for word, _ in parts.Sequence(splits).pre_tokenize_str(TEXT)]
    assert "".join(cut) == TEXT
    assert cut == CUTS[name]


def test_every_rule_is_shown() -> None:
    assert {KINDS[name] for name in CUTS} == set(KINDS.values())


def test_names_of_llama_cpp() -> None:
    assert KINDS["llama3"] is KINDS["llama-bpe"]
    assert KINDS["llama-bpe"].whole_words
    assert KINDS["llama-bpe"].add_bos
    assert not KINDS["dbrx"].whole_words
    assert "llama-4-typo" not in KINDS
