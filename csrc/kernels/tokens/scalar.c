/** Level zero: the definitions of rest.h, from the start. */
#include "kernels/tokens/rest.h"

static size_t find(int32_t const *tokens, size_t count, int32_t const *needle, size_t size) {
    return find_from(0, tokens, count, needle, size);
}

static size_t recall(int32_t const *tokens, size_t count, int32_t const *pattern, size_t size, size_t least,
                     size_t *length) {
    *length = least - 1;
    return recall_before(count, tokens, pattern, size, 0, length);
}

static size_t agree(int32_t const *left, int32_t const *right, size_t count) {
    return agree_from(0, left, right, count);
}

static size_t recur(int32_t const *earlier, size_t count, int32_t token, int32_t *missing, int32_t first,
                    int32_t step) {
    return recur_from(0, earlier, count, token, missing, first, step, count);
}

fg_tokens_kernels const fg_tokens_scalar = {.find = find, .recall = recall, .agree = agree, .recur = recur};
