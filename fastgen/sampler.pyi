from typing import Any, Self, TypeVar, final, overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

from fastgen.kernels.logits import _Logits
from fastgen.params import SamplingParams

_Out = TypeVar("_Out", bound=Buffer | NDArray[np.int32])

@final
class Sampler:
    position: int
    def __new__(
        cls, params: SamplingParams | None = None, vocab_size: int | None = None, *, choice: int = 0
    ) -> Self: ...
    @property
    def params(self) -> SamplingParams: ...
    @property
    def vocab_size(self) -> int | None: ...
    @property
    def seed(self) -> int: ...
    @overload
    def sample(self, logits: _Logits, out: None = None) -> int | Any: ...  # an int32 array for a batch
    @overload
    def sample(self, logits: _Logits, out: _Out) -> _Out: ...
