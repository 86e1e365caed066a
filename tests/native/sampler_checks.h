/** Runs a case on scalar code and on other levels, and checks what must hold for any plan. */
#ifndef FG_SAMPLER_CHECKS_H
#define FG_SAMPLER_CHECKS_H

#include "sampler_oracle.h"

typedef struct outcome {
    fg_fault fault;
    size_t token;
    double *probabilities;
    double mu;
    uint64_t masked;
    fg_report report;
} outcome;

/** Nothing may depend on what scratch held before. */
static void *poisoned(size_t bytes) { return memset(heap(bytes), 0xFF, bytes); }

/** As the caller must reserve it. */
static fg_workspace make_workspace(test_case const *one) {
    size_t const blocks = fg_block_count(one->count), capacity = fg_list_capacity(one->list_k);
    size_t const room = capacity + FG_LANES;
    fg_workspace work = {
        .capacity = one->count,
        .lane_maxima = poisoned(blocks * FG_LANES * sizeof(float)),
        .block_mass = poisoned(blocks * sizeof(double)),
        .other_mass = poisoned(blocks * sizeof(double)),
        .mask = poisoned((one->count + 31) / 32 * sizeof(uint32_t)),
        .patch_starts = poisoned((blocks + 1) * sizeof(uint32_t)),
        .cleansed = one->plan.mask_nan ? poisoned(one->count * sizeof(float)) : NULL,
        .candidates = one->plan.replay ? poisoned(room * sizeof(fg_candidate)) : NULL,
    };
    work.list.capacity = capacity;
    work.list.scores = poisoned(room * sizeof(float)), work.list.weights = poisoned(room * sizeof(float));
    work.list.ids = poisoned(room * sizeof(uint32_t)), work.list.order = poisoned(room * sizeof(uint32_t));
    work.list.keys = poisoned(room * sizeof(uint64_t)), work.list.other_keys = poisoned(room * sizeof(uint64_t));
    work.list.groups = poisoned(FG_LIST_GROUPS * sizeof(float));
    return work;
}

static void free_workspace(fg_workspace *work) {
    free(work->lane_maxima), free(work->block_mass), free(work->other_mass), free(work->mask);
    free(work->patch_starts), free(work->cleansed), free(work->candidates);
    free(work->list.scores), free(work->list.weights), free(work->list.ids), free(work->list.order);
    free(work->list.keys), free(work->list.other_keys), free(work->list.groups);
}

/** The distribution first: it must change nothing that the choice depends on. */
static outcome carry_out(test_case const *one, fg_logits_kernels const *kernels) {
    fg_sampler sampler = one->sampler;
    fg_replay generators = one->generators;
    sampler.generators = one->plan.replay ? &generators : NULL;
    fg_row row = one->row;
    row.kernels = kernels;
    outcome out = {.probabilities = heap(one->count * sizeof(double)), .token = SIZE_MAX};
    size_t const width = one->plan.logprobs == FG_LOGPROBS_ALL ? one->count
                       : one->plan.logprobs > 0                ? (size_t)one->plan.logprobs
                                                               : 0;
    out.report.ids = heap(width * sizeof *out.report.ids), out.report.values = heap(width * sizeof *out.report.values);
    out.report.failed = 1;
    int const reported = one->plan.logprobs != FG_LOGPROBS_NONE || one->plan.entropy;

    fg_workspace work = make_workspace(one);
    fg_fault const fault = fg_sampler_distribution(&sampler, &work, &row, out.probabilities);
    free_workspace(&work);
    work = make_workspace(one);
    out.fault = fg_sampler_choose(&sampler, &work, &row, &out.token, reported ? &out.report : NULL);
    free_workspace(&work);
    CHECK(fault == out.fault);
    out.mu = sampler.mu, out.masked = sampler.masked;
    return out;
}

static void free_outcome(outcome *out) { free(out->probabilities), free(out->report.ids), free(out->report.values); }

static int same_bits(void const *one, void const *other, size_t bytes) { return !bytes || !memcmp(one, other, bytes); }

static void check_same(test_case const *one, outcome const *expected, outcome const *found) {
    CHECK(expected->fault == found->fault && expected->token == found->token && expected->masked == found->masked);
    CHECK(same_bits(&expected->mu, &found->mu, sizeof found->mu));
    if (found->fault != FG_FAULT_NONE) return;
    CHECK(same_bits(expected->probabilities, found->probabilities, one->count * sizeof(double)));
    fg_report const *const a = &expected->report, *const b = &found->report;
    CHECK(a->failed == b->failed && a->id == b->id && a->count == b->count);
    CHECK(same_bits(&a->token, &b->token, sizeof a->token) && same_bits(&a->entropy, &b->entropy, sizeof a->entropy));
    CHECK(same_bits(&a->probability, &b->probability, sizeof a->probability));
    CHECK(same_bits(a->ids, b->ids, a->count * sizeof *a->ids));
    CHECK(same_bits(a->values, b->values, a->count * sizeof *a->values));
}

