# cython: language_level=3
"""Hub: what the streams of one engine have in common, and the one wake-up at the end of a step."""

import time
from _thread import allocate_lock

cimport cython

from fastgen.channel cimport generation
from fastgen.pipe cimport fg_load_acquire, fg_pipe, fg_ready_take

from fastgen.errors import ForkedError


cdef class LoopPort(Port):
    def __cinit__(self, loop=None, *_, **__):
        self.loop = loop

    cdef int signal(self) except -1:
        if self.scheduled or self.loop is None or fg_load_acquire(&self.ready.first) == 0:
            return 0
        self.scheduled = True
        try:
            self.loop.call_soon_threadsafe(self.serve)
        except RuntimeError:            # the loop is closed
            self.scheduled = False
            return self.lost()
        self.wakeups += 1
        return 0

    cdef int lost(self) except -1:
        """Nobody will ever read what is ready here."""
        cdef fg_pipe *rest = fg_ready_take(&self.ready)
        cdef Channel channel
        while rest != NULL:
            channel = self.pop(&rest)
            if channel is not None:
                channel.waiter = None
                channel.abort("disconnected", None, True)
        return 0

    def serve(self):
        """Run in the loop: wake whoever waits for a stream that is ready."""
        self.scheduled = False
        self.dispatch()


cdef class ThreadPort(Port):
    """Wakes blocked threads, and calls callbacks that have no loop, on the spot."""

    cdef int signal(self) except -1:
        if fg_load_acquire(&self.ready.first) == 0:
            return 0
        return self.dispatch()


@cython.final
@cython.no_gc_clear         # streams that go use it
@cython.auto_pickle(False)
cdef class Hub(Yard):
    """What the streams of one producer thread have in common: their readers are told once a step.

    The producer puts pieces into any number of streams and then calls `flush`. That wakes each event loop that has
    something to read once, each sink once, and each blocked thread once.

    Parameters
    ----------
    clock : callable, default time.monotonic
        Seconds; what `chunk_seconds` and ages are measured by.

    Attributes
    ----------
    flushes : int
        Steps so far.
    flushed : float
        When the last one ended, by the clock; when the hub was made before that.

    Notes
    -----
    `flush` is for the producer's thread; all else is for any.
    """

    def __cinit__(self, *, clock=time.monotonic):
        self.clock, self.loops, self.sinks, self.held, self.news = clock, {}, [], [], {}
        self.threads = ThreadPort()
        self.born = generation()
        self.flushed = clock()

    cdef int check(self) except -1:
        if self.born != generation():
            raise ForkedError("the hub belongs to the parent process", hint="make one after fork()")
        return 0

    cdef double now(self) except? -1.0:
        return self.clock()

    cdef LoopPort port_of(self, object loop):
        cdef LoopPort port = self.loops.get(id(loop))
        if port is None:
            for other in list(self.loops.values()):
                if (<LoopPort>other).loop.is_closed():
                    del self.loops[id((<LoopPort>other).loop)]
            port = self.loops[id(loop)] = LoopPort(loop)
        return port

    cdef int resumed(self, Channel channel) except -1:
        cdef object lock = self.lock
        if channel.producer != NULL and not self.immediate:
            self.news[<object>channel.producer] = None
            if lock is not None:
                self.lock = None
                lock.release()
        return 0

    cdef int hold(self, Channel channel) except -1:
        self.held.append(channel)
        return 0

    def flush(self):
        """End a step: wake every reader that has something to read.

        Returns
        -------
        list of StreamWriter
            Those with news since the last flush: there is room again, or nobody reads any more (`cancelled`).

        Raises
        ------
        ForkedError
            In the child of a fork.

        Notes
        -----
        O(event loops + sinks + blocked threads that are woken + writers with news), however many streams there are.
        """
        cdef Port port
        cdef double now
        self.check()
        self.flushes += 1
        self.flushed = now = self.clock()
        if self.held:
            held, self.held = self.held, []
            for channel in held:
                if not (<Channel>channel).due(now):
                    self.held.append(channel)
        self.threads.signal()
        for port in list(self.loops.values()):
            port.signal()
        for port in list(self.sinks):
            port.signal()
        if not self.news:
            return []
        news, self.news = self.news, {}
        return list(news)

    def wait(self, timeout=None):
        """Sleep until some writer has news, for a producer all of whose streams are full.

        Parameters
        ----------
        timeout : float, optional
            Seconds.

        Returns
        -------
        bool
            Whether there is news; `flush` says whose.
        """
        self.check()
        if not self.news:
            lock = allocate_lock()
            lock.acquire()
            self.lock = lock
            try:
                lock.acquire(True, -1 if timeout is None else max(0.0, timeout))
            finally:
                if self.lock is lock:
                    self.lock = None
        return bool(self.news)

    @property
    def wakeups(self):
        """Wake-ups so far of event loops and sinks together."""
        return sum([(<Port>port).wakeups for port in (*self.loops.values(), *self.sinks)])


cdef Hub shared = None


cdef Hub default_hub():
    global shared
    if shared is None or shared.born != generation():
        shared = Hub()
        shared.immediate = True
    return shared
