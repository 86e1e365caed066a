from collections.abc import Iterable
from typing import Any, Protocol, TypeAlias, type_check_only

from typing_extensions import Buffer

@type_check_only
class _Tensor(Protocol):
    def numpy(self) -> Any: ...

TokenIds: TypeAlias = Iterable[int] | Buffer | _Tensor

def find(tokens: TokenIds, ngram: TokenIds) -> int: ...
def find_last(tokens: TokenIds, ngram: TokenIds) -> int: ...
def common_prefix(left: TokenIds, right: TokenIds) -> int: ...
