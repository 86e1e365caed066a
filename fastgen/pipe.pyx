# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Pipe: pieces on their way from a producer to a reader, without the GIL and without a lock.

`csrc/pipe.h` has the details; `fastgen.streams` has the two ends that people hold.
"""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.ref cimport PyObject
from libc.stdint cimport int32_t, uint8_t, uintptr_t
from libc.string cimport memcpy

from fastgen.chunk cimport SCRATCH, chunk_of, fg_records_join, fg_records_measure, forget

cdef extern from "pipe.h" nogil:
    """
    #define FG_PIPE_ROOM (sizeof(fg_pipe) + FG_CACHE_LINE)
    static fg_pipe *fg_pipe_in(void *memory) {
        return (fg_pipe *)(((uintptr_t)memory + FG_CACHE_LINE - 1) & ~(uintptr_t)(FG_CACHE_LINE - 1));
    }
    """
    enum: FG_PIPE_ROOM
    fg_pipe *fg_pipe_in(void *memory)
    ctypedef enum fg_push:
        FG_PUSHED
        FG_FULL
        FG_FULL_BYTES
        FG_GROW
        FG_OVER
        FG_WAITS
    ctypedef struct fg_block:
        fg_block *older
    void fg_pipe_init(fg_pipe *pipe, uint32_t capacity, uint32_t low, uint64_t limit)
    fg_push fg_pipe_push(fg_pipe *pipe, const fg_piece *piece)
    size_t fg_pipe_wanted(const fg_pipe *pipe, const fg_piece *piece)
    void fg_pipe_grow(fg_pipe *pipe, fg_block *block, size_t words)
    size_t fg_block_bytes(size_t words)
    bint fg_pipe_wait(fg_pipe *pipe)
    size_t fg_pipe_take(fg_pipe *pipe, uint32_t most, uint64_t *out, size_t room, int *resumed)
    bint fg_pipe_release(fg_pipe *pipe)

cdef enum:
    LIMIT_MOST = 1 << 17    # words that are pending, unless one piece has more


cdef uint64_t *gather(fg_pipe *pipe, uint32_t most, uint64_t *scratch, size_t *count, int *resumed) noexcept nogil:
    """Take records into `scratch`, or into memory that is to be freed if they don't fit; NULL if there is none."""
    cdef uint64_t *words = scratch
    cdef size_t room = SCRATCH
    count[0] = fg_pipe_take(pipe, most, words, room, resumed)
    while count[0] > room:
        room = count[0]
        if words != scratch:
            PyMem_RawFree(words)
        words = <uint64_t *>PyMem_RawMalloc(room * sizeof(uint64_t))
        if words == NULL:
            return NULL
        count[0] = fg_pipe_take(pipe, most, words, room, resumed)
    return words


cdef void let_go(fg_pipe *pipe) noexcept:
    cdef fg_block *block
    cdef fg_block *older
    if fg_pipe_release(pipe):
        block = <fg_block *><uintptr_t>fg_load_acquire(&pipe.block)
        while block != NULL:
            older = block.older
            PyMem_RawFree(block)
            block = older
        PyMem_RawFree(pipe.memory)


