from collections.abc import Iterable, Sequence
from typing import Any, Self, TypeVar, final, overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

from fastgen.kernels.logits import _Logits
from fastgen.logprobs import TokenLogprobs
from fastgen.params import SamplingParams
from fastgen.plan import Plan
from fastgen.workspace import Workspace

_Out = TypeVar("_Out", bound=Buffer | NDArray[np.int32])

@final
class Sampler:
    position: int
    def __new__(
        cls,
        params: SamplingParams | None = None,
        vocab_size: int | None = None,
        *,
        choice: int = 0,
        eos_ids: Sequence[int] = (),
        workspace: Workspace | None = None,
    ) -> Self: ...
    @property
    def params(self) -> SamplingParams: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def vocab_size(self) -> int | None: ...
    @property
    def seed(self) -> int: ...
    @property
    def passes(self) -> dict[str, float]: ...
    @property
    def masked(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def logprobs(self) -> tuple[TokenLogprobs, ...]: ...
    def explain(self) -> str: ...
    def observe(self, token_ids: int | Iterable[int] | NDArray[Any], *, prompt: bool | None = None) -> None: ...
    @overload
    def sample(self, logits: _Logits, out: None = None, *, mask: Any = None) -> int | Any: ...  # a batch: an array
    @overload
    def sample(self, logits: _Logits, out: _Out, *, mask: Any = None) -> _Out: ...
    @property
    def _edits(self) -> int: ...
    @property
    def _raises(self) -> bool: ...
    def _sample(
        self, logits: _Logits, out: Any, mask: Any, total: float, totals: NDArray[np.float64] | None = None
    ) -> Any: ...
    def distribution(self, logits: _Logits, *, mask: Any = None) -> NDArray[np.float64]: ...
