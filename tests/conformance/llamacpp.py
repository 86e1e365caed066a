"""llama.cpp's samplers, driven through its C API; no model is needed."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as api

Array = np.ndarray[Any, Any]

CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])

# A build for tests, not a public name: breakers as token ids, which init_dry takes only as texts of a vocabulary.
DRY_OF_IDS = "_Z30llama_sampler_init_dry_testingffiiRKSt6vectorIS_IiSaIiEESaIS1_EE"


class Chain:
    """A chain of samplers, which it owns."""

    def __init__(self, *samplers: Any) -> None:
        self.chain = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
        for sampler in samplers:
            api.llama_sampler_chain_add(self.chain, sampler)

    def __del__(self) -> None:
        api.llama_sampler_free(self.chain)

    def accept(self, *tokens: int) -> None:
        for token in tokens:
            api.llama_sampler_accept(self.chain, token)

    def apply(self, row: Array) -> tuple[Array, int]:
        """Return the candidates that are left, in llama.cpp's order, and the token that was drawn, or -1."""
        candidates = np.zeros(row.size, CANDIDATE)
        candidates["id"], candidates["logit"] = np.arange(row.size), row
        data = candidates.ctypes.data_as(ctypes.POINTER(api.llama_token_data))
        array = api.llama_token_data_array(data, row.size, -1, False)
        api.llama_sampler_apply(self.chain, ctypes.byref(array))
        # XTC moves the start
        first = (ctypes.addressof(array.data.contents) - candidates.ctypes.data) // CANDIDATE.itemsize
        left = candidates[first : first + array.size]
        return left, int(left["id"][array.selected]) if array.selected >= 0 else -1

    def probabilities(self, row: Array) -> Array:
        """Return each token's probability after the chain, from the scores that it leaves."""
        left, _ = self.apply(row)
        weights = np.exp(left["logit"].astype(np.float64) - float(left["logit"].max()))
        out = np.zeros(row.size)
        out[left["id"]] = weights / weights.sum()
        return out


def dry(multiplier: float, base: float, allowed: int, last_n: int, breakers: Sequence[Sequence[int]]) -> Any:
    """Return the DRY sampler."""
    if not breakers:
        return api.llama_sampler_init_dry(None, multiplier, base, allowed, last_n, None, 0)
    init = getattr(api._lib, DRY_OF_IDS)
    init.restype = api.llama_sampler_p_ctypes
    init.argtypes = [ctypes.c_float, ctypes.c_float, ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p]
    # a std::vector is three pointers: its first item, behind its last item, behind its memory
    inner = [np.array(breaker, np.int32) for breaker in breakers]
    outer = np.array([[a.ctypes.data, a.ctypes.data + a.nbytes, a.ctypes.data + a.nbytes] for a in inner], np.uintp)
    vector = np.array([outer.ctypes.data, *[outer.ctypes.data + outer.nbytes] * 2], np.uintp)
    return init(multiplier, base, allowed, last_n, vector.ctypes.data)


def samplers(p: Mapping[str, Any], vocab_size: int, seed: int | None = None, context: int = 4096) -> list[Any]:
    """Return the samplers that llama.cpp's programs would make for these parameters of ours, all of them given.

    The last one draws, if there is a seed.
    """
    bias = [api.llama_logit_bias(token, value) for token, value in (p["logit_bias"] or {}).items()]
    last_n = 64 if p["repetition_window"] is None else p["repetition_window"]
    dry_last_n = context if p["dry_penalty_last_n"] < 0 else p["dry_penalty_last_n"]
    chain = [api.llama_sampler_init_logit_bias(vocab_size, len(bias), (api.llama_logit_bias * len(bias))(*bias))]
    if p["mirostat"] and seed is not None:
        tau, eta = p["mirostat_tau"], p["mirostat_eta"]
        chain.append(api.llama_sampler_init_temp(p["temperature"]))
        if p["mirostat"] == 1:
            return [*chain, api.llama_sampler_init_mirostat(vocab_size, seed, tau, eta, 100)]
        return [*chain, api.llama_sampler_init_mirostat_v2(seed, tau, eta)]
    chain += [
        api.llama_sampler_init_penalties(
            vocab_size,
            context if last_n < 0 else last_n,
            p["repetition_penalty"],
            p["frequency_penalty"],
            p["presence_penalty"],
        ),
        dry(p["dry_multiplier"], p["dry_base"], p["dry_allowed_length"], dry_last_n, p["dry_sequence_breakers"]),
        api.llama_sampler_init_top_n_sigma(p["top_n_sigma"]),
        api.llama_sampler_init_top_k(p["top_k"]),
        api.llama_sampler_init_typical(p["typical_p"], 0),
        api.llama_sampler_init_top_p(p["top_p"], 0),
        api.llama_sampler_init_min_p(p["min_p"], 0),
        api.llama_sampler_init_xtc(p["xtc_probability"], p["xtc_threshold"], 0, seed or 0),
        api.llama_sampler_init_temp_ext(p["temperature"], p["dynatemp_range"], p["dynatemp_exponent"]),
    ]
    return chain if seed is None else [*chain, api.llama_sampler_init_dist(seed)]
