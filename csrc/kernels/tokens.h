/** Kernels over sequences of token ids: search, comparison, recurrence.
 *
 * Ids are int32 and only ever compared for equality, so any value is an id, padding such as -1 included. Nothing is
 * read or written outside the ranges that are named. Every result is an index or a count, the same on every level. */
#ifndef FG_KERNELS_TOKENS_H
#define FG_KERNELS_TOKENS_H

#include "base/base.h"
#include "cpu.h"

/** Index of the first place where `needle` stands in `tokens`, or `count`. An empty needle stands at 0.
 *
 * First and last token of the needle are compared at once, then those between them while a place is left (W. Mula,
 * "SIMD-friendly algorithms for substring searching", 2016). At most `size` compares a place, whatever the tokens. */
typedef size_t fg_tokens_find_fn(int32_t const *tokens, size_t count, int32_t const *needle, size_t size);

/** Where the end of `pattern` stands last: of all places in `tokens`, the one before which the most tokens agree with
 * the end of the pattern, and of equals the last one.
 *
 * Returns the index behind that place, and in `length` how many tokens agree, at most `size`; 0 and 0 if nowhere at
 * least `least` do (1 <= least <= size). `pattern` may lie in `tokens`. One pass from the back, which ends where the
 * whole pattern is found; at most `size` compares a place. */
typedef size_t fg_tokens_recall_fn(int32_t const *tokens, size_t count, int32_t const *pattern, size_t size,
                                   size_t least, size_t *length);

/** How many tokens two sequences share from the start on. */
typedef size_t fg_tokens_agree_fn(int32_t const *left, int32_t const *right, size_t count);

/** One step of counting how long each of `count` periods has held.
 *
 * `earlier[i]` is the token that stands one period before `token`; `missing[i]` how often that period must still hold.
 * Where the two tokens are equal, `missing[i]` falls by one, not below 0; elsewhere it starts again at
 * `first - i * step`. Returns the last i whose `missing` is now 0, or `count`. */
typedef size_t fg_tokens_recur_fn(int32_t const *earlier, size_t count, int32_t token, int32_t *missing, int32_t first,
                                  int32_t step);

typedef struct fg_tokens_kernels {
    fg_tokens_find_fn *find;
    fg_tokens_recall_fn *recall;
    fg_tokens_agree_fn *agree;
    fg_tokens_recur_fn *recur;
} fg_tokens_kernels;

/** The best table for these features; every slot is filled. */
fg_tokens_kernels fg_tokens_select(fg_features features);

#endif
