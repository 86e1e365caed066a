from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from fastgen.chunk cimport Chunk, fg_piece

cdef extern from "pipe.h" nogil:
    enum:
        FG_PIPE_OPEN
        FG_PIPE_ENDED
        FG_PIPE_ABORTED
        FG_PIPE_DONE
    ctypedef struct fg_atomic:
        pass
    uint64_t fg_load_relaxed(const fg_atomic *cell)
    uint64_t fg_load_acquire(const fg_atomic *cell)
    void fg_store_relaxed(fg_atomic *cell, uint64_t value)
    void fg_store_release(fg_atomic *cell, uint64_t value)
    ctypedef struct fg_ready:
        fg_atomic first
    ctypedef struct fg_pipe:
        fg_atomic block, tokens, lost, state, list
        uint64_t limit
        fg_pipe *next
        void *owner
        void *memory
    void fg_pipe_publish(fg_pipe *pipe)
    bint fg_pipe_end(fg_pipe *pipe)
    uint32_t fg_pipe_pieces(const fg_pipe *pipe)
    uint32_t fg_pipe_words(const fg_pipe *pipe)
    uint32_t fg_pipe_progress(const fg_pipe *pipe)
    uint32_t fg_pipe_published(const fg_pipe *pipe)
    bint fg_pipe_waits(const fg_pipe *pipe)
    bint fg_pipe_abort(fg_pipe *pipe, bint quietly)
    bint fg_pipe_deliver(fg_pipe *pipe)
    void fg_pipe_mark(fg_pipe *pipe)
    void fg_pipe_unmark(fg_pipe *pipe)
    fg_pipe *fg_ready_take(fg_ready *list)


cdef enum:
    TAKEN = 1           # what a push returns
    REFUSED = 0
    OVER = -1
    NO_MEMORY = -2
    EVERYTHING = 0xFFFFFFFF

cdef enum Policy:
    BLOCK
    CONFLATE
    DROP_OLDEST
    CANCEL


cdef class Pipe:
    """Owns an `fg_pipe` and does what its policy says; who waits for it is the concern of `Channel`."""

    cdef fg_pipe *c
    cdef Policy policy
    cdef bint overrun       # the policy has ended it
    cdef uint64_t merged    # pieces that went into another

    cdef int push(self, fg_piece *piece) noexcept nogil
    cdef int grow(self, fg_piece *piece) noexcept nogil
    cdef int drop(self) noexcept nogil
    cdef int conflate(self, fg_piece *piece) noexcept nogil
    cdef Chunk take(self, uint32_t most, int *resumed)
    cdef void discard(self) noexcept


cdef void let_go(fg_pipe *pipe) noexcept    # of a reference; the last one frees the memory
