from fastgen.hub cimport LoopPort


cdef class Sink(LoopPort):
    cdef object on_ready, lock, future
    cdef dict streams       # those it reads, as a set
    cdef object __weakref__
