# cython: language_level=3
"""Snapshot: the latest version of an object, published by one thread and read by many, also without the GIL."""

cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdint cimport uintptr_t

from fastgen.kernels.tokens cimport integer_of
from fastgen.lockfree.lines cimport give_lines, take_lines

from fastgen.errors import InvalidParameterError, OverloadedError

cdef extern from "lockfree/snapshot.h" nogil:
    size_t fg_snapshot_bytes(size_t readers)
    void fg_snapshot_init(fg_snapshot *snapshot, size_t readers, uint64_t value, void *memory)
    fg_snapshot_reader *fg_snapshot_join(fg_snapshot *snapshot)
    void fg_snapshot_leave(fg_snapshot_reader *reader)
    void fg_snapshot_park(fg_snapshot_reader *reader)
    uint64_t fg_snapshot_read(fg_snapshot *snapshot, fg_snapshot_reader *reader)
    uint64_t fg_snapshot_number(const fg_snapshot *snapshot)
    size_t fg_snapshot_publish(fg_snapshot *snapshot, uint64_t value, uint64_t *freed)
    size_t fg_snapshot_collect(fg_snapshot *snapshot, uint64_t *freed)
    size_t fg_snapshot_kept(const fg_snapshot *snapshot)

cdef uint64_t address_of(object value) noexcept:
    return <uint64_t><uintptr_t><void *>value


@cython.final
cdef class Snapshot:
    """The latest version of an object. An old version lives as long as somebody uses it, and no longer.

    Python code reads by `get` and has a reference of its own. Code in C that runs without the GIL reads through a
    `SnapshotReader`; what it read is kept until it reads again. The garbage collector sees through a snapshot.

    Parameters
    ----------
    value : object
        The first version.
    readers : int, default 16
        How many `SnapshotReader` there can be at a time, in [0, 65,534]; 128 bytes each. As many old versions are kept
        at most.

    Raises
    ------
    InvalidParameterError
        `readers` is out of its range.

    Notes
    -----
    Hazard pointers that stay set between reads: see csrc/lockfree/snapshot.h. Publishing holds the GIL, so any thread
    may publish. In the child of a fork() a snapshot goes on working; readers of threads that are gone keep what they
    had.
    """

    def __cinit__(self, value, *, readers=16):
        cdef size_t header = 256        # two times FG_DESTRUCTIVE_INTERFERENCE
        cdef char *memory
        self.readers = integer_of(readers, "readers", 0, 65534)
        self.kept = {address_of(value): [value]}
        self.latest = value
        memory = <char *>take_lines(header + fg_snapshot_bytes(self.readers))
        self.c = <fg_snapshot *>memory
        fg_snapshot_init(self.c, self.readers, address_of(value), memory + header)

    def __dealloc__(self):
        give_lines(self.c)

    def __reduce__(self):
        raise TypeError("a snapshot can't be copied or pickled")

    cdef int let_go(self, uint64_t *freed, size_t count) except -1:
        """Drop the references of versions that nobody reads. This may run any code, which may publish again."""
        cdef list doomed = []
        cdef size_t i
        for i in range(count):
            same = <list>self.kept[freed[i]]    # one object may be several versions
            doomed.append(same.pop())
            if not same:
                del self.kept[freed[i]]
        return 0

    cdef int check(self) except -1:
        if self.kept is None:       # the garbage collector was here, and somebody's finalizer calls
            raise InvalidParameterError("the snapshot is gone")
        return 0

    def __class_getitem__(cls, item):
        return cls

    def get(self):
        """Return the latest version."""
        return self.latest

    def publish(self, value):
        """Make an object the latest version and return the version's number; they count from 1.

        What is seen by readers is the old version or the new one, each as a whole.
        """
        self.check()
        cdef uint64_t *freed = <uint64_t *>PyMem_RawMalloc((self.readers + 1) * sizeof(uint64_t))
        cdef uint64_t number
        cdef size_t count
        if freed == NULL:
            raise MemoryError
        try:
            self.kept.setdefault(address_of(value), []).append(value)
            self.latest = value
            count = fg_snapshot_publish(self.c, address_of(value), freed)
            number = fg_snapshot_number(self.c)
            self.let_go(freed, count)
        finally:
            PyMem_RawFree(freed)
        return number

    def collect(self):
        """Drop old versions that no reader uses any more, and return how many are still kept.

        `publish` does it too; this is for when nothing new comes for long.
        """
        self.check()
        cdef uint64_t *freed = <uint64_t *>PyMem_RawMalloc((self.readers + 1) * sizeof(uint64_t))
        if freed == NULL:
            raise MemoryError
        try:
            self.let_go(freed, fg_snapshot_collect(self.c, freed))
        finally:
            PyMem_RawFree(freed)
        return fg_snapshot_kept(self.c)

    @property
    def version(self):
        """The number of the latest version, from 1 on."""
        return fg_snapshot_number(self.c)

    def reader(self):
        """Return a `SnapshotReader`.

        Raises
        ------
        OverloadedError
            There are `readers` of them already.
        """
        return SnapshotReader(self)


@cython.final
@cython.no_gc_clear             # its slot lies in the snapshot's memory
cdef class SnapshotReader:
    """A reader of a `Snapshot`, for one thread at a time. It keeps the version that it read last.

    Parameters
    ----------
    snapshot : Snapshot

    Raises
    ------
    OverloadedError
        The snapshot has as many readers as it can.
    """

    def __cinit__(self, Snapshot snapshot not None):
        self.snapshot = snapshot
        self.c = fg_snapshot_join(snapshot.c)
        if self.c == NULL:
            raise OverloadedError("a snapshot has as many readers as it can", hint="close one, or make room for more",
                                  readers=snapshot.readers)

    def __dealloc__(self):
        if self.c != NULL:
            fg_snapshot_leave(self.c)

    def __reduce__(self):
        raise TypeError("a reader can't be copied or pickled")

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()

    cdef void *read(self) noexcept nogil:
        return <void *><uintptr_t>fg_snapshot_read(self.snapshot.c, self.c)

    cdef int check(self) except -1:
        if self.c == NULL:
            raise InvalidParameterError("the reader is closed")
        return self.snapshot.check()

    def get(self):
        """Return the latest version, and keep it until the next call.

        Raises
        ------
        InvalidParameterError
            The reader is closed.
        """
        self.check()
        return (<list>self.snapshot.kept[<uint64_t><uintptr_t>self.read()])[0]

    def park(self):
        """Keep no version until the next call of `get`."""
        self.check()
        fg_snapshot_park(self.c)

    def close(self):
        """Give the reader's place up."""
        if self.c != NULL:
            fg_snapshot_leave(self.c)
            self.c = NULL
