/** The definition of every kernel, from some place on: scalar code begins at the start, the other levels end with it
 * where less than a register is left. */
#ifndef FG_KERNELS_TOKENS_REST_H
#define FG_KERNELS_TOKENS_REST_H

#include "kernels/tokens.h"

FG_INLINE size_t find_from(size_t start, int32_t const *tokens, size_t count, int32_t const *needle, size_t size) {
    for (; start + size <= count; start++) {
        size_t agreed = 0;
        while (agreed < size && tokens[start + agreed] == needle[agreed]) agreed++;
        if (agreed == size) return start;
    }
    return count;
}

/** The places before `end`: so far `length` tokens agree at best, before `found`. */
FG_INLINE size_t recall_before(size_t end, int32_t const *tokens, int32_t const *pattern, size_t size, size_t found,
                               size_t *length) {
    for (; end > *length && *length < size; end--) {
        size_t agreed = 0;
        while (agreed < size && agreed < end && tokens[end - 1 - agreed] == pattern[size - 1 - agreed]) agreed++;
        if (agreed > *length) *length = agreed, found = end;
    }
    if (!found) *length = 0;
    return found;
}

FG_INLINE size_t agree_from(size_t agreed, int32_t const *left, int32_t const *right, size_t count) {
    while (agreed < count && left[agreed] == right[agreed]) agreed++;
    return agreed;
}

/** `last` is the last complete period before place i. */
FG_INLINE size_t recur_from(size_t i, int32_t const *earlier, size_t count, int32_t token, int32_t *missing,
                            int32_t first, int32_t step, size_t last) {
    for (; i < count; i++) {
        if (earlier[i] != token)
            missing[i] = first - (int32_t)i * step;
        else if (missing[i] > 0)
            missing[i]--;
        if (missing[i] == 0) last = i;
    }
    return last;
}

#endif
