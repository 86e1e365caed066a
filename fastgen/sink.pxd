from fastgen.hub cimport LoopPort
from fastgen.pipe cimport fg_pipe


cdef class Sink(LoopPort):
    cdef object on_ready, lock, future
    cdef dict streams       # those it reads, as a set
    cdef object __weakref__


cdef class Drain:
    cdef Sink sink
    cdef fg_pipe *rest      # what it has not come to
