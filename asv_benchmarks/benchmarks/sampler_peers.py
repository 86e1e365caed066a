"""What the sampler is measured against: one call chooses one token from a row, as the peer's own users would have it.

The peers: transformers; torch alone, as vLLM samples where it has no kernel; and llama.cpp, by its C API. No call ends
in a transfer or a callback; what can be made before the first token is made before.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .common import UnsupportedError, package

Settings = Mapping[str, Any]

# By the names of transformers' warpers, in the order in which `generate()` makes them.
WARPERS = {
    "temperature": "TemperatureLogitsWarper",
    "top_k": "TopKLogitsWarper",
    "top_p": "TopPLogitsWarper",
    "min_p": "MinPLogitsWarper",
    "typical_p": "TypicalLogitsWarper",
    "epsilon_cutoff": "EpsilonLogitsWarper",
    "eta_cutoff": "EtaLogitsWarper",
}
SORTED = {"repetition_penalty", "temperature", "top_k", "top_p", "min_p"}  # what torch_sort_call knows


def check(peer: str, settings: Settings, known: set[str]) -> None:
    """Skip what a peer lacks, and plans that follow the habits of another engine."""
    if lacking := settings.keys() - known:
        raise UnsupportedError(f"{peer} has no {', '.join(sorted(lacking))}")


def transformers_call(settings: Settings, row: Any, tokens: Any) -> Callable[[], Any]:
    """Return what `generate()` of transformers does between the model and the token."""
    check("transformers", settings, {*WARPERS, "repetition_penalty"})
    torch, process = package("torch"), package("transformers.generation.logits_process")
    ids, scores = torch.from_numpy(tokens)[None], torch.from_numpy(row)[None]
    if settings.get("temperature") == 0:
        return lambda: torch.argmax(scores, dim=-1)
    processors = process.LogitsProcessorList()
    if "repetition_penalty" in settings:
        processors.append(process.RepetitionPenaltyLogitsProcessor(settings["repetition_penalty"]))
    for name, warper in WARPERS.items():
        if name in settings:
            processors.append(getattr(process, warper)(settings[name]))

    def call() -> Any:
        probabilities = torch.nn.functional.softmax(processors(ids, scores), dim=-1)
        return torch.multinomial(probabilities, num_samples=1)

    return call


def torch_call(settings: Settings, row: Any, tokens: Any) -> Callable[[], Any]:
    torch = package("torch")
    if settings.get("temperature") != 0:
        raise UnsupportedError("torch has no such sampler")
    scores = torch.from_numpy(row)
    return lambda: torch.argmax(scores).item()


def torch_sort_call(settings: Settings, row: Any, tokens: Any) -> Callable[[], Any]:
    """Return how vLLM samples with torch alone: penalties by masks, a sort for top-k and top-p, an exponential race."""
    check("torch-sort", settings, SORTED)
    if not settings.keys() & {"top_k", "top_p", "min_p"}:
        raise UnsupportedError("nothing to sort")
    torch = package("torch")
    ids, given = torch.from_numpy(tokens)[None], torch.from_numpy(row)[None]
    repetition, temperature = settings.get("repetition_penalty"), settings.get("temperature", 1.0)
    top_k, top_p, min_p = settings.get("top_k"), settings.get("top_p"), settings.get("min_p")

    def call() -> Any:
        scores = given.clone()
        if repetition:
            seen = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, ids, True)
            penalties = torch.where(seen, repetition, 1.0)
            scores *= torch.where(scores > 0, 1.0 / penalties, penalties)
        if temperature != 1:
            scores.div_(temperature)
        if min_p:
            probabilities = scores.softmax(dim=-1)
            scores.masked_fill_(probabilities < min_p * probabilities.amax(dim=-1, keepdim=True), -torch.inf)
        if top_k or top_p:
            ascending, order = scores.sort(dim=-1, descending=False)
            if top_k:
                ascending.masked_fill_(ascending < ascending[:, -top_k, None], -torch.inf)
            if top_p:
                barred = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - top_p
                barred[:, -1] = False
                ascending.masked_fill_(barred, -torch.inf)
            scores = scores.scatter(dim=-1, index=order, src=ascending)
        probabilities = scores.softmax(dim=-1)
        return probabilities.div_(torch.empty_like(probabilities).exponential_()).argmax(dim=-1)

    return call


def llamacpp_samplers(api: Any, settings: Settings, vocab: int, length: int) -> list[Any]:
    """Return the samplers of a chain in the order of llama.cpp's programs; only those that do something."""
    if settings.get("temperature") == 0:
        return [api.llama_sampler_init_greedy()]
    last = [api.llama_sampler_init_dist(1)]
    temperature = settings.get("temperature", 1.0)
    if settings.get("mirostat") == 2:
        last = [api.llama_sampler_init_mirostat_v2(1, 5.0, 0.1)]
    if temperature != 1:
        last.insert(0, api.llama_sampler_init_temp(temperature))
    p = settings.get
    return [
        *([api.llama_sampler_init_penalties(vocab, length, p("repetition_penalty"), 0.0, 0.0)]
          if "repetition_penalty" in settings else []),
        *([api.llama_sampler_init_dry(None, p("dry_multiplier"), 1.75, 2, length, None, 0)]
          if "dry_multiplier" in settings else []),
        *([api.llama_sampler_init_top_n_sigma(p("top_n_sigma"))] if "top_n_sigma" in settings else []),
        *([api.llama_sampler_init_top_k(p("top_k"))] if p("top_k") else []),
        *([api.llama_sampler_init_typical(p("typical_p"), 0)] if "typical_p" in settings else []),
        *([api.llama_sampler_init_top_p(p("top_p"), 0)] if "top_p" in settings else []),
        *([api.llama_sampler_init_min_p(p("min_p"), 0)] if "min_p" in settings else []),
        *([api.llama_sampler_init_xtc(p("xtc_probability"), p("xtc_threshold"), 0, 1)]
          if "xtc_probability" in settings else []),
        *last,
    ]  # fmt: skip