cdef class Pipe:
    def __cinit__(self, uint32_t capacity, Policy policy, uint32_t low, *_):
        cdef void *memory = PyMem_RawMalloc(FG_PIPE_ROOM)
        if memory == NULL:
            raise MemoryError
        self.c = fg_pipe_in(memory)
        fg_pipe_init(self.c, capacity, low, min(LIMIT_MOST, <uint64_t>capacity * (32 if policy == CONFLATE else 4)))
        self.c.memory = memory
        self.c.owner = <PyObject *>self
        self.policy = policy

    def __dealloc__(self):
        if self.c != NULL:
            self.c.owner = NULL
            fg_pipe_publish(self.c)
            self.discard()
            let_go(self.c)

    cdef int push(self, fg_piece *piece) noexcept nogil:
        """Write a piece: TAKEN, REFUSED until there is room, OVER, or NO_MEMORY."""
        cdef fg_push found
        cdef int done
        while True:
            found = fg_pipe_push(self.c, piece)
            if found == FG_PUSHED:
                return TAKEN
            if found == FG_OVER:
                return OVER
            if found == FG_WAITS:
                return REFUSED
            done = TAKEN
            if found == FG_GROW:
                done = self.grow(piece)
            elif self.policy == DROP_OLDEST:
                done = self.drop()
            elif self.policy == CANCEL:
                self.overrun = True
                fg_pipe_end(self.c)
                return OVER
            elif self.policy == CONFLATE and found == FG_FULL:
                done = self.conflate(piece)
                if done != REFUSED:
                    return done
                if fg_pipe_wait(self.c):
                    return REFUSED
            elif fg_pipe_wait(self.c):
                return REFUSED
            if done == NO_MEMORY:
                return NO_MEMORY

    cdef int grow(self, fg_piece *piece) noexcept nogil:
        cdef size_t words = fg_pipe_wanted(self.c, piece)
        cdef fg_block *block
        if words:
            block = <fg_block *>PyMem_RawMalloc(fg_block_bytes(words))
            if block == NULL:
                return NO_MEMORY
            fg_pipe_grow(self.c, block, words)
        return TAKEN

    cdef int drop(self) noexcept nogil:
        """Take the oldest piece away from the reader."""
        cdef uint64_t scratch[SCRATCH]
        cdef uint64_t *words
        cdef size_t count
        cdef int resumed
        cdef fg_piece sizes
        fg_pipe_publish(self.c)
        words = gather(self.c, 1, scratch, &count, &resumed)
        if words == NULL:
            return NO_MEMORY
        if count:
            fg_store_relaxed(&self.c.lost, fg_load_relaxed(&self.c.lost) + 1)
            fg_records_measure(words, count, &sizes)
            if sizes.payload_count:
                with gil:
                    forget(words, count)
        if words != scratch:
            PyMem_RawFree(words)
        return TAKEN

    cdef int conflate(self, fg_piece *piece) noexcept nogil:
        """Make one piece of all that is pending and this one; REFUSED if that would be too long."""
        cdef size_t count, most
        cdef int resumed, done
        cdef fg_piece sizes, merged
        cdef uint64_t *words
        cdef int32_t *tokens
        cdef uint8_t *text
        fg_pipe_publish(self.c)
        most = fg_pipe_words(self.c)
        count = 1 + (piece.token_count + 1) // 2 + piece.payload_count + (piece.size + 7) // 8
        if most + count > self.c.limit:
            return REFUSED
        words = <uint64_t *>PyMem_RawMalloc((2 * most + count) * sizeof(uint64_t))
        if words == NULL:
            return NO_MEMORY
        count = fg_pipe_take(self.c, EVERYTHING, words, most, &resumed)     # the reader can only have taken some
        fg_records_measure(words, count, &sizes)
        merged.payloads = words + most
        tokens = <int32_t *>(words + most + sizes.payload_count + piece.payload_count)
        text = <uint8_t *>(tokens + sizes.token_count + piece.token_count)
        fg_records_join(words, count, tokens, words + most, text)
        if piece.payload_count:
            memcpy(words + most + sizes.payload_count, piece.payloads, piece.payload_count * sizeof(uint64_t))
        if piece.token_count:
            memcpy(tokens + sizes.token_count, piece.tokens, piece.token_count * sizeof(int32_t))
        if piece.size:
            memcpy(text + sizes.size, piece.text, piece.size)
        merged.tokens, merged.text = tokens, text
        merged.payload_count = sizes.payload_count + piece.payload_count
        merged.token_count = sizes.token_count + piece.token_count
        merged.size = sizes.size + piece.size
        fg_store_relaxed(&self.c.tokens, fg_load_relaxed(&self.c.tokens) - sizes.token_count)
        done = self.push(&merged)
        self.merged += 1
        if done < 0 and sizes.payload_count:
            with gil:
                forget(words, count)
        PyMem_RawFree(words)
        return done

    cdef Chunk take(self, uint32_t most, int *resumed):
        """Take at most so many pieces, as one chunk; None if nothing is pending."""
        cdef uint64_t scratch[SCRATCH]
        cdef uint64_t *words
        cdef size_t count
        words = gather(self.c, most, scratch, &count, resumed)
        if words == NULL:
            raise MemoryError
        if count == 0:
            return None
        try:
            return chunk_of(words, count)
        finally:
            if words != scratch:
                PyMem_RawFree(words)

    cdef void discard(self) noexcept:
        """Let go of all that may be read."""
        cdef uint64_t scratch[SCRATCH]
        cdef uint64_t *words
        cdef size_t count = 1
        cdef int resumed
        while count:
            words = gather(self.c, EVERYTHING, scratch, &count, &resumed)
            if words == NULL:
                return
            forget(words, count)
            if words != scratch:
                PyMem_RawFree(words)
