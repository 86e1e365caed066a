from fastgen.prompt cimport PromptBuilder

cdef enum:
    TEXT     # first: where in the text; second: how long, in bytes
    CONTENT  # first: of which message
    CLOCK    # first: which of the formats
    OPEN     # what follows, up to CLOSE, is stripped as a whole
    CLOSE    # first: on the left; second: on the right

cdef struct Step:
    int kind
    Py_ssize_t first, second

cdef class Program:
    cdef bytes texts  # all of them, joined
    cdef Step *steps
    cdef Py_ssize_t count
    cdef tuple clocks
    cdef readonly tuple guards
    cdef bint continued, repeats
    cdef readonly tuple parts
    cdef readonly Py_ssize_t messages  # that it needs

    cdef bint fits(self, list contents) except -1
    cdef int run(self, PromptBuilder prompt, list contents, object now) except -1
