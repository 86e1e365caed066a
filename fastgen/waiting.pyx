# cython: language_level=3
"""Ways to wait for a channel: a thread, a task of asyncio, a callback."""

import asyncio
import time
from _thread import allocate_lock

cimport cython
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF

from fastgen.channel cimport generation
from fastgen.hub cimport Hub
from fastgen.pipe cimport EVERYTHING

from fastgen.errors import GenerationTimeout

cdef extern from "Python.h":
    void PyErr_SetObject(PyObject *type, PyObject *value)
    PyObject *PyExc_StopIteration
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1
    ctypedef PyObject *(*iternextfunc)(PyObject *)

cdef extern from *:
    """
    static void fg_set_iternext(PyTypeObject *type, iternextfunc next) { type->tp_iternext = next; }
    """
    void fg_set_iternext(PyTypeObject *type, iternextfunc next)

cdef enum:
    LONGEST = 1000000       # seconds that a lock is waited for at a time

cdef object monotonic = time.monotonic
cdef object get_running_loop = asyncio.get_running_loop


@cython.final
cdef class ThreadWaiter(Waiter):
    cdef int wake(self, Channel channel) except -1:
        self.lock.release()
        return 0


cdef Chunk wait_for(Channel channel, uint32_t most, object timeout, bint *over):
    cdef ThreadWaiter waiter
    cdef Chunk chunk
    cdef double deadline = 0.0, remaining = LONGEST
    if timeout is not None:
        deadline = monotonic() + timeout
    while True:
        chunk = channel.read(most, over)
        if chunk is not None or over[0]:
            return chunk
        remaining = LONGEST
        if channel.token is not None:
            if channel.token.cancelled:         # its deadline may have passed just now
                continue
            remaining = min(remaining, channel.token.remaining())
        if timeout is not None:
            if deadline <= monotonic():
                return None
            remaining = min(remaining, deadline - monotonic())
        waiter = ThreadWaiter.__new__(ThreadWaiter)
        waiter.lock = allocate_lock()
        waiter.lock.acquire()
        channel.arm(waiter, channel.yard.threads)
        try:
            if not channel.readable():
                waiter.lock.acquire(True, max(0.0, remaining))
        finally:
            if channel.waiter is waiter:
                channel.waiter = None


@cython.final
cdef class TaskWaiter(Waiter):
    cdef int wake(self, Channel channel) except -1:
        cdef object callback = self.callback, context = self.context
        self.callback = self.context = None
        if callback is None:
            return 0
        if context is None:
            callback(self)
            return 0
        PyContext_Enter(context)
        try:
            callback(self)
        finally:
            PyContext_Exit(context)
        return 0

    # What asyncio.Task asks of a future.

    def get_loop(self):
        return self.loop

    def add_done_callback(self, callback, *, context=None):
        self.callback, self.context = callback, context

    def remove_done_callback(self, callback):
        found = self.callback is callback
        if found:
            self.callback = self.context = None
        return int(found)

    def cancel(self, msg=None):
        if self.callback is None:
            return False
        self.cancelled = True
        self.loop.call_soon(self.callback, self, context=self.context)
        self.callback = self.context = None
        return True

    def result(self):
        if self.cancelled:
            self.cancelled = False
            raise asyncio.CancelledError


@cython.final
cdef class CallbackWaiter(Waiter):
    def __cinit__(self, callback):
        self.callback, self.stays = callback, True

    cdef int wake(self, Channel channel) except -1:
        cdef Chunk chunk = channel.read_all()
        if chunk is not None:
            try:
                self.callback(chunk)
            except Exception as error:      # it must not hurt the streams that come after it, nor the producer
                channel.abort("callback_failed", error, True)
        return 0


