"""Models against transformers: the same weights give the same logits and the same greedy tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from fastgen.errors import ContextLengthError, InvalidParameterError  # noqa: E402
from fastgen.models.checkpoint import load_model  # noqa: E402
from fastgen.models.contract import Batch  # noqa: E402
from fastgen.models.step import StepModel  # noqa: E402
from fastgen.models.transformers import TransformersModel  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

PROMPTS = (
    "The capital of France is",
    "Once upon a time, in a village by the sea,",
    "def fibonacci(n):\n    ",
    "Größe und Maß: 東京 ist die Hauptstadt 🗼",
    "1, 1, 2, 3, 5, 8,",
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\n",
)


def greedy(model: Any, prompts: list[list[int]], count: int) -> list[list[int]]:
    """Return the most likely tokens, all prompts in one ragged batch."""
    cache = model.new_cache(len(prompts))
    slots = tuple(range(len(prompts)))
    lengths = [len(prompt) for prompt in prompts]
    batch = Batch([token for prompt in prompts for token in prompt], slots, (0,) * len(prompts), tuple(lengths))
    answers: list[list[int]] = [[] for _ in prompts]
    for _ in range(count):
        logits = model.forward(batch, cache)
        tokens = [int(token) for token in logits.argmax(-1)]
        for answer, token in zip(answers, tokens, strict=True):
            answer.append(token)
        batch = Batch(tokens, slots, tuple(lengths), (1,) * len(prompts))
        lengths = [length + 1 for length in lengths]
    return answers


def greedy_of_transformers(hf_model: Any, prompt: list[int], count: int) -> list[int]:
    ids = torch.tensor([prompt])
    output = hf_model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=count, min_new_tokens=count,
        eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    return output[0, len(prompt) :].tolist()  # type: ignore[no-any-return]


def logits_of_transformers(hf_model: Any, ids: list[int]) -> Any:
    with torch.inference_mode():
        return hf_model(torch.tensor([ids])).logits[0]


def logits_at_end(model: Any, ids: list[int], chunks: list[int]) -> Any:
    cache = model.new_cache(1)
    start = 0
    for count in chunks:
        logits = model.forward(Batch(ids[start : start + count], (0,), (start,), (count,)), cache)
        start += count
    assert start == len(ids)
    return logits[0]


@pytest.fixture(scope="module")
def demo(demo_path: Path) -> tuple[Any, Any, list[list[int]]]:
    """Return our model, that of transformers, and the prompts as tokens."""
    pytest.importorskip("gguf")
    hf_model = transformers.AutoModelForCausalLM.from_pretrained(
        demo_path.parent, gguf_file=demo_path.name, dtype=torch.float32
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(demo_path.parent, gguf_file=demo_path.name)
    prompts = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in PROMPTS]
    assert all(len(prompt) > 4 for prompt in prompts)
    return load_model(demo_path, device="cpu"), hf_model.eval(), prompts


@pytest.mark.demo
@pytest.mark.slow
def test_logits_of_the_demo_model(demo: tuple[Any, Any, list[list[int]]]) -> None:
    model, hf_model, prompts = demo
    rows = []
    for prompt in prompts:
        expected = logits_of_transformers(hf_model, prompt)
        length = len(prompt)
        whole = logits_at_end(model, prompt, [length])
        assert (whole - expected[-1]).abs().max() < 1e-3
        for chunks in ([length - 1, 1], [2, 2, length - 4], [1] * length):
            assert (logits_at_end(model, prompt, chunks) - whole).abs().max() < 1e-3
        rows.append(whole)
    tokens = [token for prompt in prompts for token in prompt]
    batch = Batch(tokens, tuple(range(6)), (0,) * 6, tuple(map(len, prompts)))
    together = model.forward(batch, model.new_cache(6))
    assert (together - torch.stack(rows)).abs().max() < 1e-3


@pytest.mark.demo
@pytest.mark.slow
def test_greedy_tokens_of_the_demo_model(demo: tuple[Any, Any, list[list[int]]]) -> None:
    model, hf_model, prompts = demo
    expected = [greedy_of_transformers(hf_model, prompt, 64) for prompt in prompts]
    assert greedy(model, prompts, 64) == expected
    assert greedy(model, prompts[-1:], 64) == expected[-1:]


@pytest.mark.demo
@pytest.mark.slow
def test_adapters_of_the_demo_model(demo: tuple[Any, Any, list[list[int]]]) -> None:
    model, hf_model, prompts = demo
    expected = greedy(model, prompts[:3], 12)
    assert greedy(TransformersModel(hf_model), prompts[:3], 12) == expected

    def step(ids: np.ndarray[Any, Any], state: dict[str, Any]) -> Any:
        cache = state.setdefault("cache", model.new_cache(1))
        return model.forward(Batch(ids[0], (0,), (cache.lengths[0],), (ids.shape[1],)), cache)

    assert greedy(StepModel(step), prompts[:3], 12) == expected


SIZES: dict[str, Any] = {
    "vocab_size": 203,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}  # fmt: skip
TINY: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"tie_word_embeddings": False}),
    "llama tied": ("Llama", {"tie_word_embeddings": True}),
    "llama biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama3 rope": ("Llama", {"rope_parameters": LLAMA3}),
    "linear rope": ("Llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.0}}),
    "mistral": ("Mistral", {"sliding_window": None, "head_dim": 32}),
    "mistral window": ("Mistral", {"sliding_window": 7}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen2 window": ("Qwen2", {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}),
    "qwen3": ("Qwen3", {"head_dim": 32}),
    "qwen3 biases": ("Qwen3", {"attention_bias": True, "tie_word_embeddings": True}),
}
IDS = [(37 * index + index * index) % 203 for index in range(40)]


def make(name: str, folder: Path, dtype: Any = None, **saving: Any) -> Any:
    """Save a model of random weights and return it; norms and biases are random too, so that none can be forgotten."""
    kind, settings = TINY[name]
    torch.manual_seed(11)
    hf_model = getattr(transformers, f"{kind}ForCausalLM")(getattr(transformers, f"{kind}Config")(**(SIZES | settings)))
    with torch.no_grad():
        for parameter in hf_model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
            else:
                parameter.mul_(5)
    hf_model.to(dtype or torch.float32).save_pretrained(folder, **saving)
    return reload(folder, torch.float32)


def reload(folder: Path, dtype: Any) -> Any:
    """Read a saved model anew: changing the dtype of a live one rounds its rotary frequencies too."""
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()


@pytest.mark.parametrize("name", TINY)
def test_tiny_models(name: str, tmp_path: Path) -> None:
    hf_model = make(name, tmp_path)
    model = load_model(tmp_path, device="cpu")
    expected = logits_of_transformers(hf_model, IDS)
    for chunks in ([40], [1] * 40, [13, 1, 20, 6]):
        assert (logits_at_end(model, IDS, chunks) - expected[-1]).abs().max() < 1e-3, chunks
    prompts = [IDS[:9], IDS[5:6], IDS[:33]]
    tokens = [greedy_of_transformers(hf_model, prompt, 24) for prompt in prompts]
    assert greedy(model, prompts, 24) == tokens
    assert greedy(TransformersModel(hf_model), prompts, 24) == tokens


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_shards(dtype: str, tmp_path: Path) -> None:
    hf_model = make("llama tied", tmp_path, getattr(torch, dtype), max_shard_size="100KB")
    assert len(json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]) > 20
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    expected = logits_of_transformers(hf_model, IDS)[-1]
    assert (logits_at_end(load_model(tmp_path, device="cpu"), IDS, [40]) - expected).abs().max() < 1e-3


def test_bfloat16_is_as_near_as_that_of_transformers(tmp_path: Path) -> None:
    hf_model = make("llama", tmp_path, torch.bfloat16)
    exact = logits_of_transformers(hf_model, IDS)[-1]
    theirs = logits_of_transformers(reload(tmp_path, torch.bfloat16), IDS)[-1].float()
    ours = logits_at_end(load_model(tmp_path, device="cpu", dtype="bfloat16"), IDS, [30, 1, 9])
    assert (ours - exact).norm() < 1.5 * (theirs - exact).norm()


def test_slots_of_the_adapter(tmp_path: Path) -> None:
    hf_model = make("mistral", tmp_path)
    model = TransformersModel(hf_model)
    assert (model.vocab_size, model.max_positions) == (203, 256)
    cache = model.new_cache(3)
    assert (cache.slots, cache.nbytes) == (3, 0)
    model.forward(Batch(IDS[:5] + IDS[:9], (0, 2), (0, 0), (5, 9)), cache)
    assert cache.nbytes == 14 * 3 * 2 * 2 * 32 * 4
    cache.move(2, 0)
    expected = logits_of_transformers(hf_model, IDS[:12])[-1]
    assert (model.forward(Batch(IDS[9:12], (0,), (9,), (3,)), cache)[0] - expected).abs().max() < 1e-4
    # Back to position 4, then on again.
    assert (model.forward(Batch(IDS[4:12], (0,), (4,), (8,)), cache)[0] - expected).abs().max() < 1e-4
    with pytest.raises(InvalidParameterError):
        model.forward(Batch([1], (1,), (1,), (1,)), cache)
    with pytest.raises(ContextLengthError):
        model.forward(Batch([1] * 257, (1,), (0,), (257,)), cache)
    with pytest.raises(InvalidParameterError):
        cache.move(0, 3)
    with pytest.raises(InvalidParameterError):
        TransformersModel(print)
    with pytest.raises(InvalidParameterError):
        model.new_cache(0)


def test_what_the_model_raises_passes_through(tmp_path: Path) -> None:
    model = TransformersModel(make("llama", tmp_path))
    with pytest.raises(IndexError):
        model.forward(Batch([203], (0,), (0,), (1,)), model.new_cache(1))
