#include "kernels/utf8.h"

#include "base/target.h"
#include "base/utf8.h"
#include "kernels/utf8/faults.h"

#if FG_X86

FG_TARGET_BEGIN(FG_ISA_AVX2)

FG_INLINE __m256i load_u8x32(uint8_t const *text) { return _mm256_loadu_si256((__m256i const *)text); }

FG_INLINE __m256i look_up_u8x32(uint8_t const table[16], __m256i halves_u8x32) {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((__m128i const *)table)), halves_u8x32);
}

FG_INLINE __m256i low_u8x32(__m256i bytes_u8x32) { return _mm256_and_si256(bytes_u8x32, _mm256_set1_epi8(15)); }
FG_INLINE __m256i high_u8x32(__m256i bytes_u8x32) { return low_u8x32(_mm256_srli_epi16(bytes_u8x32, 4)); }

FG_INLINE __m256i faults_u8x32(__m256i bytes_u8x32, __m256i one_back_u8x32, __m256i two_back_u8x32,
                               __m256i three_back_u8x32) {
    __m256i const first_u8x32 = _mm256_and_si256(look_up_u8x32(first_high, high_u8x32(one_back_u8x32)),
                                                 look_up_u8x32(first_low, low_u8x32(one_back_u8x32)));
    __m256i const second_u8x32 = look_up_u8x32(second_high, high_u8x32(bytes_u8x32));
    /* the top bit is set where a third or fourth byte is due */
    __m256i const third_u8x32 = _mm256_subs_epu8(two_back_u8x32, _mm256_set1_epi8(0xE0 - 0x80));
    __m256i const fourth_u8x32 = _mm256_subs_epu8(three_back_u8x32, _mm256_set1_epi8(0xF0 - 0x80));
    __m256i const due_u8x32 =
        _mm256_and_si256(_mm256_or_si256(third_u8x32, fourth_u8x32), _mm256_set1_epi8((char)0x80));
    return _mm256_xor_si256(_mm256_and_si256(first_u8x32, second_u8x32), due_u8x32);
}

FG_INLINE int ascii(uint8_t const *text, size_t size) {
    __m256i even_u8x32 = _mm256_setzero_si256(), odd_u8x32 = even_u8x32;
    size_t at = 0;
    for (; at + 64 <= size; at += 64) {
        even_u8x32 = _mm256_or_si256(even_u8x32, load_u8x32(text + at));
        odd_u8x32 = _mm256_or_si256(odd_u8x32, load_u8x32(text + at + 32));
    }
    if (at < size) even_u8x32 = _mm256_or_si256(even_u8x32, load_u8x32(text + at));
    return _mm256_movemask_epi8(_mm256_or_si256(even_u8x32, odd_u8x32)) == 0;
}

FG_INLINE int faulty(uint8_t const *text, size_t size) {
    __m256i all_u8x32 = _mm256_setzero_si256();
    for (uint8_t const *at = text; at < text + size; at += 32) {
        __m256i const here_u8x32 =
            faults_u8x32(load_u8x32(at), load_u8x32(at - 1), load_u8x32(at - 2), load_u8x32(at - 3));
        all_u8x32 = _mm256_or_si256(all_u8x32, here_u8x32);
    }
    return !_mm256_testz_si256(all_u8x32, all_u8x32);
}

FG_INLINE int faulty_start(uint8_t const *text, size_t size) {
    if (size < 32) return fg_utf8_prefix(text, size) < size;
    __m256i const bytes_u8x32 = load_u8x32(text);
    __m256i const lower_u8x32 = _mm256_permute2x128_si256(bytes_u8x32, bytes_u8x32, 0x08); /* zeros, the low half */
    __m256i const faults = faults_u8x32(bytes_u8x32, _mm256_alignr_epi8(bytes_u8x32, lower_u8x32, 15),
                                        _mm256_alignr_epi8(bytes_u8x32, lower_u8x32, 14),
                                        _mm256_alignr_epi8(bytes_u8x32, lower_u8x32, 13));
    return !_mm256_testz_si256(faults, faults);
}

enum { FG_UTF8_BLOCK = 32 };
#include "kernels/utf8/blocks.h"

/** -1 in the lanes that hold no continuation: as signed numbers those are -128 to -65. */
FG_INLINE __m256i starts_i8x32(uint8_t const *text) {
    return _mm256_cmpgt_epi8(load_u8x32(text), _mm256_set1_epi8((char)0xBF));
}

static size_t count(uint8_t const *text, size_t size) {
    enum { STEP = 4 * 32, MOST = 63 * STEP }; /* a lane counts to 252 */
    __m256i const zero_u8x32 = _mm256_setzero_si256();
    size_t count = 0, at = 0;
    while (size - at >= STEP) {
        size_t const end = at + (size - at < MOST ? (size - at) / STEP * STEP : MOST);
        __m256i lanes_u8x32 = zero_u8x32; /* what is counted, below 0 */
        for (; at < end; at += STEP) {
            __m256i const two_i8x32 = _mm256_add_epi8(starts_i8x32(text + at), starts_i8x32(text + at + 32));
            __m256i const four_i8x32 = _mm256_add_epi8(starts_i8x32(text + at + 64), starts_i8x32(text + at + 96));
            lanes_u8x32 = _mm256_add_epi8(lanes_u8x32, _mm256_add_epi8(two_i8x32, four_i8x32));
        }
        __m256i const sums_u64x4 = _mm256_sad_epu8(_mm256_sub_epi8(zero_u8x32, lanes_u8x32), zero_u8x32);
        __m128i const sums_u64x2 =
            _mm_add_epi64(_mm256_castsi256_si128(sums_u64x4), _mm256_extracti128_si256(sums_u64x4, 1));
        count += (size_t)_mm_cvtsi128_si64(sums_u64x2) + (size_t)_mm_extract_epi64(sums_u64x2, 1);
    }
    for (; size - at >= 32; at += 32)
        count += (size_t)_mm_popcnt_u32((uint32_t)_mm256_movemask_epi8(starts_i8x32(text + at)));
    for (; at < size; at++) count += !fg_utf8_is_continuation(text[at]);
    return count;
}

FG_TARGET_END

fg_utf8_kernels const fg_utf8_avx2 = {.validate = validate, .count = count};

#endif
