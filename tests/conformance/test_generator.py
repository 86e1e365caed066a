"""The whole way against transformers: a saved folder in, the same greedy text out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from fastgen import Generator, SamplingParams  # noqa: E402
from fastgen.errors import CheckpointError  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

TEMPLATE = "{% for message in messages %}<s>{{ message['role'] }}: {{ message['content'] }}</s>{% endfor %}assistant: "


@pytest.fixture(scope="module")
def pair() -> tuple[Any, Any]:
    """Return a tiny model with random weights and a tokenizer over bytes."""
    torch.manual_seed(3)
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: number for number, symbol in enumerate(alphabet)}
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = TEMPLATE
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return transformers.LlamaForCausalLM(config).eval(), tokenizer


@pytest.fixture(scope="module")
def folder(pair: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny")
    for part in pair:
        part.save_pretrained(path)
    return path


def greedy_text(pair: tuple[Any, Any], prompt: str, count: int, **encoding: Any) -> str:
    model, tokenizer = pair
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False, **encoding).input_ids
    output = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=count, pad_token_id=0
    )
    new = output[0, ids.shape[1] :]
    return tokenizer.decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False)  # type: ignore[no-any-return]


@pytest.mark.parametrize("prompt", ["Hello", "naïve 🙂", "a b c " * 20])
def test_folder_and_wrapped_model_say_what_transformers_says(pair, folder, prompt):
    expected = greedy_text(pair, prompt, 40)
    params = SamplingParams(temperature=0, max_tokens=40)
    assert Generator.from_pretrained(folder, dtype="float32").generate(prompt, params).text == expected
    assert Generator.from_transformers(*pair).generate(prompt, params).text == expected


@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"temperature": 0.7, "top_k": 3, "seed": 1}])
def test_look_up_changes_nothing(pair, folder, sampling):
    """A tiny random model soon says the same again and again, so guesses are often right."""
    for generator in (Generator.from_pretrained(folder, dtype="float32"), Generator.from_transformers(*pair)):
        assert generator.model.rewinds  # type: ignore[attr-defined]
        for prompt in ("a b c " * 20, "Hello"):
            plain = generator.generate(prompt, max_tokens=80, **sampling)
            quick = generator.generate(prompt, max_tokens=80, prompt_lookup_num_tokens=6, **sampling)
            assert (quick.token_ids, quick.text, quick.finish_detail) == (
                plain.token_ids,
                plain.text,
                plain.finish_detail,
            )


def test_a_sliding_window_can_not_go_back():
    torch.manual_seed(1)
    config = transformers.MistralConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        sliding_window=8,
        max_position_embeddings=64,
    )
    from fastgen.models.transformers import TransformersModel

    assert not TransformersModel(transformers.MistralForCausalLM(config).eval()).rewinds


def test_chat_renders_and_encodes_like_transformers(pair, folder):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?"}]
    rendered = pair[1].apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    expected = greedy_text(pair, rendered, 24)
    generator = Generator.from_pretrained(folder)
    assert generator.chat(messages, temperature=0, max_tokens=24).text == expected
    assert generator.chat(messages, max_tokens=1).usage.prompt_tokens == len(pair[1](rendered).input_ids)


def test_defaults_come_from_the_generation_config(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = tmp_path / "generation_config.json"

    config.write_text(json.dumps({"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.9}))
    generator = Generator.from_pretrained(tmp_path)
    assert generator.defaults == SamplingParams(temperature=0.6, top_k=20, top_p=0.9)
    assert generator.generate("a", max_tokens=1, top_k=0).params == SamplingParams(
        temperature=0.6, top_p=0.9, max_tokens=1
    )

    config.write_text(json.dumps({"do_sample": False, "temperature": 0.6}))
    assert Generator.from_pretrained(tmp_path).defaults == SamplingParams(temperature=0)

    config.write_text(json.dumps({"temperature": -3}))
    with pytest.raises(CheckpointError, match="out of range"):
        Generator.from_pretrained(tmp_path)

    config.unlink()
    assert Generator.from_pretrained(tmp_path).defaults == SamplingParams()
