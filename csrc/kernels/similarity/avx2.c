#include "kernels/similarity.h"

#include "base/target.h"

#if FG_X86

FG_TARGET_BEGIN(FG_ISA_AVX2)

#include "kernels/similarity/bits.h"

FG_INLINE __m256i load(void const *bytes) { return _mm256_loadu_si256((__m256i const *)bytes); }

FG_INLINE uint32_t equal_bytes(void const *a, void const *b) {
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(load(a), load(b)));
}

static size_t prefix_avx2(void const *a, void const *b, size_t count) {
    uint8_t const *const p = a, *const q = b;
    size_t same = 0;
    for (; count - same >= 32; same += 32) {
        uint32_t const different = ~equal_bytes(p + same, q + same);
        if (different) return same + _tzcnt_u32(different);
    }
    while (same < count && p[same] == q[same]) same++;
    return same;
}

static size_t suffix_avx2(void const *a, void const *b, size_t count) {
    uint8_t const *const p = a, *const q = b;
    size_t left = count;
    for (; left >= 32; left -= 32) {
        uint32_t const different = ~equal_bytes(p + left - 32, q + left - 32);
        if (different) return count - left + _lzcnt_u32(different);
    }
    while (left && p[left - 1] == q[left - 1]) left--;
    return count - left;
}

/* Matches by comparing: no table of the pattern's symbols is needed. */
FG_INLINE uint64_t match(void const *pattern, uint32_t symbol, fg_width width) {
    char const *const rows = pattern;
    uint64_t matches = 0;
    if (width == FG_WIDTH8) {
        __m256i const symbol_u8x32 = _mm256_set1_epi8((char)symbol);
        for (int part = 0; part < 2; part++)
            matches |= (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(load(rows + 32 * part), symbol_u8x32))
                       << 32 * part;
    } else if (width == FG_WIDTH16) {
        __m256i const symbol_u16x16 = _mm256_set1_epi16((short)symbol);
        for (int part = 0; part < 2; part++) { /* 32 rows; packing works on halves, which are put in order again */
            __m256i const packed = _mm256_packs_epi16(_mm256_cmpeq_epi16(load(rows + 64 * part), symbol_u16x16),
                                                      _mm256_cmpeq_epi16(load(rows + 64 * part + 32), symbol_u16x16));
            matches |= (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(packed, 0xD8)) << 32 * part;
        }
    } else {
        __m256i const symbol_u32x8 = _mm256_set1_epi32((int)symbol);
        for (int part = 0; part < 8; part++) {
            __m256i const equal = _mm256_cmpeq_epi32(load(rows + 32 * part), symbol_u32x8);
            matches |= (uint64_t)(uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(equal)) << 8 * part;
        }
    }
    return matches;
}

static size_t edit_word8_avx2(void const *pattern, size_t rows, void const *text, size_t columns) {
    return edit_word(pattern, rows, text, columns, match, FG_WIDTH8);
}
static size_t edit_word16_avx2(void const *pattern, size_t rows, void const *text, size_t columns) {
    return edit_word(pattern, rows, text, columns, match, FG_WIDTH16);
}
static size_t edit_word32_avx2(void const *pattern, size_t rows, void const *text, size_t columns) {
    return edit_word(pattern, rows, text, columns, match, FG_WIDTH32);
}

FG_TARGET_END

fg_similarity_kernels const fg_similarity_avx2 = {
    .prefix = prefix_avx2,
    .suffix = suffix_avx2,
    .edit_word = {edit_word8_avx2, edit_word16_avx2, edit_word32_avx2},
};

#endif
