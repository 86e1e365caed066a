from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from libc.stdint cimport uintptr_t

cdef enum:
    LINES = 128     # FG_DESTRUCTIVE_INTERFERENCE


cdef inline void *take_lines(size_t size) except NULL:
    """Return zeros that share no cache line with anything else; the address of the whole stands before them."""
    cdef char *whole = NULL
    cdef char *lines
    if size < <size_t>1 << 62:
        whole = <char *>PyMem_RawCalloc(1, size + 2 * LINES)
    if whole == NULL:
        raise MemoryError
    lines = <char *>((<uintptr_t>whole + 2 * LINES - 1) & ~<uintptr_t>(LINES - 1))
    (<void **>lines)[-1] = whole
    return lines


cdef inline void give_lines(void *lines) noexcept:
    if lines != NULL:
        PyMem_RawFree((<void **>lines)[-1])