static int is_close(double one, double other, double slack) { return one == other || fabs(one - other) <= slack; }

static void check_report(test_case const *one, outcome const *out) {
    fg_plan const *const plan = &one->plan;
    fg_report const *const report = &out->report;
    int const processed = plan->mode == FG_PROCESSED_LOGPROBS || plan->mode == FG_PROCESSED_LOGITS;
    if (plan->logprobs == FG_LOGPROBS_NONE && !plan->entropy) return;
    CHECK(!report->failed && report->id == out->token && !isnan(report->token));
    CHECK(report->count <= (plan->logprobs >= 0 ? (size_t)plan->logprobs
                                                : plan->logprobs == FG_LOGPROBS_ALL ? one->count : 0));
    if (processed || plan->mode == FG_RAW_LOGPROBS || plan->entropy) {
        CHECK(report->entropy >= -1e-6 && report->entropy <= log((double)one->count) + 1e-4);
        CHECK(report->probability >= 0.0 && report->probability <= 1.0 + 1e-6);
    }
    for (size_t i = 0; i < report->count; i++) {
        CHECK(report->ids[i] < one->count && !isnan(report->values[i]));
        if (i > 0 && plan->logprobs >= 0) CHECK(report->values[i - 1] >= report->values[i]);
    }
    if (!processed) {
        if (plan->logprobs != FG_LOGPROBS_NONE && !plan->mask_nan)
            CHECK(plan->logprobs < 0 ? report->count == one->count
                                     : report->count <= (size_t)plan->logprobs);
        return;
    }
    /* What is processed is what is drawn from. */
    double const drawn = out->probabilities[out->token];
    size_t support = 0, reported = 0;
    for (size_t id = 0; id < one->count; id++) support += out->probabilities[id] > 0.0;
    CHECK(is_close(report->probability, drawn, 2e-5 * drawn + 1e-12));
    if (plan->mode == FG_PROCESSED_LOGPROBS) CHECK(is_close(report->token, log(drawn), 1e-3 + 1e-4 * -log(drawn)));
    for (size_t i = 0; i < report->count; i++) {
        double const probability = out->probabilities[report->ids[i]];
        reported += probability > 0.0;
        if (plan->mode == FG_PROCESSED_LOGPROBS && probability > 0.0)
            CHECK(is_close(report->values[i], log(probability), 1e-3 + 1e-4 * -log(probability)));
    }
    size_t const wanted = plan->logprobs == FG_LOGPROBS_ALL ? support : plan->logprobs > 0 ? (size_t)plan->logprobs : 0;
    CHECK(reported == (support < wanted ? support : wanted));
}

/** The table of edits, after all that the history did to it, makes the scores that the definitions ask for. */
static void check_edits(test_case const *one, float const *scores) {
    fg_edits const *const edits = &one->edits;
    for (size_t id = 0; id < one->count; id++) {
        fg_edit const *const edit = fg_edits_find(edits, (int32_t)id);
        float const score = fg_load_score(one->row.data, id, one->dtype);
        if (!(score < INFINITY) || !fg_allowed(one->mask, id) || !fg_allowed(one->allowed, id)) continue;
        float const edited = edit ? fg_edits_apply(edits, edit, score) : score;
        CHECK(edited == scores[id] || (isnan(edited) && scores[id] == -INFINITY)); /* +inf - inf: NaN bars too */
    }
}

/** What holds for every plan; for simple ones also which tokens are left. Returns how many the oracle compared. */
static size_t check_outcome(test_case const *one, outcome const *out) {
    fg_plan const *const plan = &one->plan;
    float *const scores = heap(one->count * sizeof *scores);
    size_t compared = 0;
    CHECK(out->fault == expect_scores(one, scores) && isfinite(out->mu));
    check_edits(one, scores);
    if (out->fault == FG_FAULT_NONE) {
        float const largest = largest_of(scores, one->count);
        double sum = 0.0;
        int keeps_best = 0, may_drop_best = 0;
        for (size_t id = 0; id < one->count; id++) {
            CHECK(out->probabilities[id] >= 0.0 && out->probabilities[id] <= 1.0);
            CHECK(out->probabilities[id] == 0.0 || scores[id] > -INFINITY);
            sum += out->probabilities[id];
            keeps_best |= out->probabilities[id] > 0.0 && scores[id] == largest;
        }
        for (int i = 0; i < plan->count; i++)
            may_drop_best |= plan->ops[i].kind == FG_OP_XTC || plan->ops[i].kind == FG_OP_TYPICAL;
        CHECK(fabs(sum - 1.0) <= 1e-6);
        CHECK(keeps_best || may_drop_best);
        CHECK(out->token < one->count && out->probabilities[out->token] > 0.0);
        if (plan->greedy)
            for (size_t id = 0; id <= out->token; id++) CHECK((scores[id] == largest) == (id == out->token));
        if (is_simple(one)) compared = check_support(one, scores, out->probabilities);
        check_report(one, out);
    }
    free(scores);
    return compared;
}

#endif
