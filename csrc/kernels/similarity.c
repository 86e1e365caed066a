#include "kernels/similarity.h"

#include "base/target.h"

extern fg_similarity_kernels const fg_similarity_scalar, fg_similarity_avx2, fg_similarity_avx512, fg_similarity_neon;

fg_similarity_kernels fg_similarity_select(fg_features features) {
    fg_similarity_kernels best = fg_similarity_scalar;
#if FG_X86
    if (features & FG_AVX2) FG_OVERLAY(best, fg_similarity_avx2);
#endif
#if FG_X86_AVX512
    if (features & FG_AVX512) FG_OVERLAY(best, fg_similarity_avx512);
#endif
#if FG_ARM
    if (features & FG_NEON) FG_OVERLAY(best, fg_similarity_neon);
#endif
    (void)features;
    return best;
}
