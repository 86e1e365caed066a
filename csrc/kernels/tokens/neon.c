#include "kernels/tokens/rest.h"

#include "base/target.h"

#if FG_ARM

/* Four registers of four lanes are looked at together: 16 tokens become 16 bytes of all ones or zeros, and those 16
 * nibbles of one word, so that four bits stand for a token. */

enum { LANES = 16 };

typedef struct lanes {
    uint32x4_t quarters[4];
} lanes;

FG_INLINE lanes equal_lanes(int32_t const *tokens, int32x4_t token_i32x4) {
    lanes equal;
    for (int q = 0; q < 4; q++) equal.quarters[q] = vceqq_s32(vld1q_s32(tokens + 4 * q), token_i32x4);
    return equal;
}

FG_INLINE lanes both(lanes left, lanes right) {
    for (int q = 0; q < 4; q++) left.quarters[q] = vandq_u32(left.quarters[q], right.quarters[q]);
    return left;
}

FG_INLINE uint64_t nibbles_of(lanes equal) {
    uint16x8_t const low_u16x8 = vcombine_u16(vmovn_u32(equal.quarters[0]), vmovn_u32(equal.quarters[1]));
    uint16x8_t const high_u16x8 = vcombine_u16(vmovn_u32(equal.quarters[2]), vmovn_u32(equal.quarters[3]));
    uint8x16_t const bytes_u8x16 = vcombine_u8(vmovn_u16(low_u16x8), vmovn_u16(high_u16x8));
    uint8x8_t const nibbles_u8x8 = vshrn_n_u16(vreinterpretq_u16_u8(bytes_u8x16), 4);
    return vget_lane_u64(vreinterpret_u64_u8(nibbles_u8x8), 0);
}

FG_INLINE size_t first_lane(uint64_t nibbles) {
    size_t lane = 0;
    while (!(nibbles >> 4 * lane & 1)) lane++;
    return lane;
}

FG_INLINE size_t last_lane(uint64_t nibbles) {
    size_t lane = LANES - 1;
    while (!(nibbles >> 4 * lane & 1)) lane--;
    return lane;
}

static size_t find_neon(int32_t const *tokens, size_t count, int32_t const *needle, size_t size) {
    if (size == 0) return 0;
    if (size > count) return count;
    size_t const last = size - 1, starts = count - last;
    int32x4_t const first_i32x4 = vdupq_n_s32(needle[0]), last_i32x4 = vdupq_n_s32(needle[last]);
    size_t start = 0;
    for (; start + LANES <= starts; start += LANES) {
        int32_t const *const here = tokens + start;
        uint64_t places = nibbles_of(both(equal_lanes(here, first_i32x4), equal_lanes(here + last, last_i32x4)));
        for (size_t j = 1; j < last && places; j++) places &= nibbles_of(equal_lanes(here + j, vdupq_n_s32(needle[j])));
        if (places) return start + first_lane(places);
    }
    return find_from(start, tokens, count, needle, size);
}

static size_t recall_neon(int32_t const *tokens, size_t count, int32_t const *pattern, size_t size, size_t least,
                          size_t *length) {
    int32x4_t const last_i32x4 = vdupq_n_s32(pattern[size - 1]);
    size_t end = count, found = 0;
    *length = least - 1;
    for (; end >= size + LANES && *length < size; end -= LANES) {
        int32_t const *const here = tokens + end - LANES;
        /* a better place agrees in one token more than the best so far */
        int32x4_t const better_i32x4 = vdupq_n_s32(pattern[size - 1 - *length]);
        lanes const better = equal_lanes(here - *length, better_i32x4);
        uint64_t places = nibbles_of(both(equal_lanes(here, last_i32x4), better));
        for (size_t agreed = 1; places; agreed++) {
            if (agreed > *length) *length = agreed, found = end - LANES + last_lane(places) + 1;
            if (agreed == size) break;
            places &= nibbles_of(equal_lanes(here - agreed, vdupq_n_s32(pattern[size - 1 - agreed])));
        }
    }
    return recall_before(end, tokens, pattern, size, found, length);
}

static size_t agree_neon(int32_t const *left, int32_t const *right, size_t count) {
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        lanes equal;
        for (int q = 0; q < 4; q++)
            equal.quarters[q] = vceqq_s32(vld1q_s32(left + i + 4 * q), vld1q_s32(right + i + 4 * q));
        uint64_t const nibbles = nibbles_of(equal);
        if (~nibbles) return i + first_lane(~nibbles);
    }
    return agree_from(i, left, right, count);
}

static size_t recur_neon(int32_t const *earlier, size_t count, int32_t token, int32_t *missing, int32_t first,
                         int32_t step) {
    static int32_t const ramp[4] = {0, 1, 2, 3};
    int32x4_t const token_i32x4 = vdupq_n_s32(token), one_i32x4 = vdupq_n_s32(1), zero_i32x4 = vdupq_n_s32(0);
    int32x4_t const stride_i32x4 = vdupq_n_s32(4 * step);
    int32x4_t anew_i32x4 = vmlsq_s32(vdupq_n_s32(first), vld1q_s32(ramp), vdupq_n_s32(step));
    size_t last = count, i = 0;
    for (; i + LANES <= count; i += LANES) {
        lanes complete;
        for (int q = 0; q < 4; q++) {
            uint32x4_t const holds = vceqq_s32(vld1q_s32(earlier + i + 4 * q), token_i32x4);
            int32x4_t const fewer_i32x4 = vmaxq_s32(vsubq_s32(vld1q_s32(missing + i + 4 * q), one_i32x4), zero_i32x4);
            int32x4_t const missing_i32x4 = vbslq_s32(holds, fewer_i32x4, anew_i32x4);
            vst1q_s32(missing + i + 4 * q, missing_i32x4);
            complete.quarters[q] = vceqq_s32(missing_i32x4, zero_i32x4);
            anew_i32x4 = vsubq_s32(anew_i32x4, stride_i32x4);
        }
        uint64_t const nibbles = nibbles_of(complete);
        if (nibbles) last = i + last_lane(nibbles);
    }
    return recur_from(i, earlier, count, token, missing, first, step, last);
}

fg_tokens_kernels const fg_tokens_neon = {
    .find = find_neon,
    .recall = recall_neon,
    .agree = agree_neon,
    .recur = recur_neon,
};

#endif
