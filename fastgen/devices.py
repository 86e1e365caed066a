"""Logits on an accelerator: the best scores of each row come to the host, or the row where they do not suffice.

The device finds the n best scores of a row and the row's mass; both come over in one copy. What most plans keep lies
within those n, and that can be told from their scores and the mass (`fastgen.closed`): the sampler sees the n in a row
where all else is -inf. If it can't be told, the row itself is brought.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastgen.closed import first_temperature, mass_to_tell, window
from fastgen.errors import LogitsError

if TYPE_CHECKING:
    import torch

    from fastgen.sampler import Sampler

__all__ = ["sample_rows", "sample_tensor"]

Floats = NDArray[np.float32]
T = TypeVar("T")
_thread = threading.local()


def sample_tensor(sampler: Sampler, logits: torch.Tensor, out: Any = None, mask: Any = None) -> Any:
    """Choose a token for each row of a tensor on any device; what `Sampler.sample` does with those not on the CPU.

    The tokens are distributed as those of the row on the host. For greedy plans and those that begin with top_k they
    are the same tokens; others draw with the same uniform numbers from a shorter row.

    Parameters
    ----------
    sampler : Sampler
    logits : tensor of float32, bfloat16 or float16, shape [vocab] or [rows, vocab]
    out, mask
        As for `Sampler.sample`; a mask may be on the device too.

    Returns
    -------
    int, or int32 array of shape [rows] for a batch

    Raises
    ------
    LogitsError, InvalidParameterError, FastgenError
        As `Sampler.sample`.

    Notes
    -----
    Each thread keeps one float32 array as large as its largest batch.
    """
    batch = _checked(logits)
    if hasattr(mask, "cpu"):
        mask = mask.cpu().numpy()

    def choose(rows: Any, totals: NDArray[np.float64]) -> Any:
        if logits.dim() == 1:
            return sampler._sample(rows[0], out, mask, totals[0])
        return sampler._sample(rows, out, mask, 0.0, totals)

    return _on_host([sampler] * batch.shape[0], batch, mask, choose)


def sample_rows(samplers: Sequence[Sampler], logits: torch.Tensor) -> NDArray[np.int32]:
    """Choose a token for each row of a tensor, with a sampler for each: `SamplerBatch.sample` for any device.

    Parameters
    ----------
    samplers : sequence of Sampler
    logits : tensor of float32, bfloat16 or float16, shape [samplers, vocab]

    Returns
    -------
    int32 array of shape [samplers]

    Raises
    ------
    LogitsError
        As `SamplerBatch.sample`.
    """
    batch = _checked(logits)
    if logits.dim() != 2 or batch.shape[0] != len(samplers):
        raise LogitsError(
            "a batch needs a row for each sampler", code="logits_invalid", rows=batch.shape[0], samplers=len(samplers)
        )

    def choose(rows: Any, totals: NDArray[np.float64]) -> NDArray[np.int32]:
        tokens = np.full(len(samplers), -1, np.int32)
        faults = []
        for row, sampler in enumerate(samplers):
            try:
                tokens[row] = sampler._sample(rows[row], None, None, totals[row])
            except LogitsError as error:
                error.details["row"] = row
                faults.append(error)
        if faults:
            first = faults[0]
            fault = LogitsError(first.message, code=first.code, **first.details)
            fault.tokens, fault.rows = tokens, tuple(faults)
            raise fault
        return tokens

    return _on_host(samplers, batch, None, choose)


def _checked(logits: torch.Tensor) -> torch.Tensor:
    """Return the logits as [rows, vocab], if they are something that can be sampled from."""
    import torch

    if logits.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        dtype = str(logits.dtype)
        raise LogitsError("logits must be float32, bfloat16 or float16", code="logits_invalid", dtype=dtype)
    if logits.layout != torch.strided or logits.device.type == "meta":
        layout, device = str(logits.layout), str(logits.device)
        raise LogitsError("logits must be a dense tensor", code="logits_invalid", layout=layout, device=device)
    if logits.dim() not in (1, 2) or logits.numel() == 0:
        raise LogitsError("logits must be [vocab] or [rows, vocab]", code="logits_invalid", shape=tuple(logits.shape))
    logits = logits.detach()
    return logits[None] if logits.dim() == 1 else logits


def _on_host(
    samplers: Sequence[Sampler], logits: torch.Tensor, mask: Any, choose: Callable[[Any, NDArray[np.float64]], T]
) -> T:
    """Call `choose` with rows on the host and their masses, 0 where the sampler needs none."""
    count, vocab = logits.shape
    masked = mask is not None
    of_one = {id(one): window(one, vocab, masked) for one in samplers}
    windows = [of_one[id(one)] for one in samplers]
    totals = np.zeros(count)
    if max(windows) == 0 or (masked and not _fits(mask, count, vocab)):
        return choose(_whole_rows(logits, range(count)), totals)
    temperatures = [first_temperature(one.plan) for one in samplers]
    scores, ids, masses = _best(logits, max(windows), temperatures)
    whole = []
    for row, sampler in enumerate(samplers):
        allowed = None if not masked else _allowed(mask if mask.ndim == 1 else mask[row], ids[row])
        mass = float(masses[row])
        total = None
        if windows[row] and math.isfinite(mass):
            total = mass_to_tell(sampler.plan, sampler._edits, scores[row], mass, allowed)
        if total is None:
            whole.append(row)
        else:
            totals[row] = total
    rows = _rows(count, vocab)
    try:
        if whole:
            rows[whole] = _whole_rows(logits, whole).float().numpy()
        for row in set(range(count)).difference(whole):
            rows[row, ids[row]] = scores[row]
        return choose(rows, totals)
    finally:
        rows[whole] = -np.inf
        np.put_along_axis(rows, ids, np.float32(-np.inf), axis=1)


def _rows(count: int, vocab: int) -> Floats:
    """Return this thread's array, which holds nothing but -inf."""
    flat = getattr(_thread, "scores", None)
    if flat is None or flat.size < count * vocab:
        flat = _thread.scores = np.full(count * vocab, -np.inf, np.float32)
    rows: Floats = flat[: count * vocab].reshape(count, vocab)
    return rows


