from libc.stdint cimport uint64_t

cdef extern from "lockfree/queue.h" nogil:
    ctypedef enum fg_queue_status:
        FG_QUEUE_OK
        FG_QUEUE_FULL
        FG_QUEUE_EMPTY
        FG_QUEUE_BUSY
        FG_QUEUE_CLOSED
        FG_QUEUE_NO_MEMORY
    ctypedef struct fg_participant:
        fg_participant *next
    ctypedef struct fg_epoch:
        pass
    ctypedef struct fg_bounded:
        pass
    ctypedef struct fg_unbounded:
        fg_epoch epoch


cdef class Queue:
    """Objects from any threads to any threads."""

    cdef fg_bounded *bounded        # this or the other is NULL; both lie aligned inside `memory`
    cdef fg_unbounded *unbounded
    cdef void *memory
    cdef size_t room                # 0 if unbounded
    cdef size_t born                # forks() when it was made

    # Items are PyObject *; the queue owns one reference to each, which whoever pops it gets. Any threads, without the
    # GIL; the queue itself must be kept alive. FG_QUEUE_BUSY: another thread has stopped between claim and use.
    cdef fg_queue_status put(self, const uint64_t *items, size_t count, size_t *done) noexcept nogil
    cdef fg_queue_status take(self, uint64_t *items, size_t count, size_t *done) noexcept nogil
    cdef fg_participant *participant(self) noexcept nogil
    cdef int enter(self) except -1
    cdef bint push_chunk(self, const uint64_t *items, size_t count, size_t *done) except -1
    cdef list pop_list(self, size_t count)
    cdef size_t count(self) except? 0
