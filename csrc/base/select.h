/** Selection by rank. */
#ifndef FG_SELECT_H
#define FG_SELECT_H

#include "base/base.h"

/** The `rank`-th largest value (rank 0 is the largest). Reorders `values`.
 *
 * Quickselect with three-way partition, so equal values cost one round, and pivots from a fixed sequence that no input
 * can foresee by accident: expected time is linear in `count`. The result does not depend on the pivots. */
FG_INLINE float fg_select_descending(float *values, size_t count, size_t rank) {
    uint64_t state = 0x9E3779B97F4A7C15u;
    for (;;) {
        if (count == 1) return values[0];
        state = state * 6364136223846793005u + 1442695040888963407u;
        float const pivot = values[(size_t)((state >> 32) * (uint64_t)count >> 32)];
        size_t above = 0, equal = 0;
        for (size_t i = 0; i < count; i++) { /* without branches: `above` and `equal` advance by 0 or 1 */
            float const value = values[i];
            values[i] = values[above], values[above] = value;
            above += value > pivot;
            equal += value == pivot;
        }
        if (rank < above) {
            count = above;
        } else if (rank < above + equal) {
            return pivot;
        } else {
            rank -= above + equal;
            size_t below = 0;
            for (size_t i = above; i < count; i++) {
                float const value = values[i];
                values[below] = value;
                below += value < pivot;
            }
            count = below;
        }
    }
}

#endif
