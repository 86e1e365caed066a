# cython: language_level=3
"""TokenStream: the pieces of one answer on their way to whoever reads them."""

import math

cimport cython
from cpython.object cimport PyObject

from fastgen.channel cimport Channel, generation
from fastgen.chunk cimport Chunk
from fastgen.hub cimport Hub, default_hub
from fastgen.kernels.tokens cimport integer_of
from fastgen.pipe cimport BLOCK, CANCEL, CONFLATE, DROP_OLDEST, EVERYTHING
from fastgen.waiting cimport AsyncPieces, CallbackWaiter, Pieces, wait_for
from fastgen.writer cimport StreamWriter

from fastgen.errors import GenerationTimeout, InvalidParameterError

POLICIES = {"block": BLOCK, "conflate": CONFLATE, "drop_oldest": DROP_OLDEST, "cancel": CANCEL}
"""What a full stream does with one more piece."""

MAX_CAPACITY = 1 << 16

cdef enum:
    ENDLESS = 1 << 30       # tokens of a chunk that ends by time alone


@cython.final
@cython.no_gc_clear         # dropping it cancels
@cython.auto_pickle(False)
cdef class TokenStream(Producer):
    """A bounded stream of pieces from one producer to one reader: each once, in order, then one end.

    Parameters
    ----------
    capacity : int, default 256
        Pieces that may be pending, in [1, 65,536]. Also their memory is bounded, by 64 bytes for each of them.
    policy : {"block", "conflate", "drop_oldest", "cancel"}
        What a full stream does with one more piece: refuse it until the reader is down to `low` (the producer never
        waits); make one piece of all that is pending; drop the oldest, counted; or end with ``slow_consumer``.
        ``conflate`` refuses too once 512 bytes for each piece of `capacity` are pending.
    hub : Hub, optional
        Readers are told when it is flushed, once for all its streams; without one, at each put.
    token : CancellationToken, optional
        Cancels the stream when it is cancelled or its deadline passes.
    low : int, optional
        Where a refused producer may go on; half of `capacity` by default.
    chunk_tokens : int, optional
        Show the reader pieces only when they have so many tokens together, or at the end.
    chunk_seconds : float, default 0
        Show them when the oldest is so old, at the latest; needs a hub, whose `flush` looks at the clock.
    tag : object, optional
        The caller's own.

    Raises
    ------
    InvalidParameterError

    Notes
    -----
    An idle stream takes less than 1 KiB; the ring begins with 128 bytes and doubles as it fills. A put and a read are
    O(bytes of the piece). The reader's end cancels the stream when it is dropped, unless it is also the producer's.
    """

    def __cinit__(self, capacity=256, policy="block", *, Hub hub=None, token=None, low=None, chunk_tokens=None,
                  chunk_seconds=0.0, tag=None):
        cdef size_t size = integer_of(capacity, "capacity", 1, MAX_CAPACITY)
        cdef size_t mark = size // 2 if low is None else integer_of(low, "low", 0, size - 1)
        if not isinstance(policy, str) or policy not in POLICIES:
            raise InvalidParameterError("there is no such policy", hint=f"policies are {', '.join(POLICIES)}",
                                        policy=policy)
        if isinstance(chunk_seconds, bool) or not isinstance(chunk_seconds, (int, float)) or not (
                0.0 <= chunk_seconds < math.inf):
            raise InvalidParameterError("chunk_seconds must be a number of at least 0", chunk_seconds=chunk_seconds)
        if chunk_seconds > 0.0 and hub is None:
            raise InvalidParameterError("chunks by time need a hub", hint="pass hub=Hub() and flush it every step")
        if chunk_tokens is None:
            chunk_tokens = ENDLESS if chunk_seconds > 0.0 else 1
        self.channel = Channel(size, POLICIES[policy], mark, default_hub() if hub is None else hub,
                               integer_of(chunk_tokens, "chunk_tokens", 1, ENDLESS), chunk_seconds)
        self.channel.consumer = <PyObject *>self
        self.tag = tag
        if token is not None:
            self.channel.token = token
            self.channel.observer = token.observe(self.channel.on_cancel)

    def __dealloc__(self):
        if self.channel is not None:
            self.channel.consumer = NULL
            if self.channel.born == generation() and not self.channel.iterated:
                self.channel.abort("cancelled", None, True)

    def writer(self):
        """Return the producer's end, a `StreamWriter`; once."""
        return StreamWriter(self.channel, self.tag)

    def cancel(self, reason="cancelled"):
        """Want no more: when this returns, nothing more is delivered. For any thread, any number of times.

        Returns
        -------
        bool
            Whether there was anything left to cancel.
        """
        self.channel.check()
        return self.channel.abort(str(reason), None, True)

    def __iter__(self):
        return self.pieces()

    def pieces(self, timeout=None):
        """Return an iterator that waits at most `timeout` seconds for each piece, and then raises GenerationTimeout.

        Leaving the loop, or dropping the iterator, cancels the stream. Ctrl-C works while it blocks.
        """
        self.channel.check()
        self.channel.iterated = True
        return Pieces(self.channel, timeout)

    def __aiter__(self):
        self.channel.check()
        self.channel.iterated = True
        return AsyncPieces(self.channel)

    def read(self, timeout=None):
        """Wait for a piece, or all that is pending if the stream makes chunks.

        Returns
        -------
        Chunk or None
            None at the end.

        Raises
        ------
        GenerationTimeout
            Nothing came for `timeout` seconds; the stream goes on.
        FastgenError
            Whatever the stream ended with.
        """
        cdef bint over
        self.channel.check()
        cdef Chunk chunk = wait_for(self.channel, 1 if self.channel.chunk_tokens <= 1 else EVERYTHING, timeout, &over)
        if chunk is None and not over:
            raise GenerationTimeout("no piece came in time", timeout=timeout)
        error = self.channel.failure() if chunk is None else None
        if error is not None:
            raise error
        return chunk

    def take(self):
        """Return all that is pending as one `Chunk`, its end included, without waiting; None if there is nothing."""
        self.channel.check()
        return self.channel.read_all()

    def subscribe(self, callback not None, loop=None):
        """Have a function called with each chunk: in an event loop, or by the thread that puts or flushes.

        An exception in it ends the stream and is kept in `error`.
        """
        self.channel.check()
        self.channel.arm(CallbackWaiter(callback), self.channel.yard.threads if loop is None
                         else (<Hub>self.channel.yard).port_of(loop))
        if self.channel.readable():
            self.channel.announce_now()

    @property
    def output(self):
        """What it finished with."""
        return self.channel.output

    @property
    def error(self):
        """The error it ended with."""
        return self.channel.error
