#include "automaton/skip.h"

static size_t skip_scalar(fg_stop_filter const *filter, uint8_t const *text, size_t size) {
    return fg_stop_skip_from(filter, text, 0, size);
}

fg_stop_kernels const fg_stop_scalar = {.skip = skip_scalar};
