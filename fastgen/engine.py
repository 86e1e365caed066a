"""The loop: admit, forward, sample, retire. Nothing else drives the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
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


def run(model: CausalLM, lanes: Iterable[Lane], vocab_size: int, config: EngineConfig) -> Iterator[Piece]:
    """Generate all lanes together and yield their pieces as they come; closing the iterator ends the work.

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
    except KeyboardInterrupt:  # Ctrl-C keeps what was produced: every sequence ends, then the interruption goes on
        yield from [lane.cancel() for lane in (*live, *waiting) if not lane.finished]
        raise


def _step(model: CausalLM, live: list[Lane], cache: Any, vocab_size: int, prefill_chunk: int) -> Iterator[Piece]:
    """Run one forward pass and give each of its sequences that has read its prompt a token."""
    batch, stepping = _next_batch(live, prefill_chunk)
    logits = _on_host(model.forward(batch, cache))
    if len(logits) != len(batch.slots):
        raise LogitsError(
            "the model returned a wrong number of rows",
            code="logits_invalid",
            expected=len(batch.slots),
            found=len(logits),
        )
    for row, slot in stepping:
        if piece := live[slot].step(logits[row, :vocab_size]):
            yield piece


def _next_batch(live: list[Lane], prefill_chunk: int) -> tuple[Batch, list[tuple[int, int]]]:
    """Return the next forward pass, and (row, slot) for each of its rows whose sequence gets a token.

    Prompts come first, up to `prefill_chunk` tokens in all; once they are read, every sequence adds its last token.
    """
    token_ids: list[int] = []
    slots: list[int] = []
    starts: list[int] = []
    counts: list[int] = []
    stepping: list[tuple[int, int]] = []
    for slot, lane in enumerate(live):
        start = lane.prefilled
        count = min(len(lane.prompt_ids) - start, prefill_chunk - len(token_ids))
        if count <= 0:
            continue
        token_ids += lane.prompt_ids[start : start + count]
        lane.prefilled += count
        if lane.prefilled == len(lane.prompt_ids):
            stepping.append((len(slots), slot))
        slots.append(slot)
        starts.append(start)
        counts.append(count)
    if slots:
        return Batch(token_ids, tuple(slots), tuple(starts), tuple(counts)), stepping
    every = range(len(live))
    batch = Batch(
        [lane.token_ids[-1] for lane in live], tuple(every), tuple(lane.position for lane in live), (1,) * len(live)
    )
    return batch, [(slot, slot) for slot in every]


def _on_host(logits: Any) -> Any:
    """Bring logits of an accelerator to the host: one copy for all rows."""
    return logits if getattr(logits, "is_cpu", True) else logits.cpu()
