#include "kernels/utf8.h"

#include "base/target.h"
#include "base/utf8.h"
#include "kernels/utf8/faults.h"

#if FG_X86_AVX512

FG_TARGET_BEGIN(FG_ISA_AVX512)

#define FOUR(entry) entry, entry, entry, entry
#define SIXTEEN(entry) FOUR(entry), FOUR(entry), FOUR(entry), FOUR(entry)
#define MANY(entry) SIXTEEN(entry), SIXTEEN(entry), SIXTEEN(entry), SIXTEEN(entry)

/* By the whole first byte, from 80 on: a look-up in two registers heeds the low seven bits. */
static FG_ALIGNED(64) uint8_t const first[128] = {
    MANY(MORE),     AFTER_C0,       AFTER_C0,          AFTER_C2,       AFTER_C2,      FOUR(AFTER_C2),
    FOUR(AFTER_C2), FOUR(AFTER_C2), SIXTEEN(AFTER_C2), AFTER_E0,       AFTER_C2,      AFTER_C2,
    AFTER_C2,       FOUR(AFTER_C2), FOUR(AFTER_C2),    AFTER_C2,       AFTER_ED,      AFTER_C2,
    AFTER_C2,       AFTER_F0,       AFTER_C2,          AFTER_C2,       AFTER_C2,      AFTER_F4,
    AFTER_F5,       AFTER_F5,       AFTER_F5,          FOUR(AFTER_F5), FOUR(AFTER_F5)};

/* By the high six bits of the second byte: four entries for each high half. */
static FG_ALIGNED(64) uint8_t const second[64] = {SIXTEEN(CUT), SIXTEEN(CUT), FOUR(AT_80), FOUR(AT_90),
                                                  FOUR(AT_A0),  FOUR(AT_A0),  SIXTEEN(CUT)};

FG_INLINE __m512i faults_u8x64(__m512i bytes_u8x64, __m512i one_back_u8x64, __m512i two_back_u8x64,
                               __m512i three_back_u8x64) {
    __m512i const top_u8x64 = _mm512_set1_epi8((char)0x80);
    /* for what stands behind it, ASCII is the same as a continuation */
    __m512i const first_u8x64 = _mm512_permutex2var_epi8(
        _mm512_load_si512(first), _mm512_max_epu8(one_back_u8x64, top_u8x64), _mm512_load_si512(first + 64));
    __m512i const second_u8x64 = _mm512_permutexvar_epi8(_mm512_srli_epi16(bytes_u8x64, 2), _mm512_load_si512(second));
    /* the top bit is set where a third or fourth byte is due */
    __m512i const third_u8x64 = _mm512_subs_epu8(two_back_u8x64, _mm512_set1_epi8(0xE0 - 0x80));
    __m512i const fourth_u8x64 = _mm512_subs_epu8(three_back_u8x64, _mm512_set1_epi8(0xF0 - 0x80));
    __m512i const due_u8x64 = _mm512_or_si512(third_u8x64, fourth_u8x64);
    /* (due & top) ^ (first & second) */
    return _mm512_ternarylogic_epi64(due_u8x64, top_u8x64, _mm512_and_si512(first_u8x64, second_u8x64), 0x6A);
}

FG_INLINE int any(__m512i bytes_u8x64) { return _mm512_test_epi8_mask(bytes_u8x64, bytes_u8x64) != 0; }

FG_INLINE int ascii(uint8_t const *text, size_t size) {
    __m512i all_u8x64 = _mm512_setzero_si512();
    for (size_t i = 0; i < size; i += 64) all_u8x64 = _mm512_or_si512(all_u8x64, _mm512_loadu_si512(text + i));
    return _mm512_movepi8_mask(all_u8x64) == 0;
}

FG_INLINE int faulty(uint8_t const *text, size_t size) {
    __m512i all_u8x64 = _mm512_setzero_si512();
    for (uint8_t const *at = text; at < text + size; at += 64)
        all_u8x64 = _mm512_or_si512(all_u8x64, faults_u8x64(_mm512_loadu_si512(at), _mm512_loadu_si512(at - 1),
                                                            _mm512_loadu_si512(at - 2), _mm512_loadu_si512(at - 3)));
    return any(all_u8x64);
}

/** Zeros stand before and behind the text: lanes that are masked out are not read. */
FG_INLINE int faulty_start(uint8_t const *text, size_t size) {
    uint64_t const lanes = _bzhi_u64(~0ull, (uint32_t)size);
    return any(faults_u8x64(_mm512_maskz_loadu_epi8(lanes, text), _mm512_maskz_loadu_epi8(lanes << 1, text - 1),
                            _mm512_maskz_loadu_epi8(lanes << 2, text - 2),
                            _mm512_maskz_loadu_epi8(lanes << 3, text - 3)));
}

enum { FG_UTF8_BLOCK = 64 };
#include "kernels/utf8/blocks.h"

/** A bit for each lane that holds no continuation: as signed numbers those are -128 to -65. */
FG_INLINE uint64_t starts_of(__m512i bytes_u8x64) {
    return _mm512_cmpgt_epi8_mask(bytes_u8x64, _mm512_set1_epi8((char)0xBF));
}

FG_INLINE size_t count_block(uint8_t const *text) {
    return (size_t)_mm_popcnt_u64(starts_of(_mm512_loadu_si512(text)));
}

static size_t count(uint8_t const *text, size_t size) {
    size_t count = 0, at = 0;
    for (; size - at >= 4 * 64; at += 4 * 64)
        count += (count_block(text + at) + count_block(text + at + 64)) +
                 (count_block(text + at + 128) + count_block(text + at + 192));
    for (; size - at >= 64; at += 64) count += count_block(text + at);
    if (at == size) return count;
    uint64_t const lanes = _bzhi_u64(~0ull, (uint32_t)(size - at));
    return count + (size_t)_mm_popcnt_u64(lanes & starts_of(_mm512_maskz_loadu_epi8(lanes, text + at)));
}

FG_TARGET_END

fg_utf8_kernels const fg_utf8_avx512 = {.validate = validate, .count = count};

#endif
