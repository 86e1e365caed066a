/** What two adjacent bytes can do wrong, as bits: tables tell which faults the first byte allows and which the second,
 * and a fault that all of them name is one.
 *
 * J. Keiser, D. Lemire, "Validating UTF-8 in less than one instruction per byte", Software: Practice and Experience 51
 * (2021). */
#ifndef FG_KERNELS_UTF8_FAULTS_H
#define FG_KERNELS_UTF8_FAULTS_H

#include "base/base.h"

enum {
    CUT = 1 << 0,        /* a lead byte, then no continuation */
    OVERLONG_2 = 1 << 1, /* C0 and C1, then any continuation */
    OVERLONG_3 = 1 << 2, /* E0, then 80 to 9F */
    OVERLONG_4 = 1 << 3, /* F0, then 80 to 8F */
    SURROGATE = 1 << 4,  /* ED, then A0 to BF */
    LARGE = 1 << 5,      /* F4, then 90 to BF: above U+10FFFF */
    UNUSED = 1 << 6,     /* F5 to FF, then any continuation */
    /* ASCII or a continuation, then a continuation: no fault where one of the two bytes before wants a third or fourth
     * byte, and a fault where none does. If ASCII stands after a byte that wants more, that was a fault before. */
    MORE = 1 << 7,

    /* the faults that a first byte allows */
    AFTER_C0 = CUT | OVERLONG_2,
    AFTER_C2 = CUT, /* and all leads that are not named here */
    AFTER_E0 = CUT | OVERLONG_3,
    AFTER_ED = CUT | SURROGATE,
    AFTER_F0 = CUT | OVERLONG_4,
    AFTER_F4 = CUT | LARGE,
    AFTER_F5 = CUT | UNUSED,

    /* and those that a second byte can make; where it is no continuation, CUT */
    AT_80 = MORE | OVERLONG_2 | OVERLONG_3 | OVERLONG_4 | UNUSED,
    AT_90 = MORE | OVERLONG_2 | OVERLONG_3 | LARGE | UNUSED,
    AT_A0 = MORE | OVERLONG_2 | SURROGATE | LARGE | UNUSED, /* and at B0 */

    /* the same by the halves of the first byte: one half allows what any byte with it does */
    HIGH_C = AFTER_C0 | AFTER_C2,
    HIGH_E = AFTER_E0 | AFTER_C2 | AFTER_ED,
    HIGH_F = AFTER_F0 | AFTER_C2 | AFTER_F4 | AFTER_F5,
    LOW_2 = MORE | CUT, /* and 3 */
    LOW_0 = LOW_2 | AFTER_C0 | AFTER_E0 | AFTER_F0,
    LOW_1 = LOW_2 | AFTER_C0,
    LOW_4 = LOW_2 | AFTER_F4,
    LOW_5 = LOW_2 | AFTER_F5, /* and above, but D */
    LOW_D = LOW_2 | AFTER_F5 | AFTER_ED
};

/** For levels that look up 16 entries at a time: by the halves of the first byte and the high half of the second. */
static uint8_t const first_high[16] = {MORE, MORE, MORE, MORE, MORE,   MORE,     MORE,   MORE,
                                       MORE, MORE, MORE, MORE, HIGH_C, AFTER_C2, HIGH_E, HIGH_F};
static uint8_t const first_low[16] = {LOW_0, LOW_1, LOW_2, LOW_2, LOW_4, LOW_5, LOW_5, LOW_5,
                                      LOW_5, LOW_5, LOW_5, LOW_5, LOW_5, LOW_D, LOW_5, LOW_5};
static uint8_t const second_high[16] = {CUT,   CUT,   CUT,   CUT,   CUT, CUT, CUT, CUT,
                                        AT_80, AT_90, AT_A0, AT_A0, CUT, CUT, CUT, CUT};

#endif
