"""Small vocabularies, trained on the spot, and a writer of GGUF vocabularies that is not ours."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LINES = [
    "The quick brown fox jumps over the lazy dog.",
    "Hello world, hello again! It's a test, isn't it?",
    "to be or not to be, that is the question",
    "12345 67890 3.14159 and 2024-01-31",
    "naïve café déjà vu, größer, señor",
    "日本語のテキスト 中文文本",
    "def main():\n    return {'key': [1, 2, 3]}\n",
]

TEXTS = [
    "",
    " ",
    "a",
    "Hello world",
    " leading and trailing ",
    "  two  spaces   three\t\ttabs \n\n newlines\r\n",
    "\n",
    "It's we'll THEY'RE I'd can't",
    "1234567890 ½ Ⅷ ٣٤ 3.14",
    "naïve café déjà vu ÀÉÎ ß",
    "日本語のテキスト、中文。한국어",
    "emoji 😀👍🏽 👩‍👩‍👧‍👦 🇩🇪 flags",
    "Zalgo é̸̱ ẛ̣ ﬁ ligature",
    "العربية עברית हिन्दी ไทย",
    "mixed\u200dzero\u200bwidth\ufeff\u00a0nbsp\u3000wide",
    "x" * 300,
    "(){}[]<>|&^%$#@!~`\\\"'?/.,;:",
    "<s> </s> <unk> <|im_start|>user <|im_end|> <0x41> <0x0A>",
    "▁ literal mark ▁▁ Ġ Ċ",
    "def f(x):\n\treturn x ** 2  # comment\n\n\n",
    *LINES,
]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTGEN_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return TEXTS


@pytest.fixture(scope="session")
def byte_level_json() -> str:
    """Return the tokenizer.json of a byte-level BPE with control tokens and two added tokens."""
    tokenizers = pytest.importorskip("tokenizers")
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|end|>", "<|begin|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(LINES * 3, trainer)
    backend.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    backend.add_tokens([tokenizers.AddedToken("<tool call>", normalized=False)])
    text: str = backend.to_str()
    return text


@pytest.fixture(scope="session")
def sentencepiece_model() -> bytes:
    """Return a SentencePiece BPE model with byte fallback, a dummy prefix and a user-defined symbol."""
    sentencepiece = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES * 3),
        model_writer=model,
        vocab_size=470,
        model_type="bpe",
        byte_fallback=True,
        user_defined_symbols=["<tool>"],
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return model.getvalue()


@pytest.fixture
def write_vocabulary(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a GGUF file without tensors; keywords are its ``tokenizer.`` metadata."""
    library = pytest.importorskip("gguf")

    def write(model: str, tokens: list[Any], *, pre: str | None = None, **values: Any) -> Path:
        path = tmp_path / "vocabulary.gguf"
        writer = library.GGUFWriter(path, "llama")
        writer.add_tokenizer_model(model)
        if pre is not None:
            writer.add_tokenizer_pre(pre)
        writer.add_token_list(tokens)
        for key, value in values.items():
            name = f"tokenizer.{key}" if key.startswith("chat_") else f"tokenizer.ggml.{key}"
            if isinstance(value, list):
                writer.add_array(name, value)
            else:
                kind = {bool: "bool", int: "uint32", str: "string", float: "float32"}[type(value)]
                getattr(writer, f"add_{kind}")(name, value)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write
