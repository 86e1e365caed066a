from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, Self, final

MAX_COST: Final[int]
MAX_WEIGHT: Final[int]
MAX_PRIORITY: Final[int]

class Usage(NamedTuple):
    queued: int
    prompt_tokens: int
    streams: int
    served: int

@final
class Scheduler:
    def __new__(
        cls,
        *,
        max_queue: int | None = None,
        max_streams: int | None = None,
        max_prompt_tokens: int | None = None,
        max_tenants: int = 65536,
    ) -> Self: ...
    @property
    def nbytes(self) -> int: ...
    def __len__(self) -> int: ...
    def set_tenant(
        self,
        tenant: str,
        *,
        weight: float = 1.0,
        max_queue: int | None = None,
        max_streams: int | None = None,
        max_prompt_tokens: int | None = None,
    ) -> None: ...
    def usage(self, tenant: str | None = None) -> Usage: ...
    def add(
        self,
        *,
        tenant: str = "",
        cost: int = 1,
        weight: float = 1.0,
        priority: int = 0,
        prompt_tokens: int = 0,
        deadline: float | None = None,
    ) -> int: ...
    def state(self, handle: int) -> Literal["waiting", "serving", "resting"] | None: ...
    def wake(self, handle: int) -> None: ...
    def rest(self, handle: int) -> None: ...
    def expect(self, handle: int, cost: int) -> None: ...
    def remove(self, handle: int) -> bool: ...
    def peek(self) -> int | None: ...
    def pick(self) -> int | None: ...
    def pick_many(self, count: int) -> list[int]: ...
    def charge(self, handle: int, cost: int, *, again: bool = False) -> None: ...
    def charge_many(self, handles: Iterable[int], costs: int | Iterable[int], *, again: bool = True) -> None: ...
    def expire(self, now: float) -> list[int]: ...
