# cython: language_level=3
"""Producer: what puts pieces into a stream; StreamWriter: the end that knows nothing of the reader's."""

import time
from _thread import allocate_lock

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from fastgen.channel cimport generation
from fastgen.pipe cimport (FG_PIPE_ENDED, FG_PIPE_OPEN, OVER, REFUSED, TAKEN, fg_load_acquire, fg_load_relaxed,
                           fg_pipe_pieces, fg_pipe_progress, fg_pipe_published, fg_pipe_waits)

from fastgen.errors import FastgenError, GenerationTimeout, InvalidParameterError, StreamClosedError


cdef int put(Channel channel, object token_ids, str text, object payload) except -3:
    """That the producer has ended the stream before is an error; that somebody else has is not."""
    cdef int done = channel.put(token_ids, text, payload)
    if done == OVER and fg_load_acquire(&channel.c.state) & FG_PIPE_ENDED and not channel.overrun:
        raise StreamClosedError("the stream has already ended", hint="nothing comes after finish, fail or close")
    return done


@cython.auto_pickle(False)
cdef class Producer:
    """What puts pieces into a stream and ends it; `StreamWriter` and `TokenStream` are producers."""

    def __cinit__(self, *_, **__):
        if type(self) is Producer:
            raise TypeError("Producer has no stream; use TokenStream")

    def put(self, token_ids, str text="", payload=None):
        """Give the reader a piece; never blocks.

        Parameters
        ----------
        token_ids : int, or array or sequence of int
        text : str
        payload : object, optional
            Whatever belongs to the piece, such as log-probabilities. What refers to the stream itself would keep it
            alive while it is pending: the collector does not see into the ring.

        Returns
        -------
        bool
            Whether it was taken. If not, either the reader is behind (`paused`): put it again once there is room, which
            `Hub.flush` or `wait` tells; or nobody reads any more (`cancelled`).

        Raises
        ------
        InvalidParameterError
            A token id is no integer or negative, the text holds a lone surrogate, or the piece is too long: 2**20 - 1
            tokens, 16 MiB.
        StreamClosedError
            After the end.
        ForkedError
            In the child of a fork.
        """
        return put(self.channel, token_ids, text, payload) == TAKEN

    def finish(self, output=None):
        """End the stream with a result, of whose `finish_detail` the stream's is made; True if it had not ended."""
        return self.channel.end(getattr(output, "finish_detail", None), output, None)

    def fail(self, error not None):
        """End the stream with an error, which the reader gets after the pieces before it; True if it had not ended."""
        if not isinstance(error, BaseException):
            raise InvalidParameterError("error must be an exception", type=type(error).__name__)
        return self.channel.end(getattr(error, "code", "internal_error"), None, error)

    def close(self):
        """End the stream without a result; True if it had not ended."""
        return self.channel.end(None, None, None)

    def abort(self, reason, error=None):
        """End the stream from outside: what is pending is void, and the reader hears of the end.

        Parameters
        ----------
        reason : str
            Its `finish_detail`.
        error : BaseException, optional
            What the reader gets; a fitting one without it.

        Returns
        -------
        bool
            Whether it had not come to its end before.
        """
        self.channel.check()
        return self.channel.abort(str(reason), error, False)

    def poll(self):
        """Look whether the deadline of its token has passed: true if the stream has ended."""
        token = self.channel.token
        if token is not None:
            token.poll()
        return self.ended

    @property
    def cancelled(self):
        """Whether the reader, a token, a deadline, the monitor or the policy has ended it: stop the work."""
        cdef uint64_t state = fg_load_acquire(&self.channel.c.state)
        return state != FG_PIPE_OPEN and (self.channel.overrun or not state & FG_PIPE_ENDED)

    @property
    def finish_detail(self):
        """Why it ended, None before: as `GenerationOutput`, or ``timeout``, ``slow_consumer``, ``disconnected``."""
        return self.channel.finish_detail()

    @property
    def ended(self):
        """Whether nothing more will be put."""
        return fg_load_acquire(&self.channel.c.state) != FG_PIPE_OPEN

    @property
    def counts(self):
        """Pieces ``put``, ``taken`` (dropped ones too), ``pending``, ``dropped`` and ``merged``; ``tokens`` put."""
        cdef Channel channel = self.channel
        return {"put": fg_pipe_published(channel.c), "taken": fg_pipe_progress(channel.c),
                "pending": fg_pipe_pieces(channel.c), "dropped": fg_load_relaxed(&channel.c.lost),
                "merged": channel.merged, "tokens": fg_load_relaxed(&channel.c.tokens)}

    @property
    def age(self):
        """Seconds since it was made, by the clock of its hub."""
        return self.channel.yard.now() - self.channel.created


@cython.final
@cython.no_gc_clear         # dropping it ends the stream
@cython.auto_pickle(False)
cdef class StreamWriter(Producer):
    """The producer's end of a stream, made by `TokenStream.writer`.

    It does not keep the reader's end alive: once that is gone, `cancelled` is true and nothing is taken any more. If it
    is dropped before the end, the stream fails. One thread at a time may produce.
    """

    def __cinit__(self, Channel channel not None, tag):
        channel.check()
        if channel.producer != NULL:
            raise FastgenError("the stream has a writer", hint="ask for it once", code="concurrent_use")
        self.channel, self.tag = channel, tag
        self.channel.producer = <PyObject *>self

    def __dealloc__(self):
        if self.channel is not None:
            self.channel.producer = NULL
            if self.channel.born == generation():
                self.channel.end("internal_error", None, FastgenError("the producer of the stream is gone"))

    def send(self, token_ids, str text="", payload=None, *, timeout=None):
        """As `put`, but wait for room: for a thread that has nothing else to do.

        Returns
        -------
        bool
            False if nobody reads any more.

        Raises
        ------
        GenerationTimeout
            There was no room for `timeout` seconds.
        """
        cdef int done
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            done = put(self.channel, token_ids, text, payload)
            if done != REFUSED:
                return done == TAKEN
            if not self.wait(None if deadline is None else deadline - time.monotonic()):
                raise GenerationTimeout("the reader of the stream is behind", hint="it may be stalled")

    def wait(self, timeout=None):
        """Sleep until a paused stream has room, or nobody reads any more.

        Returns
        -------
        bool
            False if `timeout` seconds passed first.
        """
        cdef Channel channel = self.channel
        channel.check()
        if not self.paused:
            return True
        lock = allocate_lock()
        lock.acquire()
        channel.room = lock
        try:
            lock.acquire(True, -1 if timeout is None else max(0.0, timeout))
        finally:
            if channel.room is lock:
                channel.room = None
        return not self.paused

    @property
    def paused(self):
        """Whether the reader is behind, and has not come down to the low mark yet."""
        return fg_load_acquire(&self.channel.c.state) == FG_PIPE_OPEN and fg_pipe_waits(self.channel.c)