def _whole_rows(logits: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
    """Bring whole rows to the host."""
    return (logits if len(rows) == logits.shape[0] else logits[list(rows)]).cpu()


def _best(
    logits: torch.Tensor, count: int, temperatures: list[float]
) -> tuple[Floats, NDArray[np.int32], NDArray[Any]]:
    """Return scores and ids of the best tokens, best first, and the row's mass relative to its maximum.

    The mass is NaN if the row holds a NaN or +inf, or nothing but -inf.
    """
    import torch

    scores, ids = torch.topk(logits, count, dim=-1)
    scores = scores.float()
    distances = torch.sub(logits, scores[:, :1])  # float32
    if len(set(temperatures)) > 1:
        distances /= torch.tensor(temperatures, device=logits.device)[:, None]
    elif temperatures[0] != 1:
        distances /= temperatures[0]
    exact = torch.float32 if logits.device.type == "mps" else torch.float64
    mass = distances.exp_().sum(-1, keepdim=True, dtype=exact)
    parts = (scores, ids.to(torch.int32).view(torch.float32), mass.view(torch.float32))  # one copy for all three
    packed = torch.cat(parts, 1).cpu().numpy()
    masses = packed[:, 2 * count :].view(np.float32 if exact == torch.float32 else np.float64)
    return packed[:, :count], packed[:, count : 2 * count].view(np.int32), masses[:, 0]


def _fits(mask: Any, rows: int, vocab: int) -> bool:
    """Whether a mask has the form that `Sampler.sample` takes; if not, that is where the error comes from."""
    form = isinstance(mask, np.ndarray) and mask.dtype in (np.int32, np.uint32) and mask.ndim in (1, 2)
    return form and mask.shape[-1] >= (vocab + 31) // 32 and (mask.ndim == 1 or mask.shape[0] == rows)


def _allowed(words: NDArray[Any], ids: NDArray[np.int32]) -> NDArray[np.bool_]:
    bits: NDArray[np.bool_] = (words.view(np.uint32)[ids >> 5] >> (ids & 31).astype(np.uint32) & 1).astype(bool)
    return bits
