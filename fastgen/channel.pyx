# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Channel: a pipe, who waits for it, and how it ends; ports, where readers are told.

A producer marks the channels that it has put something into. What is marked waits in the list of the port that the
reader has chosen, until the producer signals the port: once for each step, however many channels are marked, it wakes
whoever serves the port, who then goes through the list. A reader sets itself to wait and then looks again before it
sleeps; the list is emptied before its channels are looked at. So no wake-up is lost, and none is for nothing.

Pieces need no GIL on the producer's side; everything else in this module is guarded by it.
"""

import os

cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int32_t, uint8_t, uintptr_t

from fastgen.chunk cimport FG_PIECE_BYTES_MOST, FG_PIECE_TOKENS_MOST, ending, fg_piece
from fastgen.kernels.tokens cimport Tokens, borrow_ids, id_of
from fastgen.pipe cimport (EVERYTHING, FG_PIPE_ABORTED, FG_PIPE_DONE, FG_PIPE_OPEN, NO_MEMORY, OVER,
                           REFUSED, TAKEN, fg_load_acquire, fg_pipe_abort, fg_pipe_deliver, fg_pipe_end, fg_pipe_mark,
                           fg_pipe_pieces, fg_pipe_publish, fg_pipe_unmark, fg_ready_take, fg_store_release, let_go)

from fastgen.errors import (FastgenError, ForkedError, GenerationTimeout, InvalidParameterError,
                            StreamClosedError)

cdef uint64_t forks = 0


def after_fork():
    """Make the channels of the parent process useless."""
    global forks
    forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork)


cdef uint64_t generation() noexcept:
    return forks


cdef class Waiter:
    cdef int wake(self, Channel channel) except -1:
        return 0


cdef class Port:
    def __dealloc__(self):
        cdef fg_pipe *rest = fg_ready_take(&self.ready)
        cdef fg_pipe *pipe
        while rest != NULL:
            pipe = rest
            rest = rest.next
            fg_pipe_unmark(pipe)
            let_go(pipe)

    cdef int signal(self) except -1:
        return 0

    cdef Channel pop(self, fg_pipe **rest):
        """Return the next channel of a list that is alive and belongs here, unmarked; None at its end."""
        cdef fg_pipe *pipe
        cdef Channel channel
        while rest[0] != NULL:
            pipe = rest[0]
            rest[0] = pipe.next
            channel = None if pipe.owner == NULL else <Channel><PyObject *>pipe.owner
            fg_pipe_unmark(pipe)
            let_go(pipe)
            if channel is None:
                continue
            if channel.port is self:
                return channel
            channel.announce_now()      # its reader has moved to another port
        return None

    cdef int restore(self, fg_pipe *rest) except -1:
        """Mark again what is left of a list."""
        cdef fg_pipe *pipe
        while rest != NULL:
            pipe = rest
            rest = rest.next
            fg_pipe_unmark(pipe)
            fg_pipe_mark(pipe)
            let_go(pipe)
        return self.signal()

    cdef int dispatch(self) except -1:
        cdef fg_pipe *rest = fg_ready_take(&self.ready)
        cdef Channel channel
        cdef Waiter waiter
        try:
            while rest != NULL:
                channel = self.pop(&rest)
                if channel is None or channel.waiter is None:
                    continue
                waiter = channel.waiter
                if not waiter.stays:
                    channel.waiter = None
                waiter.wake(channel)
        finally:
            if rest != NULL:            # something like Ctrl-C came
                self.restore(rest)
        return 0


cdef class Yard:
    cdef double now(self) except? -1.0:
        return 0.0

    cdef int resumed(self, Channel channel) except -1:
        return 0

    cdef int hold(self, Channel channel) except -1:
        return 0


@cython.final
@cython.no_gc_clear         # its ends use it when they go; cycles are broken at waiters and sinks
@cython.auto_pickle(False)
cdef class Channel(Pipe):
    """What both ends of a stream share. `TokenStream` makes it, and has checked the arguments.

    Parameters
    ----------
    capacity, policy, low : int
        Pieces that may be pending, a `Policy`, and how few are pending when a waiting producer goes on.
    yard : Yard
    chunk_tokens : int
    chunk_seconds : float
        A chunk is shown to the reader once it has so many tokens or is so old.
    """

    def __cinit__(self, uint32_t capacity, Policy policy, uint32_t low, Yard yard not None, size_t chunk_tokens,
                  double chunk_seconds):
        self.yard, self.born = yard, forks
        self.chunk_tokens, self.chunk_seconds = chunk_tokens, chunk_seconds
        self.created = yard.now()

    cdef int check(self) except -1:
        if self.born != forks:
            raise ForkedError("the stream belongs to the parent process", hint="open streams after fork()")
        return 0

    # The producer.

    cdef int put(self, object tokens, str text, object payload) except -3:
        """Write a piece; return TAKEN, REFUSED or OVER."""
        cdef Tokens many
        cdef int32_t one
        cdef uint64_t reference = <uintptr_t><PyObject *>payload
        cdef Py_ssize_t size = 0
        cdef fg_piece piece
        cdef int done
        self.check()
        if text is None:
            raise InvalidParameterError("the text of a piece must be a string", hint="leave it out if there is none")
        if type(tokens) is int:
            one = id_of(tokens)
            piece.tokens, piece.token_count = &one, 1
        else:
            many = borrow_ids(tokens)
            piece.tokens, piece.token_count = many.ids, many.count
        try:
            piece.text = <const uint8_t *>PyUnicode_AsUTF8AndSize(text, &size)
        except UnicodeEncodeError as error:
            raise InvalidParameterError("the text of a piece holds a lone surrogate", offset=error.start,
                                        hint="decode with errors='replace'") from error
        piece.size = size
        if piece.token_count > FG_PIECE_TOKENS_MOST or piece.size > FG_PIECE_BYTES_MOST:
            raise InvalidParameterError("the piece is too long", tokens=piece.token_count, nbytes=piece.size)
        piece.payloads, piece.payload_count = &reference, payload is not None
        if payload is not None:
            Py_INCREF(payload)          # the records own it
        done = self.push(&piece)
        if done == TAKEN:
            if self.chunk_seconds and self.chunk_has == 0:
                self.first = self.yard.now()
                if not self.held:
                    self.held = True
                    self.yard.hold(self)
            self.chunk_has += max(piece.token_count, <size_t>1)
            if self.chunk_has >= self.chunk_tokens:
                self.chunk_has = 0
                fg_pipe_publish(self.c)
                self.announce()
            return done
        if payload is not None:
            Py_DECREF(payload)
        if done == NO_MEMORY:
            self.abort("internal_error", MemoryError(), False)
            raise MemoryError
        if done == REFUSED:
            self.chunk_has = 0          # all that was written has been published
            self.announce()
        if done == OVER and self.overrun and self.detail is None:
            self.detail = "slow_consumer"
            self.settle()
            self.announce_now()
        return done

    cdef bint due(self, double now) noexcept:
        """Show the reader the chunk in the making, if there is one and it is old enough; whether none is left."""
        if self.chunk_has and now - self.first < self.chunk_seconds:
            return False
        self.held = False
        if self.chunk_has:
            self.chunk_has = 0
            fg_pipe_publish(self.c)
            fg_pipe_mark(self.c)
        return True

    cdef bint end(self, object detail, object output, object error) except -1:
        """End it as the producer; False if it has ended before."""
        self.check()
        if fg_load_acquire(&self.c.state) != FG_PIPE_OPEN:
            return False
        self.output, self.error, self.detail = output, error, detail
        fg_pipe_end(self.c)             # the GIL is held: nobody has ended it meanwhile
        self.settle()
        self.announce()
        return True

    cdef int announce(self) except -1:
        """Mark it; the reader is told now, or at the end of the step."""
        fg_pipe_mark(self.c)
        if self.yard.immediate and self.port is not None:
            self.port.signal()
        return 0

    cdef int announce_now(self) except -1:
        fg_pipe_mark(self.c)
        if self.port is not None:
            self.port.signal()
        return 0

    # The reader.

    cdef Chunk read(self, uint32_t most, bint *over):
        """Take pieces; None if there are none yet, or none any more: then `over` is set, for one reader once."""
        cdef int resumed = 0
        cdef uint64_t state = fg_load_acquire(&self.c.state)
        cdef Chunk chunk = None
        over[0] = False
        if not state & FG_PIPE_ABORTED:
            chunk = self.take(most, &resumed)
            if resumed:
                self.tell_room()
            if chunk is not None and not fg_load_acquire(&self.c.state) & FG_PIPE_ABORTED:
                return chunk
            state = fg_load_acquire(&self.c.state) if chunk is not None else state  # cancelled while it was made
        over[0] = state != FG_PIPE_OPEN
        fg_pipe_deliver(self.c)
        return None

    cdef Chunk read_all(self):
        """Take all that is pending, the end included; None if there is nothing, or no end to tell any more."""
        cdef int resumed = 0
        cdef uint64_t state = fg_load_acquire(&self.c.state)
        cdef Chunk chunk = None
        if state & FG_PIPE_DONE:
            return None
        if state != FG_PIPE_ABORTED:
            chunk = self.take(EVERYTHING, &resumed)
            if resumed:
                self.tell_room()
            if fg_load_acquire(&self.c.state) & FG_PIPE_ABORTED:
                chunk, state = None, fg_load_acquire(&self.c.state)
        if state != FG_PIPE_OPEN and fg_pipe_deliver(self.c):
            if chunk is None:
                return ending()
            chunk.over = True
        return chunk

    cdef int attach(self, Port port) except -1:
        """Choose where it is marked from now on."""
        if self.port is not port:
            if self.ports is None:
                self.ports = []
            if port not in self.ports:
                self.ports.append(port)
            self.port = port
            fg_store_release(&self.c.list, <uintptr_t>&port.ready)
        return 0

    cdef int arm(self, Waiter waiter, Port port) except -1:
        """Wait at a port; whoever calls must look once more, `readable`, before sleeping."""
        if self.waiter is not None:
            raise FastgenError("two readers wait for one stream at a time", code="concurrent_use")
        self.attach(port)
        self.waiter = waiter
        return 0

    cdef bint readable(self) noexcept:
        return fg_pipe_pieces(self.c) != 0 or fg_load_acquire(&self.c.state) != FG_PIPE_OPEN

    # Anybody.

    cdef bint abort(self, str reason, object error, bint quietly) except -1:
        """End it and void what is pending. `quietly`: the reader wants no more, not even to hear of the end."""
        cdef bint ended = fg_load_acquire(&self.c.state) != FG_PIPE_OPEN
        if not fg_pipe_abort(self.c, quietly):
            return False
        if not ended or not quietly:
            self.detail, self.error, self.output = reason, error, None
        self.settle()
        self.discard()
        self.tell_room()
        fg_pipe_mark(self.c)
        if self.port is not None and (self.waiter is not None or not quietly):
            self.port.signal()
        return True

    cdef int settle(self) except -1:
        """It has ended: nothing can cancel it any more."""
        cdef object token = self.token
        self.token = None
        if token is not None:
            token.remove(self.observer)
        return 0

    cdef int tell_room(self) except -1:
        """Tell the producer that there is room again, or that it need not go on."""
        cdef object room = self.room
        self.room = None
        if room is not None:
            room.release()
        return self.yard.resumed(self)

    def on_cancel(self, reason):
        """What the cancellation token calls."""
        self.abort(reason, None, False)

    cdef str finish_detail(self):
        if fg_load_acquire(&self.c.state) == FG_PIPE_OPEN:
            return None
        return self.detail

    cdef object failure(self):
        """What a reader who has come to the end is to be told: an error, or None."""
        if self.error is not None:
            return self.error
        if self.detail == "timeout":
            return GenerationTimeout("the deadline of the stream passed first")
        if fg_load_acquire(&self.c.state) & FG_PIPE_ABORTED and self.detail != "cancelled" or self.overrun:
            return StreamClosedError("the stream was ended before its time", detail=self.detail)
        return None
