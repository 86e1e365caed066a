from libc.stdint cimport uint32_t

from fastgen.channel cimport Channel, Port, Waiter
from fastgen.chunk cimport Chunk


cdef class ThreadWaiter(Waiter):
    """A thread that waits for a lock."""
    cdef object lock


cdef class TaskWaiter(Waiter):
    """What a task of asyncio waits for: like a future, but for as many times as it takes, and woken on the spot."""
    cdef object loop, callback, context
    cdef bint cancelled
    cdef public bint _asyncio_future_blocking


cdef class CallbackWaiter(Waiter):
    """A function that gets chunks."""
    cdef object callback


cdef class Pieces:
    cdef Channel channel
    cdef object timeout
    cdef uint32_t most


cdef class AsyncPieces:
    cdef Channel channel
    cdef TaskWaiter waiter
    cdef Port port
    cdef uint32_t most
    cdef object timer
    cdef object step(self)
    cdef int leave(self) except -1


cdef class Next:
    """The awaitable of an async iterator: its next piece."""
    cdef AsyncPieces pieces


# Block until there is a piece, the end (`over`), or so many seconds have passed: then None, and not over.
cdef Chunk wait_for(Channel channel, uint32_t most, object timeout, bint *over)
