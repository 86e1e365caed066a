"""What most people import: load a model, generate, stream, chat."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from fastgen.engine import EngineConfig, run
from fastgen.errors import InvalidParameterError, StreamClosedError
from fastgen.handle import Handle
from fastgen.lane import Lane
from fastgen.models.contract import CausalLM
from fastgen.models.step import StepModel
from fastgen.output import GenerationOutput, Piece
from fastgen.params import SamplingParams
from fastgen.requests import Message, Prompt, Request, Requests
from fastgen.text import distinct
from fastgen.tokenizer import Tokenizer, from_transformers
from fastgen.workspace import Workspace

if TYPE_CHECKING:
    from fastgen.models.checkpoint import ModelInfo

__all__ = ["Generator"]

STREAMED: Final = 256  # pieces that may wait for a reader before the model pauses
SUBMITTED: Final = 1 << 16  # where nobody may be reading


class Generator:
    """A model with its tokenizer: text in, text out.

    A prompt is a text (``str`` or UTF-8 ``bytes``, taken literally: control strings in it are text), a list of token
    ids, or a conversation (a list of messages, through the model's chat template). A list of prompts is decoded as one
    batch.

    Parameters
    ----------
    model : CausalLM or callable
        A model, or any ``step(ids, state) -> logits`` (see `fastgen.models.step.StepModel`).
    tokenizer : Tokenizer
        See `fastgen.load_tokenizer`.
    defaults : SamplingParams, optional
        What holds where a call does not say otherwise.
    config : EngineConfig or mapping, optional
        ``max_batch`` and ``prefill_chunk``.

    Notes
    -----
    Calls share nothing but the weights, so several threads may use one generator at a time.
    """

    def __init__(
        self,
        model: CausalLM | Callable[..., Any],
        tokenizer: Tokenizer,
        *,
        defaults: SamplingParams | None = None,
        config: EngineConfig | Mapping[str, Any] | None = None,
    ) -> None:
        self.model: CausalLM = _as_model(model)
        self.tokenizer = tokenizer
        self.defaults = defaults or SamplingParams()
        self.config = EngineConfig.of(config)
        self.info: ModelInfo | None = None
        self.load_seconds = 0.0
        self._closed = False
        self._door = Requests(tokenizer, self.model.max_positions)

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path | None = "demo",
        *,
        device: Any = "auto",
        dtype: Any = "auto",
        config: EngineConfig | Mapping[str, Any] | None = None,
        progress: Callable[[str, float], None] | None = None,
    ) -> Generator:
        """Load a checkpoint and its tokenizer.

        Parameters
        ----------
        model : str or Path, optional
            ``"demo"``, a ``.gguf`` file, a folder in Hugging Face layout, or a hub id. None: ``$FASTGEN_MODEL``, else
            the demo.
        device : str or torch.device
            ``"auto"``: CUDA if there is one, else the CPU.
        dtype : str or torch.dtype
            ``"auto"``: float32 on the CPU, else bfloat16.
        config : EngineConfig or mapping, optional
        progress : callable, optional
            Called with a stage and the fraction of it that is done.

        Raises
        ------
        ModelNotFoundError, CheckpointError, MissingDependencyError, InvalidParameterError
        """
        from fastgen.models import checkpoint

        began = time.perf_counter()
        loaded = checkpoint.load(model, device=device, dtype=dtype, progress=progress)
        generator = cls(loaded.model, loaded.tokenizer, config=config, defaults=loaded.defaults)
        generator.info = loaded.info
        generator.load_seconds = time.perf_counter() - began
        return generator

    @classmethod
    def from_transformers(
        cls, hf_model: Any, hf_tokenizer: Any, *, config: EngineConfig | Mapping[str, Any] | None = None
    ) -> Generator:
        """Wrap a causal language model and a (fast) tokenizer of the transformers library; the model is not copied."""
        from fastgen.models.transformers import TransformersModel

        return cls(TransformersModel(hf_model), from_transformers(hf_tokenizer), config=config)

    def generate(
        self,
        prompt: Prompt | Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        **overrides: Any,
    ) -> Any:
        """Generate to the end.

        Parameters
        ----------
        prompt : str, bytes, list of int, list of messages, or a list of these
        params : SamplingParams, or one for each prompt, optional
            Without it the generator's `defaults` hold.
        **overrides
            Single parameters on top: ``max_tokens=64``.

        Returns
        -------
        GenerationOutput, or a list of them in the order of the prompts

        Raises
        ------
        PromptError, ContextLengthError, InvalidParameterError
            Before anything is generated.
        LogitsError
            The model's logits can't be sampled from. With a list of prompts nothing is raised for that: the output that
            it concerns has ``finish_reason == "error"`` and the error in ``error``, and the others go on.
        """
        chosen, single = self._requests(prompt, params, overrides)
        pieces = run(self.model, self._lanes(chosen), self.tokenizer.vocab_size, self.config)
        return _result([piece.output for piece in pieces if piece.output is not None], chosen, single)

    def stream(
        self,
        prompt: Prompt | Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        **overrides: Any,
    ) -> Iterator[Piece]:
        """Generate piece by piece; arguments and errors as `generate`.

        Pieces of several prompts interleave; ``piece.index`` tells them apart. The last piece of each carries its
        output. Arguments are checked at once. The work is done by a thread of its own, which pauses while 256 pieces
        wait for the reader; closing the iterator, leaving the loop and dropping it end the work. With ``n`` more than
        1, ``piece.choice`` tells a prompt's continuations apart; ``best_of`` and ``distinct``, which choose among whole
        answers, can't be streamed.
        """
        chosen, single = self._streamed(prompt, params, overrides)
        return self._pieces(self._start(chosen, single, STREAMED), single)

    def astream(
        self,
        prompt: Prompt | Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        **overrides: Any,
    ) -> AsyncIterator[Piece]:
        """As `stream`, for ``async for``: the event loop is woken when there are pieces, and never blocked."""
        chosen, single = self._streamed(prompt, params, overrides)
        return self._apieces(self._start(chosen, single, STREAMED), single)

    async def agenerate(
        self,
        prompt: Prompt | Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        **overrides: Any,
    ) -> Any:
        """As `generate`, for ``await``; cancelling the task ends the work."""
        chosen, single = self._requests(prompt, params, overrides)
        handle = self._start(chosen, single, STREAMED)
        try:
            async for _ in handle:
                pass
        finally:
            handle.cancel()
        return handle.result()

    def submit(
        self,
        prompt: Prompt | Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        **overrides: Any,
    ) -> Handle:
        """Start to generate and return at once; arguments and errors as `generate`.

        Returns
        -------
        Handle
            ``handle.result()``, ``handle.cancel()``, ``for piece in handle``, ``async for piece in handle``.
        """
        chosen, single = self._requests(prompt, params, overrides)
        return self._start(chosen, single, SUBMITTED)

    def chat(
        self,
        messages: Sequence[Message],
        params: SamplingParams | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        continue_final_message: bool = False,
        allow_control_tokens: bool = False,
        **overrides: Any,
    ) -> GenerationOutput:
        """Answer a conversation: ``chat([{"role": "user", "content": "Hi"}])``; parameters and errors as `generate`.

        `tools`, `continue_final_message` and `allow_control_tokens` are those of `encode_chat`.

        Raises
        ------
        PromptError
            Also if the model has no chat template.
        """
        ids = self.encode_chat(
            messages,
            tools=tools,
            continue_final_message=continue_final_message,
            allow_control_tokens=allow_control_tokens,
        )
        return cast("GenerationOutput", self.generate(ids, params, **overrides))

    def encode_chat(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        continue_final_message: bool = False,
        allow_control_tokens: bool = False,
    ) -> list[int]:
        """Return the token ids of a conversation, a prompt for `generate` and `stream`.

        Parameters
        ----------
        messages : sequence of mappings
            Each has a ``role`` and a ``content``, both texts.
        tools : sequence of mappings, optional
            Descriptions of functions, which the chat template writes into the prompt.
        continue_final_message : bool, default False
            Whether the answer goes on with the last message, in place of a message of its own.
        allow_control_tokens : bool, default False
            Whether control strings in messages become control tokens. Who can write a message can then forge others; it
            warns.

        Raises
        ------
        PromptError
            The model has no chat template, or as `ChatTemplate.encode`.
        """
        variables = {} if tools is None else {"tools": tools}
        return self._door.chat(
            messages,
            add_generation_prompt=not continue_final_message,
            continue_final_message=continue_final_message,
            allow_control_tokens=allow_control_tokens,
            **variables,
        )

    def close(self) -> None:
        """Let go of the model. Later calls raise `StreamClosedError`."""
        self._closed = True
        self.model = cast("CausalLM", None)

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Generator({'closed' if self._closed else self.model.name})"

    def _start(self, requests: list[Request], single: bool, capacity: int) -> Handle:
        lanes = self._lanes(requests)
        model, vocab_size, config = self.model, self.tokenizer.vocab_size, self.config  # close() lets go of the model
        return Handle(
            lambda ended: run(model, lanes, vocab_size, config, ended),
            lambda outputs: _result(outputs, requests, single),
            capacity,
        )

    def _pieces(self, handle: Handle, single: bool) -> Iterator[Piece]:
        try:
            for piece in handle:
                yield _unless_failed(piece, single)
        except KeyboardInterrupt:  # what is held back comes, then the interruption goes on
            handle.stop()
            yield from handle
            raise
        finally:
            handle.cancel()

    async def _apieces(self, handle: Handle, single: bool) -> AsyncIterator[Piece]:
        try:
            async for piece in handle:
                yield _unless_failed(piece, single)
        finally:
            handle.cancel()

    def _streamed(self, prompt: Any, params: Any, overrides: Mapping[str, Any]) -> tuple[list[Request], bool]:
        chosen, single = self._requests(prompt, params, overrides)
        for one in chosen:
            for name in ("best_of", "distinct"):
                if getattr(one.params, name):
                    raise InvalidParameterError(
                        f"{name} can't be streamed", parameter=name, hint="use n, or generate()"
                    )
        return chosen, single

    def _requests(
        self,
        prompt: Prompt | Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] | None,
        overrides: Mapping[str, Any],
    ) -> tuple[list[Request], bool]:
        """Check everything at the door; return what is asked for, and whether a single prompt was given."""
        if self._closed:
            raise StreamClosedError("the generator is closed")
        return self._door.of(prompt, params, overrides, self.defaults)

    def _lanes(self, requests: list[Request]) -> list[Lane]:
        """Return a lane for each continuation; they share the samplers' scratch memory."""
        workspace = Workspace()
        return [
            Lane(
                one.prompt_ids,
                params,
                self.tokenizer,
                one.limit,
                index,
                choice,
                grammar=None if one.grammar is None else one.grammar.matcher(self.tokenizer.vocab_size),
                workspace=workspace,
            )
            for index, one in enumerate(requests)
            for choice, params in enumerate(one.children)
        ]


def _unless_failed(piece: Piece, single: bool) -> Piece:
    if single and piece.output is not None and piece.output.error is not None:
        raise piece.output.error
    return piece


def _result(outputs: list[GenerationOutput], requests: list[Request], single: bool) -> Any:
    """Return the outputs of all sequences by prompt; of a single one, its error is raised."""
    choices: list[list[GenerationOutput]] = [[] for _ in requests]
    for output in outputs:
        choices[output.index].append(output)
    found = [_joined(some, one.params) for some, one in zip(choices, requests, strict=True)]
    if not single:
        return found
    if found[0].error is not None:
        raise found[0].error
    return found[0]


def _joined(outputs: list[GenerationOutput], params: SamplingParams) -> GenerationOutput:
    """Return a prompt's continuations as one output: the first, or the best, with all of them in `choices`."""
    outputs.sort(key=lambda output: output.choice)
    if params.best_of is not None:
        # by the mean log-probability of a token, so that length is neither good nor bad; what failed comes last
        outputs.sort(key=lambda output: -_mean_logprob(output))
        if params.logprobs is None:
            outputs = [dataclasses.replace(output, logprobs=None) for output in outputs]
    if params.distinct:
        outputs = [outputs[place] for place in distinct([output.text for output in outputs], params.distinct)]
    outputs = outputs[: params.n]
    if params.n == 1:
        return outputs[0]
    return dataclasses.replace(outputs[0], choices=tuple(outputs))


def _mean_logprob(output: GenerationOutput) -> float:
    total = output.cumulative_logprob
    return total / len(output.token_ids) if total is not None and output.token_ids and not output.error else -math.inf


def _as_model(model: CausalLM | Callable[..., Any]) -> CausalLM:
    if hasattr(model, "forward") and hasattr(model, "new_cache"):
        return cast("CausalLM", model)
    return StepModel(model)
