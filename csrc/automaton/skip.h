/** Where a stop may begin: a filter that passes over text which no stop begins in, a register at a time.
 *
 * The first three bytes of the stops are put into eight buckets. For each of the three places two tables of sixteen
 * entries, one for each half of a byte, hold a bit for each bucket that has a byte with that half; a place of the text
 * passes if some bucket has all six. The idea is that of Teddy in Hyperscan (github.com/intel/hyperscan,
 * src/fdr/teddy.c). While there are no more than eight beginnings each has a bucket of its own, and nothing else
 * passes. */
#ifndef FG_AUTOMATON_SKIP_H
#define FG_AUTOMATON_SKIP_H

#include "base/base.h"
#include "cpu.h"

enum { FG_STOP_WINDOW = 3, FG_STOP_BUCKETS = 8 };

typedef struct fg_stop_filter {
    uint8_t low[FG_STOP_WINDOW][16], high[FG_STOP_WINDOW][16]; /* by the low and the high four bits of a byte */
} fg_stop_filter;

/** The first place at which the filter passes, `size` if there is none. Bytes behind the end of the text pass. */
typedef size_t fg_stop_skip_fn(fg_stop_filter const *filter, uint8_t const *text, size_t size);

typedef struct fg_stop_kernels {
    fg_stop_skip_fn *skip;
} fg_stop_kernels;

/** The best table for these features; every slot is filled. */
fg_stop_kernels fg_stop_select(fg_features features);

FG_INLINE uint8_t fg_stop_buckets(fg_stop_filter const *filter, int place, uint8_t byte) {
    return filter->low[place][byte & 15] & filter->high[place][byte >> 4];
}

/** The definition, from a place on. */
FG_INLINE size_t fg_stop_skip_from(fg_stop_filter const *filter, uint8_t const *text, size_t start, size_t size) {
    for (size_t i = start; i < size; i++) {
        uint8_t buckets = fg_stop_buckets(filter, 0, text[i]);
        for (int place = 1; place < FG_STOP_WINDOW && buckets && i + (size_t)place < size; place++)
            buckets &= fg_stop_buckets(filter, place, text[i + (size_t)place]);
        if (buckets) return i;
    }
    return size;
}

#endif
