from collections.abc import Mapping
from typing import Any

import numpy as np
from typing_extensions import Buffer

BLOCKS: Mapping[str, tuple[int, int]]

def supported() -> tuple[str, ...]: ...
def dequantize(type_name: str, data: Buffer | np.ndarray[Any, Any], out: Buffer | np.ndarray[Any, Any]) -> None: ...
