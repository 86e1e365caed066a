from fastgen.writer cimport Producer


cdef class TokenStream(Producer):
    pass
