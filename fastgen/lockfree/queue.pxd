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
    ctypedef struct fg_allocator:
        void *(*allocate)(void *context, size_t bytes) noexcept nogil
        void (*release)(void *context, void *memory) noexcept nogil
        void *context
    int FG_SEGMENT_SLOTS

    size_t fg_bounded_bytes(size_t capacity)
    void fg_bounded_init(fg_bounded *queue, size_t capacity, void *memory)
    fg_queue_status fg_bounded_push(fg_bounded *queue, const uint64_t *items, size_t count, size_t *done)
    fg_queue_status fg_bounded_pop(fg_bounded *queue, uint64_t *items, size_t count, size_t *done)
    bint fg_bounded_close(fg_bounded *queue)
    bint fg_bounded_is_closed(const fg_bounded *queue)
    size_t fg_bounded_count(const fg_bounded *queue)

    bint fg_unbounded_init(fg_unbounded *queue, size_t slots, uint64_t period, fg_allocator allocator)
    void fg_unbounded_destroy(fg_unbounded *queue)
    fg_queue_status fg_unbounded_push(fg_unbounded *queue, fg_participant *me, const uint64_t *items, size_t count,
                                      size_t *done)
    fg_queue_status fg_unbounded_pop(fg_unbounded *queue, fg_participant *me, uint64_t *items, size_t count,
                                     size_t *done)
    bint fg_unbounded_close(fg_unbounded *queue, fg_participant *me)
    bint fg_unbounded_is_closed(fg_unbounded *queue, fg_participant *me)
    size_t fg_unbounded_count(fg_unbounded *queue, fg_participant *me)

    fg_participant *fg_epoch_take(fg_epoch *epoch)
    void fg_epoch_join(fg_epoch *epoch, fg_participant *fresh)
    void fg_epoch_leave(fg_participant *me)
    fg_participant *fg_epoch_participants(const fg_epoch *epoch)


cdef class Queue:
    """Objects from any threads to any threads."""

    cdef fg_bounded *bounded        # this or the other is NULL; both lie aligned inside `memory`
    cdef fg_unbounded *unbounded
    cdef void *memory
    cdef size_t room                # 0 if unbounded
    cdef size_t born                # forks() when it was made
    cdef fg_participant *mine       # of whoever holds the GIL

    # Items are PyObject *, each with a reference that the queue owns and hands to whoever pops it. Any threads, without
    # the GIL, each between join() and leave() with a participant of its own (NULL if bounded, or without memory); the
    # queue must be kept alive. FG_QUEUE_BUSY: another thread has stopped between claim and use.
    cdef fg_participant *join(self) noexcept nogil
    cdef void leave(self, fg_participant *me) noexcept nogil
    cdef fg_queue_status put(self, fg_participant *me, const uint64_t *items, size_t count, size_t *done) noexcept nogil
    cdef fg_queue_status take(self, fg_participant *me, uint64_t *items, size_t count, size_t *done) noexcept nogil
    cdef int enter(self) except -1
    cdef bint push_chunk(self, const uint64_t *items, size_t count, size_t *done) except -1
    cdef list pop_list(self, size_t count)
    cdef size_t count(self) noexcept
