/** Kernels over UTF-8 text: bytes of any alignment, read only, perhaps malformed, perhaps none.
 *
 * What is well-formed, and what the end of a text leaves open, says base/utf8.h. */
#ifndef FG_KERNELS_UTF8_H
#define FG_KERNELS_UTF8_H

#include "base/base.h"
#include "cpu.h"

/** How many bytes at the start are well-formed: `size`, or the offset of the first sequence that is ill-formed or that
 * the text's end cuts short. */
typedef size_t fg_utf8_validate_fn(uint8_t const *text, size_t size);

/** How many bytes are no continuation (10xxxxxx): the code points of a well-formed text. */
typedef size_t fg_utf8_count_fn(uint8_t const *text, size_t size);

typedef struct fg_utf8_kernels {
    fg_utf8_validate_fn *validate;
    fg_utf8_count_fn *count;
} fg_utf8_kernels;

/** The best table for these features; every slot is filled. */
fg_utf8_kernels fg_utf8_select(fg_features features);

#endif
