# cython: language_level=3
"""Queue: objects from any threads to any threads, in order, without a lock."""

cimport cython
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport uintptr_t

from fastgen.errors import StreamClosedError

from fastgen.kernels.tokens cimport integer_of
from fastgen.lockfree.process cimport forks, raise_forked
from fastgen.lockfree.ring cimport aligned, capacity_of

cdef extern from "Python.h":
    void Py_SET_SIZE(PyObject *list, Py_ssize_t size)
    void PyObject_GC_Track(PyObject *object)
    void PyObject_GC_UnTrack(PyObject *object)

cdef extern from "base/base.h" nogil:
    size_t FG_DESTRUCTIVE_INTERFERENCE

cdef extern from "base/atomic.h" nogil:
    void fg_spin()

cdef enum:
    SPINS = 1000        # some microseconds: longer than the way from a claim to its end, if nobody is stopped on it
    CHUNK = 128

cdef size_t MAX_COUNT = <size_t>-1 >> 4


cdef void *allocate(void *context, size_t bytes) noexcept nogil:
    return PyMem_RawMalloc(bytes)


cdef void release(void *context, void *memory) noexcept nogil:
    PyMem_RawFree(memory)


cdef inline uint64_t word_of(object item) noexcept:
    return <uint64_t><uintptr_t><PyObject *>item


cdef inline PyObject *object_of(uint64_t word) noexcept:
    return <PyObject *><uintptr_t>word


