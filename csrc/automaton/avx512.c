#include "automaton/skip.h"

#include "base/target.h"

#if FG_X86_AVX512

FG_TARGET_BEGIN(FG_ISA_AVX512)

enum { LANES = 64 };

FG_INLINE __m512i table_u8x64(uint8_t const table[16]) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128((__m128i const *)table));
}

FG_INLINE __m512i buckets_u8x64(__m512i bytes_u8x64, __m512i low_u8x64, __m512i high_u8x64) {
    __m512i const nibble_u8x64 = _mm512_set1_epi8(15);
    return _mm512_and_si512(
        _mm512_shuffle_epi8(low_u8x64, _mm512_and_si512(bytes_u8x64, nibble_u8x64)),
        _mm512_shuffle_epi8(high_u8x64, _mm512_and_si512(_mm512_srli_epi16(bytes_u8x64, 4), nibble_u8x64)));
}

/** The same of the first `valid` lanes; the others pass. Their bytes are not read. */
FG_INLINE __m512i some_buckets_u8x64(uint8_t const *text, size_t valid, __m512i low_u8x64, __m512i high_u8x64) {
    __mmask64 const lanes = _bzhi_u64(~(uint64_t)0, (uint32_t)valid);
    __m512i const bytes_u8x64 = _mm512_maskz_loadu_epi8(lanes, text);
    return _mm512_mask_mov_epi8(_mm512_set1_epi8(-1), lanes, buckets_u8x64(bytes_u8x64, low_u8x64, high_u8x64));
}

static size_t skip_avx512(fg_stop_filter const *filter, uint8_t const *text, size_t size) {
    __m512i const low0_u8x64 = table_u8x64(filter->low[0]), high0_u8x64 = table_u8x64(filter->high[0]),
                  low1_u8x64 = table_u8x64(filter->low[1]), high1_u8x64 = table_u8x64(filter->high[1]),
                  low2_u8x64 = table_u8x64(filter->low[2]), high2_u8x64 = table_u8x64(filter->high[2]);
    size_t i = 0;
    for (; size - i >= LANES + FG_STOP_WINDOW - 1; i += LANES) {
        __m512i const first_u8x64 = buckets_u8x64(_mm512_loadu_si512(text + i), low0_u8x64, high0_u8x64),
                      second_u8x64 = buckets_u8x64(_mm512_loadu_si512(text + i + 1), low1_u8x64, high1_u8x64),
                      third_u8x64 = buckets_u8x64(_mm512_loadu_si512(text + i + 2), low2_u8x64, high2_u8x64);
        __mmask64 const passing = _mm512_test_epi8_mask(_mm512_and_si512(first_u8x64, second_u8x64), third_u8x64);
        if (passing) return i + _tzcnt_u64(passing);
    }
    for (; i < size; i += LANES) {
        size_t const left = size - i; /* at most two blocks: below LANES + 2 */
        size_t const lanes = left < LANES ? left : LANES;
        __m512i const first_u8x64 = some_buckets_u8x64(text + i, lanes, low0_u8x64, high0_u8x64),
                      second_u8x64 = some_buckets_u8x64(text + i + 1, left - 1, low1_u8x64, high1_u8x64),
                      third_u8x64 = some_buckets_u8x64(text + i + 2, left < 2 ? 0 : left - 2, low2_u8x64, high2_u8x64);
        __mmask64 const passing = _mm512_test_epi8_mask(_mm512_and_si512(first_u8x64, second_u8x64), third_u8x64) &
                                  _bzhi_u64(~(uint64_t)0, (uint32_t)lanes);
        if (passing) return i + _tzcnt_u64(passing);
    }
    return size;
}

FG_TARGET_END

fg_stop_kernels const fg_stop_avx512 = {.skip = skip_avx512};

#endif
