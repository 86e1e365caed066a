"""What is asked for, checked at the door: prompts become token ids, parameters are tried against the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from fastgen.chat import ChatTemplate
from fastgen.errors import ContextLengthError, InvalidParameterError, PromptError
from fastgen.grammar import Grammar
from fastgen.params import SamplingParams
from fastgen.tokenizer import Tokenizer
from fastgen.words import with_token_ids

__all__ = ["Message", "Prompt", "Request", "Requests"]

Message = Mapping[str, Any]
Prompt = str | bytes | Sequence[int] | Sequence[Message]


@dataclass(frozen=True, slots=True)
class Request:
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


class Requests:
    """Makes requests of what callers give.

    Parameters
    ----------
    tokenizer : Tokenizer
    max_positions : int
        The most tokens of one sequence, prompt and answer together.
    """

    __slots__ = ("_template", "_tokenizer", "max_positions")

    def __init__(self, tokenizer: Tokenizer, max_positions: int) -> None:
        self._tokenizer = tokenizer
        self.max_positions = max_positions
        self._template: ChatTemplate | None = None

    def of(
        self,
        prompt: Any,
        params: SamplingParams | Sequence[SamplingParams] | None,
        overrides: Mapping[str, Any],
        defaults: SamplingParams,
    ) -> tuple[list[Request], bool]:
        """Return what is asked for, and whether a single prompt was given; raises like `Generator.generate`."""
        prompts, single = _listed(prompt)
        chosen = _params(params or defaults, overrides, len(prompts))
        ids = [self._encode(one, index) for index, one in enumerate(prompts)]
        return [self._request(one, chosen[index], index) for index, one in enumerate(ids)], single

    def chat(self, messages: Sequence[Message], **options: Any) -> list[int]:
        """Return the token ids of a conversation; raises like `Generator.encode_chat`."""
        return self._chat_template().encode(messages, self._tokenizer, **options)

    def _encode(self, prompt: Prompt, index: int) -> list[int]:
        """Return the token ids of one prompt."""
        if isinstance(prompt, (str, bytes)):
            ids = self._encode_text(prompt, index)
        elif _is_conversation(prompt):
            ids = self.chat(cast("Sequence[Message]", prompt))
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
        ids = self._tokenizer.encode(text)
        if self._tokenizer.add_bos and self._tokenizer.bos_id is not None:
            ids.insert(0, self._tokenizer.bos_id)
        return ids

    def _token(self, token: Any, index: int) -> int:
        size = self._tokenizer.vocab_size
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

    def _request(self, ids: list[int], params: SamplingParams, index: int) -> Request:
        room = self.max_positions - len(ids)
        if room < 1:
            raise ContextLengthError(
                "the prompt leaves no room in the model's context",
                hint="shorten the prompt",
                prompt=index,
                prompt_tokens=len(ids),
                context=self.max_positions,
            )
        params = with_token_ids(params, self._tokenizer)
        vocab_size = self._tokenizer.vocab_size
        for name, token in _named_ids(params):
            if token >= vocab_size:
                raise InvalidParameterError(
                    "a token id is outside the vocabulary",
                    code="token_out_of_range",
                    parameter=name,
                    token=token,
                    vocab_size=vocab_size,
                )
        grammar = Grammar.from_params(params, self._tokenizer)
        return Request(ids, params, min(params.max_tokens or room, room), grammar)

    def _chat_template(self) -> ChatTemplate:
        if self._template is None:
            tokenizer = self._tokenizer
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
        return "" if token is None else self._tokenizer.token_bytes(token).decode(errors="replace")


def _params(
    params: SamplingParams | Sequence[SamplingParams], overrides: Mapping[str, Any], count: int
) -> list[SamplingParams]:
    if isinstance(params, SamplingParams):
        given = [params] * count
    else:
        given = list(params)
        if len(given) != count:
            raise InvalidParameterError("params and prompts differ in number", prompts=count, params=len(given))
        if odd := [one for one in given if not isinstance(one, SamplingParams)]:
            raise InvalidParameterError("params must be SamplingParams", type=type(odd[0]).__name__)
    return [one.replace(**overrides) for one in given] if overrides else given


def _named_ids(params: SamplingParams) -> Iterator[tuple[str, int]]:
    """Yield every token id in the parameters with the name of its parameter."""
    for name in ("stop_token_ids", "allowed_token_ids", "suppress_tokens"):
        yield from ((name, token) for token in getattr(params, name) or ())
    yield from (("logit_bias", token) for token, _ in params.logit_bias or ())
    yield from (("bad_words", token) for word in params.bad_words for token in word if isinstance(token, int))
    yield from (("stop_token_sequences", token) for sequence in params.stop_token_sequences for token in sequence)


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
