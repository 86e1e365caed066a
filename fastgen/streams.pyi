import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, final

from fastgen.cancellation import CancellationToken
from fastgen.chunk import Chunk
from fastgen.hub import Hub
from fastgen.waiting import AsyncPieces, Pieces
from fastgen.writer import Producer, StreamWriter

POLICIES: Final[Mapping[str, int]]
MAX_CAPACITY: Final[int]

@final
class TokenStream(Producer):
    def __new__(
        cls,
        capacity: int = 256,
        policy: str = "block",
        *,
        hub: Hub | None = None,
        token: CancellationToken | None = None,
        low: int | None = None,
        chunk_tokens: int | None = None,
        chunk_seconds: float = 0.0,
        tag: Any = None,
    ) -> TokenStream: ...
    def writer(self) -> StreamWriter: ...
    def cancel(self, reason: str = "cancelled") -> bool: ...
    def __iter__(self) -> Pieces: ...
    def pieces(self, timeout: float | None = None) -> Pieces: ...
    def __aiter__(self) -> AsyncPieces: ...
    def read(self, timeout: float | None = None) -> Chunk | None: ...
    def take(self) -> Chunk | None: ...
    def subscribe(self, callback: Callable[[Chunk], Any], loop: asyncio.AbstractEventLoop | None = None) -> None: ...
    @property
    def output(self) -> Any: ...
    @property
    def error(self) -> BaseException | None: ...
