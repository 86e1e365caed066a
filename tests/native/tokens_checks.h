/** What holds for every kernel over token ids, and for what stands on them: each level against scalar code, scalar code
 * against definitions that are written differently. */
#ifndef TOKENS_CHECKS_H
#define TOKENS_CHECKS_H

#include "kernels/tokens.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("line %d: %s\n", __LINE__, #condition);                                                             \
            fflush(stdout);                                                                                            \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/** Memory of exactly this many tokens: a sanitizer sees the first one beyond. */
static int32_t *tokens_of(size_t count) {
    int32_t *const room = malloc(count ? count * sizeof *room : 1);
    CHECK(room);
    return room;
}

static int same(int32_t const *left, int32_t const *right, size_t count) {
    return count == 0 || memcmp(left, right, count * sizeof *left) == 0;
}

static void check_find(fg_tokens_kernels const *kernels, int32_t const *tokens, size_t count, int32_t const *needle,
                       size_t size) {
    size_t const place = kernels->find(tokens, count, needle, size);
    CHECK(place == count ? size > 0 || count == 0 : place + size <= count && same(tokens + place, needle, size));
    for (size_t i = 0; i < place && i + size <= count; i++) CHECK(!same(tokens + i, needle, size));
}

static void check_recall(fg_tokens_kernels const *kernels, int32_t const *tokens, size_t count, int32_t const *pattern,
                         size_t size, size_t least) {
    size_t length, best = least - 1, expected = 0;
    size_t const end = kernels->recall(tokens, count, pattern, size, least, &length);
    for (size_t i = 1; i <= count; i++)
        for (size_t agreed = size; agreed > 0; agreed--)
            if (agreed <= i && agreed >= best && agreed >= least &&
                same(tokens + i - agreed, pattern + size - agreed, agreed)) {
                best = agreed, expected = i;
                break;
            }
    CHECK(end == expected && length == (expected ? best : 0));
}

static void check_agree(fg_tokens_kernels const *kernels, int32_t const *left, int32_t const *right, size_t count) {
    size_t const agreed = kernels->agree(left, right, count);
    CHECK(agreed <= count && same(left, right, agreed) && (agreed == count || left[agreed] != right[agreed]));
}

/** `missing` and `other` hold the same; both are stepped. */
static void check_recur(fg_tokens_kernels const *scalar, fg_tokens_kernels const *kernels, int32_t const *earlier,
                        size_t count, int32_t token, int32_t *missing, int32_t *other, int32_t step) {
    int32_t const first = (int32_t)count * step;
    size_t const place = scalar->recur(earlier, count, token, missing, first, step);
    CHECK(kernels->recur(earlier, count, token, other, first, step) == place && same(missing, other, count));
    CHECK(place <= count && (place == count || missing[place] == 0));
    for (size_t i = 0; i < count; i++) {
        CHECK(missing[i] >= 0 && missing[i] <= first - (int32_t)i * step);
        CHECK(earlier[i] == token || missing[i] == first - (int32_t)i * step);
        CHECK(missing[i] != 0 || (place < count && i <= place));
    }
}

/** The size of the shortest pattern, at most `longest`, that `tokens` end with at least `repeats` times: by the
 * definition of vLLM's repetition_detection. */
static size_t loop_at_end(int32_t const *tokens, size_t count, size_t longest, size_t repeats) {
    for (size_t size = 1; size <= longest && size * repeats <= count; size++) {
        size_t held = 0;
        while (held < size * (repeats - 1) && tokens[count - 1 - held] == tokens[count - 1 - held - size]) held++;
        if (held == size * (repeats - 1)) return size;
    }
    return 0;
}

/** Feed all tokens to counters of the periods up to `longest`. */
static void check_loops(fg_tokens_kernels const *scalar, fg_tokens_kernels const *kernels, int32_t const *tokens,
                        size_t count, size_t longest, size_t repeats) {
    int32_t *const history = tokens_of(longest + count), *const missing = tokens_of(longest),
                   *const other = tokens_of(longest);
    int32_t const step = (int32_t)repeats - 1;
    for (size_t i = 0; i < longest; i++) history[i] = -1, missing[i] = other[i] = (int32_t)(longest - i) * step;
    memcpy(history + longest, tokens, count * sizeof *tokens);
    for (size_t i = 0; i < count; i++) {
        check_recur(scalar, kernels, history + i, longest, tokens[i], missing, other, step);
        size_t shortest = 0;
        for (size_t place = 0; place < longest; place++)
            if (missing[place] == 0) shortest = longest - place;
        CHECK(shortest == loop_at_end(tokens, i + 1, longest, repeats));
    }
    free(history), free(missing), free(other);
}

#endif
