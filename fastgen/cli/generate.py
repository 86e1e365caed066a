"""``fastgen generate``: one answer, or one for each prompt of a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastgen.cli import common, options
from fastgen.cli.batch import read_jobs, run_batch
from fastgen.cli.loading import load, model_name
from fastgen.cli.results import as_prompt, plain, result_json, statistics
from fastgen.errors import PromptError

if TYPE_CHECKING:
    from fastgen.generator import Generator
    from fastgen.output import GenerationOutput

__all__ = ["generate"]


@options.with_sampling
def generate(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROMPT", help="The prompt; words are joined by spaces. '-' or nothing: read stdin."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("-f", "--file", metavar="FILE", help="Read the prompt from a file; '-': from stdin."),
    ] = None,
    batch: Annotated[
        bool, typer.Option("--batch", help="One prompt per line of the file, or JSON lines (.jsonl).")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="With --batch: where the results go.")
    ] = None,
    model: common.Model = None,
    system: common.System = None,
    chat: Annotated[
        bool | None,
        typer.Option(
            "--chat/--raw",
            help="Put the prompt through the model's chat template, or give it to the model as it is. "
            "Default: the template if the model has one.",
            show_default=False,
        ),
    ] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", metavar="N", help="Most tokens to generate.")] = 256,
    *,
    logprobs: Annotated[
        int | None,
        typer.Option(
            "--logprobs", metavar="N", help="With --json: log probabilities of each token and the N likeliest."
        ),
    ] = None,
    n: Annotated[
        int | None, typer.Option("--n", metavar="N", help="So many answers, each printed when it is complete.")
    ] = None,
    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream/--no-stream",
            help="Print the text as it comes (the default), or at the end. --json --stream: JSON lines.",
            show_default=False,
        ),
    ] = None,
    as_json: common.Json = False,
    stats: common.Stats = False,
    device: common.Device = "auto",
    dtype: common.Dtype = "auto",
    threads: common.Threads = None,
    verbose: common.Verbose = False,
    quiet: common.Quiet = False,
    **sampling: Any,
) -> None:
    """Generate one answer.

    A model that has a chat template gets the prompt as a user's message; --raw turns that off. One newline at the end
    of a prompt from a file or from stdin is dropped. With --batch each line of a .jsonl file is an object with "prompt"
    or "messages", optionally "id" and sampling parameters of its own; the results are JSON lines in the order of the
    prompts.
    """
    if chat is False and system is not None:
        raise typer.BadParameter("a system message needs the chat template: leave out --raw", param_hint="--system")
    params = options.sampling(max_tokens=max_tokens, logprobs=logprobs, n=n, **sampling)
    prompt, source = _read(words or [], file)
    if batch:
        if n is not None and n > 1:
            raise typer.BadParameter("a batch has one answer for each prompt: repeat the lines", param_hint="--n")
        if output is not None and (output.is_dir() or not output.absolute().parent.is_dir()):
            raise typer.BadParameter(f"{str(output)!r} can't be a file here", param_hint="--output")
        jobs = read_jobs(prompt, source)
        run_batch(load(model, device=device, dtype=dtype, threads=threads), jobs, params, chat, system, output)
        return
    if output is not None:
        raise typer.BadParameter("it goes with --batch; for one answer use: > FILE", param_hint="--output")
    prompt = prompt.removesuffix("\n").removesuffix("\r") if source != "arguments" else prompt
    if not prompt:
        raise PromptError("the prompt is empty", code="prompt_empty", hint='for example: fastgen generate "Hello"')
    generator = load(model, device=device, dtype=dtype, threads=threads)
    answer = _answer_json if as_json else _answer
    live = stream is True if as_json else stream is not False
    if n is not None and n > 1:
        _answers(generator, as_prompt(generator, prompt, chat, system), params, as_json, stats)
        return
    result = answer(generator, as_prompt(generator, prompt, chat, system), params, live)
    if result is None:
        raise typer.Exit(common.INTERRUPTED)
    if stats:
        common.note(statistics(result))


def _read(words: list[str], file: Path | None) -> tuple[str, str]:
    """Return the prompt and where it comes from."""
    if words and file is not None:
        raise typer.BadParameter("give the prompt as arguments or with --file, not both", param_hint="--file")
    if file is not None and str(file) != "-":
        if not file.exists() or file.is_dir():
            raise typer.BadParameter(f"there is no file {str(file)!r}", param_hint="--file")
        return common.text_of(file.read_bytes(), str(file)), str(file)
    if words and words != ["-"]:
        return " ".join(words), "arguments"
    if not words and file is None and sys.stdin.isatty():
        raise PromptError("there is no prompt", code="prompt_empty", hint='for example: fastgen generate "Hello"')
    return common.text_of(sys.stdin.buffer.read(), "stdin"), "stdin"


def _answer(generator: Generator, prompt: Any, params: dict[str, Any], live: bool) -> GenerationOutput | None:
    """Print the answer as text; return None if it was interrupted, with the text so far printed."""
    writer = common.Writer()
    held: list[str] = []
    result: GenerationOutput | None = None
    try:
        for piece in generator.stream(prompt, **params):
            (writer.write if live else held.append)(piece.text)
            result = piece.output
    except KeyboardInterrupt:
        result = None
    finally:
        writer.write("".join(held))
        writer.end()
    return result


def _answers(generator: Generator, prompt: Any, params: dict[str, Any], as_json: bool, stats: bool) -> None:
    """Print several answers, each when it is complete: as a line of JSON, or as a text with a blank line before it."""
    writer = common.Writer()
    results = (piece.output for piece in generator.stream(prompt, **params) if piece.output is not None)
    try:
        for place, result in enumerate(results):
            if as_json:
                writer.write(common.dump({"index": result.index, **result_json(result, model_name(generator))}) + "\n")
            else:
                writer.write("\n" * (place > 0) + result.text)
                writer.end()
            if stats:
                common.note(statistics(result))
    except KeyboardInterrupt:
        raise typer.Exit(common.INTERRUPTED) from None


def _answer_json(generator: Generator, prompt: Any, params: dict[str, Any], live: bool) -> GenerationOutput | None:
    """Print the answer as one JSON object, or live as a line for each piece; interrupted as `_answer`."""
    writer = common.Writer()
    texts: list[str] = []
    token_ids: list[int] = []
    result: GenerationOutput | None = None
    interrupted = False
    name = model_name(generator)
    try:
        for piece in generator.stream(prompt, **params):
            texts.append(piece.text)
            token_ids += piece.token_ids
            result = piece.output
            if live:
                line = {"text": piece.text, "token_ids": piece.token_ids, "finish_reason": piece.finish_reason}
                if piece.logprobs is not None:
                    line["logprobs"] = plain(piece.logprobs)
                if result is not None:
                    line |= result_json(result, name, whole=False)
                writer.write(common.dump(line) + "\n")
    except KeyboardInterrupt:
        interrupted = True
    if result is not None and not live:
        writer.write(common.dump(result_json(result, name)) + "\n")
    if result is None:  # interrupted between two steps of the model
        left = {"text": "", "token_ids": ()} if live else {"text": "".join(texts), "token_ids": token_ids}
        ended = {"finish_reason": "abort", "finish_detail": "cancelled", "model": name}
        writer.write(common.dump(left | ended) + "\n")
    return None if interrupted else result
