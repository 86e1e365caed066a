#include "history.h"

static size_t bucket_of(fg_ngrams const *ngrams, int32_t const *tokens) {
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < ngrams->size; i++) hash = (hash ^ (uint32_t)tokens[i]) * 0x9E3779B97F4A7C15u;
    return (size_t)(hash >> 32) & (ngrams->heads_count - 1);
}

static void add(fg_ngrams *ngrams, int32_t const *tokens, size_t position) {
    if (!ngrams->heads || !ngrams->size || position + 1 < ngrams->size) return;
    size_t const bucket = bucket_of(ngrams, tokens + (position + 1 - ngrams->size));
    ngrams->links[position] = ngrams->heads[bucket];
    ngrams->heads[bucket] = (uint32_t)position + 1;
}

void fg_history_index(fg_history *history) {
    for (size_t position = 0; position < history->length; position++) {
        add(&history->ngrams, history->tokens, position);
        add(&history->repeats, history->tokens, position);
    }
}

static int ends_with(fg_history const *history, int32_t const *ids, size_t count) {
    return history->length >= count &&
           memcmp(history->tokens + (history->length - count), ids, count * sizeof *ids) == 0;
}

static size_t length_of(fg_sequences const *sequences, size_t i) {
    return sequences->starts[i + 1] - sequences->starts[i];
}

static int32_t last_of(fg_sequences const *sequences, size_t i) { return sequences->ids[sequences->starts[i + 1] - 1]; }

/** The first sequence that ends in a token, of sequences in the order of their last tokens. */
static size_t first_ending_in(fg_sequences const *sequences, int32_t token) {
    size_t low = 0, high = sequences->count;
    while (low < high) {
        size_t const middle = (low + high) / 2;
        if (last_of(sequences, middle) < token)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int is_counted(fg_history const *history, size_t position, int prompt_too) {
    return prompt_too || position >= history->prompt;
}

void fg_history_append(fg_history *history, fg_edits *edits, int32_t token, int is_prompt) {
    size_t const position = history->length++;
    history->tokens[position] = token;
    if (is_prompt) history->prompt = history->length;
    add(&history->ngrams, history->tokens, position);
    add(&history->repeats, history->tokens, position);

    history->unbroken++;
    fg_sequences const *const breakers = &history->breakers;
    for (size_t i = first_ending_in(breakers, token); i < breakers->count && last_of(breakers, i) == token; i++)
        if (ends_with(history, breakers->ids + breakers->starts[i], length_of(breakers, i))) history->unbroken = 0;

    fg_edit *const edit = fg_edits_at(edits, token);
    edit->repeats += (uint32_t)is_counted(history, position, history->repetition_counts_prompt);
    edit->uses += (uint32_t)is_counted(history, position, history->frequency_counts_prompt);
    if (history->repetition_window >= 0 && position >= (size_t)history->repetition_window) {
        size_t const leaving = position - (size_t)history->repetition_window;
        if (is_counted(history, leaving, history->repetition_counts_prompt))
            fg_edits_at(edits, history->tokens[leaving])->repeats--;
    }
    if (history->frequency_window >= 0 && position >= (size_t)history->frequency_window) {
        size_t const leaving = position - (size_t)history->frequency_window;
        if (is_counted(history, leaving, history->frequency_counts_prompt))
            fg_edits_at(edits, history->tokens[leaving])->uses--;
    }
}

/** The token after each earlier occurrence of the last n - 1 tokens would repeat an n-gram. */
static void ban_ngrams(fg_history const *history, fg_edits *edits) {
    fg_ngrams const *const ngrams = &history->ngrams;
    if (!ngrams->heads || history->length < ngrams->size) return;
    if (ngrams->size == 0) { /* each single token is an n-gram */
        for (size_t i = 0; i < history->length; i++) fg_edits_once(edits, history->tokens[i], INFINITY);
        return;
    }
    int32_t const *const suffix = history->tokens + (history->length - ngrams->size);
    for (uint32_t next = ngrams->heads[bucket_of(ngrams, suffix)]; next; next = ngrams->links[next - 1])
        if (next < history->length && /* `next` is the position after the occurrence */
            memcmp(history->tokens + (next - ngrams->size), suffix, ngrams->size * sizeof *suffix) == 0)
            fg_edits_once(edits, history->tokens[next], INFINITY);
}

static int breaks(fg_history const *history, int32_t token) {
    fg_sequences const *const breakers = &history->breakers;
    for (size_t i = first_ending_in(breakers, token); i < breakers->count && last_of(breakers, i) == token; i++)
        if (length_of(breakers, i) == 1) return 1;
    return 0;
}

/** DRY (P. E. Weidmann, text-generation-webui pull request 5677): where the last L >= allowed tokens stand earlier too,
 * the token that followed them there loses multiplier * base^(L - allowed). L never reaches over a breaker nor out of
 * the window, and not further than the power stays a float. */
static void penalize_repeats(fg_history const *history, fg_edits *edits) {
    fg_ngrams const *const index = &history->repeats;
    size_t const allowed = index->size;
    size_t window = history->length;
    if (history->dry_window >= 0 && (size_t)history->dry_window < window) window = (size_t)history->dry_window;
    size_t const longest = history->unbroken < window ? history->unbroken : window;
    if (!index->heads || window <= allowed || longest < allowed) return;
    /* log of the largest float, as llama.cpp has it */
    double const most = history->dry_base > 1.000001 ? floor(88.7228391 / log(history->dry_base)) : INFINITY;
    size_t const begin = history->length - window;
    int32_t const *const suffix = history->tokens + (history->length - allowed);
    for (uint32_t next = index->heads[bucket_of(index, suffix)]; next; next = index->links[next - 1]) {
        if (next < begin + allowed) break; /* positions only go down along a chain */
        if (next == history->length || memcmp(history->tokens + (next - allowed), suffix, allowed * sizeof *suffix))
            continue;
        size_t length = allowed;
        while (length < longest && next - length > begin && (double)(length - allowed) < most &&
               history->tokens[next - length - 1] == history->tokens[history->length - length - 1])
            length++;
        int32_t const token = history->tokens[next];
        if (!breaks(history, token)) {
            double const power = pow(history->dry_base, (double)(length - allowed));
            fg_edits_once(edits, token, (float)(history->dry_multiplier * power));
        }
    }
}

void fg_history_step(fg_history *history, fg_edits *edits) {
    edits->step++;
    if (history->dry_multiplier > 0.0) penalize_repeats(history, edits);
    ban_ngrams(history, edits);
    for (size_t i = 0; i < history->bad_words.count; i++) {
        uint32_t const start = history->bad_words.starts[i], last = history->bad_words.starts[i + 1] - 1;
        if (ends_with(history, history->bad_words.ids + start, last - start))
            fg_edits_once(edits, history->bad_words.ids[last], INFINITY);
    }
    if (history->length - history->prompt < history->min_tokens)
        for (size_t i = 0; i < history->ends.count; i++) fg_edits_once(edits, history->ends.ids[i], INFINITY);
}
