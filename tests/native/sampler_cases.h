/** One case of sampling, decoded from bytes: a plan, a row, a mask, edits and a history, in buffers of exactly the size
 * that the headers ask for. Where the bytes end, a generator seeded by them goes on: so every input is a case. */
#ifndef FG_SAMPLER_CASES_H
#define FG_SAMPLER_CASES_H

#include "sampler.h"
#include "history.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { PATTERNS = 10, MOST_SEQUENCES = 4, MOST_TOKENS = 4 };

typedef struct sequences {
    int32_t ids[MOST_SEQUENCES * MOST_TOKENS];
    uint32_t starts[MOST_SEQUENCES + 1];
} sequences;

typedef struct test_case {
    fg_plan plan;
    size_t count, list_k;
    fg_dtype dtype;
    char *room; /* of the row, which starts at an odd place */
    fg_row row;
    fg_sampler sampler;
    fg_edits edits;
    fg_replay generators;
    uint32_t *mask, *allowed;
    float *biases; /* [count] */
    fg_history history;
    sequences breakers, bad_words, ends;
} test_case;

static test_case const *current; /* named where a check fails */

static void describe(test_case const *one) {
    fg_plan const *const plan = &one->plan;
    printf("  %zu scores of dtype %d, greedy %d, replay %d, mask_nan %d, masks %d%d, %zu edits, history %zu\n",
           one->count, one->dtype, plan->greedy, plan->replay, plan->mask_nan, one->mask != NULL, one->allowed != NULL,
           one->edits.used, one->history.length);
    printf("  logprobs %d in mode %d, entropy %d\n", plan->logprobs, plan->mode, plan->entropy);
    for (int i = 0; i < plan->count; i++)
        printf("  kind %d, flags %d: %.17g %.17g %.17g\n", plan->ops[i].kind, plan->ops[i].flags, plan->ops[i].a,
               plan->ops[i].b, plan->ops[i].c);
}

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("%s line %d: %s\n", __FILE__, __LINE__, #condition);                                                \
            if (current) describe(current);                                                                            \
            fflush(stdout);                                                                                            \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static struct {
    uint8_t const *bytes;
    size_t left;
    uint64_t state;
} source;

static void begin_source(uint8_t const *bytes, size_t count) {
    source.bytes = bytes, source.left = count, source.state = 0xCBF29CE484222325u;
    for (size_t i = 0; i < count; i++) source.state = (source.state ^ bytes[i]) * 0x100000001B3u;
}

static uint32_t next_random(void) {
    source.state = source.state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(source.state >> 32);
}

static uint32_t random_below(uint32_t limit) { return (uint32_t)((uint64_t)next_random() * limit >> 32); }

/** Below `limit`, which is at most 2^24, by the next bytes of the input. */
static uint32_t pick(uint32_t limit) {
    uint32_t value = 0, bytes = limit <= 256 ? 1 : limit <= 65536 ? 2 : 3;
    if (source.left < bytes) return random_below(limit);
    for (; bytes; bytes--, source.left--) value = value << 8 | *source.bytes++;
    return value % limit;
}

static int one_in(uint32_t count) { return pick(count) == count - 1; }
static double real(double low, double high) { return low + (high - low) * pick(65536) / 65535.0; }

static void *heap(size_t bytes) {
    void *const room = malloc(bytes ? bytes : 1);
    CHECK(room);
    return room;
}

/* The row. */

/** A score as bits: any, denormal, ordinary, one of few values, mostly -inf, huge, all equal, a peak with a long tail,
 * the ends of the range, any of many nearby values. NaN and +inf come from elsewhere. */
static uint32_t random_score(fg_dtype dtype, int pattern, uint32_t same) {
    static uint32_t const denormal[FG_DTYPES] = {0x807FFFFFu, 0x807Fu, 0x83FFu};
    static uint32_t const huge[FG_DTYPES] = {0x4D8F0D18u, 0x4D8Fu, 0x7BFFu}; /* neighbors are far apart */
    static uint32_t const largest[FG_DTYPES] = {0x7F7FFFFFu, 0x7F7Fu, 0x7BFFu};
    static uint32_t const minus_infinity[FG_DTYPES] = {0xFF800000u, 0xFF80u, 0xFC00u};
    uint32_t const bits = next_random(), sign = bits & 0x8000u;
    switch (pattern) {
    case 0:
        if (dtype == FG_FLOAT32) return (bits & 0x7F800000u) == 0x7F800000u ? bits & 0xFF7FFFFFu : bits;
        return (bits & 0x7C00u) == 0x7C00u ? bits & 0xBFFFu : bits & 0xFFFFu;
    case 1: return bits & denormal[dtype];
    case 4:
        if (random_below(8)) return minus_infinity[dtype];
        break;
    case 5: return huge[dtype] - random_below(24);
    case 6: return same;
    case 7: /* a float16 or bfloat16 takes the upper half of a float32 between 2^-6 and 2^5, or so */
        if (dtype == FG_FLOAT16) return sign | (0x2400u + random_below(0x2C00u));
        return (sign | (0x3C80u + random_below(0x580u))) << (dtype == FG_FLOAT32 ? 16 : 0);
    case 8: return random_below(3) ? largest[dtype] | (dtype == FG_FLOAT32 ? bits & 0x80000000u : sign) : 0;
    case 9: return (dtype == FG_FLOAT16 ? 0x4A00u : 0x4148u << (dtype == FG_FLOAT32 ? 16 : 0)) + random_below(1500);
    default: break;
    }
    if (dtype == FG_FLOAT16) return sign | 0x3000u | (pattern == 3 ? random_below(4) << 10 : next_random() & 0x1FFFu);
    uint32_t const half = sign | 0x3F00u | (pattern == 3 ? random_below(4) << 6 : next_random() & 0xFFu);
    return dtype == FG_BFLOAT16 ? half : half << 16 | (pattern == 3 ? 0 : next_random() & 0xFFFFu);
}

static void put(test_case *one, size_t index, uint32_t bits) {
    uint16_t const half = (uint16_t)bits;
    char *const place = (char *)fg_row_at(one->row.data, index, one->dtype);
    if (one->dtype == FG_FLOAT32) memcpy(place, &bits, sizeof bits);
    else memcpy(place, &half, sizeof half);
}

static void make_row(test_case *one) {
    static uint32_t const faults[FG_DTYPES][3] = {
        {0x7FC00000u, 0xFF800002u, 0x7F800000u}, {0x7FC0u, 0xFF82u, 0x7F80u}, {0x7E00u, 0xFC02u, 0x7C00u}};
    size_t const offset = pick(64);
    int const pattern = (int)pick(PATTERNS);
    uint32_t const same = random_score(one->dtype, 2, 0);
    one->room = heap(offset + one->count * fg_dtype_size(one->dtype));
    one->row = (fg_row){.data = one->room + offset, .dtype = one->dtype, .count = one->count};
    for (size_t i = 0; i < one->count; i++) put(one, i, random_score(one->dtype, pattern, same));
    for (uint32_t few = pick(8); few; few--) /* some scores stand out */
        put(one, pick(65536) % one->count, random_score(one->dtype, (int)pick(PATTERNS), same));
    if (one_in(16))
        for (uint32_t few = 1 + pick(4); few; few--) put(one, pick(65536) % one->count, faults[one->dtype][pick(3)]);
    one->row.choice = pick(4), one->row.position = pick(256);
    if (one_in(32)) one->row.total = (double)one->count * real(0.5, 2.0);
}

static uint32_t *random_mask(size_t count) {
    size_t const words = (count + 31) / 32;
    uint32_t *const mask = heap(words * sizeof *mask);
    uint32_t const kind = pick(4);
    for (size_t i = 0; i < words; i++)
        mask[i] = kind == 0 ? next_random()
                : kind == 1 ? next_random() | next_random() | next_random()
                : kind == 2 ? (uint32_t)!random_below(words < 8 ? 1 : 8) << random_below(32) : 0xFFFFFFFFu;
    return mask;
}

/* The plan. */

static double random_portion(void) {
    static double const often[] = {0.5, 0.9, 1e-6, 0.999999, 0x1.fffffffffffffp-1, 1e-300};
    uint32_t const which = pick(12);
    return which < sizeof often / sizeof *often ? often[which] : real(0.001, 1.0);
}

static double random_temperature(void) {
    static double const often[] = {1e-5, 100.0, 1.0, 0.01, 10.0};
    uint32_t const which = pick(10);
    return which < sizeof often / sizeof *often ? often[which] : real(0.1, 2.0);
}

static double random_k(size_t count) {
    switch (pick(8)) {
    case 0: return 1.0;
    case 1: return 2.0;
    case 2: return (double)(FG_LIST_MOST - 1 + pick(3));
    case 3: return (double)(count + 1 - pick(3)) > 1.0 ? (double)(count + 1 - pick(3)) : 1.0;
    case 4: return 1.0 + pick(65536) % count;
    default: return 1.0 + pick(64);
    }
}

static fg_op random_op(int kind, size_t count) {
    static double const exponents[] = {1.0, 1.0, 0.01, 100.0, 2.5};
    fg_op op = {.kind = kind};
    switch (kind) {
    case FG_OP_TEMPERATURE: op.a = random_temperature(); break;
    case FG_OP_DYNATEMP: {
        double const middle = random_temperature(), width = random_temperature();
        op.a = middle > width ? middle - width : 0.0, op.b = middle + width, op.c = exponents[pick(5)];
        break;
    }
    case FG_OP_TOP_K:
        op.a = random_k(count), op.flags = (int)pick(2) * FG_KEEP_TIES;
        if (op.a < 1.0) op.a = 1.0;
        break;
    case FG_OP_TOP_P:
        op.a = random_portion();
        op.flags = (int)(pick(2) * FG_HIGH_IDS_FIRST + pick(2) * FG_INCLUSIVE + pick(2) * FG_OF_WHOLE);
        break;
    case FG_OP_TOP_N_SIGMA: op.a = one_in(8) ? 1e30 : one_in(8) ? 1e-3 : real(0.01, 5.0); break;
    case FG_OP_XTC:
        op.a = one_in(2) ? 1.0 : 0.5, op.b = one_in(4) ? 0.0 : real(0.0, 0.5), op.flags = (int)pick(2) * FG_KEEP_TIES;
        break;
    case FG_OP_MIROSTAT_1:
    case FG_OP_MIROSTAT_2: op.a = real(0.1, 20.0), op.b = real(0.01, 2.0); break;
    default: op.a = random_portion(); break;
    }
    return op;
}

static void make_plan(test_case *one) {
    fg_plan *const plan = &one->plan;
    plan->mask_nan = one_in(4);
    plan->greedy = one_in(24);
    plan->replay = !plan->greedy && one_in(4);
    if (!plan->greedy && one_in(8)) { /* mirostat takes the place of all but temperature */
        if (one_in(2)) plan->ops[plan->count++] = random_op((int)pick(2), one->count);
        plan->ops[plan->count++] = random_op(FG_OP_MIROSTAT_1 + (int)pick(2), one->count);
    } else if (!plan->greedy && one_in(4)) { /* what the oracle knows */
        static int const simple[] = {FG_OP_TOP_K, FG_OP_TOP_P, FG_OP_MIN_P, FG_OP_EPSILON};
        if (one_in(2)) plan->ops[plan->count++] = random_op(FG_OP_TEMPERATURE, one->count);
        plan->ops[plan->count++] = random_op(simple[pick(4)], one->count);
    } else if (!plan->greedy) {
        uint32_t const few = one_in(24) ? 0 : 1 + pick(6);
        for (uint32_t i = 0; i < few; i++)
            plan->ops[plan->count++] = random_op((int)pick(FG_OP_MIROSTAT_1), one->count);
    }
    for (int i = 0; i < plan->count; i++)
        if (plan->ops[i].kind == FG_OP_TOP_K && plan->ops[i].a <= FG_LIST_MOST && plan->ops[i].a > (double)one->list_k)
            one->list_k = (size_t)plan->ops[i].a;
    static int const often[] = {FG_LOGPROBS_NONE, FG_LOGPROBS_NONE, FG_LOGPROBS_ALL, 0, 1, 5, 20, FG_LIST_MOST};
    uint32_t const which = pick(9);
    plan->logprobs = which < 8 ? often[which] : (int)(1 + pick(65536) % one->count % FG_LIST_MOST);
    plan->mode = (fg_logprobs_mode)pick(4);
    plan->entropy = one_in(3);
    if (plan->logprobs > 0 && (size_t)plan->logprobs > one->list_k) one->list_k = (size_t)plan->logprobs;
}

/* Edits and history. */

/** As the caller must: at most half full. */
static void reserve_edits(fg_edits *edits, size_t more) {
    size_t capacity = edits->capacity > 16 ? edits->capacity : 16;
    if (!more || 2 * (edits->used + more) <= edits->capacity) return;
    while (capacity < 2 * (edits->used + more)) capacity *= 2;
    fg_edit *const slots = heap(capacity * sizeof *slots), *const old = edits->slots;
    fg_edits_clear(slots, capacity);
    fg_edits_move(edits, slots, capacity);
    free(old), free(edits->patch_ids), free(edits->patch_floats);
    edits->patch_ids = heap(capacity / 2 * sizeof *edits->patch_ids);
    edits->patch_floats = heap(2 * capacity * sizeof *edits->patch_floats);
}

static int32_t random_token(size_t count) {
    if (one_in(16)) return (int32_t)(count + pick(65536)); /* no row has it */
    return (int32_t)(one_in(4) ? random_below((uint32_t)count) : pick(256) % 6 % count);
}

static fg_sequences random_sequences(sequences *room, size_t count, uint32_t shortest, uint32_t longest) {
    uint32_t const wanted = 1 + pick(MOST_SEQUENCES);
    uint32_t end = 0;
    room->starts[0] = 0;
    for (uint32_t i = 0; i < wanted; i++) {
        for (uint32_t length = shortest + pick(longest - shortest + 1); length; length--)
            room->ids[end++] = random_token(count);
        room->starts[i + 1] = end;
    }
    return (fg_sequences){room->ids, room->starts, wanted};
}

/** As the history wants its breakers. */
static fg_sequences by_last_token(fg_sequences const *from, sequences *room) {
    int taken[MOST_SEQUENCES] = {0};
    uint32_t end = 0;
    room->starts[0] = 0;
    for (size_t done = 0; done < from->count; done++) {
        size_t lowest = from->count;
        for (size_t i = 0; i < from->count; i++)
            if (!taken[i] && (lowest == from->count ||
                              from->ids[from->starts[i + 1] - 1] < from->ids[from->starts[lowest + 1] - 1]))
                lowest = i;
        taken[lowest] = 1;
        for (uint32_t place = from->starts[lowest]; place < from->starts[lowest + 1]; place++)
            room->ids[end++] = from->ids[place];
        room->starts[done + 1] = end;
    }
    return (fg_sequences){room->ids, room->starts, from->count};
}

static void reserve_ngrams(fg_ngrams *ngrams, size_t capacity) {
    ngrams->heads = calloc(capacity, sizeof *ngrams->heads), ngrams->links = calloc(capacity, sizeof *ngrams->links);
    CHECK(ngrams->heads && ngrams->links);
    ngrams->heads_count = (uint32_t)capacity;
}

static void make_edits(test_case *one) {
    fg_edits *const edits = &one->edits;
    size_t const count = one->count;
    one->biases = calloc(count, sizeof *one->biases);
    CHECK(one->biases);
    edits->repetition = 1.0f;
    if (one_in(2)) return;
    uint32_t const kind = pick(8);
    size_t const most = kind < 3 ? 0 : kind < 6 ? 1 + pick(40) : kind == 6 ? count : 1 + pick(65536) % count;
    reserve_edits(edits, most);
    for (size_t i = 0; i < most; i++) {
        size_t const id = kind == 6 ? i : random_below((uint32_t)count);
        uint32_t const how = random_below(8);
        float const bias = how < 3 || (kind == 6 && how < 7 && i + 1 < most) ? -INFINITY
                                                     : (float)random_below(20001) / 100.0f - 100.0f;
        one->biases[id] = fg_edits_at(edits, (int32_t)id)->bias = bias;
        if (bias > 0.0f) edits->raises = 1;
    }
    fg_history *const history = &one->history;
    if (one_in(4)) return;
    if (one_in(2)) {
        static float const often[] = {1e-6f, 100.0f, 1.3f, 0.5f};
        uint32_t const which = pick(8);
        edits->repetition = which < 4 ? often[which] : (float)real(0.5, 2.0);
        if (one_in(2)) edits->presence = (float)real(-2.0, 2.0), edits->frequency = (float)real(-2.0, 2.0);
        edits->raises |= edits->repetition < 1.0f || edits->presence < 0.0f || edits->frequency < 0.0f;
    }
    history->repetition_window = (int64_t)pick(40) - 1, history->frequency_window = (int64_t)pick(40) - 1;
    history->repetition_counts_prompt = one_in(2), history->frequency_counts_prompt = one_in(2);
    uint32_t const prompt = pick(80), outputs = pick(80);
    history->capacity = prompt + outputs <= 64 ? 64 : prompt + outputs <= 128 ? 128 : 256;
    history->tokens = heap(history->capacity * sizeof *history->tokens);
    if (one_in(2)) {
        static double const bases[] = {1.0, 1.75, 1e300};
        uint32_t const which = pick(5);
        history->dry_multiplier = real(0.01, 100.0), history->dry_base = which < 3 ? bases[which] : real(1.0, 4.0);
        history->dry_window = one_in(2) ? -1 : 1 + (int64_t)pick(100);
        history->repeats.size = 1 + pick(4);
        reserve_ngrams(&history->repeats, history->capacity);
        if (one_in(2)) {
            sequences unsorted;
            fg_sequences const breakers = random_sequences(&unsorted, count, 1, 2);
            history->breakers = by_last_token(&breakers, &one->breakers);
        }
    }
    if (one_in(2)) {
        history->ngrams.size = pick(4);
        reserve_ngrams(&history->ngrams, history->capacity);
    }
    if (one_in(2)) history->bad_words = random_sequences(&one->bad_words, count, 2, MOST_TOKENS);
    if (one_in(2)) history->ends = random_sequences(&one->ends, count, 1, 1), history->min_tokens = pick(80);
    reserve_edits(edits, 2 * MOST_SEQUENCES);
    for (size_t i = 0; i < history->bad_words.count; i++)
        fg_edits_at(edits, history->bad_words.ids[history->bad_words.starts[i + 1] - 1]);
    for (size_t i = 0; i < history->ends.count; i++) fg_edits_at(edits, history->ends.ids[i]);
    reserve_edits(edits, prompt + outputs);
    for (uint32_t i = 0; i < prompt + outputs; i++)
        fg_history_append(history, edits, random_token(count), i < prompt);
    if (one_in(2)) { /* as when the arrays have grown */
        fg_ngrams *const both[] = {&history->ngrams, &history->repeats};
        for (int i = 0; i < 2; i++)
            if (both[i]->heads) {
                free(both[i]->heads), free(both[i]->links);
                reserve_ngrams(both[i], 2 * history->capacity);
            }
        fg_history_index(history);
    }
    for (uint32_t steps = 1 + pick(3); steps; steps--) fg_history_step(history, edits);
}

/* All of it. */

static size_t random_count(size_t most) {
    uint32_t count = 1;
    switch (pick(8)) {
    case 0: count = 1 + pick(20); break;
    case 1:
    case 2: count = FG_BLOCK * (1 + pick(12)) + pick(5) - 2; break;
    case 3:
    case 4: count = 1 + pick(600); break;
    case 5: count = 2040 + pick(960); break;
    case 6: count = one_in(64) ? 128256 : one_in(64) ? 40000 : 1 + pick(256); break;
    default: count = 1 + pick(3000); break;
    }
    return count < most ? count : most;
}

static test_case *make_case(uint8_t const *bytes, size_t length, size_t most) {
    test_case *const one = calloc(1, sizeof *one);
    CHECK(one);
    begin_source(bytes, length);
    current = NULL;
    one->count = random_count(most);
    one->dtype = (fg_dtype)pick(FG_DTYPES);
    make_plan(one);
    make_row(one);
    if (one_in(4)) one->row.mask = one->mask = random_mask(one->count);
    if (one_in(6)) one->sampler.allowed = one->allowed = random_mask(one->count);
    make_edits(one);
    one->sampler.edits = &one->edits;
    one->sampler.plan = one->plan;
    one->sampler.seed = (uint64_t)next_random() << 32 | next_random();
    if (one->plan.count) one->sampler.mu = 2.0 * one->plan.ops[one->plan.count - 1].a;
    if (one_in(4)) one->sampler.mu = real(-50.0, 50.0);
    if (one->plan.replay) {
        fg_mt19937_seed(&one->generators.token, (uint32_t)one->sampler.seed);
        fg_mt19937_seed(&one->generators.xtc, (uint32_t)one->sampler.seed);
    }
    current = one;
    return one;
}

static void free_case(test_case *one) {
    current = NULL;
    free(one->room), free(one->mask), free(one->allowed), free(one->biases);
    free(one->edits.slots), free(one->edits.patch_ids), free(one->edits.patch_floats);
    free(one->history.tokens), free(one->history.ngrams.heads), free(one->history.ngrams.links);
    free(one->history.repeats.heads), free(one->history.repeats.links);
    free(one);
}

#endif
