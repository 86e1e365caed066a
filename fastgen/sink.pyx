# cython: language_level=3
"""Sink: one reader of any number of streams, which gets all that is ready in one call."""

from _thread import allocate_lock

cimport cython
from cpython.object cimport PyObject

from fastgen.channel cimport Channel
from fastgen.chunk cimport Chunk
from fastgen.hub cimport Hub
from fastgen.pipe cimport fg_load_acquire, fg_ready_take
from fastgen.streams cimport TokenStream

from fastgen.errors import FastgenError, InvalidParameterError


@cython.final
@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class Drain:
    """Iterates what was ready in a sink when it was made; a list would hold all chunks at a time."""

    def __cinit__(self, Sink sink not None):
        self.sink = sink
        self.rest = fg_ready_take(&sink.ready)

    def __dealloc__(self):
        if self.rest != NULL:
            self.sink.restore(self.rest)

    def __iter__(self):
        return self

    def __next__(self):
        cdef Channel channel
        cdef Chunk chunk
        cdef TokenStream stream
        while self.rest != NULL:
            channel = self.sink.pop(&self.rest)
            if channel is None or channel.consumer == NULL:
                continue
            stream = <TokenStream><PyObject *>channel.consumer
            chunk = channel.read_all()
            if chunk is None:
                if stream.cancelled:
                    self.sink.streams.pop(stream, None)
                continue
            if chunk.over:
                self.sink.streams.pop(stream, None)
            return stream, chunk
        raise StopIteration


@cython.final
@cython.auto_pickle(False)
cdef class Sink(LoopPort):
    """One reader of many streams: `drain` gives all chunks that are ready, one for each stream.

    The cheapest way to serve many readers from one event loop, such as the connections of a server: neither a task nor
    a future for each. With a loop, `on_ready` is called in it, or ``await sink.until_ready()`` returns, once for each
    step of the producer; without one, `wait` blocks a thread.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop, optional
    on_ready : callable, optional
        Called in the loop with the sink, to drain it.

    Attributes
    ----------
    wakeups : int
        How many times the loop, or the thread, was woken.

    Notes
    -----
    The sink keeps its streams until their end is drained. One thread, that of the loop, drains.
    """

    def __cinit__(self, loop=None, on_ready=None):
        if on_ready is not None and loop is None:
            raise InvalidParameterError("on_ready needs a loop", hint="pass loop=asyncio.get_running_loop()")
        self.on_ready = on_ready
        self.streams = {}

    cdef int signal(self) except -1:
        cdef object lock = self.lock
        if self.loop is not None:
            return LoopPort.signal(self)
        if lock is not None and fg_load_acquire(&self.ready.first) != 0:
            self.lock = None
            self.wakeups += 1
            lock.release()
        return 0

    cdef int lost(self) except -1:
        self.close()
        return LoopPort.lost(self)

    def serve(self):
        """Run in the loop: tell whoever drains."""
        cdef object future = self.future
        self.scheduled = False
        if future is not None and not future.done():
            future.set_result(None)
        if self.on_ready is not None:
            self.on_ready(self)

    def add(self, TokenStream stream not None):
        """Read a stream here from now on, and keep it.

        Raises
        ------
        FastgenError
            Somebody else waits for it (``concurrent_use``).
        """
        cdef Hub hub = <Hub>stream.channel.yard
        stream.channel.check()
        if stream.channel.waiter is not None:
            raise FastgenError("another reader waits for the stream", code="concurrent_use")
        if not hub.immediate and self not in hub.sinks:
            hub.sinks.append(self)
        self.streams[stream] = None
        stream.channel.attach(self)
        if stream.channel.readable():
            stream.channel.announce_now()

    def drain(self):
        """Iterate what is ready: each stream with its chunk, in the order in which they became ready.

        Returns
        -------
        iterator of (TokenStream, Chunk)
            One chunk for each stream with all that is pending. ``chunk.ended`` says that it is the stream's last: then
            `finish_detail`, `output` and `error` of the stream say more, and the sink lets go of it. What an iterator
            that is dropped has not come to is ready again.
        """
        return Drain(self)

    async def until_ready(self):
        """Wait until `drain` has something to give; for one task of the loop at a time."""
        while fg_load_acquire(&self.ready.first) == 0:
            self.future = self.loop.create_future()
            try:
                await self.future
            finally:
                self.future = None

    def wait(self, timeout=None):
        """Block until `drain` has something to give: false if `timeout` seconds passed first."""
        if fg_load_acquire(&self.ready.first) == 0:
            lock = allocate_lock()
            lock.acquire()
            self.lock = lock
            try:
                lock.acquire(True, -1 if timeout is None else max(0.0, timeout))
            finally:
                self.lock = None
        return fg_load_acquire(&self.ready.first) != 0

    def close(self):
        """Cancel all its streams."""
        cdef Hub hub
        for stream in list(self.streams):
            hub = <Hub>(<TokenStream>stream).channel.yard
            if self in hub.sinks:
                hub.sinks.remove(self)
            (<TokenStream>stream).channel.abort("cancelled", None, True)
        self.streams.clear()

    def __len__(self):
        return len(self.streams)
