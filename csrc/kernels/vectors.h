/** Kernels over two vectors of one dtype, unaligned, read only: the sums that their cosine is made of. */
#ifndef FG_KERNELS_VECTORS_H
#define FG_KERNELS_VECTORS_H

#include "base/base.h"
#include "cpu.h"

/** Three sums over `count` pairs of numbers: u * v, u * u, v * v.
 *
 * float32: 16 lanes of float64 (pair i belongs to lane i % 16), in which products are exact. bfloat16 and float16: 32
 * lanes of float32, in which products are exact, for 4,096 pairs; the sums of these blocks are added in float64. Lanes
 * are fused multiply-adds in order of i, then added as a tree, the upper half to the lower: the same bits everywhere.
 */
typedef void fg_dot_fn(void const *u, void const *v, size_t count, double sums[3]);
enum { FG_DOT_LANES = 16, FG_HALF_LANES = 32, FG_HALF_BLOCK = 4096 };

typedef struct fg_vectors_kernels {
    fg_dot_fn *dot[FG_DTYPES];
} fg_vectors_kernels;

/** The best table for these features; every slot is filled. */
fg_vectors_kernels fg_vectors_select(fg_features features);

/** Cosine of the angle between two vectors, in [-1, 1]; 0 if one of them is zero, NaN if one holds NaN or infinity. */
double fg_cosine(fg_vectors_kernels const *kernels, fg_dtype dtype, void const *u, void const *v, size_t count);

#endif
