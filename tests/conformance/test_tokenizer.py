"""Tokenizers against transformers: the same ids of a text, the same text of ids."""

from __future__ import annotations

import json
import random
import string
from pathlib import Path
from typing import Any

import pytest

from fastgen.errors import CheckpointError
from fastgen.tokenizer import Tokenizer, from_transformers, load_tokenizer

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

LINES = [
    "The quick brown fox jumps over the lazy dog.",
    "to be or not to be 12345",
    "naïve café 日本語 😀",
    "a  b\n\nc\t",
]


def some_texts() -> list[str]:
    """Return 200 texts: words, punctuation, digits, other scripts and whitespace, mixed by a fixed seed."""
    random.seed(5)
    parts = [
        *["the", "of", "and", "Hello", "world", "It's", "they'll", "DON'T", "function", "naïve", "café", "größer"],
        *["日本語", "中文", "한국어", "हिन्दी", "العربية", "😀", "👩‍👩‍👧", "🇩🇪"],
        *["½", "Ⅷ", "ﬁ", "\u0301", "\ufeff", "\u200d"],
        *[" ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000", " \n "],
        *string.punctuation,
        *["0", "1", "23", "456", "7890", "3.14", "1,000", "2024-01-31"],
    ]
    return ["".join(random.choices(parts, k=random.randint(1, 30))) for _ in range(200)]


@pytest.fixture(scope="module")
def demo(demo_path: Path) -> tuple[Tokenizer, Any]:
    """Return our tokenizer of the demo model and transformers', with the digits rule that its conversion leaves out.

    transformers reads ``pre = smollm`` and cuts by GPT-2's expression alone. By llama.cpp's rule, which is that of the
    model's own ``tokenizer.json``, every digit is first cut off by itself.
    """
    theirs = transformers.AutoTokenizer.from_pretrained(demo_path.parent, gguf_file=demo_path.name)
    parts = tokenizers.pre_tokenizers
    digits = parts.Digits(individual_digits=True)
    theirs.backend_tokenizer.pre_tokenizer = parts.Sequence([digits, theirs.backend_tokenizer.pre_tokenizer])
    return load_tokenizer(demo_path), theirs


@pytest.mark.demo
def test_demo_encodes(demo: tuple[Tokenizer, Any]) -> None:
    ours, theirs = demo
    for text in some_texts():
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False), text
        marked = f"<|im_start|>user\n{text}<|im_end|>"
        assert ours.encode(marked, control_tokens=True) == theirs.encode(marked, add_special_tokens=False)
        plain = theirs.encode(marked, add_special_tokens=False, split_special_tokens=True)
        assert ours.encode(marked) == plain


@pytest.mark.demo
def test_demo_decodes(demo: tuple[Tokenizer, Any]) -> None:
    ours, theirs = demo
    random.seed(6)
    sequences = [ours.encode(text) for text in some_texts()]
    sequences += [random.choices(range(ours.vocab_size), k=20) for _ in range(100)]
    for ids in sequences:
        for skip in (True, False):
            expected = theirs.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False)
            assert ours.decode(ids, skip) == expected


@pytest.mark.demo
def test_demo_traits(demo: tuple[Tokenizer, Any]) -> None:
    ours, theirs = demo
    assert ours.eos_ids == (theirs.eos_token_id,)
    assert ours.bos_id == theirs.bos_token_id
    assert ours.chat_template == theirs.chat_template
    assert ours.special_ids >= set(theirs.all_special_ids)
    assert ours.vocab_size == len(theirs)


def trained(kind: str) -> Any:
    """Return a small transformers tokenizer that puts BOS before a text."""
    parts = tokenizers
    if kind == "byte level":
        backend = parts.Tokenizer(parts.models.BPE())
        backend.pre_tokenizer = parts.pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = parts.decoders.ByteLevel()
        alphabet = parts.pre_tokenizers.ByteLevel.alphabet()
    else:
        backend = parts.Tokenizer(parts.models.BPE(unk_token="<unk>", byte_fallback=True))
        backend.normalizer = parts.normalizers.Sequence(
            [parts.normalizers.Prepend("▁"), parts.normalizers.Replace(" ", "▁")]
        )
        steps = parts.decoders
        backend.decoder = steps.Sequence(
            [steps.Replace("▁", " "), steps.ByteFallback(), steps.Fuse(), steps.Strip(" ", 1, 0)]
        )
        alphabet = []
    special = ["<unk>", "<s>", "</s>"]
    fallback = [] if kind == "byte level" else [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = parts.trainers.BpeTrainer(
        vocab_size=800, special_tokens=special + fallback, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(LINES * 3, trainer)
    if fallback:  # the trainer makes control tokens of them
        backend = parts.Tokenizer.from_str(_only(special, backend.to_str()))
    backend.post_processor = parts.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        chat_template=[{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}],
    )


def _only(special: list[str], serialized: str) -> str:
    spec = json.loads(serialized)
    spec["added_tokens"] = [token for token in spec["added_tokens"] if token["content"] in special]
    return json.dumps(spec)


@pytest.mark.parametrize("kind", ["byte level", "sentencepiece"])
def test_from_transformers(kind: str) -> None:
    theirs = trained(kind)
    ours = from_transformers(theirs)
    assert ours.bos_id == theirs.bos_token_id == 1
    assert ours.eos_ids == (theirs.eos_token_id,)
    assert ours.add_bos is True
    assert ours.strip_leading_space is (kind == "sentencepiece")
    assert ours.special_ids == set(theirs.all_special_ids)
    assert ours.chat_template == "D"
    assert ours.vocab_size == len(theirs)
    for text in [*LINES, *some_texts()]:
        ids = theirs.encode(text, add_special_tokens=False)
        assert ours.encode(text) == ids
        for skip in (True, False):
            expected = theirs.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False)
            assert ours.decode(ids, skip) == expected


@pytest.mark.parametrize("kind", ["byte level", "sentencepiece"])
def test_folder_saved_by_transformers(kind: str, tmp_path: Path) -> None:
    theirs = trained(kind)
    theirs.save_pretrained(tmp_path)
    ours = load_tokenizer(tmp_path)
    assert (ours.bos_id, ours.eos_ids, ours.add_bos) == (1, (2,), True)
    assert ours.chat_template == "D"
    for text in LINES:
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False)


def test_later_changes_have_no_effect() -> None:
    theirs = trained("byte level")
    ours = from_transformers(theirs)
    before = ours.encode("to be or not to be")
    theirs.backend_tokenizer.enable_truncation(1)
    theirs.backend_tokenizer.encode_special_tokens = True
    assert ours.encode("to be or not to be") == before
    assert ours.encode("</s>", control_tokens=True) == [2]


def test_wordpiece_is_refused() -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    backend.decoder = tokenizers.decoders.WordPiece()
    with pytest.raises(CheckpointError) as caught:
        from_transformers(transformers.PreTrainedTokenizerFast(tokenizer_object=backend))
    assert caught.value.code == "checkpoint_unsupported"
