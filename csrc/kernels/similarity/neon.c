#include "kernels/similarity.h"

#include "base/target.h"

#if FG_ARM

#include "kernels/similarity/bits.h"

/** Four bits for each of 16 bytes, set where they differ (NEON has no move-mask). */
FG_INLINE uint64_t different_nibbles(uint8_t const *a, uint8_t const *b) {
    uint8x16_t const equal = vceqq_u8(vld1q_u8(a), vld1q_u8(b));
    return ~vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(equal), 4)), 0);
}

static size_t prefix_neon(void const *a, void const *b, size_t count) {
    uint8_t const *const p = a, *const q = b;
    size_t same = 0;
    for (; count - same >= 16; same += 16)
        if (different_nibbles(p + same, q + same)) break;
    while (same < count && p[same] == q[same]) same++;
    return same;
}

static size_t suffix_neon(void const *a, void const *b, size_t count) {
    uint8_t const *const p = a, *const q = b;
    size_t left = count;
    for (; left >= 16; left -= 16)
        if (different_nibbles(p + left - 16, q + left - 16)) break;
    while (left && p[left - 1] == q[left - 1]) left--;
    return count - left;
}

/** The sign bits of 64 bytes that are all ones or zeros: every byte keeps its own bit of eight, neighbors are added. */
FG_INLINE uint64_t bits_of(uint8x16_t const bytes[4]) {
    static uint8_t const own_bit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t const bit = vld1q_u8(own_bit);
    uint8x16_t const low = vpaddq_u8(vandq_u8(bytes[0], bit), vandq_u8(bytes[1], bit)),
                     high = vpaddq_u8(vandq_u8(bytes[2], bit), vandq_u8(bytes[3], bit));
    uint8x16_t const sums = vpaddq_u8(vpaddq_u8(low, high), vpaddq_u8(low, high));
    return vgetq_lane_u64(vreinterpretq_u64_u8(sums), 0);
}

/* Matches by comparing: no table of the pattern's symbols is needed. */
FG_INLINE uint64_t match(void const *pattern, uint32_t symbol, fg_width width) {
    uint8x16_t bytes[4];
    for (int part = 0; part < 4; part++) {
        if (width == FG_WIDTH8) {
            bytes[part] = vceqq_u8(vld1q_u8((uint8_t const *)pattern + 16 * part), vdupq_n_u8((uint8_t)symbol));
        } else if (width == FG_WIDTH16) {
            uint16_t const *const rows = (uint16_t const *)pattern + 16 * part;
            uint16x8_t const symbol_u16x8 = vdupq_n_u16((uint16_t)symbol);
            bytes[part] = vcombine_u8(vmovn_u16(vceqq_u16(vld1q_u16(rows), symbol_u16x8)),
                                      vmovn_u16(vceqq_u16(vld1q_u16(rows + 8), symbol_u16x8)));
        } else {
            uint32_t const *const rows = (uint32_t const *)pattern + 16 * part;
            uint32x4_t const symbol_u32x4 = vdupq_n_u32(symbol);
            uint16x8_t halves[2];
            for (int half = 0; half < 2; half++)
                halves[half] = vcombine_u16(vmovn_u32(vceqq_u32(vld1q_u32(rows + 8 * half), symbol_u32x4)),
                                            vmovn_u32(vceqq_u32(vld1q_u32(rows + 8 * half + 4), symbol_u32x4)));
            bytes[part] = vcombine_u8(vmovn_u16(halves[0]), vmovn_u16(halves[1]));
        }
    }
    return bits_of(bytes);
}

static size_t edit_word8_neon(void const *pattern, size_t rows, void const *text, size_t columns) {
    return edit_word(pattern, rows, text, columns, match, FG_WIDTH8);
}
static size_t edit_word16_neon(void const *pattern, size_t rows, void const *text, size_t columns) {
    return edit_word(pattern, rows, text, columns, match, FG_WIDTH16);
}
static size_t edit_word32_neon(void const *pattern, size_t rows, void const *text, size_t columns) {
    return edit_word(pattern, rows, text, columns, match, FG_WIDTH32);
}

fg_similarity_kernels const fg_similarity_neon = {
    .prefix = prefix_neon,
    .suffix = suffix_neon,
    .edit_word = {edit_word8_neon, edit_word16_neon, edit_word32_neon},
};

#endif
