/** A few candidates taken out of a row: their scores and ids, in id order, and on demand in descending order.
 *
 * What samplers keep is always a stretch of the descending order, [first, last), lowest id first among equals. */
#ifndef FG_SAMPLER_LIST_H
#define FG_SAMPLER_LIST_H

#include "sampler/view.h"

enum {
    FG_LIST_ROOM = 2048, /* candidates that are tried for where their number is not known before */
    FG_LIST_MOST = 8192, /* the largest top-k that is taken out as a list */
    FG_LIST_GROUPS = 8192
};

typedef struct fg_list {
    size_t capacity; /* candidates; each array has FG_LANES more */
    float *scores;
    uint32_t *ids;
    size_t count;
    int ordered;     /* `order` is valid */
    uint32_t *order; /* places in `scores`, in descending order */
    size_t first, last;
    float *weights;              /* by place; valid after fg_list_weigh() */
    uint64_t *keys, *other_keys; /* scratch of the sort */
    float *groups;               /* FG_LIST_GROUPS: scratch of the threshold search */
} fg_list;

/** Candidates that a list for top-k must have room for; k is at most FG_LIST_MOST. */
FG_INLINE size_t fg_list_capacity(size_t k) { return 2 * k + 512 > FG_LIST_ROOM ? 2 * k + 512 : FG_LIST_ROOM; }

/** Take all candidates with scores >= threshold. Returns 0, and leaves no list, if they are too many. */
int fg_list_above(fg_list *list, fg_view *view, float threshold);

/** Take the k best candidates, lowest ids first among equals, or fewer if there are no more; with `keep_ties` also all
 * that equal the k-th. Returns 0, and leaves no list, if those are too many. */
int fg_list_top(fg_list *list, fg_view *view, size_t k, int keep_ties);

/** Sort; [first, last) becomes everything. Nothing is done if the list is in order. */
void fg_list_order(fg_list *list);

/** Compute all weights, relative to `max`. */
void fg_list_weigh(fg_list *list, fg_logits_kernels const *kernels, float max, double temperature);

/** Turn around the stretch of equals that holds place `at` of the order: highest ids first, or lowest again. */
void fg_list_turn_ties(fg_list *list, size_t at);

FG_INLINE size_t fg_list_size(fg_list const *list) { return list->ordered ? list->last - list->first : list->count; }

/** The place of the i-th candidate that is still in: in descending order if the list is ordered, else in id order. */
FG_INLINE size_t fg_list_place(fg_list const *list, size_t i) {
    return list->ordered ? list->order[list->first + i] : i;
}

/** The largest score that is still in. */
FG_INLINE float fg_list_largest(fg_list const *list) {
    if (list->ordered) return list->scores[list->order[list->first]];
    float largest = list->scores[0];
    for (size_t i = 1; i < list->count; i++) largest = list->scores[i] > largest ? list->scores[i] : largest;
    return largest;
}

#endif
