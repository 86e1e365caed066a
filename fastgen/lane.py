"""One live sequence: its sampler, its transcript, and what becomes pieces and an output."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from fastgen.errors import FastgenError, LogitsError
from fastgen.grammar import Matcher
from fastgen.logprobs import TokenLogprobs
from fastgen.lookup import PromptLookup
from fastgen.output import FINISH_REASONS, GenerationOutput, Piece, Timings, Usage
from fastgen.params import SamplingParams
from fastgen.sampler import Sampler
from fastgen.tokenizer import Tokenizer
from fastgen.transcript import Transcript
from fastgen.workspace import Workspace

__all__ = ["Lane"]

FIRST_LEAST: Final = 2  # tokens that must agree for a first guess, and after many failures
MOST_LEAST: Final = 6


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
        self.error: FastgenError | None = None
        self._sampler = Sampler(params, tokenizer.vocab_size, eos_ids=tokenizer.eos_ids, workspace=workspace)
        self._sampler.observe(prompt_ids, prompt=True)
        self._grammar = grammar
        self._mask = None if grammar is None else grammar.row()
        self._logprobs: list[TokenLogprobs] | None = None
        if params.logprobs is not None or params.entropy:
            self._logprobs = []
        self._transcript = Transcript(tokenizer, params)
        self._limit = limit
        self._lookup: PromptLookup | None = None
        if params.prompt_lookup_num_tokens:
            self._lookup = PromptLookup(prompt_ids, max_ngram=params.max_matching_ngram_size)
        self._least = min(FIRST_LEAST, params.max_matching_ngram_size)  # of the last tokens, as many must agree
        self._reported = 0  # tokens that a piece has carried
        self._arrival = time.perf_counter()
        self._admission = self._first_token = self._end = self._arrival

    @property
    def finished(self) -> bool:
        """Whether the sequence has ended; no token is accepted after that."""
        return self._transcript.finish_detail is not None

    @property
    def finish_detail(self) -> str | None:
        """Why it has ended; see `GenerationOutput`."""
        return self._transcript.finish_detail

    @property
    def position(self) -> int:
        """Tokens that the model has seen: where the next one goes."""
        return self.prefilled + max(0, len(self.token_ids) - 1)

    def admit(self) -> None:
        """Note that the sequence has got a slot."""
        self._admission = time.perf_counter()

    def draft(self) -> list[int]:
        """Guess the tokens after the last one, by looking up where it came before; often none."""
        room = min(self.params.prompt_lookup_num_tokens, self._limit - len(self.token_ids) - 1)
        return self._lookup.propose(room, self._least) if self._lookup is not None and room > 0 else []

    def steps(self, rows: Any, draft: Sequence[int]) -> Iterator[Piece]:
        """Choose a token from the first row, then from each next one while the tokens are those of the draft.

        Row i belongs to the place after ``draft[:i]``. Every token is chosen as if its row had been computed alone, so
        a draft saves passes of the model and changes nothing else.
        """
        matched = 0
        for row in rows:
            piece = self.step(row)
            if piece is not None:
                yield piece
            if self.finished or matched == len(draft) or self.token_ids[-1] != draft[matched]:
                break
            matched += 1
        if draft:
            # A guess costs time whether it is right or not. One that is wrong from its start makes the next ones rarer,
            # each token that is right makes them easier again.
            most = min(MOST_LEAST, self.params.max_matching_ngram_size)
            self._least = max(1, self._least - matched) if matched else min(most, self._least + 1)

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
        if self._lookup is not None:
            self._lookup.append(token)
        text = self._transcript.push(token)
        if not self.finished:
            if self._grammar is not None and self._grammar.finished:
                text += self._transcript.close("grammar")
            elif len(self.token_ids) == self._limit:
                text += self._transcript.close("max_tokens" if self._limit == self.params.max_tokens else "context")
        if self.finished:
            return self._last_piece(text)
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
        return self._last_piece(self._transcript.close(error.code))

    def cancel(self) -> Piece:
        """End the sequence at the caller's wish; the text so far stays."""
        return self._last_piece(self._transcript.close("cancelled"))

    def _piece(self, text: str) -> Piece:
        tokens, logprobs = self._take()
        return Piece(text, tokens, self.index, logprobs, choice=self.choice)

    def _take(self) -> tuple[tuple[int, ...], tuple[TokenLogprobs, ...] | None]:
        """Return the tokens that no piece has carried yet, with their log-probabilities."""
        tokens = tuple(self.token_ids[self._reported :])
        logprobs = None if self._logprobs is None else tuple(self._logprobs[self._reported :])
        self._reported = len(self.token_ids)
        return tokens, logprobs

    def _last_piece(self, text: str) -> Piece:
        self._end = time.perf_counter()
        tokens, logprobs = self._take()
        transcript = self._transcript
        detail = str(transcript.finish_detail)
        output = GenerationOutput(
            text=transcript.text,
            token_ids=tuple(self.token_ids),
            finish_reason=FINISH_REASONS.get(detail, "error"),
            finish_detail=detail,
            stop_reason=transcript.stop_reason,
            seed=self._sampler.seed,
            usage=Usage(len(self.prompt_ids), len(self.token_ids)),
            timings=self._timings(),
            params=self.params,
            index=self.index,
            logprobs=None if self._logprobs is None else tuple(self._logprobs),
            choice=self.choice,
            visible_tokens=transcript.visible_tokens,
            text_offsets=transcript.text_offsets,
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
