/** Every level of the machine against scalar code, bit for bit, on unaligned rows in buffers of exactly their size; and
 * the ground that kernels and sampling stand on: Philox, uniform numbers, atomics.
 *
 * FASTGEN_TEST_CASES is the number of short rows for each level and dtype, on top of those of every length. */
#include "kernels/logits.h"

#include "base/atomic.h"
#include "base/random.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { LONGEST = 2600, PATTERNS = 6, INCREMENTS = 20000, CASES = 4000 };

static struct {
    fg_features features;
    char const *name;
} const levels[] = {{FG_AVX2, "avx2"}, {FG_AVX2 | FG_AVX512, "avx512"}, {FG_NEON, "neon"}};

enum { SCAN, MASKED_SCAN, FIND, MASS, SURPRISAL, WEIGH, FILTER, MOMENTS, LIFT, FG_KERNELS };
static char const *const names[FG_KERNELS] = {"scan",  "masked_scan", "find",    "mass", "surprisal",
                                              "weigh", "filter",      "moments", "lift"};

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("line %d: %s\n", __LINE__, #condition);                                                             \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static uint64_t state = 1;

static uint32_t next_random(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

static uint32_t random_below(uint32_t limit) { return (uint32_t)((uint64_t)next_random() * limit >> 32); }

/** A finite score or -inf, as bits: of any size, denormal, ordinary, one of few values, mostly -inf, or huge. */
static uint32_t random_score(fg_dtype dtype, int pattern) {
    if (pattern == 0) { /* any bits; an exponent of ones loses one */
        uint32_t const bits = next_random();
        if (dtype == FG_FLOAT32) return (bits & 0x7F800000u) == 0x7F800000u ? bits & 0xFF7FFFFFu : bits;
        uint32_t const exponent = dtype == FG_BFLOAT16 ? 0x7F80u : 0x7C00u;
        uint32_t const lowest = dtype == FG_BFLOAT16 ? 0x80u : 0x400u;
        return (bits & exponent) == exponent ? (bits & 0xFFFFu) ^ lowest : bits & 0xFFFFu;
    }
    static uint32_t const denormal[FG_DTYPES] = {0x807FFFFFu, 0x807Fu, 0x83FFu};
    static uint32_t const huge[FG_DTYPES] = {0x4D8F0D18u, 0x4D8Fu, 0x7BFFu}; /* neighbors are far apart */
    static uint32_t const minus_infinity[FG_DTYPES] = {0xFF800000u, 0xFF80u, 0xFC00u};
    if (pattern == 1) return next_random() & denormal[dtype];
    if (pattern == 5) return huge[dtype] - random_below(24);
    if (pattern == 4 && random_below(8)) return minus_infinity[dtype];
    /* around 1; pattern 3 has 8 values */
    uint32_t const sign = next_random() & 0x8000u;
    if (dtype == FG_FLOAT16) return sign | 0x3000u | (pattern == 3 ? random_below(4) << 10 : next_random() & 0x1FFFu);
    uint32_t const half = sign | 0x3F00u | (pattern == 3 ? random_below(4) << 6 : next_random() & 0xFFu);
    return dtype == FG_BFLOAT16 ? half : half << 16 | (pattern == 3 ? 0 : next_random() & 0xFFFFu);
}

static int same_floats(float const *expected, float const *found, size_t count) {
    return memcmp(expected, found, count * sizeof *expected) == 0;
}

/** Equal bits, or NaN both: which NaN an operation makes differs between instruction sets. */
static int same_doubles(double const *expected, double const *found, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (memcmp(expected + i, found + i, sizeof *found) && !(isnan(expected[i]) && isnan(found[i]))) return 0;
    return 1;
}

static void *heap(size_t bytes) {
    void *const room = malloc(bytes ? bytes : 1);
    CHECK(room);
    return room;
}

static void put(char *place, uint32_t bits, fg_dtype dtype) {
    uint16_t const half = (uint16_t)bits;
    if (dtype == FG_FLOAT32)
        memcpy(place, &bits, sizeof bits);
    else
        memcpy(place, &half, sizeof half);
}

static size_t cases[FG_KERNELS];

/** A bitmask of exactly its length: everything, nothing, one word in two, or random bits; also behind the row's end. */
static uint32_t *random_mask(size_t count) {
    size_t const words = (count + 31) / 32;
    uint32_t *const mask = heap(words * sizeof *mask);
    uint32_t const kind = random_below(5);
    for (size_t i = 0; i < words; i++) {
        uint32_t const bits = next_random();
        mask[i] = kind == 0 ? ~0u : kind == 1 ? 0u : kind == 2 ? -(i & 1) & bits : kind == 3 ? bits : 1u << (bits & 31);
    }
    return mask;
}

static float compare_scans(fg_logits_kernels const *scalar, fg_logits_kernels const *kernels, fg_dtype dtype,
                           void const *row, size_t count, uint32_t const *mask, float *maxima) {
    size_t const lanes = fg_block_count(count) * FG_LANES;
    float *const other_maxima = heap(lanes * sizeof(float));
    float const largest = scalar->scan[dtype](row, count, mask, maxima);
    CHECK(fg_bits_from_float(largest) == fg_bits_from_float(kernels->scan[dtype](row, count, mask, other_maxima)));
    CHECK(fg_bits_from_float(largest) == fg_bits_from_float(kernels->scan[dtype](row, count, mask, NULL)));
    CHECK(same_floats(maxima, other_maxima, lanes));
    free(other_maxima);
    return largest;
}

/** Mass, surprisal and weights of a domain; ties of a block that starts inside the row stand where the row's do. */
static void compare_sums(fg_logits_kernels const *scalar, fg_logits_kernels const *kernels, fg_dtype dtype,
                         void const *row, size_t count, float const *maxima, fg_domain const *domain) {
    size_t const blocks = fg_block_count(count), bytes = blocks * sizeof(double);
    double *const sums = heap(bytes), *const other_sums = heap(bytes);
    uint32_t *const mask = random_below(2) ? random_mask(count) : NULL;
    double const total = scalar->mass[dtype](row, count, mask, maxima, domain, sums);
    double const other_total = kernels->mass[dtype](row, count, mask, maxima, domain, other_sums);
    CHECK(same_doubles(&total, &other_total, 1) && same_doubles(sums, other_sums, blocks));
    CHECK(total >= 0.0 && total <= (double)count);

    double surprisal, other_surprisal;
    double const same_total = scalar->surprisal[dtype](row, count, mask, maxima, domain, other_sums, &surprisal);
    CHECK(same_doubles(&total, &same_total, 1) && same_doubles(sums, other_sums, blocks));
    memset(other_sums, 0xFF, bytes);
    double const last_total = kernels->surprisal[dtype](row, count, mask, maxima, domain, other_sums, &other_surprisal);
    CHECK(same_doubles(&total, &last_total, 1) && same_doubles(sums, other_sums, blocks));
    CHECK(same_doubles(&surprisal, &other_surprisal, 1) && surprisal >= 0.0 && surprisal < 126.0 * (double)count);

    size_t const start = random_below((uint32_t)blocks) * (size_t)FG_BLOCK;
    size_t const length = count - start < FG_BLOCK ? count - start : FG_BLOCK;
    fg_domain local = *domain;
    local.first_tie = local.first_tie > start ? local.first_tie - start : 0;
    local.end_tie = local.end_tie > start ? local.end_tie - start : 0;
    float *const weights = heap(length * sizeof(float)), *const other_weights = heap(length * sizeof(float));
    scalar->weigh[dtype](fg_row_at(row, start, dtype), length, &local, weights);
    kernels->weigh[dtype](fg_row_at(row, start, dtype), length, &local, other_weights);
    CHECK(same_floats(weights, other_weights, length));
    free(sums), free(other_sums), free(weights), free(other_weights), free(mask);
    cases[MASS]++, cases[SURPRISAL]++, cases[WEIGH]++;
}

static void compare_moments(fg_logits_kernels const *scalar, fg_logits_kernels const *kernels, fg_dtype dtype,
                            void const *row, size_t count, float shift) {
    fg_moments const moments = scalar->moments[dtype](row, count, shift);
    fg_moments const other = kernels->moments[dtype](row, count, shift);
    CHECK(moments.count == other.count && same_doubles(&moments.sum, &other.sum, 1));
    CHECK(same_doubles(&moments.squares, &other.squares, 1));
    cases[MOMENTS]++;
}

static void compare_lifts(fg_logits_kernels const *scalar, fg_logits_kernels const *kernels, fg_dtype dtype,
                          void const *row, size_t count, uint32_t const *mask, float ceiling) {
    size_t const length = count < FG_BLOCK ? count : FG_BLOCK;
    float *const scores = heap(length * sizeof(float)), *const other_scores = heap(length * sizeof(float));
    scalar->lift[dtype](row, length, mask, ceiling, scores);
    kernels->lift[dtype](row, length, mask, ceiling, other_scores);
    CHECK(same_floats(scores, other_scores, length));
    free(scores), free(other_scores);
    cases[LIFT]++;
}

/** One row at an odd place: all kernels of a level against scalar. Buffers are as large as the contract asks, not
 * larger. */
static void compare(fg_logits_kernels const *scalar, fg_logits_kernels const *kernels, fg_dtype dtype, size_t count,
                    size_t offset, int pattern) {
    size_t const size = fg_dtype_size(dtype), blocks = fg_block_count(count), lanes = blocks * FG_LANES;
    char *const room = heap(offset + count * size);
    void *const row = room + offset;
    for (size_t i = 0; i < count; i++) {
        put(room + offset + i * size, random_score(dtype, pattern), dtype);
    }
    float *const maxima = heap(lanes * sizeof(float)), *const other_maxima = heap(lanes * sizeof(float));
    uint32_t *const mask = random_mask(count);
    float const allowed = compare_scans(scalar, kernels, dtype, row, count, mask, other_maxima);
    float const largest = compare_scans(scalar, kernels, dtype, row, count, NULL, maxima);
    CHECK(allowed <= largest && largest < INFINITY);
    cases[SCAN]++, cases[MASKED_SCAN]++;

    float *const groups = heap(lanes * sizeof(float)), *const other_groups = heap(lanes * sizeof(float));
    float range[2], other_range[2];
    size_t const span = 1 + random_below(4), folded = scalar->fold(maxima, blocks, span, groups, range);
    CHECK(kernels->fold(maxima, blocks, span, other_groups, other_range) == folded);
    CHECK(same_floats(groups, other_groups, folded) && same_floats(range, other_range, 2));
    CHECK(scalar->reach(groups, folded, groups[0]) == kernels->reach(groups, folded, groups[0]));
    free(groups), free(other_groups);

    float largest_too;
    size_t const best = fg_logits_argmax(kernels, dtype, row, count, &largest_too);
    CHECK(best == scalar->find[dtype](row, count, largest) && best < count && largest_too == largest);
    float const wanted = fg_load_score(row, random_below((uint32_t)count), dtype);
    CHECK(scalar->find[dtype](row, count, wanted) == kernels->find[dtype](row, count, wanted));
    CHECK(kernels->find[dtype](row, count, 1e30f) == scalar->find[dtype](row, count, 1e30f));
    CHECK(kernels->find[dtype](row, count, -INFINITY) == scalar->find[dtype](row, count, -INFINITY));

    cases[FIND] += 3;
    float const other_wanted = fg_load_score(row, random_below((uint32_t)count), dtype);
    compare_moments(scalar, kernels, dtype, row, count, wanted);
    compare_lifts(scalar, kernels, dtype, row, count, random_below(4) ? mask : NULL,
                  random_below(3) ? other_wanted : INFINITY);

    for (int i = 0; i < 4; i++) {
        size_t const capacity = i == 2 ? count + 20 : 1 + random_below((uint32_t)count);
        size_t const room_bytes = (capacity + FG_LANES) * 4;
        float *const scores = heap(room_bytes), *const other_scores = heap(room_bytes);
        uint32_t *const indices = heap(room_bytes), *const other_indices = heap(room_bytes);
        float const *const hint = i & 1 ? maxima : NULL;
        float const threshold = i & 2 ? -INFINITY : wanted;
        size_t const stored = scalar->filter[dtype](row, count, hint, threshold, scores, indices, capacity);
        CHECK(stored == kernels->filter[dtype](row, count, hint, threshold, other_scores, other_indices, capacity));
        CHECK(same_floats(scores, other_scores, stored));
        CHECK(memcmp(indices, other_indices, stored * sizeof *indices) == 0);
        free(scores), free(other_scores), free(indices), free(other_indices);
        cases[FILTER]++;
    }

    if (largest > -INFINITY) {
        fg_domain domain = fg_whole_row(largest, 0.01 + random_below(1000) / 100.0, count);
        if (pattern > 1 && wanted > domain.bound) {
            domain.bound = wanted;
            domain.first_tie = random_below(2) ? 0 : random_below((uint32_t)count + 1);
            domain.end_tie = random_below(2) ? count : random_below((uint32_t)count + 1); /* may be an empty interval */
        }
        compare_sums(scalar, kernels, dtype, row, count, maxima, &domain);
        if (allowed > -INFINITY) /* the maxima of a mask: blocks without an allowed score in the domain are skipped */
            compare_sums(scalar, kernels, dtype, row, count, other_maxima, &domain);

        size_t const k = 1 + random_below((uint32_t)(random_below(2) ? count : count < 40 ? count : 40));
        fg_cut_room cut = {.capacity = fg_logits_cut_capacity(count, k)};
        cut.scores = heap((cut.capacity + FG_LANES) * sizeof(float));
        cut.copy = heap((cut.capacity + FG_LANES) * sizeof(float));
        cut.indices = heap((cut.capacity + FG_LANES) * sizeof(uint32_t));
        fg_domain first = fg_whole_row(largest, 100.0, count), second = first;
        fg_logits_cut(scalar, dtype, row, count, maxima, k, &cut, &first);
        fg_logits_cut(kernels, dtype, row, count, maxima, k, &cut, &second);
        CHECK(first.bound == second.bound && first.first_tie == 0 && second.first_tie == 0);
        CHECK(first.end_tie == second.end_tie);
        size_t inside = 0, above_bound = 0;
        for (size_t i = 0; i < count; i++) {
            float const score = fg_load_score(row, i, dtype);
            inside += i < first.end_tie ? score >= first.bound : score > first.bound;
            above_bound += score >= fg_whole_row(largest, 100.0, count).bound;
        }
        CHECK(inside == (k < above_bound ? k : above_bound));
        free(cut.scores), free(cut.copy), free(cut.indices);
    }

    if (dtype == FG_FLOAT32 || count % 3 == 0) { /* one NaN, wherever it stands and whatever its sign and payload */
        static uint32_t const nans[FG_DTYPES][4] = {
            {0x7FC00000u, 0x7F800001u, 0xFFC00001u, 0xFF800002u},
            {0x7FC0u, 0x7F81u, 0xFFC1u, 0xFF82u},
            {0x7E00u, 0x7C01u, 0xFE01u, 0xFC02u},
        };
        put(room + offset + random_below((uint32_t)count) * size, nans[dtype][random_below(4)], dtype);
        for (int i = 0; i < 2; i++) {
            CHECK(isnan(scalar->scan[dtype](row, count, i ? mask : NULL, maxima)));
            CHECK(isnan(kernels->scan[dtype](row, count, i ? mask : NULL, other_maxima)));
        }
        CHECK(fg_logits_argmax(kernels, dtype, row, count, &largest_too) == count && isnan(largest_too));
        compare_moments(scalar, kernels, dtype, row, count, wanted);
        compare_lifts(scalar, kernels, dtype, row, count, mask, random_below(3) ? other_wanted : INFINITY);

        static uint32_t const infinities[FG_DTYPES] = {0x7F800000u, 0x7F80u, 0x7C00u};
        for (size_t i = 0; i < count; i++) put(room + offset + i * size, random_score(dtype, pattern), dtype);
        size_t const place = random_below((uint32_t)count);
        put(room + offset + place * size, infinities[dtype], dtype);
        mask[place / 32] ^= 1u << (place % 32); /* allowed or not: a fault with a mask, and found without one */
        CHECK(isnan(scalar->scan[dtype](row, count, mask, maxima)));
        CHECK(isnan(kernels->scan[dtype](row, count, mask, other_maxima)));
        CHECK(compare_scans(scalar, kernels, dtype, row, count, NULL, maxima) == INFINITY);
        compare_lifts(scalar, kernels, dtype, row, count, mask, random_below(2) ? 1e30f : INFINITY);
        cases[SCAN] += 2, cases[MASKED_SCAN] += 2;
    }
    free(room), free(maxima), free(other_maxima), free(mask);
}

static void check_slots(fg_logits_kernels const *kernels) {
    for (int dtype = 0; dtype < FG_DTYPES; dtype++)
        CHECK(kernels->scan[dtype] && kernels->find[dtype] && kernels->mass[dtype] && kernels->weigh[dtype] &&
              kernels->filter[dtype] && kernels->surprisal[dtype] && kernels->moments[dtype] && kernels->lift[dtype]);
    CHECK(kernels->fold && kernels->reach);
}

/** Two blocks and a half-open third: groups of one and of two blocks, with their lowest and highest maxima. */
static void check_groups(fg_logits_kernels const *kernels) {
    float maxima[3 * FG_LANES], groups[3 * FG_LANES], range[2];
    for (int i = 0; i < 3 * FG_LANES; i++) maxima[i] = (float)(i % 7);
    maxima[5] = -INFINITY, maxima[FG_LANES + 5] = -INFINITY, maxima[40] = -3.0f;
    CHECK(kernels->fold(maxima, 3, 1, groups, range) == 3 * FG_LANES && memcmp(groups, maxima, sizeof maxima) == 0);
    CHECK(range[0] == -3.0f && range[1] == 6.0f);
    CHECK(kernels->fold(maxima, 3, 2, groups, range) == 2 * FG_LANES);
    CHECK(groups[0] == 2.0f && groups[4] == 6.0f && groups[5] == -INFINITY && groups[FG_LANES] == 4.0f);
    CHECK(range[0] == -3.0f && range[1] == 6.0f);
    CHECK(kernels->reach(maxima, 3 * FG_LANES, 6.0f) == 6 && kernels->reach(maxima, FG_LANES, 7.0f) == 0);
    CHECK(kernels->reach(maxima, 3 * FG_LANES, -INFINITY) == 3 * FG_LANES);
    for (int i = 0; i < 3 * FG_LANES; i++) maxima[i] = -INFINITY;
    kernels->fold(maxima, 3, 2, groups, range);
    CHECK(range[0] == 0x1.fffffep127f && range[1] == -INFINITY);
}

/** Every length up to a few registers with one fault at every place, with and without a mask. */
static void check_faults(fg_logits_kernels const *kernels) {
    static uint32_t const faults[FG_DTYPES][2] = {{0x7F800000u, 0xFF800001u}, {0x7F80u, 0xFF81u}, {0x7C00u, 0xFC01u}};
    uint32_t const nothing[10] = {0};
    for (int dtype = 0; dtype < FG_DTYPES; dtype++) {
        size_t const size = fg_dtype_size((fg_dtype)dtype);
        for (size_t count = 1; count <= 300; count += count < 130 ? 1 : 17) {
            char *const row = heap(count * size);
            memset(row, 0, count * size);
            for (size_t place = 0; place < count; place++) {
                for (int i = 0; i < 2; i++) {
                    put(row + place * size, faults[dtype][i], (fg_dtype)dtype);
                    CHECK(isnan(kernels->scan[dtype](row, count, nothing, NULL)));
                    float const largest = kernels->scan[dtype](row, count, NULL, NULL);
                    CHECK(i ? isnan(largest) : largest == INFINITY);
                }
                put(row + place * size, 0, (fg_dtype)dtype);
            }
            CHECK(kernels->scan[dtype](row, count, nothing, NULL) == -INFINITY);
            free(row);
        }
    }
}

/** A sampler that has room for long rows also takes shorter ones: the room for a cut must never grow as rows shrink. */
static void check_cut_capacity(void) {
    for (size_t k = 1; k < 700; k += 1 + k / 20)
        for (size_t count = 2, before = fg_logits_cut_capacity(1, 1); count < 9000; count++) {
            size_t const now = fg_logits_cut_capacity(count, k < count ? k : count);
            CHECK(now >= before);
            before = now;
        }
}

static void check_random(void) {
    static struct {
        uint32_t counter[4], key[2], expected[4];
    } const published[] = {
        /* Random123's kat_vectors */
        {{0, 0, 0, 0}, {0, 0}, {0x6627E8D5u, 0xE169C58Du, 0xBC57AC4Cu, 0x9B00DBD8u}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408F276Du, 0x41C83B0Eu, 0xA20BC7C6u, 0x6D5451FDu}},
        {{0x243F6A88u, 0x85A308D3u, 0x13198A2Eu, 0x03707344u},
         {0xA4093822u, 0x299F31D0u},
         {0xD16CFE09u, 0x94FDCCEBu, 0x5001E420u, 0x24126EA1u}},
    };
    for (size_t i = 0; i < sizeof published / sizeof published[0]; i++) {
        uint32_t found[4];
        fg_philox4x32(published[i].counter, published[i].key, found);
        CHECK(memcmp(found, published[i].expected, sizeof found) == 0);
    }
    for (uint32_t position = 0; position < 100000; position++) {
        double const uniform = fg_uniform(position % 7, 1, position, FG_PURPOSE_SAMPLE, 0);
        CHECK(uniform > 0.0 && uniform < 1.0);
    }
}

static void check_halves(void) {
    for (uint32_t bits = 0; bits < 0x10000u; bits++) {
        float const value = fg_float_from_float16((uint16_t)bits);
        uint32_t const exponent = bits >> 10 & 31, mantissa = bits & 1023;
        double const magnitude = exponent ? ldexp(1024 + mantissa, (int)exponent - 25) : ldexp(mantissa, -24);
        if (exponent == 31)
            CHECK(mantissa ? isnan(value) : isinf(value) && !signbit(value) == !(bits >> 15));
        else
            CHECK(value == (bits >> 15 ? -magnitude : magnitude) && !signbit(value) == !(bits >> 15));
    }
}

static fg_atomic counter, lock;
static uint64_t guarded_by_lock;

static void *increment(void *unused) {
    for (int i = 0; i < INCREMENTS; i++) {
        fg_add_relaxed(&counter, 1);
        while (fg_exchange_acq_rel(&lock, 1)) fg_spin();
        guarded_by_lock++;
        fg_store_release(&lock, 0);
        uint64_t before = fg_load_relaxed(&counter);
        while (!fg_cas_weak_release(&counter, &before, before + 2)) fg_spin();
    }
    return unused;
}

static void check_atomics(void) {
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, increment, NULL) == 0);
    for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(fg_load_acquire(&counter) == 6 * INCREMENTS && guarded_by_lock == 2 * INCREMENTS);
    uint64_t expected = 0;
    CHECK(!fg_cas_acq_rel(&counter, &expected, 5) && expected == 6 * INCREMENTS);
    CHECK(fg_cas_acq_rel(&counter, &expected, 5) && fg_add_acq_rel(&counter, 2) == 5 && fg_load_relaxed(&counter) == 7);
}

