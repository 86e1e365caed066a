# Widens `count` blocks; `kind` is an fg_quant_type (csrc/kernels/quant.h). Nothing is checked.
cdef void dequantize_blocks(int kind, const void *blocks, size_t count, float *values) noexcept nogil
