/** What a case must lead to, found slowly and in another way: scores after edits, and what single samplers keep. */
#ifndef FG_SAMPLER_ORACLE_H
#define FG_SAMPLER_ORACLE_H

#include "sampler_cases.h"

/** Whether the history ends, `before` tokens from its end, with these tokens. */
static int ended_with(fg_history const *history, size_t before, int32_t const *ids, size_t count) {
    if (history->length < before + count) return 0;
    for (size_t i = 0; i < count; i++)
        if (history->tokens[history->length - before - count + i] != ids[i]) return 0;
    return 1;
}

static void ban_if_in_row(float *once, size_t count, int32_t token, float value) {
    if ((size_t)token < count && value > once[token]) once[token] = value;
}

/** DRY by its definition: each earlier place, how far it agrees with the end. */
static void expect_dry(test_case const *one, float *once) {
    fg_history const *const history = &one->history;
    size_t const length = history->length, allowed = history->repeats.size;
    size_t const window = history->dry_window < 0 || (size_t)history->dry_window > length ? length
                                                                                          : (size_t)history->dry_window;
    size_t unbroken = 0, most = SIZE_MAX;
    for (int broken = 0; unbroken < length; unbroken++) {
        for (size_t i = 0; i < history->breakers.count && !broken; i++) {
            uint32_t const start = history->breakers.starts[i];
            broken = ended_with(history, unbroken, history->breakers.ids + start,
                                history->breakers.starts[i + 1] - start);
        }
        if (broken) break;
    }
    if (history->dry_base > 1.000001) most = (size_t)floor(88.7228391 / log(history->dry_base));
    for (size_t next = length - window; next < length; next++) {
        int32_t const token = history->tokens[next];
        size_t agrees = 0;
        while (agrees < unbroken && agrees < window && agrees < next - (length - window) &&
               history->tokens[next - 1 - agrees] == history->tokens[length - 1 - agrees])
            agrees++;
        if (agrees < allowed) continue;
        int breaks = 0;
        for (size_t i = 0; i < history->breakers.count; i++)
            breaks |= history->breakers.starts[i + 1] - history->breakers.starts[i] == 1 &&
                      history->breakers.ids[history->breakers.starts[i]] == token;
        if (breaks) continue;
        size_t const over = agrees - allowed < most ? agrees - allowed : most;
        ban_if_in_row(once, one->count, token, (float)(history->dry_multiplier * pow(history->dry_base, (double)over)));
    }
}

static void expect_once(test_case const *one, float *once) {
    fg_history const *const history = &one->history;
    for (size_t id = 0; id < one->count; id++) once[id] = 0.0f;
    if (history->ngrams.heads)
        for (size_t next = history->ngrams.size; next < history->length; next++)
            if (ended_with(history, 0, history->tokens + next - history->ngrams.size, history->ngrams.size))
                ban_if_in_row(once, one->count, history->tokens[next], INFINITY);
    for (size_t i = 0; i < history->bad_words.count; i++) {
        int32_t const *const word = history->bad_words.ids + history->bad_words.starts[i];
        size_t const last = history->bad_words.starts[i + 1] - history->bad_words.starts[i] - 1;
        if (ended_with(history, 0, word, last)) ban_if_in_row(once, one->count, word[last], INFINITY);
    }
    if (history->length - history->prompt < history->min_tokens)
        for (size_t i = 0; i < history->ends.count; i++)
            ban_if_in_row(once, one->count, history->ends.ids[i], INFINITY);
    if (history->dry_multiplier > 0.0) expect_dry(one, once);
}

/** Scores after mask and edits; -inf for what is barred. Returns what the row leads to. */
static fg_fault expect_scores(test_case const *one, float *scores) {
    fg_history const *const history = &one->history;
    fg_edits const *const edits = &one->edits;
    size_t const length = history->length;
    float *const once = heap(one->count * sizeof *once);
    uint32_t *const repeats = calloc(one->count, sizeof *repeats), *const uses = calloc(one->count, sizeof *uses);
    CHECK(repeats && uses);
    fg_fault fault = FG_FAULT_NO_CANDIDATES;
    for (size_t at = 0; at < length; at++) {
        size_t const id = (size_t)history->tokens[at], ago = length - at;
        if (id >= one->count) continue;
        int64_t const repetition_window = history->repetition_window, frequency_window = history->frequency_window;
        repeats[id] += (repetition_window < 0 || ago <= (size_t)repetition_window) &&
                       (history->repetition_counts_prompt || at >= history->prompt);
        uses[id] += (frequency_window < 0 || ago <= (size_t)frequency_window) &&
                    (history->frequency_counts_prompt || at >= history->prompt);
    }
    expect_once(one, once);
    for (size_t id = 0; id < one->count; id++) {
        float score = fg_load_score(one->row.data, id, one->dtype);
        int const finite = score < INFINITY;
        if (!finite && !one->plan.mask_nan) fault = FG_FAULT_NONFINITE;
        if (!finite || !fg_allowed(one->mask, id) || !fg_allowed(one->allowed, id)) score = -INFINITY;
        score += one->biases[id];
        if (repeats[id]) score = score < 0.0f ? score * edits->repetition : score / edits->repetition;
        if (uses[id]) score -= (float)uses[id] * edits->frequency + edits->presence;
        score = once[id] == INFINITY ? -INFINITY : score - once[id];
        scores[id] = (score > 0x1.fffffep127f ? 0x1.fffffep127f : score) + 0.0f;
        if (scores[id] > -INFINITY && fault == FG_FAULT_NO_CANDIDATES) fault = FG_FAULT_NONE;
    }
    free(once), free(repeats), free(uses);
    return fault;
}

