"""Prompts of conversations, as bytes and as token ids, against Jinja and transformers; and what learning costs.

Conversations of the data set "chat" have a system message that stays the same and new words in every other message of
every call, as the requests of an application do; those of "fresh" have new words everywhere; "long" is "chat" with
about 400 words in each message. The demo model's template and vocabulary.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from functools import cache
from time import perf_counter
from typing import Any

from .common import Bench, Figure, Peer, demo_file, level_of, package, paired

KINDS = ["chat", "fresh", "long"]
TARGETS = {"bytes": {"transformers": 15.0, "jinja": 15.0}, "ids": {"transformers": 1.5}}
# fmt: off
WORDS = [  # common English nouns
    "time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world", "school", "state",
    "family", "student", "group", "country", "problem", "hand", "part", "place", "case", "week", "company",
    "system", "program", "question", "work", "government", "number", "night", "point", "home", "water", "room",
    "mother", "area", "money", "story", "fact", "month", "lot", "right", "study", "book", "eye", "job", "word",
    "business", "issue", "side", "kind", "head", "house", "service", "friend",
]
# fmt: on
CONVERSATIONS = 2000  # more than are remembered


@cache
def conversations(kind: str, seed: int = 0) -> list[list[dict[str, str]]]:
    """Return conversations of a system message, a question and an answer."""
    rng = random.Random(f"{kind} {seed}")
    sizes = (400, 400, 400) if kind == "long" else (9, 13, 8)

    def text(words: int) -> str:
        return " ".join(rng.choices(WORDS, k=words))

    system = text(sizes[0])
    made = []
    for _ in range(CONVERSATIONS):
        contents = (text(sizes[0]) if kind == "fresh" else system, text(sizes[1]), text(sizes[2]))
        roles = ("system", "user", "assistant")
        made.append([{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)])
    return made


@cache
def tokenizer() -> Any:
    from fastgen import load_tokenizer

    package("tokenizers")
    return load_tokenizer(demo_file())


@cache
def reference() -> Any:
    """Return the same tokenizer and template in transformers."""
    ours = tokenizer()
    made = package("transformers").PreTrainedTokenizerFast(
        tokenizer_object=ours.backend, bos_token="<|im_start|>", eos_token="<|im_end|>"
    )
    made.chat_template = ours.chat_template
    return made


def template(source: str | None = None) -> Any:
    from fastgen import ChatTemplate

    return ChatTemplate(source or tokenizer().chat_template, bos_token="<|im_start|>", eos_token="<|im_end|>")


def call(impl: str, what: str) -> Callable[[Any], Any]:
    """Return a function that makes bytes or ids of a conversation."""
    if impl == "fastgen":
        from fastgen.prompt import PromptBuilder

        ours, vocabulary, prompt = template(), tokenizer(), PromptBuilder()
        ours.program(["system", "user", "assistant"])
        if what == "ids":
            return lambda messages: ours.encode(messages, vocabulary)

        def build(messages: Any) -> bytes:
            prompt.clear()
            ours.write(prompt, messages)
            return bytes(prompt)

        return build
    if impl == "transformers":
        theirs = reference()
        return lambda messages: theirs.apply_chat_template(messages, tokenize=what == "ids", add_generation_prompt=True)
    if what == "ids":
        raise NotImplementedError("Jinja has no tokens")
    sandbox = package("jinja2.sandbox").ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    render = sandbox.from_string(tokenizer().chat_template).render
    return lambda messages: render(messages=messages, add_generation_prompt=True).encode()


def peer(impl: str, what: str, kind: str) -> Peer:
    """Return a call that takes one conversation after the other; no two peers have the same ones."""
    turn = itertools.cycle(conversations(kind, ["fastgen", "transformers", "jinja"].index(impl)))
    one = call(impl, what)
    return Peer(lambda: one(next(turn)), level_of("fastgen"))


class Bytes(Bench):
    param_names = ("impl", "kind")
    params = (["fastgen", "transformers", "jinja"], KINDS)

    def setup(self, impl: str, kind: str) -> None:
        self.call = peer(impl, "bytes", kind).call

    def time_bytes(self, impl: str, kind: str) -> None:
        self.call()


class Ids(Bench):
    param_names = ("impl", "kind")
    params = (["fastgen", "transformers"], KINDS)

    def setup(self, impl: str, kind: str) -> None:
        self.call = peer(impl, "ids", kind).call

    def time_ids(self, impl: str, kind: str) -> None:
        self.call()


class Speedup:
    version = "1"
    unit = "x faster"
    param_names = ("peer", "what", "kind")
    params = (["transformers", "jinja"], ["bytes", "ids"], KINDS)

    def setup(self, impl: str, what: str, kind: str) -> None:
        self.peers = peer("fastgen", what, kind), peer(impl, what, kind)

    def track_speedup(self, impl: str, what: str, kind: str) -> float:
        return paired(*self.peers).ratio


class Learning:
    """Milliseconds until a program exists: for a template never seen, and for new roles of a known one."""

    version = "1"
    unit = "ms"
    param_names = ("known",)
    params = ([False, True],)
    numbers = itertools.count()

    def track_learning(self, known: bool) -> float:
        times = []
        for _ in range(11):
            new = template(f"{tokenizer().chat_template}{{# {next(self.numbers)} #}}")
            if known:
                new.program(["user"])
            began = perf_counter()
            new.program(["system", "user", "assistant"])
            times.append(perf_counter() - began)
        return 1000 * sorted(times)[5]


def figures() -> Iterator[Figure]:
    """Yield what is measured for the figures of the README."""
    for what, kinds in (("bytes", ["fresh"]), ("ids", KINDS)):
        for impl, target in TARGETS[what].items():
            for kind in kinds:
                pair = paired(peer("fastgen", what, kind), peer(impl, what, kind))
                yield Figure(f"3 messages to {what}, {kind}", impl, pair, target=target)
