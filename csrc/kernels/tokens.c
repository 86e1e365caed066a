#include "kernels/tokens.h"

#include "base/target.h"

extern fg_tokens_kernels const fg_tokens_scalar, fg_tokens_avx2, fg_tokens_avx512, fg_tokens_neon;

fg_tokens_kernels fg_tokens_select(fg_features features) {
    fg_tokens_kernels best = fg_tokens_scalar;
#if FG_X86
    if (features & FG_AVX2) FG_OVERLAY(best, fg_tokens_avx2);
#endif
#if FG_X86_AVX512
    if (features & FG_AVX512) FG_OVERLAY(best, fg_tokens_avx512);
#endif
#if FG_ARM
    if (features & FG_NEON) FG_OVERLAY(best, fg_tokens_neon);
#endif
    (void)features;
    return best;
}
