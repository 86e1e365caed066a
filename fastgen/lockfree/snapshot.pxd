from libc.stdint cimport uint64_t

cdef extern from "lockfree/snapshot.h" nogil:
    ctypedef struct fg_snapshot:
        pass
    ctypedef struct fg_snapshot_reader:
        pass


cdef class Snapshot:
    cdef fg_snapshot *c
    cdef size_t readers
    cdef object latest
    cdef dict kept

    cdef int check(self) except -1
    cdef int let_go(self, uint64_t *freed, size_t count) except -1


cdef class SnapshotReader:
    cdef Snapshot snapshot
    cdef fg_snapshot_reader *c

    cdef int check(self) except -1

    # The latest object, borrowed: it lives until this reader reads again, parks or closes. Touch what C sees of it,
    # never its reference count, while the GIL is not held. Needs a reader that is open.
    cdef void *read(self) noexcept nogil
