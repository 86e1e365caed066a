from typing import Any, Literal, Protocol, TypeAlias, type_check_only

from typing_extensions import Buffer

@type_check_only
class _SupportsDLPack(Protocol):
    def __dlpack__(self) -> Any: ...

_Vector: TypeAlias = _SupportsDLPack | Buffer

def cosine(u: _Vector, v: _Vector, dtype: Literal["bfloat16"] | None = None) -> float: ...
