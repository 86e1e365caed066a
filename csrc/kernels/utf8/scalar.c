/** The definition of every kernel: what the other levels must equal. */
#include "kernels/utf8.h"

#include "base/utf8.h"

static size_t validate(uint8_t const *text, size_t size) { return fg_utf8_prefix(text, size); }

static size_t count(uint8_t const *text, size_t size) {
    size_t count = 0;
    for (size_t i = 0; i < size; i++) count += !fg_utf8_is_continuation(text[i]);
    return count;
}

fg_utf8_kernels const fg_utf8_scalar = {.validate = validate, .count = count};
