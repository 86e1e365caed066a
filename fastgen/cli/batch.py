"""``fastgen generate --batch``: many prompts from one file, results as JSON lines in their order."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from fastgen.cli import common
from fastgen.cli.loading import model_name, progress_bar
from fastgen.cli.results import as_prompt, result_json
from fastgen.errors import FastgenError, PromptError
from fastgen.params import SamplingParams

if TYPE_CHECKING:
    from fastgen.generator import Generator
    from fastgen.output import GenerationOutput

__all__ = ["Job", "read_jobs", "run_batch"]

JSON_SUFFIXES = (".jsonl", ".ndjson")


class Job(NamedTuple):
    """One prompt of a batch: a text or messages, with what its line says about it."""

    line: int  # counted from 1
    prompt: str | list[dict[str, Any]]
    params: dict[str, Any]
    tag: Any = None  # the "id" of the line, given back with the result


def read_jobs(text: str, source: str) -> list[Job]:
    """Return the prompts of a batch file; blank lines are left out.

    Raises
    ------
    PromptError
        If a line is not as it must be, or there is none; the details name the line.
    InvalidParameterError
        If a line has a sampling parameter that does not exist or is out of its range.
    """
    objects = Path(source).suffix in JSON_SUFFIXES or (source == "stdin" and text.lstrip().startswith("{"))
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise PromptError("there are no prompts", code="prompt_empty", hint="one per line", source=source)
    if objects:
        return [_job(number, line, source) for number, line in lines]
    return [Job(number, line.removesuffix("\r"), {}) for number, line in lines]


def _job(number: int, line: str, source: str) -> Job:
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise PromptError("a line is not JSON", source=source, line=number, reason=str(error)) from None
    if not isinstance(entry, dict) or ("prompt" in entry) == ("messages" in entry):
        hint = 'for example: {"prompt": "Hello"} or {"messages": [{"role": "user", "content": "Hello"}]}'
        raise PromptError(
            'a line must be an object with either "prompt" or "messages"', hint=hint, source=source, line=number
        )
    prompt = entry.pop("prompt", None)
    messages = entry.pop("messages", None)
    tag = entry.pop("id", None)
    if prompt is not None and not (isinstance(prompt, str) and prompt):
        raise PromptError("a prompt must be a text that is not empty", source=source, line=number)
    several = isinstance(messages, list) and messages and all(isinstance(one, dict) for one in messages)
    if prompt is None and not several:
        raise PromptError("messages must be a list of objects that is not empty", source=source, line=number)
    try:
        SamplingParams(**entry)
    except FastgenError as error:
        raise _at(error, number) from None
    return Job(number, prompt or messages, entry, tag)


def run_batch(
    generator: Generator,
    jobs: list[Job],
    params: dict[str, Any],
    chat: bool | None,
    system: str | None,
    output: Path | None,
) -> None:
    """Generate for all jobs together and write each result as soon as those before it are written.

    A parameter of a line goes before one of the command. A sequence that fails has the error in its result, and the
    command then ends with exit code 1. After an interruption every prompt has its result, the unfinished ones
    with the finish reason ``abort``.
    """
    prompts = [
        as_prompt(generator, job.prompt, chat, system) if isinstance(job.prompt, str) else job.prompt for job in jobs
    ]
    chosen = [generator.defaults.replace(**params).replace(**job.params) for job in jobs]
    try:
        pieces = generator.stream(prompts, chosen)
    except FastgenError as error:
        place = error.details.get("prompt")
        raise _at(error, jobs[place].line) if isinstance(place, int) else error from None
    failed = False
    name = model_name(generator)
    with ExitStack() as stack:
        target = stack.enter_context(output.open("w", encoding="utf-8")) if output is not None else sys.stdout
        update = stack.enter_context(progress_bar("generating")) if output is not None else None
        for done, result in enumerate(_in_order(pieces), 1):
            job = jobs[result.index]
            line: dict[str, Any] = {"index": result.index, **({"id": job.tag} if job.tag is not None else {})}
            line |= result_json(result, name)
            if result.error is not None:
                failed = True
                line["error"] = result.error.to_dict()
            target.write(common.dump(line) + "\n")
            target.flush()
            if update is not None:
                update(f"{done}/{len(jobs)}", done / len(jobs))
    if failed:
        raise typer.Exit(common.FAILED)


def _in_order(pieces: Iterator[Any]) -> Iterator[GenerationOutput]:
    """Yield the outputs of a batch by index, each as soon as it and all before it are there."""
    ready: dict[int, GenerationOutput] = {}
    following = 0
    for piece in pieces:
        if piece.output is not None:
            ready[piece.index] = piece.output
        while following in ready:
            yield ready.pop(following)
            following += 1


def _at(error: FastgenError, line: int) -> FastgenError:
    """Return the error with the line of the file among its details."""
    error.details["line"] = line
    return error
