#include "sampler/list.h"

#include "base/select.h"

#define LOWEST (-0x1.fffffep127f) /* of the finite floats */

enum { FEW = 96 }; /* candidates that are put in order soonest by comparing them all */

/** A score that at least `wanted` scores of the row (before edits) reach, and not many more than `wanted` if the row is
 * an ordinary one.
 *
 * The row is cut into groups, each with a known maximum, so a score that `wanted` maxima reach will do. A group is one
 * lane of several blocks: its maximum comes from vertical comparisons alone. */
static float threshold_for(fg_list *list, fg_view const *view, size_t wanted) {
    size_t span = (view->blocks + 31) / 32; /* blocks in a group: about 512 groups */
    if (wanted > view->blocks / span * FG_LANES / 2)
        span = (view->blocks * FG_LANES + FG_LIST_GROUPS - 1) / FG_LIST_GROUPS;
    float range[2];
    size_t const count = view->kernels->fold(view->lane_maxima, view->blocks, span, list->groups, range);
    float low = range[0], high = range[1];
    if (view->kernels->reach(list->groups, count, low) < wanted) return LOWEST;
    for (int step = 0; step < 24; step++) { /* `low` is reached often enough, `high` is not or is the maximum */
        float const middle = low * 0.5f + high * 0.5f;
        if (!(middle > low && middle < high)) break;
        size_t const reached = view->kernels->reach(list->groups, count, middle);
        if (reached >= wanted)
            low = middle;
        else
            high = middle;
        if (reached >= wanted && reached <= wanted + wanted / 4) break;
    }
    return low;
}

/** Apply masks, edits and the ceiling to what a filter has put behind `from`; keep what still reaches the threshold. */
static size_t settle(fg_list *list, fg_view const *view, size_t from, size_t count, float threshold) {
    if (fg_view_is_plain(view)) return count;
    size_t kept = from;
    for (size_t i = from; i < count; i++) {
        uint32_t const id = list->ids[i];
        float score = list->scores[i];
        if (!fg_allowed(view->mask, id)) continue;
        fg_edit const *const edit = view->edits ? fg_edits_find(view->edits, (int32_t)id) : NULL;
        if (edit) score = fg_edits_apply(view->edits, edit, score);
        if (!(score >= threshold) || !fg_view_below_ceiling(view, score, id)) continue;
        list->scores[kept] = score, list->ids[kept] = id, kept++;
    }
    return kept;
}

/** Append candidates that reach the threshold, from `block` on, while there is room for whole blocks. Returns the first
 * block that was not read: view->blocks at the end. */
static size_t collect(fg_list *list, fg_view *view, size_t block, float threshold) {
    size_t const from = list->count;
    if (!view->patched) {
        size_t const start = block * FG_BLOCK, room = list->capacity - from;
        size_t const stored = view->kernels->filter[view->dtype](
            fg_row_at(view->row, start, view->dtype), view->count - start, view->lane_maxima + block * FG_LANES,
            threshold, list->scores + from, list->ids + from, room);
        size_t end = view->blocks, count = from + stored;
        if (stored == room) { /* the last block may have been cut off: it comes again */
            end = block + list->ids[count - 1] / FG_BLOCK;
            while (count > from && block + list->ids[count - 1] / FG_BLOCK == end) count--;
        }
        for (size_t i = from; i < count; i++) list->ids[i] += (uint32_t)start;
        list->count = settle(list, view, from, count, threshold);
        view->passes->filtered += end - block;
        return end;
    }
    for (; block < view->blocks; block++) {
        if (!fg_view_reaches(view, block, threshold)) continue;
        if (list->capacity - list->count < FG_BLOCK) break;
        fg_block const part = fg_view_block(view, block);
        size_t const stored = view->kernels->filter[part.dtype](
            part.scores, part.count, NULL, threshold, list->scores + list->count, list->ids + list->count, FG_BLOCK);
        for (size_t i = 0; i < stored; i++) list->ids[list->count + i] += (uint32_t)part.start;
        list->count += stored;
        view->passes->filtered++;
    }
    return block;
}

static void begin(fg_list *list, fg_view *view) {
    list->count = list->first = list->last = 0;
    list->ordered = 0;
    if (view->edits && view->edits->raises) fg_view_patch(view);
}

/** -0 and +0 are equal and must be so to the sort, which looks at bits. */
static void finish(fg_list *list) {
    for (size_t i = 0; i < list->count; i++) list->scores[i] += 0.0f;
    list->last = list->count;
}

/** Whether another `collect` is sure to get on: it takes whole blocks, and gives the last one back if it had no room.
 */
static int has_room(fg_list const *list) { return list->capacity - list->count >= 2 * FG_BLOCK; }

int fg_list_above(fg_list *list, fg_view *view, float threshold) {
    begin(list, view);
    for (size_t block = 0; block < view->blocks; block = collect(list, view, block, threshold))
        if (!has_room(list)) {
            list->count = 0;
            return 0;
        }
    finish(list);
    return 1;
}

