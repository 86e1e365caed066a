"""What a command gives to a generator, and what it shows of the result."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from fastgen.cli import common

if TYPE_CHECKING:
    from fastgen.generator import Generator
    from fastgen.output import GenerationOutput

__all__ = ["as_prompt", "plain", "result_json", "statistics"]


def as_prompt(generator: Generator, text: str, chat: bool | None, system: str | None) -> Any:
    """Return a text as the prompt of a conversation, or as it is, whichever was asked for or fits the model."""
    if chat is False or (chat is None and system is None and generator.tokenizer.chat_template is None):
        return text
    return [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": text}]


def result_json(result: GenerationOutput, model: str, *, whole: bool = True) -> dict[str, Any]:
    """Return a result for JSON; without text, tokens and log probabilities if they were given out piece by piece."""
    content: dict[str, Any] = {"text": result.text, "token_ids": result.token_ids} if whole else {}
    if whole and result.logprobs is not None:
        content["logprobs"] = plain(result.logprobs)
    return {
        **content,
        "finish_reason": result.finish_reason,
        "finish_detail": result.finish_detail,
        "stop_reason": result.stop_reason,
        "seed": result.seed,
        "usage": {
            "prompt_tokens": result.usage.prompt_tokens,
            "completion_tokens": result.usage.completion_tokens,
            "total_tokens": result.usage.total_tokens,
        },
        "timings": dataclasses.asdict(result.timings),
        "model": model,
    }


def plain(value: Any) -> Any:
    """Return log probabilities for JSON, which knows no infinity: -inf becomes -9999, as other servers have it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if hasattr(value, "tolist"):  # NumPy's arrays and scalars
        return plain(value.tolist())
    if isinstance(value, bytes):
        return list(value)
    return -9999.0 if value == float("-inf") else value


def statistics(output: GenerationOutput) -> str:
    """Return the speed of one generation and the memory of the process, for people."""
    usage, timings = output.usage, output.timings
    reading = usage.prompt_tokens / timings.prefill if timings.prefill > 0 else 0.0
    lines = [
        f"Prompt:      {usage.prompt_tokens} tokens, {reading:.1f} tokens/s",
        f"Generation:  {usage.completion_tokens} tokens, {timings.tokens_per_second:.1f} tokens/s",
        f"First token: {timings.ttft:.3f} s",
    ]
    with contextlib.suppress(ImportError):  # not on Windows
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        lines.append(f"Peak memory: {common.size_of(peak)}")
    return "\n".join(lines)
