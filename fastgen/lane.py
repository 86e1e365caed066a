"""One live sequence: its sampler, detokenizer and stop matcher, and what it has produced."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from fastgen.detokenizer import Detokenizer
from fastgen.errors import FastgenError, LogitsError
from fastgen.grammar import Matcher
from fastgen.logprobs import TokenLogprobs
from fastgen.output import FINISH_REASONS, GenerationOutput, Piece, Timings, Usage
from fastgen.params import SamplingParams
from fastgen.sampler import Sampler
from fastgen.stop import StopMatcher
from fastgen.tokenizer import Tokenizer
from fastgen.workspace import Workspace

__all__ = ["Lane"]


class Lane:
    """The host state of a sequence from its admission to its end.

    Parameters
    ----------
    prompt_ids : sequence of int
        At least one token.
    params : SamplingParams
    tokenizer : Tokenizer
    limit : int
        Most tokens the model's context leaves room for, at least 1.
    index, choice : int
        Place of the prompt in its call, and which of the prompt's continuations this is.
    grammar : Matcher, optional
        What the text must follow.
    workspace : Workspace, optional
        Scratch memory of the sampler, shared with other lanes of the same thread.
    """

    def __init__(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams,
        tokenizer: Tokenizer,
        limit: int,
        index: int = 0,
        choice: int = 0,
        *,
        grammar: Matcher | None = None,
        workspace: Workspace | None = None,
    ) -> None:
        self.prompt_ids = prompt_ids
        self.params = params
        self.index = index
        self.choice = choice
        self.prefilled = 0  # prompt tokens that the model has seen
        self.token_ids: list[int] = []
        self.finish_detail: str | None = None
        self.error: FastgenError | None = None
        self._sampler = Sampler(params, tokenizer.vocab_size, eos_ids=tokenizer.eos_ids, workspace=workspace)
        self._sampler.observe(prompt_ids, prompt=True)
        self._grammar = grammar
        self._mask = None if grammar is None else grammar.row()
        self._logprobs: list[TokenLogprobs] | None = None
        if params.logprobs is not None or params.entropy:
            self._logprobs = []
        self._detokenizer = Detokenizer(tokenizer, params.skip_special_tokens)
        self._matcher = StopMatcher(params.stop, include=params.include_stop_str_in_output) if params.stop else None
        self._eos_ids = frozenset() if params.ignore_eos else frozenset(tokenizer.eos_ids)
        self._stop_ids = frozenset(params.stop_token_ids)
        self._limit = limit
        self._stop_reason: str | int | None = None
        self._texts: list[str] = []
        self._reported = 0  # tokens that a piece has carried
        self._arrival = time.perf_counter()
        self._admission = self._first_token = self._end = self._arrival

    @property
    def finished(self) -> bool:
        """Whether the sequence has ended; no token is accepted after that."""
        return self.finish_detail is not None

    @property
    def position(self) -> int:
        """Tokens that the model has seen: where the next one goes."""
        return self.prefilled + max(0, len(self.token_ids) - 1)

    def admit(self) -> None:
        """Note that the sequence has got a slot."""
        self._admission = time.perf_counter()

    def step(self, logits: Any) -> Piece | None:
        """Choose the next token from a row of logits; return a piece if there is text or the sequence has ended."""
        try:
            token = self._choose(logits)
        except LogitsError as error:
            error.details["row"] = self.index
            return self.fail(error)
        except FastgenError as error:
            return self.fail(error)
        if not self.token_ids:
            self._first_token = time.perf_counter()
        self.token_ids.append(token)

        if token in self._eos_ids:
            return self._finish("eos")
        if token in self._stop_ids:
            self._stop_reason = token
            return self._finish("stop_token")
        text = self._match(self._detokenizer.push(token))
        if self.finished:
            return self._last_piece(text)
        if self._grammar is not None and self._grammar.finished:
            return self._finish("grammar", text)
        if len(self.token_ids) == self._limit:
            return self._finish("max_tokens" if self._limit == self.params.max_tokens else "context", text)
        return self._piece(text) if text else None

    def _choose(self, logits: Any) -> int:
        """Return a token that the grammar allows, and take note of it."""
        if self._grammar is not None and self._mask is not None:
            self._grammar.fill(self._mask)
        token: int = self._sampler.sample(logits, mask=self._mask)
        self._sampler.observe(token, prompt=False)
        if self._grammar is not None:
            self._grammar.accept(token)
        if self._logprobs is not None:
            self._logprobs += self._sampler.logprobs
        return token

    def fail(self, error: FastgenError) -> Piece:
        """End the sequence with an error; the text so far stays."""
        self.error = error
        return self._finish(error.code)

    def cancel(self) -> Piece:
        """End the sequence at the caller's wish; the text so far stays."""
        return self._finish("cancelled")

    def _match(self, text: str) -> str:
        """Pass text through the stop matcher; a stop string ends the sequence, if not within `min_tokens`."""
        if self._matcher is None or not text or len(self.token_ids) <= self.params.min_tokens:
            return text
        match = self._matcher.feed(text)
        if match.stopped:
            self.finish_detail, self._stop_reason = "stop_string", match.stop
        return match.text.decode()

    def _finish(self, detail: str, text: str = "") -> Piece:
        """End the sequence: what detokenizer and matcher hold back comes out now, unless it completes a stop."""
        text += self._match(self._detokenizer.flush())
        if not self.finished:
            self.finish_detail = detail
            if self._matcher is not None:
                text += self._matcher.flush().text.decode()
        return self._last_piece(text)

    def _piece(self, text: str) -> Piece:
        tokens, logprobs = self._take(text)
        return Piece(text, tokens, self.index, logprobs, choice=self.choice)

    def _take(self, text: str) -> tuple[tuple[int, ...], tuple[TokenLogprobs, ...] | None]:
        """Record text as given out; return the tokens that no piece has carried yet, with their log-probabilities."""
        tokens = tuple(self.token_ids[self._reported :])
        logprobs = None if self._logprobs is None else tuple(self._logprobs[self._reported :])
        self._reported = len(self.token_ids)
        self._texts.append(text)
        return tokens, logprobs

    def _last_piece(self, text: str) -> Piece:
        self._end = time.perf_counter()
        tokens, logprobs = self._take(text)
        detail = str(self.finish_detail)
        output = GenerationOutput(
            text="".join(self._texts),
            token_ids=tuple(self.token_ids),
            finish_reason=FINISH_REASONS.get(detail, "error"),
            finish_detail=detail,
            stop_reason=self._stop_reason,
            seed=self._sampler.seed,
            usage=Usage(len(self.prompt_ids), len(self.token_ids)),
            timings=self._timings(),
            params=self.params,
            index=self.index,
            logprobs=None if self._logprobs is None else tuple(self._logprobs),
            choice=self.choice,
            error=self.error,
        )
        reason = output.finish_reason
        return Piece(text, tokens, self.index, logprobs, reason, detail, output.stop_reason, output, self.choice)

    def _timings(self) -> Timings:
        first = self._first_token if self.token_ids else self._end
        decode = self._end - first
        return Timings(
            queue=self._admission - self._arrival,
            prefill=first - self._admission,
            ttft=first - self._arrival,
            decode=decode,
            total=self._end - self._arrival,
            tokens_per_second=(len(self.token_ids) - 1) / decode if decode > 0 and len(self.token_ids) > 1 else 0.0,
        )
