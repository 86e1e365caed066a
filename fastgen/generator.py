"""What most people import: load a model, generate, stream, chat."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fastgen.chat import ChatTemplate
from fastgen.engine import EngineConfig, run
from fastgen.errors import (
    ContextLengthError,
    InvalidParameterError,
    PromptError,
    StreamClosedError,
)
from fastgen.grammar import Grammar
from fastgen.lane import Lane
from fastgen.models.contract import CausalLM
from fastgen.models.step import StepModel
from fastgen.output import GenerationOutput, Piece
from fastgen.params import SamplingParams
from fastgen.tokenizer import Tokenizer, from_transformers
from fastgen.words import with_token_ids
from fastgen.workspace import Workspace

if TYPE_CHECKING:
    from fastgen.models.checkpoint import ModelInfo

__all__ = ["Generator"]

Message = Mapping[str, Any]
Prompt = str | bytes | Sequence[int] | Sequence[Message]


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
        self._template: ChatTemplate | None = None

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
        choices: list[list[GenerationOutput]] = [[] for _ in chosen]
        for piece in self._run(self._lanes(chosen)):
            if piece.output is not None:
                choices[piece.index].append(piece.output)
        outputs = [_joined(some, one.params) for some, one in zip(choices, chosen, strict=True)]
        if not single:
            return outputs
        output = outputs[0]
        if output.error is not None:
            raise output.error
        return output

    def stream(
        self,
        prompt: Prompt | Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        **overrides: Any,
    ) -> Iterator[Piece]:
        """Generate piece by piece; arguments and errors as `generate`.

        Pieces of several prompts interleave; ``piece.index`` tells them apart. The last piece of each carries its
        output. Arguments are checked at once, the work is done while the iterator runs, and closing it (or leaving the
        loop) ends it. With ``n`` more than 1, ``piece.choice`` tells a prompt's continuations apart; ``best_of`` can't
        be streamed.
        """
        chosen, single = self._requests(prompt, params, overrides)
        if any(one.params.best_of is not None for one in chosen):
            raise InvalidParameterError("best_of can't be streamed", parameter="best_of", hint="use n, or generate()")
        return self._pieces(self._lanes(chosen), single)

    def chat(
        self, messages: Sequence[Message], params: SamplingParams | None = None, **overrides: Any
    ) -> GenerationOutput:
        """Answer a conversation: ``chat([{"role": "user", "content": "Hi"}])``; parameters and errors as `generate`.

        Raises
        ------
        PromptError
            Also if the model has no chat template.
        """
        return cast("GenerationOutput", self.generate(messages, params, **overrides))

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

    def _run(self, lanes: list[Lane]) -> Iterator[Piece]:
        return run(self.model, lanes, self.tokenizer.vocab_size, self.config)

    def _pieces(self, lanes: list[Lane], single: bool) -> Iterator[Piece]:
        for piece in self._run(lanes):
            if single and piece.output is not None and piece.output.error is not None:
                raise piece.output.error
            yield piece

    def _requests(
        self,
        prompt: Prompt | Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] | None,
        overrides: Mapping[str, Any],
    ) -> tuple[list[_Request], bool]:
        """Check everything at the door; return what is asked for, and whether a single prompt was given."""
        if self._closed:
            raise StreamClosedError("the generator is closed")
        prompts, single = _listed(prompt)
        chosen = self._params(params, overrides, len(prompts))
        ids = [self._encode(one, index) for index, one in enumerate(prompts)]
        return [self._request(one, chosen[index], index) for index, one in enumerate(ids)], single

    def _lanes(self, requests: list[_Request]) -> list[Lane]:
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

    def _params(
        self, params: SamplingParams | Sequence[SamplingParams] | None, overrides: Mapping[str, Any], count: int
    ) -> list[SamplingParams]:
        if params is None or isinstance(params, SamplingParams):
            given = [params or self.defaults] * count
        else:
            given = list(params)
            if len(given) != count:
                raise InvalidParameterError("params and prompts differ in number", prompts=count, params=len(given))
            if odd := [one for one in given if not isinstance(one, SamplingParams)]:
                raise InvalidParameterError("params must be SamplingParams", type=type(odd[0]).__name__)
        return [one.replace(**overrides) for one in given] if overrides else given

    def _encode(self, prompt: Prompt, index: int) -> list[int]:
        """Return the token ids of one prompt."""
        if isinstance(prompt, (str, bytes)):
            ids = self._encode_text(prompt, index)
        elif _is_conversation(prompt):
            ids = self._chat_template().encode(cast("Sequence[Message]", prompt), self.tokenizer)
        elif isinstance(prompt, Sequence):
            ids = [self._token(token, index) for token in prompt]
        else:
            raise _not_a_prompt(prompt, index)
        if not ids:
            raise PromptError("the prompt is empty", code="prompt_empty", hint="give at least one token", prompt=index)
        return ids

    def _encode_text(self, text: str | bytes, index: int) -> list[int]:
        if isinstance(text, bytes):
            try:
                text = text.decode()
            except UnicodeDecodeError as error:
                raise PromptError(
                    "the prompt is not UTF-8",
                    code="prompt_not_utf8",
                    hint="decode it first",
                    prompt=index,
                    offset=error.start,
                ) from error
        ids = self.tokenizer.encode(text)
        if self.tokenizer.add_bos and self.tokenizer.bos_id is not None:
            ids.insert(0, self.tokenizer.bos_id)
        return ids

    def _token(self, token: Any, index: int) -> int:
        size = self.tokenizer.vocab_size
        if isinstance(token, bool) or not isinstance(token, int):
            raise _not_a_prompt(token, index)
        if not 0 <= token < size:
            raise InvalidParameterError(
                "a token id is outside the vocabulary",
                code="token_out_of_range",
                prompt=index,
                token=token,
                vocab_size=size,
            )
        return token

    def _request(self, ids: list[int], params: SamplingParams, index: int) -> _Request:
        room = self.model.max_positions - len(ids)
        if room < 1:
            raise ContextLengthError(
                "the prompt leaves no room in the model's context",
                hint="shorten the prompt",
                prompt=index,
                prompt_tokens=len(ids),
                context=self.model.max_positions,
            )
        params = with_token_ids(params, self.tokenizer)
        vocab_size = self.tokenizer.vocab_size
        for name, token in _named_ids(params):
            if token >= vocab_size:
                raise InvalidParameterError(
                    "a token id is outside the vocabulary",
                    code="token_out_of_range",
                    parameter=name,
                    token=token,
                    vocab_size=vocab_size,
                )
        grammar = Grammar.from_params(params, self.tokenizer)
        return _Request(ids, params, min(params.max_tokens or room, room), grammar)

    def _chat_template(self) -> ChatTemplate:
        if self._template is None:
            tokenizer = self.tokenizer
            if tokenizer.chat_template is None:
                raise PromptError("the model has no chat template", hint="give the prompt as text")
            self._template = ChatTemplate(
                tokenizer.chat_template,
                bos_token=self._spelling(tokenizer.bos_id),
                eos_token=self._spelling(tokenizer.eos_ids[0] if tokenizer.eos_ids else None),
                name=tokenizer.name,
            )
        return self._template

    def _spelling(self, token: int | None) -> str:
        return "" if token is None else self.tokenizer.token_bytes(token).decode(errors="replace")


@dataclass(frozen=True, slots=True)
class _Request:
    """One prompt, checked: what its lanes are made of."""

    prompt_ids: list[int]
    params: SamplingParams
    limit: int
    grammar: Grammar | None

    @property
    def children(self) -> tuple[SamplingParams, ...]:
        """The parameters of each continuation; to choose the best ones, their log-probabilities are needed."""
        if self.params.best_of is None or self.params.logprobs is not None:
            return self.params.children()
        return self.params.replace(logprobs=0).children()


def _joined(outputs: list[GenerationOutput], params: SamplingParams) -> GenerationOutput:
    """Return a prompt's continuations as one output: the first, or the best, with all of them in `choices`."""
    outputs.sort(key=lambda output: output.choice)
    if params.best_of is not None:
        # by the mean log-probability of a token, so that length is neither good nor bad; what failed comes last
        outputs.sort(key=lambda output: -_mean_logprob(output))
        del outputs[params.n :]
        if params.logprobs is None:
            outputs = [dataclasses.replace(output, logprobs=None) for output in outputs]
    if params.n == 1:
        return outputs[0]
    return dataclasses.replace(outputs[0], choices=tuple(outputs))


