"""What a caller asks of one generation: frozen, validated once, all problems reported together."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastgen import rules, spellings
from fastgen.errors import CheckpointError, InvalidParameterError
from fastgen.profiles import DEFAULT_PROFILE
from fastgen.rules import GREEDY_BELOW
from fastgen.values import RepetitionDetection

__all__ = ["GREEDY_BELOW", "SamplingParams"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How tokens are chosen and when to stop. The defaults change nothing about the model's distribution.

    Other spellings are understood: ``max_new_tokens``, ``max_completion_tokens``, ``n_predict``, ``min_new_tokens``,
    ``temp``, ``typ_p``, ``repeat_penalty``, ``repeat_last_n`` (both windows), ``num_return_sequences``, and
    ``do_sample=False`` for greedy.

    Parameters
    ----------
    temperature : float
        In [0, 100]. 0, or less than 1e-5, is greedy: the largest logit, the lowest id among equals, after biases and
        penalties; the samplers that leave out tokens have no effect then.
    dynatemp_range : float
        In [0, 100]. Above 0 the temperature follows the entropy of the row, between max(0, temperature - range) and
        temperature + range.
    dynatemp_exponent : float
        In (0, 100]. The power of the normalized entropy in it.
    top_k : int
        Keep the k most likely tokens; see `ties`. 0 or -1 is off.
    top_p : float
        In (0, 1]. Keep the smallest set of most likely tokens whose probability reaches top_p, counted after top_k.
    min_p : float
        In [0, 1]. Keep tokens at least min_p times as likely as the most likely one; applied after top_p.
    typical_p : float
        In (0, 1]. Keep the tokens whose information is nearest to the entropy, until their probability reaches it.
    top_n_sigma : float
        Keep tokens whose score is at most n standard deviations under the largest. 0 or less is off.
    epsilon_cutoff, eta_cutoff : float
        In [0, 1). Keep tokens at least that likely; for eta at least min(eta, sqrt(eta) exp(-entropy)).
    xtc_probability : float
        In [0, 1]. How often XTC leaves out the most likely tokens. 0 is off.
    xtc_threshold : float
        In [0, 0.5]. XTC leaves out all tokens at least that likely but the last of them.
    mirostat : int
        1 or 2: keep the surprise of the text near a target, in place of the samplers above but temperature. 0 is off.
    mirostat_tau : float
        The target, in bits.
    mirostat_eta : float
        How fast it adapts.
    dry_multiplier : float
        In [0, 100]. Above 0 a token that would lengthen a repetition of L tokens loses
        multiplier * base ** (L - allowed_length).
    dry_base : float
        At least 1.
    dry_allowed_length : int
        Shorter repetitions cost nothing.
    dry_penalty_last_n : int
        How many of the last tokens are searched; -1 is all, 0 off.
    dry_sequence_breakers : sequence of str or of sequences of int, optional
        Texts or token ids over which no repetition reaches; without it newline, colon, quotation mark and asterisk if
        there is a tokenizer.
    repetition_penalty : float
        In (0, 100]. Scores of tokens in the window are divided by it, negative ones multiplied, once for each token.
    presence_penalty, frequency_penalty : float
        In [-2, 2]. Taken off the scores of tokens in the window: once, and once for each occurrence.
    repetition_window : int, optional
        How many of the last tokens count for repetition_penalty; -1 is all, 0 none, None what the profile says.
    frequency_window : int, optional
        The same for presence_penalty and frequency_penalty.
    penalize_prompt : bool, optional
        Whether the prompt counts in both windows; None is what the profile says.
    no_repeat_ngram_size : int
        Bar tokens that would repeat a sequence of that many tokens. 0 is off.
    logit_bias : mapping of int to float, optional
        Added to the scores, clamped to [-100, 100]. -inf or False bars the token. Ids may be written as strings. Stored
        as a sorted tuple of pairs, a form that is accepted too.
    allowed_token_ids : sequence of int, optional
        Bar all other tokens.
    suppress_tokens : sequence of int
        Bar these tokens.
    bad_words : sequence of str or of sequences of int
        Texts or sequences of token ids that must not come out.
    ban_eos : bool
        Bar the tokens that end a sequence.
    sampler_order : sequence of str, optional
        The order of the samplers, in place of the profile's; the names are those of `fastgen.profiles.SAMPLERS`.
    ties : str, optional
        ``"cut"``: top_k keeps exactly k tokens, lower ids first among equals; ``"keep"``: it keeps all that equal the
        k-th; None: what the profile says.
    profile : str
        ``fastgen``, ``hf``, ``vllm``, ``llamacpp``, ``sglang`` or ``mlx``: whose order and habits to follow.
    nan_policy : str
        ``"error"``: a NaN is an error; ``"mask"``: it bars its token.
    seed : int, optional
        64 bits. The same seed and logits give the same tokens on every machine; without one a random seed is drawn, and
        returned.
    n : int
        How many answers to return, in [1, 128].
    best_of : int, optional
        How many to generate, of which the n most likely are returned; at least n, at most 128.
    distinct : float or bool
        In [0, 1]. Above 0, an answer whose text is at least that similar to one before it is left out, so fewer than n
        may come back; with best_of, others take their places. True is 0.9, 0 or False off. The similarity is that of
        `fastgen.text.similarity`.
    max_tokens : int, optional
        Most tokens to generate, at least 1; without it the model's context is the limit.
    min_tokens : int
        No end of sequence and no stop before that many tokens.
    stop : str or sequence of str
        Strings that end the text; they are cut off.
    stop_token_ids : sequence of int
        Tokens that end the text; they have no text.
    stop_token_sequences : sequence of sequences of int
        Several tokens in a row that end the text; they are cut off like stop strings.
    ignore_eos : bool
        Go on after the model's end-of-sequence token.
    include_stop_str_in_output : bool
        Keep the stop string, or the text of the stop sequence, in the text.
    repetition_detection : mapping or sequence of int, optional
        ``max_pattern_size``, ``min_pattern_size``, ``min_count``: end when the last tokens are one pattern of such a
        size, that many times in a row. As vLLM names them.
    prompt_lookup_num_tokens : int
        Above 0, up to that many tokens are guessed and checked in one pass of the model: those that followed when the
        last tokens occurred before, in prompt or answer. The tokens that come out are the same. 0 is off.
    max_matching_ngram_size : int
        In [1, 256]. How many of the last tokens are looked for, at most.
    skip_special_tokens : bool
        Leave special tokens out of the text.
    spaces_between_special_tokens : bool
        Put a space between a special token that is shown and what stands beside it.
    hold : str
        What a stream never cuts: ``"codepoint"`` a character, ``"grapheme"`` what a reader takes for one, such as an
        emoji of several.
    logprobs : int, optional
        Return the log-probability of each token and of that many most likely ones; -1 is all, True is 0.
    logprobs_mode : str
        ``raw_logprobs``, ``processed_logprobs``, ``raw_logits`` or ``processed_logits``: before or after biases,
        penalties and samplers, normalized or not.
    entropy : bool
        Return the entropy of each step.
    json_schema : dict or str, optional
        The text is JSON that follows this schema. Stored as JSON without spaces, its keys in the given order.
    regex : str, optional
        The text matches this regular expression.
    grammar : str, optional
        The text follows this Lark grammar. At most one of the three can be given.

    Raises
    ------
    InvalidParameterError
        If values are out of range or of the wrong type, or contradict each other; ``error.details["problems"]`` lists
        all of them.
    UnknownParameterError
        If a keyword is not a parameter.
    """

    temperature: float = 1.0
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    top_n_sigma: float = 0.0
    epsilon_cutoff: float = 0.0
    eta_cutoff: float = 0.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1
    dry_sequence_breakers: tuple[str | tuple[int, ...], ...] | None = None
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_window: int | None = None
    frequency_window: int | None = None
    penalize_prompt: bool | None = None
    no_repeat_ngram_size: int = 0
    logit_bias: tuple[tuple[int, float], ...] | None = None
    allowed_token_ids: tuple[int, ...] | None = None
    suppress_tokens: tuple[int, ...] = ()
    bad_words: tuple[str | tuple[int, ...], ...] = ()
    ban_eos: bool = False
    sampler_order: tuple[str, ...] | None = None
    ties: str | None = None
    profile: str = DEFAULT_PROFILE
    nan_policy: str = "error"
    seed: int | None = None
    n: int = 1
    best_of: int | None = None
    distinct: float = 0.0
    max_tokens: int | None = None
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    stop_token_sequences: tuple[tuple[int, ...], ...] = ()
    ignore_eos: bool = False
    include_stop_str_in_output: bool = False
    repetition_detection: RepetitionDetection | None = None
    prompt_lookup_num_tokens: int = 0
    max_matching_ngram_size: int = 8
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = False
    hold: str = "codepoint"
    logprobs: int | None = None
    logprobs_mode: str = "raw_logprobs"
    entropy: bool = False
    json_schema: str | None = None
    regex: str | None = None
    grammar: str | None = None

    def __post_init__(self) -> None:
        fields = dataclasses.fields(self)
        values, problems = rules.checked(
            {field.name: getattr(self, field.name) for field in fields}, {field.name: field.default for field in fields}
        )
        if problems:
            raise InvalidParameterError(
                f"invalid sampling parameters: {'; '.join(problems)}",
                parameter=problems[0].split("=")[0],
                problems=problems,
            )
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def greedy(self) -> bool:
        """Whether the most likely token is always taken."""
        return self.temperature < GREEDY_BELOW

    def replace(self, **changes: Any) -> SamplingParams:
        """Return a copy with other values; aliases are understood and checked like in the constructor."""
        return SamplingParams(**{**self.to_dict(), **spellings.resolved(changes)})

    def children(self) -> tuple[SamplingParams, ...]:
        """Return parameters for each single answer: `best_of` or `n` of them, the i-th with `seed` + i.

        After the largest seed of 64 bits comes 0; without a seed each answer draws its own.
        """
        count = self.n if self.best_of is None else self.best_of
        if self.seed is None:
            return (self.replace(n=1, best_of=None),) * count
        seeds = (int(self.seed) + i for i in range(count))
        # Negative seeds count up to 0 and on: -1 and 2^64 - 1 are the same 64 bits, and so are their successors.
        return tuple(
            self.replace(n=1, best_of=None, seed=seed if seed < 1 << 64 else seed - (1 << 64)) for seed in seeds
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all parameters by name, `logit_bias` as a dict; the constructor accepts them."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.logit_bias is not None:
            values["logit_bias"] = dict(self.logit_bias)
        return values

    def __repr__(self) -> str:
        changed = (
            f"{f.name}={getattr(self, f.name)!r}"
            for f in dataclasses.fields(self)
            if getattr(self, f.name) != f.default
        )
        return f"SamplingParams({', '.join(changed)})"

    @classmethod
    def from_openai(cls, request: Mapping[str, Any]) -> SamplingParams:
        """Return the parameters in the body of an OpenAI-style request; other keys are left alone.

        All names and aliases of parameters count, ``top_logprobs``, ``response_format``, and vLLM's ``guided_json``,
        ``guided_regex`` and ``guided_grammar``.

        Raises
        ------
        InvalidParameterError
            If names for the same parameter contradict each other, or as the constructor does.
        """
        return cls(**spellings.from_openai(request))

    @classmethod
    def from_generation_config(cls, config: str | Path | Mapping[str, Any]) -> SamplingParams:
        """Return what a checkpoint's ``generation_config.json`` sets: given its path, its folder, or the parsed file.

        ``do_sample: false`` means greedy; the sampling values beside it are then unused, as transformers treats them,
        while penalties, bans and the least number of tokens hold.

        Raises
        ------
        CheckpointError
            If the file can't be read, is not a JSON object, or holds a value that is out of range.
        """
        try:
            return cls(**spellings.from_generation_config(config))
        except InvalidParameterError as error:
            raise CheckpointError("a value of the generation config is out of range", reason=error.message) from error


# The generated constructor stays, with its signature for editors and type checkers; names are resolved before it.
_generated_init = SamplingParams.__init__


@functools.wraps(_generated_init)
def _init(self: SamplingParams, **given: Any) -> None:
    _generated_init(self, **spellings.resolved(given))


SamplingParams.__init__ = _init  # type: ignore[method-assign]