@cython.final
cdef class Queue:
    """A first-in first-out queue of objects, from any number of threads to any number of threads.

    Nothing waits: a full queue refuses, an empty one has nothing to pop.

    Parameters
    ----------
    capacity : int, optional
        Room for at least so many items, in [1, 2^24]; rounded up to a power of two. Without it there is no limit but
        memory.

    Raises
    ------
    InvalidParameterError
        The capacity is out of its range.

    Notes
    -----
    After a ``fork()`` the child's calls raise `ForkedError`, and what was inside is not freed there. The garbage
    collector doesn't look into a queue: one that holds itself, in whatever way, lives until it is emptied.

    Bounded: D. Vyukov's queue, 16 bytes for each item that there is room for. Unbounded: segments of 128 items, claimed
    by adding (P. Ramalhete and A. Correia, 2016) and freed by epochs (K. Fraser, 2004); a push is lock-free.

    Examples
    --------
    >>> queue = Queue()
    >>> queue.push("a"), queue.push_many(["b", "c"])
    (True, 2)
    >>> queue.pop(), queue.pop_many()
    ('a', ['b', 'c'])
    """

    def __cinit__(self, capacity=None):
        cdef fg_allocator allocator
        cdef size_t bytes
        self.born = forks()
        self.room = 0 if capacity is None else capacity_of(capacity, 1)
        bytes = sizeof(fg_bounded) + fg_bounded_bytes(self.room) if self.room else sizeof(fg_unbounded)
        self.memory = PyMem_RawMalloc(bytes + FG_DESTRUCTIVE_INTERFERENCE)
        if self.memory == NULL:
            raise MemoryError
        if self.room:
            self.bounded = <fg_bounded *>aligned(self.memory)
            fg_bounded_init(self.bounded, self.room, self.bounded + 1)
            return
        self.unbounded = <fg_unbounded *>aligned(self.memory)
        allocator.allocate, allocator.release, allocator.context = allocate, release, NULL
        if not fg_unbounded_init(self.unbounded, FG_SEGMENT_SLOTS, 1, allocator):
            raise MemoryError
        self.mine = self.join()
        if self.mine == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef fg_participant *one
        cdef fg_participant *next
        if self.memory == NULL:
            return
        if self.born != forks():        # another thread of the parent may have been anywhere inside
            return
        try:
            # as lists die, so deep nests of queues don't recurse without end
            while (self.mine != NULL or self.bounded != NULL) and self.pop_list(CHUNK):
                pass
        except MemoryError:
            pass                        # then the rest is never freed
        if self.unbounded != NULL:
            one = fg_epoch_participants(&self.unbounded.epoch)
            fg_unbounded_destroy(self.unbounded)
            while one != NULL:
                next = one.next
                PyMem_RawFree(one)
                one = next
        PyMem_RawFree(self.memory)

    cdef fg_participant *join(self) noexcept nogil:
        cdef fg_participant *me
        if self.unbounded == NULL:
            return NULL
        me = fg_epoch_take(&self.unbounded.epoch)
        if me == NULL:
            me = <fg_participant *>PyMem_RawMalloc(sizeof(fg_participant))
            if me != NULL:
                fg_epoch_join(&self.unbounded.epoch, me)
        return me

    cdef void leave(self, fg_participant *me) noexcept nogil:
        if me != NULL:
            fg_epoch_leave(me)

    cdef fg_queue_status put(self, fg_participant *me, const uint64_t *items, size_t count,
                             size_t *done) noexcept nogil:
        cdef fg_queue_status status
        cdef size_t more, spins = 0
        if self.unbounded != NULL:
            return fg_unbounded_push(self.unbounded, me, items, count, done)
        done[0] = 0
        while True:
            status = fg_bounded_push(self.bounded, items + done[0], count - done[0], &more)
            done[0] += more
            if status != FG_QUEUE_BUSY or spins == SPINS:
                return status
            spins += 1
            fg_spin()

    cdef fg_queue_status take(self, fg_participant *me, uint64_t *items, size_t count, size_t *done) noexcept nogil:
        cdef fg_queue_status status
        cdef size_t spins = 0
        if self.unbounded != NULL:
            return fg_unbounded_pop(self.unbounded, me, items, count, done)
        while True:
            status = fg_bounded_pop(self.bounded, items, count, done)
            if status != FG_QUEUE_BUSY or spins == SPINS:
                return status
            spins += 1
            fg_spin()

    cdef int enter(self) except -1:
        if self.born != forks():
            raise_forked()
        return 0

    cdef bint push_chunk(self, const uint64_t *items, size_t count, size_t *done) except -1:
        """Push references that the caller has taken; return whether all went in, and if not all, drop the others."""
        cdef fg_queue_status status
        cdef size_t more, i
        done[0] = 0
        while True:
            status = self.put(self.mine, items + done[0], count - done[0], &more)
            done[0] += more
            if status != FG_QUEUE_BUSY:
                break
            with nogil:                 # the GIL may be what the other thread waits for next
                fg_spin()
        if status == FG_QUEUE_OK:
            return True
        for i in range(done[0], count):
            Py_DECREF(<object>object_of(items[i]))
        if done[0] == 0 and status == FG_QUEUE_CLOSED:
            raise StreamClosedError("the queue is closed")
        if done[0] == 0 and status == FG_QUEUE_NO_MEMORY:
            raise MemoryError
        return False

    cdef list pop_list(self, size_t count):
        """Pop at most `count` items, or None if there are none and will be none."""
        cdef uint64_t words[CHUNK]
        cdef fg_queue_status status = FG_QUEUE_OK
        cdef size_t filled = 0, done, i
        items = PyList_New(count)       # before anything is popped: it may fail
        PyObject_GC_UnTrack(<PyObject *>items)      # nobody may find it while it has holes
        while filled < count:
            status = self.take(self.mine, words, min(count - filled, <size_t>CHUNK), &done)
            for i in range(done):
                PyList_SET_ITEM(items, filled + i, <object>object_of(words[i]))     # with the queue's reference
            filled += done
            if status == FG_QUEUE_BUSY and not filled:
                with nogil:             # the GIL may be what the other thread waits for next
                    fg_spin()
            elif status != FG_QUEUE_OK:
                break
        if not filled and status == FG_QUEUE_CLOSED:
            return None
        Py_SET_SIZE(<PyObject *>items, filled)
        PyObject_GC_Track(<PyObject *>items)
        return items

    def push(self, item, /):
        """Append an item.

        Returns
        -------
        bool
            Whether there was room.

        Raises
        ------
        StreamClosedError
            The queue is closed.
        """
        cdef uint64_t word = word_of(item)
        cdef size_t done
        self.enter()
        Py_INCREF(item)
        return self.push_chunk(&word, 1, &done)

    def push_many(self, items, /):
        """Append the items of an iterable in order; items of other threads may come between them.

        Returns
        -------
        int
            How many were appended: fewer than all if the queue is full, or closed, or if memory runs out.

        Raises
        ------
        StreamClosedError
            The queue is closed, and nothing was appended.
        """
        cdef uint64_t words[CHUNK]
        cdef size_t count, done, i
        cdef Py_ssize_t start = 0
        self.enter()
        if type(items) is not tuple:
            items = tuple(items)        # a copy: nobody changes it meanwhile
        while start < len(<tuple>items):
            count = min(<size_t>(len(<tuple>items) - start), <size_t>CHUNK)
            for i in range(count):
                item = (<tuple>items)[start + i]
                Py_INCREF(item)
                words[i] = word_of(item)
            try:
                complete = self.push_chunk(words, count, &done)
            except (StreamClosedError, MemoryError):
                if start:
                    return start
                raise
            start += done
            if not complete:
                break
        return start

    def pop(self, default=None, /):
        """Remove the oldest item and return it, or `default` if the queue is empty.

        Raises
        ------
        StreamClosedError
            The queue is closed, and everything has been popped.
        """
        cdef uint64_t word
        cdef fg_queue_status status
        cdef size_t done
        self.enter()
        status = self.take(self.mine, &word, 1, &done)
        while status == FG_QUEUE_BUSY:
            with nogil:
                fg_spin()
            status = self.take(self.mine, &word, 1, &done)
        if status == FG_QUEUE_OK:
            item = <object>object_of(word)
            Py_DECREF(item)
            return item
        if status == FG_QUEUE_CLOSED:
            raise StreamClosedError("the queue is closed, and everything has been popped")
        return default

    def pop_many(self, limit=None, /):
        """Remove the oldest items: at most `limit`, or as many as there were when the call began.

        Returns
        -------
        list
            Oldest first, empty if the queue is.

        Raises
        ------
        StreamClosedError
            The queue is closed, and everything has been popped.
        InvalidParameterError
            The limit is no integer of at least 1.
        """
        cdef size_t count = MAX_COUNT if limit is None else integer_of(limit, "limit", 1, MAX_COUNT)
        self.enter()
        items = self.pop_list(min(count, max(self.count(), <size_t>1)))
        if items is None:
            raise StreamClosedError("the queue is closed, and everything has been popped")
        return items

    def close(self):
        """Refuse further items; those inside can still be popped. Returns whether it was open."""
        self.enter()
        if self.bounded != NULL:
            return fg_bounded_close(self.bounded)
        return fg_unbounded_close(self.unbounded, self.mine)

    @property
    def closed(self):
        """Whether nothing can be pushed any more."""
        self.enter()
        if self.bounded != NULL:
            return fg_bounded_is_closed(self.bounded)
        return fg_unbounded_is_closed(self.unbounded, self.mine)

    @property
    def capacity(self):
        """How many items there is room for; None without a limit."""
        return self.room or None

    cdef size_t count(self) noexcept:
        if self.bounded != NULL:
            return fg_bounded_count(self.bounded)
        return fg_unbounded_count(self.unbounded, self.mine)

    def __len__(self):
        self.enter()
        return self.count()
