#include "kernels/quant.h"

#include "base/target.h"

extern fg_quant_kernels const fg_quant_scalar, fg_quant_avx2, fg_quant_avx512, fg_quant_neon;

fg_quant_kernels fg_quant_select(fg_features features) {
    fg_quant_kernels best = fg_quant_scalar;
#if FG_X86
    if (features & FG_AVX2) FG_OVERLAY(best, fg_quant_avx2);
#endif
#if FG_X86_AVX512
    if (features & FG_AVX512) FG_OVERLAY(best, fg_quant_avx512);
#endif
#if FG_ARM
    if (features & FG_NEON) FG_OVERLAY(best, fg_quant_neon);
#endif
    (void)features;
    return best;
}
