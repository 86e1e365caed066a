/** What is done to single scores before sampling: biases, bans, penalties. One table entry for each token that anything
 * is known of, found by hashing; scores that have no entry are as the model gave them. */
#ifndef FG_HISTORY_EDITS_H
#define FG_HISTORY_EDITS_H

#include "base/base.h"

#include <math.h>

typedef struct fg_edit {
    int32_t id;       /* -1: a free slot */
    uint32_t repeats; /* times the token stands in the window of the repetition penalty */
    uint32_t uses;    /* and in that of frequency and presence penalty */
    uint32_t step;    /* `once` holds in this step only */
    float bias;       /* added first; -inf bans */
    float once;       /* subtracted last; +inf bans */
} fg_edit;

typedef struct fg_edits {
    fg_edit *slots;        /* open addressing with linear probing; at most half full, nothing is ever taken out */
    size_t capacity, used; /* capacity is a power of two, or 0 */
    uint32_t step;
    float repetition, presence, frequency;
    int raises; /* some edit may raise a score */
    /* room for a row's edited scores in order (sampler/view.h): [capacity / 2], and four times as many floats */
    uint32_t *patch_ids;
    float *patch_floats;
} fg_edits;

FG_INLINE size_t fg_edits_slot(fg_edits const *edits, int32_t id) {
    size_t const last = edits->capacity - 1;
    size_t slot = (uint32_t)id * 0x9E3779B1u >> 7 & last; /* Knuth's multiplicative hashing */
    while (edits->slots[slot].id != id && edits->slots[slot].id >= 0) slot = (slot + 1) & last;
    return slot;
}

/** The entry of a token, or NULL. */
FG_INLINE fg_edit *fg_edits_find(fg_edits const *edits, int32_t id) {
    if (!edits->used) return NULL;
    fg_edit *const edit = &edits->slots[fg_edits_slot(edits, id)];
    return edit->id < 0 ? NULL : edit;
}

/** The entry of a token, made if there is none; the table must have room: 2 * (used + 1) <= capacity. */
FG_INLINE fg_edit *fg_edits_at(fg_edits *edits, int32_t id) {
    fg_edit *const edit = &edits->slots[fg_edits_slot(edits, id)];
    if (edit->id < 0) {
        *edit = (fg_edit){.id = id};
        edits->used++;
    }
    return edit;
}

FG_INLINE void fg_edits_clear(fg_edit *slots, size_t capacity) {
    for (size_t i = 0; i < capacity; i++) slots[i].id = -1;
}

/** Move all entries into a larger table, which has been cleared. */
FG_INLINE void fg_edits_move(fg_edits *edits, fg_edit *slots, size_t capacity) {
    fg_edits moved = *edits;
    moved.slots = slots, moved.capacity = capacity;
    for (size_t i = 0; i < edits->capacity; i++)
        if (edits->slots[i].id >= 0) slots[fg_edits_slot(&moved, edits->slots[i].id)] = edits->slots[i];
    *edits = moved;
}

/** Note a value to subtract in this step; of several the largest holds. */
FG_INLINE void fg_edits_once(fg_edits *edits, int32_t id, float value) {
    fg_edit *const edit = fg_edits_at(edits, id);
    if (edit->step != edits->step)
        edit->step = edits->step, edit->once = value;
    else if (value > edit->once)
        edit->once = value;
}

/** A score after its edits: finite or -inf. */
FG_INLINE float fg_edits_apply(fg_edits const *edits, fg_edit const *edit, float score) {
    score += edit->bias;
    if (edit->repeats) score = score < 0.0f ? score * edits->repetition : score / edits->repetition;
    if (edit->uses) score -= (float)edit->uses * edits->frequency + edits->presence;
    if (edit->step == edits->step) score -= edit->once;
    return score > 0x1.fffffep127f ? 0x1.fffffep127f : score + 0.0f; /* -0 to +0: a tie must be one in the bits too */
}

#endif