@cython.final
@cython.no_gc_clear         # what it drops, it cancels
@cython.auto_pickle(False)
cdef class Pieces:
    """Iterates a stream and blocks while there is nothing; dropping it before the end cancels the stream."""

    def __cinit__(self, Channel channel not None, timeout=None):
        self.channel, self.timeout = channel, timeout
        self.most = 1 if self.channel.chunk_tokens <= 1 else EVERYTHING

    def __dealloc__(self):
        if self.channel is not None and self.channel.born == generation():
            self.channel.abort("cancelled", None, True)

    def __iter__(self):
        return self

    def __next__(self):
        cdef bint over
        cdef Chunk chunk
        self.channel.check()
        chunk = wait_for(self.channel, self.most, self.timeout, &over)
        if chunk is not None:
            return chunk
        if not over:
            raise GenerationTimeout("no piece came in time", timeout=self.timeout)
        error = self.channel.failure()
        if error is not None:
            raise error
        raise StopIteration

    def close(self):
        """Cancel the stream."""
        self.channel.abort("cancelled", None, True)


@cython.final
@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class AsyncPieces:
    """The same for asyncio; one task at a time. Cancelling the task that waits cancels the stream."""

    def __cinit__(self, Channel channel not None):
        self.channel = channel
        self.most = 1 if channel.chunk_tokens <= 1 else EVERYTHING

    def __dealloc__(self):
        if self.channel is not None and self.channel.born == generation():
            self.leave()
            self.channel.abort("cancelled", None, True)

    def __aiter__(self):
        return self

    def __anext__(self):
        return Next.__new__(Next, self)

    async def aclose(self):
        """Cancel the stream."""
        self.leave()
        self.channel.abort("cancelled", None, True)

    cdef int leave(self) except -1:
        if self.waiter is not None and self.channel.waiter is self.waiter:
            self.channel.waiter = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        return 0

    cdef object step(self):
        """Return the next piece, or what to wait for."""
        cdef Channel channel = self.channel
        cdef TaskWaiter waiter = self.waiter
        cdef Chunk chunk
        cdef bint over
        cdef object error
        while True:
            chunk = channel.read(self.most, &over)
            if chunk is not None:
                return chunk
            if over:
                self.leave()
                error = channel.failure()
                if error is not None:
                    raise error
                raise StopAsyncIteration
            channel.check()
            if waiter is None:
                waiter = self.waiter = TaskWaiter.__new__(TaskWaiter)
                waiter.loop = get_running_loop()
                self.port = (<Hub>channel.yard).port_of(waiter.loop)
                if channel.token is not None and channel.token.remaining() < LONGEST:
                    self.timer = waiter.loop.call_later(channel.token.remaining(), channel.token.poll)
            if channel.waiter is not waiter:
                channel.arm(waiter, self.port)
            if not channel.readable():
                waiter._asyncio_future_blocking = True
                return waiter
            channel.waiter = None


@cython.final
@cython.freelist(64)
@cython.auto_pickle(False)
cdef class Next:
    def __cinit__(self, AsyncPieces pieces not None):
        self.pieces = pieces

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        found = self.pieces.step()
        if found is self.pieces.waiter:
            return found
        raise StopIteration(found)

    def send(self, value):
        return self.__next__()

    def throw(self, kind, value=None, traceback=None):
        """The task is cancelled: so is the stream."""
        self.close()
        if value is None:
            value = kind() if isinstance(kind, type) else kind
        raise value

    def close(self):
        self.pieces.leave()
        self.pieces.channel.abort("cancelled", None, True)


cdef PyObject *advance(PyObject *self) noexcept:
    """`Next.__next__` for the interpreter's loop: a result costs no exception object and no traceback."""
    cdef Next awaitable = <Next>self
    cdef object found = None, error = None, kind
    try:
        found = awaitable.pieces.step()
    except BaseException as caught:
        error = caught
    if error is not None:
        kind = type(error)
        PyErr_SetObject(<PyObject *>kind, <PyObject *>error)
        return NULL
    if found is awaitable.pieces.waiter:
        Py_INCREF(found)
        return <PyObject *>found
    PyErr_SetObject(PyExc_StopIteration, <PyObject *>found)
    return NULL


fg_set_iternext(<PyTypeObject *>Next, advance)