class Chain:
    """A chain of llama.cpp's samplers, which it owns, and the array of candidates that it works on."""

    def __init__(self, api: Any, samplers: list[Any], row: Any) -> None:
        self.api, self.row, self.ids = api, row, np.arange(row.size, dtype=np.int32)
        self.chain = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
        for sampler in samplers:
            api.llama_sampler_chain_add(self.chain, sampler)
        self.candidates = np.zeros(row.size, [("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        self.data = self.candidates.ctypes.data_as(ctypes.POINTER(api.llama_token_data))
        self.array = api.llama_token_data_array(self.data, row.size, -1, False)

    def __del__(self) -> None:
        self.api.llama_sampler_free(self.chain)

    def __call__(self) -> int:
        self.candidates["id"], self.candidates["logit"] = self.ids, self.row
        array = self.array
        array.data, array.size, array.selected, array.sorted = self.data, self.row.size, -1, False
        self.api.llama_sampler_apply(self.chain, ctypes.byref(array))
        return int(array.data[array.selected].id)


def llamacpp_call(settings: Settings, row: Any, tokens: Any) -> Callable[[], Any]:
    """Return a call of llama.cpp's chain of samplers: sampling only, without its model.

    One call fills the array of candidates and applies the chain. The filling belongs to it, as in llama.cpp's programs
    and in llama-cpp-python: a chain reorders and shortens its array, so each token needs the ids and logits anew. It is
    done with NumPy, as llama-cpp-python does it; the column of probabilities, which the chain sets itself, is left.
    """
    known = {*SORTED, "typical_p", "top_n_sigma", "xtc_probability", "xtc_threshold", "dry_multiplier", "mirostat"}
    check("llama.cpp", settings, {*known, "profile"})
    api = package("llama_cpp.llama_cpp")
    chain = Chain(api, llamacpp_samplers(api, settings, row.size, len(tokens)), row)
    for token in tokens.tolist():
        api.llama_sampler_accept(chain.chain, token)
    return chain


CALLS: dict[str, Callable[[Settings, Any, Any], Callable[[], Any]]] = {
    "transformers": transformers_call,
    "torch": torch_call,
    "torch-sort": torch_sort_call,
    "llamacpp": llamacpp_call,
}
