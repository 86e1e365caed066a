"""Prompt look-up: the time of a proposal, and how far proposals get in texts of this repository."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fastgen import cpu
from fastgen.lookup import PromptLookup

from . import loops
from .common import LEVELS, Bench, Figure, Peer, demo_file, level_of, package, paired
from .kernels import tokens as kernels
from .kernels.tokens import VOCAB, history

COUNTS = [1024, 32_768, 131_072]
ENDS = ["seen", "new"]
K = 10
ROOT = Path(__file__).parents[2]


def text(end: str, count: int) -> Any:
    """Return tokens of which the last ones stand nowhere else, or are those of the middle."""
    tokens = history(count).astype(np.int64)
    tokens[-8:] = tokens[count // 2 : count // 2 + 8] if end == "seen" else VOCAB + np.arange(8)
    return tokens


def transformers_generator(max_ngram: int) -> Any:
    package("torch")
    module = package("transformers.generation.candidate_generator")
    return module.PromptLookupCandidateGenerator(
        num_output_tokens=K, max_matching_ngram_size=max_ngram, max_length=1 << 30
    )


def numpy_propose(tokens: Any) -> Any:
    for size in (3, 2, 1):
        starts = tokens.size - size
        found = tokens[:starts] == tokens[-size]
        for place in range(1, size):
            found &= tokens[place : place + starts] == tokens[place - size]
        places = np.flatnonzero(found)
        if places.size:
            return tokens[places[-1] + size :][:K]
    return ()


def list_propose(tokens: list[int]) -> list[int]:
    for size in (3, 2, 1):
        ngram = tokens[-size:]
        for start in range(len(tokens) - size - 1, -1, -1):
            if tokens[start : start + size] == ngram:
                return tokens[start + size :][:K]
    return []


def peer(impl: str, end: str, count: int) -> Peer:
    tokens = text(end, count)
    call: Callable[[], Any]
    if impl == "transformers":
        generator = transformers_generator(3)
        ids = package("torch").from_numpy(tokens)[None]
        call = lambda: generator.get_candidates(ids)  # noqa: E731
    elif impl == "numpy":
        call = lambda: numpy_propose(tokens)  # noqa: E731
    elif impl == "list":
        listed = tokens.tolist()
        call = lambda: list_propose(listed)  # noqa: E731
    else:
        lookup = PromptLookup(tokens)
        call = lambda: lookup.propose(K)  # noqa: E731
    return Peer(call, level_of(impl))


class Propose(Bench):
    param_names = ("impl", "end", "count")
    params = (["fastgen", *(f"fastgen-{level}" for level in LEVELS), "transformers", "numpy", "list"], ENDS, COUNTS)

    def setup(self, impl: str, end: str, count: int) -> None:
        cpu.force(level_of(impl))
        self.call = peer(impl, end, count).call

    def time_propose(self, impl: str, end: str, count: int) -> None:
        self.call()


class Speedup:
    version = "1"
    unit = "x faster"
    param_names = ("peer", "end", "count")
    params = (["transformers", "numpy", "list", "fastgen-scalar"], ENDS, COUNTS)

    def track_speedup(self, impl: str, end: str, count: int) -> float:
        return paired(peer("fastgen", end, count), peer(impl, end, count)).ratio


@cache
def documents() -> dict[str, tuple[list[int], list[int]]]:
    """Return prompts and answers: texts of this repository, so a figure belongs to a revision of it."""
    from fastgen import load_tokenizer

    tokenizer = load_tokenizer(demo_file())

    def ids(path: str, most: int) -> list[int]:
        return tokenizer.encode((ROOT / path).read_text("utf-8"))[:most]

    lane = ids("fastgen/lane.py", 4000)
    coin = np.random.default_rng(0).random(len(lane))
    edited = [
        VOCAB if toss < 0.02 else token for toss, token in zip(coin, lane, strict=True) if not 0.02 <= toss < 0.03
    ]
    return {
        "prose": (ids("docs/sampling.md", 8000), ids("README.md", 4000)),
        "code": (ids("fastgen/kernels/logits.pyx", 8000), ids("fastgen/kernels/rows.pyx", 3000)),
        "port": (ids("csrc/kernels/logits/avx2.c", 9000), ids("csrc/kernels/logits/avx512.c", 4000)),
        "tests": ([], ids("tests/kernels/test_logits.py", 4000)),
        "edited": (lane, edited),  # one token in fifty replaced, one in a hundred left out
    }


def proposer(impl: str, prompt: list[int], answer: list[int]) -> Callable[[int], list[int]]:
    """Return what proposes K tokens after the first `count` ones."""
    tokens = prompt + answer
    if impl == "fastgen":
        lookup = PromptLookup()

        def propose(count: int) -> list[int]:
            lookup.extend(tokens[len(lookup) : count])
            return lookup.propose(K)

        return propose
    generator, ids = transformers_generator(int(impl[-1])), package("torch").tensor([tokens])
    return lambda count: generator.get_candidates(ids[:, :count])[0][0, count:].tolist()


class Acceptance:
    """Tokens that one step of a model that only ever agrees with the text yields: 1, and what was proposed right."""

    version = "1"
    unit = "tokens a step"
    param_names = ("impl", "document")
    params = (["fastgen", "transformers-2", "transformers-3"], ["prose", "code", "port", "tests", "edited"])
    timeout = 300

    def track_tokens_per_step(self, impl: str, document: str) -> float:
        prompt, answer = documents()[document]
        propose, tokens = proposer(impl, prompt, answer), prompt + answer
        count, steps = max(len(prompt), 1), 0
        while count < len(tokens):
            for token in [*propose(count), -1]:
                count += 1
                if count > len(tokens) or token != tokens[count - 1]:
                    break
            steps += 1
        return len(answer) / steps


def figures() -> Iterator[Figure]:
    """Yield searches, proposals and loop detection against their peers."""
    for operation in kernels.OPERATIONS:
        for impl in ("numpy", "torch", "fastgen-scalar"):
            ours, theirs = (kernels.peer(one, operation, 32_768) for one in ("fastgen", impl))
            yield Figure(f"{operation}, 32,768 token ids", impl, paired(ours, theirs))
    for count in COUNTS[1:]:
        for impl in ("transformers", "numpy"):
            pair = paired(peer("fastgen", "new", count), peer(impl, "new", count))
            yield Figure(f"prompt look-up of {K} tokens in {count:,}", impl, pair)
    for size in loops.SIZES:
        pair = paired(loops.loop_peer("fastgen", size), loops.loop_peer("vllm", size))
        yield Figure(f"a token through loop detection, patterns up to {size:,}", "vLLM's definition", pair)