def _mean_logprob(output: GenerationOutput) -> float:
    total = output.cumulative_logprob
    return total / len(output.token_ids) if total is not None and output.token_ids and not output.error else -math.inf


def _named_ids(params: SamplingParams) -> Iterator[tuple[str, int]]:
    """Yield every token id in the parameters with the name of its parameter."""
    for name in ("stop_token_ids", "allowed_token_ids", "suppress_tokens"):
        yield from ((name, token) for token in getattr(params, name) or ())
    yield from (("logit_bias", token) for token, _ in params.logit_bias or ())
    yield from (("bad_words", token) for word in params.bad_words for token in word if isinstance(token, int))


def _as_model(model: CausalLM | Callable[..., Any]) -> CausalLM:
    if hasattr(model, "forward") and hasattr(model, "new_cache"):
        return cast("CausalLM", model)
    return StepModel(model)


def _listed(prompt: Any) -> tuple[list[Prompt], bool]:
    """Return the prompts as a list, and whether there was only one. Arrays become lists."""
    prompt = _unwrapped(prompt)
    if isinstance(prompt, (str, bytes)) or _is_conversation(prompt) or _is_token_ids(prompt):
        return [prompt], True
    if not isinstance(prompt, Sequence):
        raise _not_a_prompt(prompt, 0)
    if not prompt:
        raise PromptError("the prompt is empty", code="prompt_empty", hint="give at least one token or message")
    return [_unwrapped(one) for one in prompt], False


def _unwrapped(prompt: Any) -> Any:
    return prompt.tolist() if hasattr(prompt, "tolist") else prompt


def _is_conversation(prompt: Any) -> bool:
    return isinstance(prompt, Sequence) and len(prompt) > 0 and isinstance(prompt[0], Mapping)


def _is_token_ids(prompt: Any) -> bool:
    return isinstance(prompt, Sequence) and len(prompt) > 0 and isinstance(prompt[0], int)


def _not_a_prompt(found: Any, index: int) -> InvalidParameterError:
    return InvalidParameterError(
        "a prompt is text, token ids or messages, or a list of these", prompt=index, type=type(found).__name__
    )