static float largest_of(float const *scores, size_t count) {
    float largest = -INFINITY;
    for (size_t id = 0; id < count; id++) largest = scores[id] > largest ? scores[id] : largest;
    return largest;
}

typedef struct ranked {
    float score;
    int id; /* negated where higher ids come first */
} ranked;

static int by_rank(void const *a, void const *b) {
    ranked const *const one = a, *const other = b;
    if (one->score != other->score) return one->score > other->score ? -1 : 1;
    return (one->id > other->id) - (one->id < other->id);
}

/** Whether the oracle knows the plan: one of top-k, top-p, min-p and epsilon, at any temperature. */
static int is_simple(test_case const *one) {
    fg_plan const *const plan = &one->plan;
    int const last = plan->count - 1;
    if (plan->replay || plan->greedy || plan->count < 1 || plan->count > 2 || one->row.total > 0.0) return 0;
    if (plan->count == 2 && plan->ops[0].kind != FG_OP_TEMPERATURE) return 0;
    int const kind = plan->ops[last].kind;
    return kind == FG_OP_TOP_K || kind == FG_OP_TOP_P || kind == FG_OP_MIN_P || kind == FG_OP_EPSILON;
}

/** Compare which tokens are left, but for those at a boundary that rounding may move. Returns how many it compared. */
static size_t check_support(test_case const *one, float const *scores, double const *probabilities) {
    fg_op const *const op = &one->plan.ops[one->plan.count - 1];
    double const temperature = one->plan.count == 2 ? one->plan.ops[0].a : 1.0;
    float const largest = largest_of(scores, one->count);
    int const high_first = op->kind == FG_OP_TOP_P && op->flags & FG_HIGH_IDS_FIRST;
    ranked *const order = heap(one->count * sizeof *order);
    double total = 0.0, before = 0.0, kept = 0.0, share = 0.0;
    size_t compared = 0;
    for (size_t id = 0; id < one->count; id++) {
        order[id] = (ranked){scores[id], high_first ? -(int)id : (int)id};
        total += exp(((double)scores[id] - largest) / temperature);
    }
    qsort(order, one->count, sizeof *order, by_rank);
    for (size_t rank = 0; rank < one->count; rank++) {
        double const distance = ((double)order[rank].score - largest) / temperature, weight = exp(distance);
        double const probability = probabilities[high_first ? -order[rank].id : order[rank].id];
        double margin = 1.0; /* how far the token is from the boundary, relative to what rounding may do */
        int in = 1;
        switch (op->kind) {
        case FG_OP_TOP_K:
            in = (double)rank < op->a;
            if (!in && op->flags & FG_KEEP_TIES) in = order[rank].score == order[(size_t)op->a - 1].score;
            break;
        case FG_OP_TOP_P:
            in = op->a >= 1.0 || rank == 0 || before < op->a * total;
            if (rank > 0) margin = fabs(before - op->a * total) / (1e-5 * total);
            break;
        case FG_OP_MIN_P:
        case FG_OP_EPSILON: {
            double const bound = log(op->kind == FG_OP_MIN_P ? op->a : op->a * total);
            in = distance >= bound || order[rank].score == largest;
            margin = fabs(distance - bound) / (1e-5 * fabs(bound) + 1e-5);
            break;
        }
        }
        /* weights under 2^-125 are 0; which are is up to rounding too */
        if (margin >= 1.0 && (!in || fabs(distance + 87.0) > 1.0)) {
            CHECK((probability > 0.0) == (in && distance > -87.0));
            compared++;
        }
        if (probability > 0.0) kept += probability, share += weight;
        before += weight;
    }
    for (size_t id = 0; id < one->count; id++)
        if (probabilities[id] > 0.0) {
            double const expected = exp(((double)scores[id] - largest) / temperature) * kept / share;
            CHECK(fabs(probabilities[id] - expected) <= 2e-5 * expected + 1e-30);
        }
    free(order);
    return compared;
}

#endif
