from libc.stdint cimport uint64_t

from fastgen.channel cimport Channel, Port, Yard


cdef class LoopPort(Port):
    """Wakes the async iterators and callbacks of one event loop, all in one call of the loop."""
    cdef object loop
    cdef bint scheduled
    cdef int lost(self) except -1


cdef class Hub(Yard):
    cdef object clock
    cdef dict loops         # id(loop) -> LoopPort
    cdef list sinks, held
    cdef dict news          # writers that may go on, or need not: a set that keeps its order
    cdef object lock
    cdef uint64_t born
    cdef readonly uint64_t flushes
    cdef readonly double flushed
    cdef LoopPort port_of(self, object loop)
    cdef int check(self) except -1


cdef Hub default_hub()      # of streams that have none: each put tells the reader
