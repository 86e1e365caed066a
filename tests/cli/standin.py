"""A generator that needs no checkpoint and repeats its prompt.

Run as a program, this is the command line with that generator for every model.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from fakes import FakeTokenizer

from fastgen.generator import Generator
from fastgen.models.step import StepModel

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def parrot(
    *,
    chat_template: str | None = CHATML,
    interrupt_after: int | None = None,
    fail_after: int | None = None,
    pause: float = 0.0,
    forever: bool = False,
    max_positions: int = 1 << 20,
) -> Generator:
    """Return a generator that answers with its prompt, greedily.

    With a chat template the answer to "hi" is ``user\\nhi\\nassistant\\n``. After so many tokens, Ctrl-C can come or
    the logits can go bad.
    """
    tokenizer = FakeTokenizer(chat_template=chat_template)

    def step(ids: Any, state: dict[str, Any]) -> Any:
        new = ids[0].tolist()
        prompt = state.setdefault("prompt", new)
        place = state["place"] = state.get("place", -1) + 1
        if place == interrupt_after:
            raise KeyboardInterrupt
        time.sleep(pause if place else 0.0)
        script = prompt if forever else [*prompt, tokenizer.eos_ids[0]]
        logits = np.zeros(tokenizer.vocab_size, np.float32)
        logits[script[place % len(script)]] = np.nan if place == fail_after else 100.0
        return logits

    return Generator(StepModel(step, tokenizer.vocab_size, max_positions, name="parrot"), tokenizer)


if __name__ == "__main__":
    import os

    import fastgen.cli.chat
    import fastgen.cli.generate
    from fastgen.cli import main

    slow = parrot(pause=float(os.environ.get("PARROT_PAUSE", "0")), forever="PARROT_FOREVER" in os.environ)
    for module in (fastgen.cli.chat, fastgen.cli.generate):
        vars(module)["load"] = lambda *_, **__: slow
    main()
