# cython: language_level=3
"""Which process this is: what threads share doesn't survive a fork(), which takes one thread along and no other."""

import os

from fastgen.errors import ForkedError

cdef size_t count = 0


def _count_fork():
    global count
    count += 1


if hasattr(os, "register_at_fork"):         # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_count_fork)


cdef size_t forks() noexcept nogil:
    return count


cdef int raise_forked() except -1:
    raise ForkedError("an object of the parent process was used after fork()", hint="make a new one in the child")
