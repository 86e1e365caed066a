#include "automaton/skip.h"

#include "base/target.h"

#if FG_X86

FG_TARGET_BEGIN(FG_ISA_AVX2)

enum { LANES = 32, SPAN = LANES + FG_STOP_WINDOW - 1 };

FG_INLINE __m256i table_u8x32(uint8_t const table[16]) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((__m128i const *)table));
}

FG_INLINE __m256i buckets_u8x32(uint8_t const *text, __m256i low_u8x32, __m256i high_u8x32) {
    __m256i const bytes_u8x32 = _mm256_loadu_si256((__m256i const *)text), nibble_u8x32 = _mm256_set1_epi8(15);
    return _mm256_and_si256(
        _mm256_shuffle_epi8(low_u8x32, _mm256_and_si256(bytes_u8x32, nibble_u8x32)),
        _mm256_shuffle_epi8(high_u8x32, _mm256_and_si256(_mm256_srli_epi16(bytes_u8x32, 4), nibble_u8x32)));
}

static size_t skip_avx2(fg_stop_filter const *filter, uint8_t const *text, size_t size) {
    if (size < SPAN) return fg_stop_skip_from(filter, text, 0, size);
    __m256i const low0_u8x32 = table_u8x32(filter->low[0]), high0_u8x32 = table_u8x32(filter->high[0]),
                  low1_u8x32 = table_u8x32(filter->low[1]), high1_u8x32 = table_u8x32(filter->high[1]),
                  low2_u8x32 = table_u8x32(filter->low[2]), high2_u8x32 = table_u8x32(filter->high[2]);
    size_t const last = size - SPAN;
    for (size_t i = 0;; i = last - i < LANES ? last : i + LANES) { /* the last block may overlap the one before */
        __m256i const passing_u8x32 =
            _mm256_and_si256(_mm256_and_si256(buckets_u8x32(text + i, low0_u8x32, high0_u8x32),
                                              buckets_u8x32(text + i + 1, low1_u8x32, high1_u8x32)),
                             buckets_u8x32(text + i + 2, low2_u8x32, high2_u8x32));
        uint32_t const passing =
            ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(passing_u8x32, _mm256_setzero_si256()));
        if (passing) return i + _tzcnt_u32(passing);
        if (i == last) return fg_stop_skip_from(filter, text, last + LANES, size);
    }
}

FG_TARGET_END

fg_stop_kernels const fg_stop_avx2 = {.skip = skip_avx2};

#endif
