#include "kernels/utf8.h"

#include "base/target.h"

extern fg_utf8_kernels const fg_utf8_scalar, fg_utf8_avx2, fg_utf8_avx512, fg_utf8_neon;

fg_utf8_kernels fg_utf8_select(fg_features features) {
    fg_utf8_kernels best = fg_utf8_scalar;
#if FG_X86
    if (features & FG_AVX2) FG_OVERLAY(best, fg_utf8_avx2);
#endif
#if FG_X86_AVX512
    if (features & FG_AVX512) FG_OVERLAY(best, fg_utf8_avx512);
#endif
#if FG_ARM
    if (features & FG_NEON) FG_OVERLAY(best, fg_utf8_neon);
#endif
    (void)features;
    return best;
}
