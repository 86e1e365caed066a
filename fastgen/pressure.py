"""How close the process is to the memory that it may have: its own limit, and the limits of its control group."""

from __future__ import annotations

import os
from pathlib import Path

from fastgen.errors import InvalidParameterError

__all__ = ["memory_limit", "pressure", "set_memory_limit"]

CGROUP = Path("/sys/fs/cgroup")
STATM = Path("/proc/self/statm")
_limit: int | None = None


def set_memory_limit(limit: int | None) -> None:
    """Say how many bytes the process may have in memory; None: no limit but those of the system.

    Pools look at it each time they have taken 16 MiB of new memory.

    Raises
    ------
    InvalidParameterError
        The limit is no positive integer.
    """
    global _limit
    if limit is not None and (type(limit) is not int or limit <= 0):
        raise InvalidParameterError("a memory limit must be a positive number of bytes", limit=limit)
    _limit = limit


def memory_limit() -> int | None:
    """Return the limit that `set_memory_limit` set."""
    return _limit


def resident() -> int:
    """Return the bytes that the process has in memory; 0 where /proc does not say."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _number(path: Path) -> int | None:
    """Return the number that a file holds; None if there is no file, or it says "max"."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _group_share(root: Path) -> float:
    """Return the share of its limit that the control group uses (version 2, then 1); 0 without a limit.

    Files in the page cache that were not used lately count as free: the kernel drops them before it kills.
    """
    for folder, limit_name, used_name, stat_name in (
        (root, "memory.max", "memory.current", "inactive_file"),
        (root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit, used = _number(folder / limit_name), _number(folder / used_name)
        if limit is None or used is None or not 0 < limit < 1 << 60:
            continue
        try:
            lines = (folder / "memory.stat").read_text().splitlines()
        except OSError:
            lines = []
        idle = sum(int(line.split()[1]) for line in lines if line.startswith(f"{stat_name} "))
        return max(0, used - idle) / limit
    return 0.0


def pressure(root: Path = CGROUP) -> float:
    """Return the larger share: of the process in its own limit, of its control group in the group's.

    Parameters
    ----------
    root : Path
        Where the control group's files are: inside a container its own group is the root.
    """
    own = resident() / _limit if _limit else 0.0
    return max(own, _group_share(root))
