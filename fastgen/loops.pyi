from typing import Final, Self, final

MAX_PATTERN_SIZE: Final[int]
MAX_COUNT: Final[int]

@final
class LoopDetector:
    def __new__(cls, max_pattern_size: int, min_pattern_size: int = 1, min_count: int = 2) -> Self: ...
    def push(self, token: int) -> int: ...
    def reset(self) -> None: ...
