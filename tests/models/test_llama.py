"""Llama: against a slow decoder that is written from the formulas, and its promises about batches and slots."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

from fastgen.errors import CheckpointError, ContextLengthError, InvalidParameterError  # noqa: E402
from fastgen.models.checkpoint import load_model  # noqa: E402
from fastgen.models.contract import Batch  # noqa: E402
from fastgen.models.llama import Llama, LlamaConfig, RopeScaling  # noqa: E402
from fastgen.models.rotary import inverse_frequencies  # noqa: E402

PROMPT = [5, 17, 3, 88, 41, 41, 2, 9, 60, 33, 71, 8]

VARIANTS: dict[str, dict[str, Any]] = {
    "untied": {},
    "tied": {"tie_word_embeddings": True},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "multi-head": {"num_key_value_heads": 4},
    "wide heads": {"head_dim": 16},
    "linear rope": {"rope_scaling": {"type": "linear", "factor": 4.0}},
    "mistral window": {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": 5},
    "qwen2": {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]},
    "qwen2 window": {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "use_sliding_window": True,
                     "sliding_window": 4, "max_window_layers": 1},
    "qwen3": {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "head_dim": 16},
}  # fmt: skip


def oracle(folder: Path, config: LlamaConfig, ids: list[int]) -> Any:
    """Return all logits, head by head and query by query, in float64."""
    weights = {
        name: value.double() for name, value in safetensors_torch.load_file(folder / "model.safetensors").items()
    }

    def norm(x: Any, name: str) -> Any:
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + config.norm_eps) * weights[f"{name}.weight"]

    def linear(x: Any, name: str) -> Any:
        return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0)

    def rotate(head: Any) -> Any:
        half = config.head_dim // 2
        scale = config.rope_scaling.factor if config.rope_scaling else 1.0
        out = head.clone()
        for position in range(len(head)):
            for pair in range(half):
                angle = position * config.rope_theta ** (-2 * pair / config.head_dim) / scale
                a, b = head[position, pair], head[position, pair + half]
                out[position, pair] = a * math.cos(angle) - b * math.sin(angle)
                out[position, pair + half] = b * math.cos(angle) + a * math.sin(angle)
        return out

    x = weights["model.embed_tokens.weight"][ids]
    for index in range(config.layers):
        prefix = f"model.layers.{index}."
        h = norm(x, f"{prefix}input_layernorm")
        q, k, v = (linear(h, f"{prefix}self_attn.{letter}_proj").split(config.head_dim, -1) for letter in "qkv")
        if config.qk_norm:
            q = [norm(head, f"{prefix}self_attn.q_norm") for head in q]
            k = [norm(head, f"{prefix}self_attn.k_norm") for head in k]
        q, k = [rotate(head) for head in q], [rotate(head) for head in k]
        outputs = []
        for number, head in enumerate(q):
            shared = number // (config.heads // config.kv_heads)
            scores = head @ k[shared].T / math.sqrt(config.head_dim)
            window = config.windows[index] if config.windows else 0
            for query in range(len(ids)):
                for key in range(len(ids)):
                    if key > query or (window and key <= query - window):
                        scores[query, key] = -math.inf
            outputs.append(scores.softmax(-1) @ v[shared])
        x = x + linear(torch.cat(outputs, -1), f"{prefix}self_attn.o_proj")
        h = norm(x, f"{prefix}post_attention_layernorm")
        gate = linear(h, f"{prefix}mlp.gate_proj")
        x = x + linear(gate * torch.sigmoid(gate) * linear(h, f"{prefix}mlp.up_proj"), f"{prefix}mlp.down_proj")
    head = "model.embed_tokens.weight" if config.tied else "lm_head.weight"
    return norm(x, "model.norm") @ weights[head].T


def run(model: Llama, ids: list[int], chunks: list[int]) -> Any:
    """Return the logits after the last token, the tokens given in chunks."""
    cache = model.new_cache(1)
    start = 0
    for count in chunks:
        logits = model.forward(Batch(ids[start : start + count], (0,), (start,), (count,)), cache)
        start += count
    assert start == len(ids)
    return logits[0]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_formulas(tiny: Callable[..., Path], variant: str) -> None:
    folder = tiny(**VARIANTS[variant])
    model = load_model(folder, device="cpu")
    expected = oracle(folder, model.config, PROMPT)
    cache = model.new_cache(1)
    for position, token in enumerate(PROMPT):
        logits = model.forward(Batch([token], (0,), (position,), (1,)), cache)
        assert logits.shape == (1, 97)
        assert (logits[0] - expected[position]).abs().max() < 1e-4
    for chunks in ([12], [5, 7], [1, 11], [3, 1, 8], [7, 4, 1]):
        assert (run(model, PROMPT, chunks) - expected[-1]).abs().max() < 1e-4, chunks


@pytest.mark.parametrize("variant", ["untied", "mistral window", "qwen3"])
def test_a_row_does_not_depend_on_its_neighbors(tiny: Callable[..., Path], variant: str) -> None:
    model = load_model(tiny(**VARIANTS[variant]), device="cpu")
    prompts = [PROMPT, PROMPT[:1], PROMPT[3:9], PROMPT[2:4]]
    answers = [[4, 5, 6], [7, 8, 9], [1, 2, 3], [11, 12, 13]]
    expected = [
        run(model, prompt + answer, [len(prompt)] + [1] * len(answer))
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
    # Slots in order, then out of order and apart: both ways of reading the cache; prefill next to decode.
    for slots in ((0, 1, 2, 3), (5, 0, 3, 1), (2, 3, 4, 5)):
        cache = model.new_cache(6)
        first = [token for prompt in prompts[:2] for token in prompt]
        model.forward(Batch(first, slots[:2], (0, 0), (12, 1)), cache)
        mixed = [answers[0][0], *prompts[2], answers[1][0], *prompts[3]]
        model.forward(Batch(mixed, (slots[0], slots[2], slots[1], slots[3]), (12, 0, 1, 0), (1, 6, 1, 2)), cache)
        lengths = [13, 2, 6, 2]
        done = [1, 1, 0, 0]
        results: dict[int, Any] = {}
        while len(results) < 4:
            live = [row for row in range(4) if row not in results]
            batch = Batch(
                [answers[row][done[row]] for row in live],
                tuple(slots[row] for row in live),
                tuple(lengths[row] for row in live),
                (1,) * len(live),
            )
            logits = model.forward(batch, cache)
            for place, row in enumerate(live):
                lengths[row] += 1
                done[row] += 1
                if done[row] == 3:
                    results[row] = logits[place]
        for row in range(4):
            assert (results[row] - expected[row]).abs().max() < 1e-4


def test_a_moved_sequence_goes_on(tiny: Callable[..., Path]) -> None:
    model = load_model(tiny(), device="cpu")
    expected = run(model, PROMPT, [11, 1])
    cache = model.new_cache(3)
    model.forward(Batch([1, 2, 3, *PROMPT[:11]], (0, 2), (0, 0), (3, 11)), cache)
    cache.move(2, 0)
    logits = model.forward(Batch(PROMPT[11:], (0,), (11,), (1,)), cache)
    assert (logits[0] - expected).abs().max() < 1e-5


def test_a_sequence_may_go_back(tiny: Callable[..., Path]) -> None:
    model = load_model(tiny(), device="cpu")
    expected = run(model, PROMPT, [12])
    cache = model.new_cache(1)
    model.forward(Batch([*PROMPT[:8], 1, 1, 1], (0,), (0,), (11,)), cache)
    logits = model.forward(Batch(PROMPT[8:], (0,), (8,), (4,)), cache)
    assert (logits[0] - expected).abs().max() < 1e-5


@pytest.mark.parametrize("variant", ["untied", "mistral window", "qwen3"])
def test_several_rows_of_a_segment(tiny: Callable[..., Path], variant: str) -> None:
    folder = tiny(**VARIANTS[variant])
    model = load_model(folder, device="cpu")
    expected = oracle(folder, model.config, PROMPT)
    cache = model.new_cache(2)
    model.forward(Batch([*PROMPT[:6], *PROMPT[:4], 1, 1], (0, 1), (0, 0), (6, 6)), cache)
    batch = Batch([*PROMPT[6:9], *PROMPT[4:9]], (0, 1), (6, 4), (3, 5), (2, 5))  # the second goes back two
    assert batch.logit_places() == [1, 2, 3, 4, 5, 6, 7]
    logits = model.forward(batch, cache)
    assert logits.shape == (7, 97)
    assert (logits[:2] - expected[7:9]).abs().max() < 1e-4
    assert (logits[2:] - expected[4:9]).abs().max() < 1e-4


def test_growth_keeps_what_was_written(tiny: Callable[..., Path]) -> None:
    model = load_model(tiny(), device="cpu")
    ids = [(7 * index) % 97 for index in range(300)]
    assert (run(model, ids, [250, 3, 1, 46]) - run(model, ids, [300])).abs().max() < 1e-4


def test_bad_numbers_do_not_reach_the_neighbors_or_the_next_in_the_slot(tiny: Callable[..., Path]) -> None:
    model = load_model(tiny(), device="cpu")
    model.embedding[96].fill_(float("nan"))
    expected = run(model, PROMPT[:3], [3])
    cache = model.new_cache(2)
    logits = model.forward(Batch([96, 96, 96, 96, 96, *PROMPT[:2]], (0, 1), (0, 0), (5, 2)), cache)
    assert logits[0].isnan().all()
    logits = model.forward(Batch([96, PROMPT[2]], (0, 1), (5, 2), (1, 1)), cache)
    assert (logits[1] - expected).abs().max() < 1e-5
    # Next in slot 0, and shorter: read together with a longer neighbor, over positions that held NaN.
    model.forward(Batch(PROMPT[:2], (0,), (0,), (2,)), cache)
    logits = model.forward(Batch([PROMPT[2], 1], (0, 1), (2, 3), (1, 1)), cache)
    assert (logits[0] - expected).abs().max() < 1e-5


def test_bfloat16_and_float16_are_near(tiny: Callable[..., Path]) -> None:
    folder = tiny(tie_word_embeddings=True)
    exact = run(load_model(folder, device="cpu"), PROMPT, [9, 1, 2])
    for dtype, tolerance in ((torch.bfloat16, 0.3), ("float16", 0.05)):
        model = load_model(folder, device="cpu", dtype=dtype)
        logits = run(model, PROMPT, [9, 1, 2])
        assert logits.dtype == torch.float32
        assert (logits - exact).abs().max() < tolerance
        assert model.new_cache(1).layers[0].dtype == model.dtype


@pytest.mark.parametrize(
    ("batch", "code"),
    [
        (Batch([97], (0,), (0,), (1,)), "token_out_of_range"),
        (Batch([3, -1], (0,), (0,), (2,)), "token_out_of_range"),
        (Batch([1, 2], (0,), (0,), (1,)), "invalid_value"),
        (Batch([], (), (), ()), "invalid_value"),
        (Batch([1], (0,), (4,), (1,)), "invalid_value"),
        (Batch([1], (2,), (0,), (1,)), "invalid_value"),
    ],
)
def test_a_batch_that_does_not_fit_changes_nothing(tiny: Callable[..., Path], batch: Batch, code: str) -> None:
    model = load_model(tiny(), device="cpu")
    cache = model.new_cache(2)
    with pytest.raises(InvalidParameterError) as caught:
        model.forward(batch, cache)
    assert caught.value.code == code
    assert cache.lengths == [0, 0]


def test_the_context_ends(tiny: Callable[..., Path]) -> None:
    model = load_model(tiny(max_position_embeddings=8), device="cpu")
    assert model.max_positions == 8
    cache = model.new_cache(1)
    model.forward(Batch(PROMPT[:8], (0,), (0,), (8,)), cache)
    with pytest.raises(ContextLengthError):
        model.forward(Batch([1], (0,), (8,), (1,)), cache)
    with pytest.raises(ContextLengthError):
        model.forward(Batch(PROMPT, (0,), (0,), (12,)), cache)
    assert cache.lengths == [8]


def test_llama3_frequencies() -> None:
    """Literals: short wavelengths stay, long ones are divided by the factor, those between are blended."""
    scaling = RopeScaling("llama3", 8.0, 1.0, 4.0, 64)
    config = LlamaConfig("llama", 8, 32, 8, 1, 1, 1, 32, 512, rope_theta=10000.0, rope_scaling=scaling)
    plain = inverse_frequencies(LlamaConfig("llama", 8, 32, 8, 1, 1, 1, 32, 512, rope_theta=10000.0))
    scaled = inverse_frequencies(config)
    waves = 2 * math.pi / plain
    assert torch.equal(scaled[waves < 16], plain[waves < 16])
    torch.testing.assert_close(scaled[waves > 64], plain[waves > 64] / 8)
    between = (waves >= 16) & (waves <= 64)
    assert between.sum() == 3
    smooth = (64 / waves[between] - 1) / 3
    torch.testing.assert_close(scaled[between], (1 - smooth) * plain[between] / 8 + smooth * plain[between])
    factors = torch.full((16,), 2.0)
    assert torch.equal(inverse_frequencies(config, factors), plain / 2)


BASE = {"architecture": "llama", "vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "layers": 1, "heads": 2,
        "kv_heads": 1, "head_dim": 4, "max_positions": 16}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"vocab_size": 0}, {"hidden_size": -1}, {"layers": 10**9}, {"heads": 2.0}, {"heads": True},
        {"kv_heads": 3, "heads": 4}, {"head_dim": 5}, {"max_positions": 1 << 40}, {"norm_eps": float("nan")},
        {"norm_eps": -1.0}, {"norm_eps": "1e-5"},
        {"rope_theta": 0.0}, {"rope_theta": float("inf")}, {"windows": (1, 2)}, {"windows": (-1,)},
    ],
)  # fmt: skip
def test_absurd_shapes_are_refused(change: dict[str, Any]) -> None:
    LlamaConfig(**BASE)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError) as caught:
        LlamaConfig(**(BASE | change))  # type: ignore[arg-type]
    assert caught.value.code == "checkpoint_corrupt"


@pytest.mark.parametrize(
    "scaling", [("linear", 0.0), ("linear", float("nan")), ("llama3", 8.0, 4.0, 1.0), ("linear", "4")]
)
def test_absurd_scalings_are_refused(scaling: tuple[Any, ...]) -> None:
    with pytest.raises(CheckpointError):
        RopeScaling(*scaling)


def test_other_architectures_and_scalings_are_named() -> None:
    with pytest.raises(CheckpointError) as caught:
        LlamaConfig(**(BASE | {"architecture": "mamba"}))  # type: ignore[arg-type]
    assert caught.value.code == "checkpoint_unsupported"
    assert "mamba" in str(caught.value)
    assert "qwen3" in str(caught.value)
    with pytest.raises(CheckpointError) as caught:
        RopeScaling("yarn", 4.0)
    assert caught.value.code == "checkpoint_unsupported"
