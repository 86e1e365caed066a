from typing import Final, NamedTuple
from weakref import WeakSet

HIGH_PRESSURE: Final[float]
pools: WeakSet[Pool]

class PoolStats(NamedTuple):
    hits: int
    misses: int
    overflows: int
    lent: int
    lent_bytes: int
    held_bytes: int
    high_water_bytes: int
    trimmed_bytes: int
    limit: int
    @property
    def hit_rate(self) -> float: ...

class Pool:
    @property
    def limit(self) -> int: ...
    @property
    def name(self) -> str: ...
    def trim(self) -> int: ...
    def stats(self) -> PoolStats: ...

def stats() -> dict[str, PoolStats]: ...
def trim() -> int: ...
