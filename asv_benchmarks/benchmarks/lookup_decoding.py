"""Prompt look-up decoding of the demo model on one thread: an answer that copies much of its prompt, and a free one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .common import Figure, Pair, demo_file, package
from .models import loader

TASKS = ["rewrite", "free"]
GUESSES = [0, 10]

PARAGRAPH = (
    "The lighthouse stands on a narrow spit of rock at the mouth of the bay. It was built in 1871 by masons from the "
    "mainland, who brought the granite over in flat boats. For eighty years a keeper lived there with his family and "
    "lit the lamp each evening. In 1953 the light was made automatic, and the last keeper moved to the village. Today "
    "the tower is a museum, and in summer visitors climb its 142 steps to see the islands."
)
MESSAGES = {
    "rewrite": f"Correct the spelling of this paragraph and write it out again:\n\n{PARAGRAPH}",
    "free": "Tell me a story about a lighthouse and its keeper.",
}


def answering(generator: Any, task: str, guesses: int) -> Callable[[], Any]:
    """Return a call that greedily answers, and returns the output."""
    messages = [{"role": "user", "content": MESSAGES[task]}]
    return lambda: generator.generate(messages, temperature=0.0, max_tokens=130, prompt_lookup_num_tokens=guesses)


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the time of the tokens after the first, and the output."""
    output = call()
    return output.timings.decode, output


class LookupDecoding:
    version = "1"
    unit = "tokens/s"
    timeout = 300
    param_names = ("task", "guesses")
    params = (TASKS, GUESSES)

    def setup(self, task: str, guesses: int) -> None:
        demo_file()
        package("torch").set_num_threads(1)
        self.call = answering(loader("fastgen")(), task, guesses)

    def track_answer(self, task: str, guesses: int) -> float:
        time, output = seconds(self.call)
        return (len(output.token_ids) - 1) / time


def figures(pairs: int = 3) -> Iterator[Figure]:
    package("torch").set_num_threads(1)
    generator = loader("fastgen")()
    for task, least in (("rewrite", 1.7), ("free", None)):
        times: list[list[float]] = [[], []]
        texts = set()
        for _ in range(pairs):
            for place, guesses in enumerate((10, 0)):
                time, output = seconds(answering(generator, task, guesses))
                times[place].append(time)
                texts.add(output.text)
        assert len(texts) == 1, "the answers differ"
        ratios = sorted(theirs / ours for ours, theirs in zip(*times, strict=True))
        ours, theirs = (sorted(column)[pairs // 2] for column in times)
        yield Figure(f"greedy answer, {task}", "without look-up", Pair(ours, theirs, ratios[pairs // 2]), "x", least)
