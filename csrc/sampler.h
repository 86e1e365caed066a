/** From a row of logits to a token: a plan of samplers, carried out in a few passes over the row.
 *
 * Every sampler narrows a stretch of the row in descending order: the k best, the nucleus, what is likely enough, the
 * scores nearest to a center. So the state between two samplers is such a stretch. It is held in one of two ways: as a
 * list, if the candidates are few (sampler/list.h); or, without ever naming its tokens, as bounds of scores and
 * indices, which the kernels understand (sampler/band.h). */
#ifndef FG_SAMPLER_H
#define FG_SAMPLER_H

#include "kernels/logits.h"
#include "history/edits.h"
#include "sampler/list.h"
#include "sampler/replay.h"
#include "sampler/view.h"

typedef enum fg_op_kind {
    FG_OP_TEMPERATURE, /* a: divisor */
    FG_OP_DYNATEMP,    /* a, b: lowest and highest temperature, c: exponent */
    FG_OP_TOP_K,       /* a: k */
    FG_OP_TOP_P,       /* a: probability */
    FG_OP_MIN_P,       /* a: probability relative to the largest */
    FG_OP_TYPICAL,     /* a: probability */
    FG_OP_EPSILON,     /* a: probability */
    FG_OP_ETA,         /* a: epsilon */
    FG_OP_TOP_N_SIGMA, /* a: standard deviations */
    FG_OP_XTC,         /* a: probability of doing it, b: threshold */
    FG_OP_MIROSTAT_1,  /* a: tau, b: eta */
    FG_OP_MIROSTAT_2
} fg_op_kind;

enum {                        /* flags of an operation */
       FG_KEEP_TIES = 1,      /* top-k, XTC: equals of the last one stay too */
       FG_HIGH_IDS_FIRST = 2, /* top-p: among equals */
       FG_INCLUSIVE = 4,      /* top-p: a token stays if exactly the probability comes before it */
       FG_OF_WHOLE = 8        /* top-p: of the mass before top-k */
};

typedef struct fg_op {
    int kind, flags;
    double a, b, c;
} fg_op;

enum { FG_OPS_MOST = 12, FG_LOGPROBS_NONE = -1, FG_LOGPROBS_ALL = -2 };

typedef enum fg_logprobs_mode {
    FG_RAW_LOGPROBS,
    FG_PROCESSED_LOGPROBS,
    FG_RAW_LOGITS,
    FG_PROCESSED_LOGITS
} fg_logprobs_mode;

typedef struct fg_plan {
    fg_op ops[FG_OPS_MOST];
    int count;
    int greedy;
    int replay;   /* draw as llama.cpp does */
    int logprobs; /* how many of the best */
    fg_logprobs_mode mode;
    int entropy;
    int mask_nan;
} fg_plan;

/** Memory for one row at a time; the caller owns it, and it may serve many samplers in turn. */
typedef struct fg_workspace {
    size_t capacity; /* scores in a row */
    float *lane_maxima;
    double *block_mass, *other_mass;
    uint32_t *mask;
    uint32_t *patch_starts;
    float *cleansed;          /* [capacity]; NULL unless NaN is masked */
    fg_candidate *candidates; /* [list.capacity]; NULL unless llama.cpp is replayed */
    fg_list list;
} fg_workspace;

typedef struct fg_report {
    int failed; /* until a token has been chosen */
    uint32_t id;
    double token;       /* log-probability or logit of the token, by the plan's mode */
    double entropy;     /* nats */
    double probability; /* of the token, in the distribution that the mode names */
    size_t count;
    uint32_t *ids; /* room for plan.logprobs, or for the row if that is FG_LOGPROBS_ALL: then in id order */
    float *values;
} fg_report;

/** A sampler's own memory of its sequence. */
typedef struct fg_sampler {
    fg_plan plan;
    uint64_t seed;
    fg_edits *edits; /* of its history; NULL: none */
    uint32_t const *allowed; /* bitmask of allowed_token_ids, or NULL */
    double mu;               /* mirostat */
    fg_replay *generators;   /* NULL unless plan.replay */
    fg_passes passes;        /* of the last row */
    uint64_t masked;         /* scores that were NaN or +inf in the last row and were left out */
} fg_sampler;

typedef enum fg_fault { FG_FAULT_NONE, FG_FAULT_NONFINITE, FG_FAULT_NO_CANDIDATES } fg_fault;

typedef struct fg_row {
    fg_logits_kernels const *kernels;
    void const *data;
    fg_dtype dtype;
    size_t count;
    uint32_t const *mask; /* NULL: none */
    uint32_t choice, position;
    double
        total; /* 0, or the row's mass relative to its maximum at the plan's temperature, where `data` holds a part */
} fg_row;

/** Choose a token. The workspace has room for the row, fg_history_step() has been called, and the caller holds the
 * floating-point mode (base/fpenv.h). `report` may be NULL if the plan asks for nothing. */
fg_fault fg_sampler_choose(fg_sampler *sampler, fg_workspace *work, fg_row const *row, size_t *token,
                           fg_report *report);

/** The probabilities that a token would be drawn with; changes nothing but scratch. */
fg_fault fg_sampler_distribution(fg_sampler *sampler, fg_workspace *work, fg_row const *row, double *probabilities);

#endif
