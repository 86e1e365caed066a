"""The text path of one answer, token by token: bytes, whole characters, stop strings; against other streams of text.

``fastgen-c`` takes all tokens in one call without the GIL; ``fastgen`` one call a token, as a loop of one's own would.
The peers, also one call a token, know no stop strings: ``tokenizers`` is its ``DecodeStream``, ``transformers`` its
``TextIteratorStreamer``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastgen as fg
from fastgen.transcript import Transcript

from .common import Bench, Figure, Pair, Peer, demo_file, level_of, package, paired

TEXTS = ["English", "mixed"]
STOPS = [0, 1, 1000]
IMPLS = ["fastgen-c", "fastgen", "tokenizers", "transformers"]
TOKENS = 2000

ENGLISH = (
    "The lighthouse stands on a narrow spit of rock at the mouth of the bay. It was built in 1871 by masons from the "
    "mainland, who brought the granite over in flat boats.\n"
)
MIXED = (
    "등대는 만 입구의 좁은 바위 위에 서 있다. 灯台は湾の入り口に立っている。 "
    "Маяк стоит на скале 🗼🌊👩\u200d👩\u200d👧 très loin…\n"
)


@functools.cache
def tokenizer() -> fg.tokenizer.Tokenizer:
    return fg.load_tokenizer(demo_file())


@functools.cache
def tokens(text: str) -> NDArray[np.int32]:
    """Return the tokens of a text: English, or one of several scripts and emoji, where most tokens are broken UTF-8."""
    ids = tokenizer().encode({"English": ENGLISH, "mixed": MIXED}[text])
    return np.resize(np.array(ids, np.int32), TOKENS)


@functools.cache
def stops(count: int) -> tuple[str, ...]:
    """Return stop strings that no text completes; their beginnings occur."""
    letters = np.random.default_rng(1).integers(ord("a"), ord("z") + 1, (count, 10))
    return tuple("".join(map(chr, word)) for word in letters)


def streaming(impl: str, text: str, count: int) -> Callable[[], Any]:
    """Return a call that turns `TOKENS` tokens into text."""
    ids = tokens(text)
    params = fg.SamplingParams(stop=stops(count))
    if impl == "fastgen-c":

        def at_once() -> str:
            return Transcript(tokenizer(), params).push_many(ids)

        return at_once
    listed = ids.tolist()
    if impl == "fastgen":

        def one_by_one() -> None:
            push = Transcript(tokenizer(), params).push
            for token in listed:
                push(token)

        return one_by_one
    if count:
        raise NotImplementedError("it knows no stop strings")
    if impl == "tokenizers":
        library, backend = package("tokenizers"), tokenizer().backend  # type: ignore[attr-defined]

        def decode_stream() -> None:
            stream = library.decoders.DecodeStream(skip_special_tokens=True)
            for token in listed:
                stream.step(backend, token)

        return decode_stream
    wrapped = package("transformers").PreTrainedTokenizerFast(tokenizer_object=tokenizer().backend)  # type: ignore[attr-defined]
    torch = package("torch")
    values = [torch.tensor([token]) for token in listed]

    def streamer() -> None:
        one = package("transformers").TextIteratorStreamer(wrapped)
        for value in values:
            one.put(value)

    return streamer


class Text(Bench):
    """Two thousand tokens."""

    param_names = ("impl", "text", "stops")
    params = (IMPLS, TEXTS, STOPS)
    timeout = 120

    def setup(self, impl: str, text: str, count: int) -> None:
        self.call = streaming(impl, text, count)

    def time_text(self, impl: str, text: str, count: int) -> None:
        self.call()


def per_token(pair: Pair) -> Pair:
    return Pair(pair.ours / TOKENS, pair.theirs / TOKENS, pair.ratio)


def figures() -> Iterator[Figure]:
    level = level_of("fastgen")

    def measured(ours: tuple[str, int], theirs: tuple[str, int], text: str) -> Pair:
        calls = [Peer(streaming(impl, text, count), level) for impl, count in (ours, theirs)]
        return per_token(paired(calls[0], calls[1]))

    for text in TEXTS:
        for peer, least in (("transformers", 30.0), ("tokenizers", 2.0)):
            what = f"a token to text, one call each, {text}"
            yield Figure(what, peer, measured(("fastgen", 0), (peer, 0), text), "x", least)
        what = f"a token to text and past a stop string, one call for all, {text}"
        yield Figure(what, "tokenizers", measured(("fastgen-c", 1), ("tokenizers", 0), text))
        what = f"the same with 1,000 stop strings, {text}"
        yield Figure(what, "one stop string", measured(("fastgen-c", 1000), ("fastgen-c", 1), text), "cost", 2.0)
