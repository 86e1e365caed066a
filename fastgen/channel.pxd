from libc.stdint cimport uint32_t, uint64_t

from fastgen.chunk cimport Chunk
from fastgen.pipe cimport Pipe, Policy, fg_pipe, fg_ready


cdef class Waiter:
    """Somebody who waits for a channel."""
    cdef bint stays         # also after it was woken
    cdef int wake(self, Channel channel) except -1


cdef class Port:
    """Where the readers of one kind are told which channels have something to read."""
    cdef fg_ready ready
    cdef readonly uint64_t wakeups
    cdef int signal(self) except -1                     # tell them, if there is anything to tell
    cdef int dispatch(self) except -1                   # wake the waiter of each channel that is ready
    cdef Channel pop(self, fg_pipe **rest)
    cdef int restore(self, fg_pipe *rest) except -1


cdef class Yard:
    """What the channels of one producer have in common."""
    cdef readonly bint immediate    # each put tells the reader; else the end of a step does
    cdef Port threads
    cdef double now(self) except? -1.0
    cdef int resumed(self, Channel channel) except -1
    cdef int hold(self, Channel channel) except -1


cdef class Channel(Pipe):
    cdef uint64_t born      # forks before it was made
    cdef Yard yard
    cdef Port port
    cdef list ports         # it was ever marked in: they must outlive it
    cdef Waiter waiter
    cdef object room        # a lock that the producer waits for
    cdef void *consumer     # TokenStream and StreamWriter, which hold the channel and clear this when they go
    cdef void *producer
    cdef object output, error, detail
    cdef object token, observer
    cdef double created, first, chunk_seconds       # `first`: when the chunk in the making began
    cdef size_t chunk_tokens, chunk_has
    cdef bint held, iterated    # `iterated`: an iterator cancels it, not the TokenStream

    cdef int check(self) except -1
    cdef int put(self, object tokens, str text, object payload) except -3
    cdef bint end(self, object detail, object output, object error) except -1
    cdef int announce(self) except -1
    cdef int announce_now(self) except -1
    cdef bint due(self, double now) noexcept
    cdef Chunk read(self, uint32_t most, bint *over)
    cdef Chunk read_all(self)
    cdef int attach(self, Port port) except -1
    cdef int arm(self, Waiter waiter, Port port) except -1
    cdef bint readable(self) noexcept
    cdef bint abort(self, str reason, object error, bint quietly) except -1
    cdef int settle(self) except -1
    cdef int tell_room(self) except -1
    cdef str finish_detail(self)
    cdef object failure(self)


cdef uint64_t generation() noexcept       # forks so far