/** Keep the k best, lowest ids first among equals, or all that equal the k-th. Returns the k-th score. */
static float keep_best(fg_list *list, size_t k, int keep_ties) {
    memcpy(list->weights, list->scores, list->count * sizeof *list->scores);
    float const bound = fg_select_descending(list->weights, list->count, k - 1);
    size_t above = 0, kept = 0;
    for (size_t i = 0; i < list->count; i++) above += list->scores[i] > bound;
    size_t ties = keep_ties ? list->count : k - above;
    for (size_t i = 0; i < list->count; i++) {
        float const score = list->scores[i];
        int const tie = score == bound && ties > 0;
        ties -= (size_t)tie;
        list->scores[kept] = score, list->ids[kept] = list->ids[i];
        kept += (size_t)(score > bound || tie);
    }
    list->count = kept;
    return bound;
}

int fg_list_top(fg_list *list, fg_view *view, size_t k, int keep_ties) {
    begin(list, view);
    /* edits and a ceiling make scores lower than the maxima say: look a little deeper at once */
    size_t wanted = view->ceiling == INFINITY && !view->edits ? k : k + k / 4 + 8;
    for (;; wanted *= 4) {
        float threshold = threshold_for(list, view, wanted);
        int const everything = threshold == LOWEST;
        list->count = 0;
        for (size_t block = 0; (block = collect(list, view, block, threshold)) < view->blocks;) {
            if (list->count > k) {
                float const bound = keep_best(list, k, keep_ties);
                threshold = keep_ties ? bound : fg_next_above(bound); /* later ids lose against their equals */
            }
            if (!has_room(list)) { /* too many equals */
                list->count = 0;
                return 0;
            }
        }
        if (list->count >= k || everything) break;
    }
    if (list->count > k && list->count <= FEW) { /* sorting them all is less work than to select and to sort */
        finish(list);
        fg_list_order(list);
        size_t end = k;
        float const last = list->scores[list->order[k - 1]];
        while (keep_ties && end < list->count && list->scores[list->order[end]] == last) end++;
        list->last = end;
        return 1;
    }
    if (list->count > k) keep_best(list, k, keep_ties);
    finish(list);
    return 1;
}

/** Ascending keys are descending scores, and places in id order among equals.
 *
 *  | 63 ... 32: ~(score as an ordered integer) | 31 ... 0: place | */
static uint64_t key_of(float score, size_t place) {
    uint32_t const bits = fg_bits_from_float(score);
    uint32_t const ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (uint64_t)~ordered << 32 | (uint32_t)place;
}

/** Each score's place is the number of scores above it, or behind its equals: no branch depends on the scores. */
static void rank_few(fg_list *list) {
    uint32_t const free_place = UINT32_MAX;
    for (size_t i = 0; i < list->count; i++) list->order[i] = free_place;
    for (size_t i = 0; i < list->count; i++) {
        float const score = list->scores[i];
        int above = 0;
        for (size_t j = 0; j < list->count; j++) above += list->scores[j] > score;
        while (list->order[above] != free_place) above++;
        list->order[above] = (uint32_t)i;
    }
}

/** Radix sort by the bytes of the score, lowest first; stable, so places need no pass. Returns where the keys are. */
static uint64_t *sort_many(uint64_t *keys, uint64_t *other, size_t count) {
    for (int shift = 32; shift < 64; shift += 8) {
        uint32_t starts[257] = {0};
        for (size_t i = 0; i < count; i++) starts[(keys[i] >> shift & 255) + 1]++;
        if (starts[(keys[0] >> shift & 255) + 1] == count) continue;
        for (int byte = 0; byte < 256; byte++) starts[byte + 1] += starts[byte];
        for (size_t i = 0; i < count; i++) other[starts[keys[i] >> shift & 255]++] = keys[i];
        uint64_t *const swap = keys;
        keys = other, other = swap;
    }
    return keys;
}

void fg_list_order(fg_list *list) {
    if (list->ordered) return;
    if (list->count <= FEW) {
        rank_few(list);
    } else {
        for (size_t i = 0; i < list->count; i++) list->keys[i] = key_of(list->scores[i], i);
        uint64_t const *const keys = sort_many(list->keys, list->other_keys, list->count);
        for (size_t i = 0; i < list->count; i++) list->order[i] = (uint32_t)keys[i];
    }
    list->ordered = 1, list->first = 0, list->last = list->count;
}

void fg_list_turn_ties(fg_list *list, size_t at) {
    float const score = list->scores[list->order[at]];
    size_t begin = at, end = at + 1;
    while (begin > list->first && list->scores[list->order[begin - 1]] == score) begin--;
    while (end < list->last && list->scores[list->order[end]] == score) end++;
    for (; begin + 1 < end; begin++, end--) {
        uint32_t const place = list->order[begin];
        list->order[begin] = list->order[end - 1], list->order[end - 1] = place;
    }
}

void fg_list_weigh(fg_list *list, fg_logits_kernels const *kernels, float max, double temperature) {
    for (size_t start = 0; start < list->count; start += FG_BLOCK) {
        size_t const count = list->count - start < FG_BLOCK ? list->count - start : FG_BLOCK;
        fg_domain const domain = fg_whole_row(max, temperature, count);
        kernels->weigh[FG_FLOAT32](list->scores + start, count, &domain, list->weights + start);
    }
}
