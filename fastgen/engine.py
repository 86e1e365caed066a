"""The loop: admit, forward, sample, retire. Nothing else drives the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from fastgen.errors import ConfigError, LogitsError
from fastgen.lane import Lane
from fastgen.models.contract import Batch, CausalLM
from fastgen.output import Piece

__all__ = ["EngineConfig", "run"]


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """How sequences share the model.

    Parameters
    ----------
    max_batch : int
        Most sequences decoded together; more wait for a slot.
    prefill_chunk : int
        Most prompt tokens in one forward pass. Longer prompts are read in chunks, which bounds the memory of a pass.

    Raises
    ------
    ConfigError
        If a value is not an integer of at least 1.
    """

    max_batch: int = 32
    prefill_chunk: int = 512

    def __post_init__(self) -> None:
        for name in ("max_batch", "prefill_chunk"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError("a setting must be an integer of at least 1", setting=name, value=value)

    @classmethod
    def of(cls, config: EngineConfig | Mapping[str, Any] | None) -> EngineConfig:
        """Return a configuration from itself, from a mapping of its settings, or the defaults."""
        if isinstance(config, EngineConfig):
            return config
        settings = dict(config or {})
        names = [field.name for field in fields(cls)]
        if unknown := settings.keys() - set(names):
            raise ConfigError("there is no such setting", hint=f"settings are {', '.join(names)}", setting=min(unknown))
        return cls(**settings)


def run(
    model: CausalLM,
    lanes: Iterable[Lane],
    vocab_size: int,
    config: EngineConfig,
    ended: Callable[[], bool] = lambda: False,
) -> Iterator[Piece]:
    """Generate all lanes together and yield their pieces as they come; closing the iterator ends the work.

    Before each pass of the model `ended` is asked; once it is true every sequence is cancelled.

    Live sequences fill the slots from 0 without gaps: when one ends, the last one moves into its place. Logits beyond
    `vocab_size`, which a model may have as padding, stand for no token and are left out.
    """
    waiting = deque(lanes)
    slots = min(len(waiting), config.max_batch)
    cache = model.new_cache(slots)
    live: list[Lane] = []
    try:
        while waiting or live:
            while waiting and len(live) < slots:
                live.append(waiting.popleft())
                live[-1].admit()
            yield from _step(model, live, cache, vocab_size, config.prefill_chunk)
            for slot in reversed(range(len(live))):
                if live[slot].finished:
                    last = live.pop()
                    if slot < len(live):
                        live[slot] = last
                        cache.move(len(live), slot)
            if ended():
                yield from [lane.cancel() for lane in (*live, *waiting)]
                return
    except KeyboardInterrupt:  # Ctrl-C keeps what was produced: every sequence ends, then the interruption goes on
        yield from [lane.cancel() for lane in (*live, *waiting) if not lane.finished]
        raise


def _step(model: CausalLM, live: list[Lane], cache: Any, vocab_size: int, prefill_chunk: int) -> Iterator[Piece]:
    """Run one forward pass and give each of its sequences that has read its prompt a token, or several.

    A sequence with a draft gets a row for its last token and for each of the draft's. They are taken one by one, as if
    each came from a pass of its own, for as long as the tokens chosen are those of the draft.
    """
    batch, drafts = _next_batch(live, prefill_chunk, getattr(model, "rewinds", False))
    logits = _on_host(model.forward(batch, cache))
    expected = len(batch.slots) if batch.rows is None else sum(batch.rows)
    if len(logits) != expected:
        raise LogitsError(
            "the model returned a wrong number of rows", code="logits_invalid", expected=expected, found=len(logits)
        )
    row = 0
    for slot, draft in zip(batch.slots, drafts, strict=True):
        if draft is not None:
            yield from live[slot].steps(logits[row : row + len(draft) + 1, :vocab_size], draft)
            row += len(draft)
        row += 1


def _next_batch(live: list[Lane], prefill_chunk: int, rewinds: bool) -> tuple[Batch, list[list[int] | None]]:
    """Return the next forward pass, and for each of its segments the draft, None where no token is chosen yet.

    Prompts come first, up to `prefill_chunk` tokens in all; once they are read, every sequence adds its last token and,
    if the model can take sequences back (`rewinds`), what it guesses comes next.
    """
    token_ids: list[int] = []
    slots: list[int] = []
    starts: list[int] = []
    counts: list[int] = []
    drafts: list[list[int] | None] = []
    for slot, lane in enumerate(live):
        start = lane.prefilled
        count = min(len(lane.prompt_ids) - start, prefill_chunk - len(token_ids))
        if count <= 0:
            continue
        token_ids += lane.prompt_ids[start : start + count]
        lane.prefilled += count
        drafts.append([] if lane.prefilled == len(lane.prompt_ids) else None)
        slots.append(slot)
        starts.append(start)
        counts.append(count)
    if slots:
        return Batch(token_ids, tuple(slots), tuple(starts), tuple(counts)), drafts
    for lane in live:
        draft = lane.draft() if rewinds else []
        token_ids += [lane.token_ids[-1], *draft]
        starts.append(lane.position)
        counts.append(1 + len(draft))
        drafts.append(draft)
    rows = tuple(counts) if len(token_ids) > len(live) else None
    return Batch(token_ids, tuple(range(len(live))), tuple(starts), tuple(counts), rows), drafts


def _on_host(logits: Any) -> Any:
    """Bring logits of an accelerator to the host: one copy for all rows."""
    return logits if getattr(logits, "is_cpu", True) else logits.cpu()
