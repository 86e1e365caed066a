# cython: language_level=3, cdivision=True
"""Scratch memory for one row of logits at a time."""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from fastgen.kernels.logits cimport FG_LANES

cdef extern from "kernels/logits.h" nogil:
    size_t fg_block_count(size_t count)

cdef extern from "sampler.h" nogil:
    enum: FG_LIST_GROUPS
    size_t fg_list_capacity(size_t k)


cdef void *taken(void *memory) except NULL:
    if memory == NULL:
        raise MemoryError
    return memory


@cython.final
cdef class Workspace:
    def __dealloc__(self):
        self.release()

    @property
    def nbytes(self):
        """Bytes that are taken for rows of the present length."""
        cdef size_t blocks = fg_block_count(self.c.capacity), room = self.c.list.capacity + FG_LANES
        if self.c.capacity == 0:
            return 0
        return (blocks * (FG_LANES * 4 + 16) + (blocks + 1) * 4 + (self.c.capacity + 31) // 32 * 4
                + room * (4 + 4 + 4 + 4 + 8 + 8) + FG_LIST_GROUPS * 4
                + (self.c.capacity * 4 if self.c.cleansed != NULL else 0)
                + (room * 16 if self.c.candidates != NULL else 0))

    cdef void release(self) noexcept:
        PyMem_Free(self.c.lane_maxima)
        PyMem_Free(self.c.block_mass)
        PyMem_Free(self.c.other_mass)
        PyMem_Free(self.c.mask)
        PyMem_Free(self.c.patch_starts)
        PyMem_Free(self.c.cleansed)
        PyMem_Free(self.c.candidates)
        PyMem_Free(self.c.list.scores)
        PyMem_Free(self.c.list.ids)
        PyMem_Free(self.c.list.order)
        PyMem_Free(self.c.list.weights)
        PyMem_Free(self.c.list.keys)
        PyMem_Free(self.c.list.other_keys)
        PyMem_Free(self.c.list.groups)
        memset(&self.c, 0, sizeof(self.c))

    cdef int reserve(self, size_t count, size_t k, bint cleansed, bint candidates) except -1:
        """Have room for rows of `count` scores and lists of k; after a failure there is none, and it can try again."""
        cdef size_t room = fg_list_capacity(k)
        cdef size_t blocks
        if (count <= self.c.capacity and room <= self.c.list.capacity and (not cleansed or self.c.cleansed != NULL)
                and (not candidates or self.c.candidates != NULL)):
            return 0
        count, room = max(count, self.c.capacity), max(room, self.c.list.capacity)
        cleansed = cleansed or self.c.cleansed != NULL
        candidates = candidates or self.c.candidates != NULL
        blocks = fg_block_count(count)
        self.release()
        try:
            self.c.lane_maxima = <float *>taken(PyMem_Malloc(blocks * FG_LANES * sizeof(float)))
            self.c.block_mass = <double *>taken(PyMem_Malloc(blocks * sizeof(double)))
            self.c.other_mass = <double *>taken(PyMem_Malloc(blocks * sizeof(double)))
            self.c.mask = <uint32_t *>taken(PyMem_Malloc((count + 31) // 32 * sizeof(uint32_t)))
            self.c.patch_starts = <uint32_t *>taken(PyMem_Malloc((blocks + 1) * sizeof(uint32_t)))
            if cleansed:
                self.c.cleansed = <float *>taken(PyMem_Malloc(count * sizeof(float)))
            if candidates:
                self.c.candidates = <fg_candidate *>taken(PyMem_Malloc((room + FG_LANES) * sizeof(fg_candidate)))
            self.c.list.scores = <float *>taken(PyMem_Malloc((room + FG_LANES) * sizeof(float)))
            self.c.list.ids = <uint32_t *>taken(PyMem_Malloc((room + FG_LANES) * sizeof(uint32_t)))
            self.c.list.order = <uint32_t *>taken(PyMem_Malloc((room + FG_LANES) * sizeof(uint32_t)))
            self.c.list.weights = <float *>taken(PyMem_Malloc((room + FG_LANES) * sizeof(float)))
            self.c.list.keys = <uint64_t *>taken(PyMem_Malloc((room + FG_LANES) * sizeof(uint64_t)))
            self.c.list.other_keys = <uint64_t *>taken(PyMem_Malloc((room + FG_LANES) * sizeof(uint64_t)))
            self.c.list.groups = <float *>taken(PyMem_Malloc(FG_LIST_GROUPS * sizeof(float)))
        except MemoryError:
            self.release()
            raise
        self.c.capacity, self.c.list.capacity = count, room
        return 0
