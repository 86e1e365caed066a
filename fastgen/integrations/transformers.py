"""Sampling for ``model.generate(...)`` of transformers, in place of its processors, softmax and multinomial draw.

``model.generate(**inputs, **sampling(temperature=0.8, top_p=0.95, seed=1, max_new_tokens=64))``
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fastgen.batch import SamplerBatch
from fastgen.devices import sample_rows
from fastgen.errors import InvalidParameterError, LogitsError, missing_dependency
from fastgen.params import SamplingParams
from fastgen.sampler import Sampler
from fastgen.workspace import Workspace

if TYPE_CHECKING:
    import torch

__all__ = ["FastSampler", "sampling"]

# What a model's generation config may ask for and the sampler does instead, or what can't be had together with it. The
# latter also makes ``generate(num_beams=4, **sampling())`` an error of Python's: an argument that is given twice.
NEUTRAL: Final[dict[str, Any]] = {
    **dict.fromkeys(("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")),
    **dict.fromkeys(
        ("repetition_penalty", "no_repeat_ngram_size", "bad_words_ids", "suppress_tokens", "min_new_tokens")
    ),
    **dict.fromkeys(("penalty_alpha", "dola_layers", "prompt_lookup_num_tokens", "assistant_early_exit")),
    "use_mtp": False,
    "num_beams": 1,
}
UNUSED: Final = ("best_of", "logprobs", "entropy", "json_schema", "regex", "grammar")


def sampling(
    params: SamplingParams | None = None,
    *,
    model: Any = None,
    eos_token_id: int | Sequence[int] | None = None,
    pad_token_id: int | None = None,
    choice: int = 0,
    **overrides: Any,
) -> dict[str, Any]:
    """Return keyword arguments for one call of ``model.generate``.

    Parameters
    ----------
    params : SamplingParams, optional
        Without them: what the generation config of `model` sets, as ``generate(do_sample=True)`` reads it, or the
        neutral ones; both in the profile ``hf``, whose order and habits are those of transformers.
    model : PreTrainedModel, optional
        Its generation config also tells which tokens end a text and which one pads.
    eos_token_id : int or sequence of int, optional
        Tokens that end a text, where the model does not tell: `min_tokens`, `ban_eos` and `stop_token_ids` need them.
    pad_token_id : int, optional
        What stands left of shorter prompts: it is left out of the history, on which penalties rest.
    choice : int
        Row r of the batch is choice ``choice + r`` of the seed; profile ``llamacpp`` adds r to the seed instead.
        With `n` answers for each prompt, those to the first prompt are the first n rows, and so on.
    **overrides
        Sampling parameters by name, in place of those in `params`.

    Returns
    -------
    dict
        `logits_processor` is a list that holds one `FastSampler`; put processors of your own before it.

    Raises
    ------
    InvalidParameterError
        Values out of range, or parameters that have no meaning here: logprobs, entropy, best_of, grammars.

    Notes
    -----
    The model's settings for sampling are turned off, so only what stands in `params` counts. Its other processors stay,
    and come before the sampler. Assistants and beam search need scores, not tokens: they can't be combined with this.
    """
    try:
        from transformers import GenerationConfig
    except ImportError as error:
        raise missing_dependency("transformers", "hf", "sampling for transformers") from error
    config = getattr(model, "generation_config", None)
    params = _of_config(config) if params is None else params
    params = params.replace(**overrides) if overrides else params
    default = SamplingParams()
    unused = [name for name in UNUSED if getattr(params, name) != getattr(default, name)]
    if unused:
        raise InvalidParameterError("parameters have no meaning in generate() of transformers", parameters=unused)

    known = GenerationConfig()
    arguments = {name: value for name, value in NEUTRAL.items() if hasattr(known, name)}
    arguments["assistant_model"] = None
    arguments["do_sample"] = params.n > 1  # generate() has several answers to a prompt only for what it calls sampling
    if params.n > 1:
        arguments["num_return_sequences"] = params.n
    if params.max_tokens is not None:
        arguments["max_new_tokens"] = params.max_tokens
    if params.stop:
        arguments["stop_strings"] = list(params.stop)
    eos = _ids(eos_token_id) or _ids(getattr(config, "eos_token_id", None))
    if not eos and (params.min_tokens or params.ban_eos or params.stop_token_ids):
        raise InvalidParameterError("which tokens end a text?", hint="give model= or eos_token_id=")
    if params.ignore_eos or params.stop_token_ids or eos_token_id is not None:
        ends = [*(() if params.ignore_eos else eos), *params.stop_token_ids]
        arguments["eos_token_id"] = ends or None
    if pad_token_id is not None:
        arguments["pad_token_id"] = pad_token_id
    else:
        pad_token_id = getattr(config, "pad_token_id", None)
    sampler = FastSampler(params, eos_ids=eos, pad_token_id=pad_token_id, choice=choice)
    return {**arguments, "logits_processor": [sampler]}


def _of_config(config: Any) -> SamplingParams:
    if config is None:
        return SamplingParams(profile="hf")
    fill_in = getattr(config, "_get_default_generation_params", dict)  # transformers 5: what generate() takes for None
    defaults: dict[str, Any] = fill_in()
    defaults.pop("do_sample", None)
    given = {name: value for name, value in config.to_dict().items() if value is not None}
    return SamplingParams.from_generation_config({**defaults, **given}).replace(profile="hf")


def _ids(value: Any) -> tuple[int, ...]:
    return () if value is None else (value,) if isinstance(value, int) else tuple(value)


class FastSampler:
    """A logits processor that leaves one token: the one that fastgen chose.

    Each row of a batch has a sampler of its own. Its history is what stands in `input_ids`: at the first call the
    prompt, then one more token in each call. Anything else, another number of rows or other tokens before, is taken for
    the beginning of a new text, and all begins anew: with the same seed if `params` has one.

    Parameters
    ----------
    params : SamplingParams
    eos_ids : sequence of int
        Tokens that end a text.
    pad_token_id : int, optional
        Left out where it stands at the beginning of a row.
    choice : int
        That of the first row.
    """

    def __init__(
        self, params: SamplingParams, *, eos_ids: Sequence[int] = (), pad_token_id: int | None = None, choice: int = 0
    ) -> None:
        self.params = params
        self._eos_ids, self._pad, self._choice = tuple(eos_ids), pad_token_id, choice
        self._seen: torch.Tensor | None = None
        self._batch: SamplerBatch | None = None
        self._chosen: list[int] = []
        self._finished: list[bool] = []

    @property
    def seed(self) -> int | None:
        """The seed in use: that of the parameters, or the one drawn for the last text; None before the first one."""
        if self.params.seed is not None or self._batch is None:
            return self.params.seed
        return int(self._batch.samplers[0].seed)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores that are 0 for the chosen token of each row and -inf for all others.

        Parameters
        ----------
        input_ids : int64 tensor of shape [rows, length]
        scores : tensor of shape [rows, vocab], on any device; not changed

        Returns
        -------
        tensor like `scores`

        Raises
        ------
        LogitsError
            As `SamplerBatch.sample`; not for rows that have ended.
        """
        import torch

        batch = self._followed(input_ids, scores.shape[1])
        try:
            tokens = batch.sample(scores) if scores.is_cpu else sample_rows(batch.samplers, scores)
        except LogitsError as error:
            tokens = self._only_finished(error)
        self._chosen = tokens.tolist()
        marks = torch.full_like(scores, -torch.inf)
        return marks.scatter_(1, torch.from_numpy(tokens).to(scores.device, torch.int64)[:, None], 0.0)

    def _followed(self, input_ids: torch.Tensor, vocab: int) -> SamplerBatch:
        """Take in the tokens that are new; return the batch of this text."""
        import torch

        seen, self._seen = self._seen, input_ids
        rows, length = input_ids.shape
        batch = self._batch
        goes_on = seen is not None and seen.shape == (rows, length - 1) and seen.device == input_ids.device
        if batch is None or not goes_on or seen is None or not torch.equal(seen, input_ids[:, :-1]):
            self._batch = batch = self._begun(input_ids, vocab)
            return batch
        for row, token in enumerate(input_ids[:, -1].tolist()):
            ends = token == self._pad if self._pad is not None else token in self._eos_ids
            if token != self._chosen[row] and ends:
                self._finished[row] = True
            if not self._finished[row] and 0 <= token < vocab:
                batch.samplers[row].observe(token, prompt=False)
        return batch

    def _begun(self, input_ids: torch.Tensor, vocab: int) -> SamplerBatch:
        import torch

        params = self.params
        if params.seed is None:
            params = params.replace(seed=secrets.randbits(63))
        workspace = Workspace()
        samplers = []
        for row, prompt in enumerate(input_ids.tolist()):
            own = params
            if params.profile == "llamacpp":  # its generator knows no choices
                own = params.replace(seed=((params.seed or 0) + self._choice + row) % (1 << 63))
            choice = self._choice + row
            sampler = Sampler(own, vocab, choice=choice, eos_ids=self._eos_ids, workspace=workspace)
            start = 0
            while start + 1 < len(prompt) and prompt[start] == self._pad:
                start += 1
            sampler.observe([token for token in prompt[start:] if 0 <= token < vocab], prompt=True)
            samplers.append(sampler)
        self._finished = [False] * len(samplers)
        return SamplerBatch(samplers, threads=min(256, torch.get_num_threads()))

    def _only_finished(self, error: LogitsError) -> NDArray[np.int32]:
        """Return the tokens of a failed step if all rows that failed have ended; raise the error again if not."""
        if error.tokens is None or any(token < 0 and not self._finished[r] for r, token in enumerate(error.tokens)):
            raise error
        tokens: NDArray[np.int32] = np.maximum(error.tokens, 0)
        return tokens
