from fastgen.channel cimport Channel


cdef class Producer:
    cdef Channel channel
    cdef readonly object tag
    cdef object __weakref__


cdef class StreamWriter(Producer):
    pass
