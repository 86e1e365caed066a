/** The tokens of a sequence, prompt first, and what follows from them for the next one: counts for the penalties, and
 * tokens that would repeat an n-gram, continue a loop or complete a forbidden word. */
#ifndef FG_HISTORY_H
#define FG_HISTORY_H

#include "history/edits.h"

/** Sequence i is ids[starts[i]] up to ids[starts[i + 1]]; none is empty. */
typedef struct fg_sequences {
    int32_t const *ids;
    uint32_t const *starts;
    size_t count;
} fg_sequences;

/** Where in the history each n-gram ends: chains of positions, latest first, by the hash of the n tokens. */
typedef struct fg_ngrams {
    size_t size;          /* n; the index is off while `heads` is NULL */
    uint32_t *heads;      /* latest position + 1 for each hash, 0 for none */
    uint32_t *links;      /* for each position the one before it in its chain, + 1 */
    uint32_t heads_count; /* a power of two */
} fg_ngrams;

typedef struct fg_history {
    int32_t *tokens;
    size_t length, prompt, capacity;
    int64_t repetition_window, frequency_window; /* -1: everything */
    int repetition_counts_prompt, frequency_counts_prompt;

    fg_ngrams ngrams; /* of no_repeat_ngram_size - 1 tokens */

    fg_ngrams repeats; /* of dry_allowed_length tokens */
    double dry_multiplier, dry_base;
    int64_t dry_window;
    fg_sequences breakers; /* in the order of their last tokens */
    size_t unbroken; /* tokens since the last breaker ended */

    fg_sequences bad_words; /* of at least two tokens */
    fg_sequences ends;      /* each of one token: not before `min_tokens` outputs */
    size_t min_tokens;
} fg_history;

/** Take in one token. History and table of edits must have room for it. */
void fg_history_append(fg_history *history, fg_edits *edits, int32_t token, int is_prompt);

/** Index all tokens again, after the arrays of an n-gram index have been replaced by larger, zeroed ones. */
void fg_history_index(fg_history *history);

/** Begin the next step: set the edits that hold for it alone. */
void fg_history_step(fg_history *history, fg_edits *edits);

#endif
