#include "automaton/skip.h"

#include "base/target.h"

#if FG_ARM

enum { LANES = 16, SPAN = LANES + FG_STOP_WINDOW - 1 };

FG_INLINE uint8x16_t buckets_u8x16(uint8_t const *text, uint8x16_t low_u8x16, uint8x16_t high_u8x16) {
    uint8x16_t const bytes_u8x16 = vld1q_u8(text);
    return vandq_u8(vqtbl1q_u8(low_u8x16, vandq_u8(bytes_u8x16, vdupq_n_u8(15))),
                    vqtbl1q_u8(high_u8x16, vshrq_n_u8(bytes_u8x16, 4)));
}

static size_t skip_neon(fg_stop_filter const *filter, uint8_t const *text, size_t size) {
    size_t i = 0;
    if (size >= SPAN) {
        uint8x16_t const low0_u8x16 = vld1q_u8(filter->low[0]), high0_u8x16 = vld1q_u8(filter->high[0]),
                         low1_u8x16 = vld1q_u8(filter->low[1]), high1_u8x16 = vld1q_u8(filter->high[1]),
                         low2_u8x16 = vld1q_u8(filter->low[2]), high2_u8x16 = vld1q_u8(filter->high[2]);
        for (; size - i >= SPAN; i += LANES) {
            uint8x16_t const passing_u8x16 = vandq_u8(vandq_u8(buckets_u8x16(text + i, low0_u8x16, high0_u8x16),
                                                               buckets_u8x16(text + i + 1, low1_u8x16, high1_u8x16)),
                                                      buckets_u8x16(text + i + 2, low2_u8x16, high2_u8x16));
            if (vmaxvq_u8(passing_u8x16)) break; /* which of the sixteen is found below */
        }
    }
    return fg_stop_skip_from(filter, text, i, size);
}

fg_stop_kernels const fg_stop_neon = {.skip = skip_neon};

#endif
