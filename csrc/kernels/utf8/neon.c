#include "kernels/utf8.h"

#include "base/target.h"
#include "base/utf8.h"
#include "kernels/utf8/faults.h"

#if FG_ARM

FG_INLINE uint8x16_t faults_u8x16(uint8x16_t bytes_u8x16, uint8x16_t one_back_u8x16, uint8x16_t two_back_u8x16,
                                  uint8x16_t three_back_u8x16) {
    uint8x16_t const first_u8x16 = vandq_u8(vqtbl1q_u8(vld1q_u8(first_high), vshrq_n_u8(one_back_u8x16, 4)),
                                            vqtbl1q_u8(vld1q_u8(first_low), vandq_u8(one_back_u8x16, vdupq_n_u8(15))));
    uint8x16_t const second_u8x16 = vqtbl1q_u8(vld1q_u8(second_high), vshrq_n_u8(bytes_u8x16, 4));
    /* the top bit is set where a third or fourth byte is due */
    uint8x16_t const third_u8x16 = vqsubq_u8(two_back_u8x16, vdupq_n_u8(0xE0 - 0x80));
    uint8x16_t const fourth_u8x16 = vqsubq_u8(three_back_u8x16, vdupq_n_u8(0xF0 - 0x80));
    uint8x16_t const due_u8x16 = vandq_u8(vorrq_u8(third_u8x16, fourth_u8x16), vdupq_n_u8(0x80));
    return veorq_u8(vandq_u8(first_u8x16, second_u8x16), due_u8x16);
}

FG_INLINE int ascii(uint8_t const *text, size_t size) {
    uint8x16_t even_u8x16 = vdupq_n_u8(0), odd_u8x16 = even_u8x16;
    size_t at = 0;
    for (; at + 32 <= size; at += 32) {
        even_u8x16 = vorrq_u8(even_u8x16, vld1q_u8(text + at));
        odd_u8x16 = vorrq_u8(odd_u8x16, vld1q_u8(text + at + 16));
    }
    if (at < size) even_u8x16 = vorrq_u8(even_u8x16, vld1q_u8(text + at));
    return vmaxvq_u8(vorrq_u8(even_u8x16, odd_u8x16)) < 0x80;
}

FG_INLINE int faulty(uint8_t const *text, size_t size) {
    uint8x16_t all_u8x16 = vdupq_n_u8(0);
    for (uint8_t const *at = text; at < text + size; at += 16) {
        uint8x16_t const here_u8x16 = faults_u8x16(vld1q_u8(at), vld1q_u8(at - 1), vld1q_u8(at - 2), vld1q_u8(at - 3));
        all_u8x16 = vorrq_u8(all_u8x16, here_u8x16);
    }
    return vmaxvq_u8(all_u8x16) != 0;
}

FG_INLINE int faulty_start(uint8_t const *text, size_t size) {
    if (size < 16) return fg_utf8_prefix(text, size) < size;
    uint8x16_t const bytes_u8x16 = vld1q_u8(text), nothing_u8x16 = vdupq_n_u8(0);
    uint8x16_t const faults =
        faults_u8x16(bytes_u8x16, vextq_u8(nothing_u8x16, bytes_u8x16, 15), vextq_u8(nothing_u8x16, bytes_u8x16, 14),
                     vextq_u8(nothing_u8x16, bytes_u8x16, 13));
    return vmaxvq_u8(faults) != 0;
}

enum { FG_UTF8_BLOCK = 16 };
#include "kernels/utf8/blocks.h"

static size_t count(uint8_t const *text, size_t size) {
    enum { MOST = 255 * 16 }; /* a lane counts to 255 */
    size_t count = 0, at = 0;
    while (size - at >= 16) {
        size_t const end = at + (size - at < MOST ? (size - at) / 16 * 16 : MOST);
        uint8x16_t lanes_u8x16 = vdupq_n_u8(0);
        for (; at < end; at += 16) { /* a compare that holds is -1; continuations are -128 to -65 */
            int8x16_t const bytes_i8x16 = vreinterpretq_s8_u8(vld1q_u8(text + at));
            lanes_u8x16 = vsubq_u8(lanes_u8x16, vcgtq_s8(bytes_i8x16, vdupq_n_s8(-65)));
        }
        count += vaddlvq_u8(lanes_u8x16);
    }
    for (; at < size; at++) count += !fg_utf8_is_continuation(text[at]);
    return count;
}

fg_utf8_kernels const fg_utf8_neon = {.validate = validate, .count = count};

#endif