int main(void) {
    char const *const asked = getenv("FASTGEN_TEST_CASES");
    size_t const wanted = asked ? (size_t)strtoull(asked, NULL, 10) : CASES;
    fg_features const machine = fg_cpu_detect();
    fg_logits_kernels const scalar = fg_logits_select(FG_SCALAR);
    check_random();
    check_halves();
    check_atomics();
    check_cut_capacity();
    check_slots(&scalar);
    check_groups(&scalar);
    check_faults(&scalar);
    printf("scalar ok\n");
    for (size_t level = 0; level < sizeof levels / sizeof levels[0]; level++) {
        if ((levels[level].features & machine) != levels[level].features) continue;
        fg_logits_kernels const kernels = fg_logits_select(levels[level].features);
        check_slots(&kernels);
        check_groups(&kernels);
        check_faults(&kernels);
        memset(cases, 0, sizeof cases);
        for (int dtype = 0; dtype < FG_DTYPES; dtype++) {
            for (size_t count = 1; count < LONGEST; count += count < 600 ? 1 : 1 + random_below(64))
                for (int i = 0; i < 3; i++)
                    compare(&scalar, &kernels, (fg_dtype)dtype, count, random_below(64), (int)random_below(PATTERNS));
            for (size_t i = 0; i < wanted; i++)
                compare(&scalar, &kernels, (fg_dtype)dtype, 1 + random_below(i % 4 ? 40 : 300), random_below(64),
                        (int)random_below(PATTERNS));
        }
        printf("%s ok, cases:", levels[level].name);
        for (int kernel = 0; kernel < FG_KERNELS; kernel++) printf(" %s %zu", names[kernel], cases[kernel]);
        printf("\n");
    }
    return 0;
}
