"""What a generation gives back: pieces while it runs, one output at its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from fastgen.errors import FastgenError
from fastgen.logprobs import TokenLogprobs
from fastgen.params import SamplingParams

__all__ = ["FINISH_REASONS", "GenerationOutput", "Piece", "Timings", "Usage"]

# detail -> reason, as OpenAI names it; the detail of a failed sequence is its error code and the reason "error"
FINISH_REASONS: Final = {
    "eos": "stop",
    "stop_token": "stop",
    "stop_string": "stop",
    "max_tokens": "length",
    "context": "length",
    "grammar": "stop",
    "repetition": "length",
    "cancelled": "abort",
    "timeout": "abort",
    "disconnected": "abort",
    "slow_consumer": "abort",
    "shutdown": "abort",
}


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts; the end-of-sequence token counts as generated."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds, each from the request's arrival unless it says otherwise.

    Attributes
    ----------
    queue : float
        Waiting for a slot.
    prefill : float
        From getting the slot to the first token.
    ttft : float
        Time to first token: queue and prefill.
    decode : float
        From the first token to the last.
    total : float
        From arrival to the end.
    tokens_per_second : float
        Tokens after the first, per second of `decode`; 0 for a single token.
    """

    queue: float
    prefill: float
    ttft: float
    decode: float
    total: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class GenerationOutput:
    """One finished sequence. ``str(output)`` is its text.

    Attributes
    ----------
    text : str
        The generated text, without the stop string that ended it unless it was asked for.
    token_ids : tuple of int
        Every token generated, the one that ended the sequence included.
    finish_reason : str
        ``stop``, ``length``, ``abort`` or ``error``.
    finish_detail : str
        ``eos``, ``stop_token`` (one or a sequence), ``stop_string``, ``grammar`` (the text is complete),
        ``max_tokens``, ``context``, ``repetition``, ``cancelled`` or an error code.
    stop_reason : str, int or tuple of int, optional
        The stop string, the stop token or the stop sequence that ended the sequence.
    seed : int
        The seed in use; with the same logits it gives the same tokens again.
    params : SamplingParams
        The parameters in effect, the checkpoint's defaults included.
    index : int
        Place of the prompt in the call.
    logprobs : tuple of TokenLogprobs, optional
        One for each token, if `params.logprobs` or `params.entropy` asked for them.
    choice : int
        Which of the prompt's `n` continuations this is.
    choices : tuple of GenerationOutput
        All continuations of the prompt, this one included, where `n` is more than 1: in the order of their seeds, or
        with ``best_of`` the best ones first. With ``distinct`` there may be fewer.
    visible_tokens : int
        How many of `token_ids`, and of `logprobs`, the text comes from: those after them ended the sequence or belong
        to what was cut off. The last one may be visible in part.
    text_offsets : tuple of int
        For each token where its text begins in `text`, in characters; the length of `text` for those cut off. Tokens
        that share a character have the same offset.
    error : FastgenError, optional
        What ended the sequence if `finish_reason` is ``error``.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: str
    finish_detail: str
    stop_reason: str | int | tuple[int, ...] | None
    seed: int
    usage: Usage
    timings: Timings
    params: SamplingParams
    index: int = 0
    logprobs: tuple[TokenLogprobs, ...] | None = None
    choice: int = 0
    choices: tuple[GenerationOutput, ...] = field(default=(), repr=False)
    visible_tokens: int = 0
    text_offsets: tuple[int, ...] = field(default=(), repr=False)
    error: FastgenError | None = field(default=None, compare=False)

    @property
    def cumulative_logprob(self) -> float | None:
        """The sum of the tokens' log-probabilities, if `params.logprobs` asked for them."""
        if self.logprobs is None or any(one.logprob is None for one in self.logprobs):
            return None
        return sum(one.logprob for one in self.logprobs if one.logprob is not None)

    def __str__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a sequence as it is generated: whole characters, never part of a stop string.

    Attributes
    ----------
    text : str
        May be empty in the last piece only.
    token_ids : tuple of int
        The tokens generated since the piece before, those whose text is still held back included.
    index, choice : int
        Place of the prompt in the call, and which of its `n` continuations this belongs to.
    logprobs : tuple of TokenLogprobs, optional
        One for each of the tokens.
    finish_reason, finish_detail, stop_reason
        As in `GenerationOutput`; None but in the last piece.
    output : GenerationOutput, optional
        The whole result, in the last piece.
    """

    text: str
    token_ids: tuple[int, ...]
    index: int = 0
    logprobs: tuple[TokenLogprobs, ...] | None = None
    finish_reason: str | None = None
    finish_detail: str | None = None
    stop_reason: str | int | tuple[int, ...] | None = None
    output: GenerationOutput | None = None
    choice: int = 0
