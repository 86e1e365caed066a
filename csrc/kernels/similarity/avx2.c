#include "kernels/similarity.h"

#include "base/target.h"

#if FG_X86

FG_TARGET_BEGIN(FG_ISA_AVX2)

#include "kernels/similarity/bits.h"

FG_INLINE __m256i load(void const *bytes) { return _mm256_loadu_si256((__m256i const *)bytes); }

FG_INLINE uint32_t equal_bytes(void const *a, void const *b) {
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(load(a), load(b)));
}

static size_t prefix_avx2(void const *a, void const *b, size_t count) {
    uint8_t const *const p = a, *const q = b;
    size_t same = 0;
    for (; count - same >= 32; same += 32) {
        uint32_t const different = ~equal_bytes(p + same, q + same);
        if (different) return same + _tzcnt_u32(different);
    }
    while (same < count && p[same] == q[same]) same++;
    return same;
}

static size_t suffix_avx2(void const *a, void const *b, size_t count) {
    uint8_t const *const p = a, *const q = b;
    size_t left = count;
    for (; left >= 32; left -= 32) {
        uint32_t const different = ~equal_bytes(p + left - 32, q + left - 32);
        if (different) return count - left + _lzcnt_u32(different);
    }
    while (left && p[left - 1] == q[left - 1]) left--;
    return count - left;
}

/* Matches by comparing: no table of the pattern's symbols is needed. */
FG_INLINE uint64_t match(void const *pattern, uint32_t symbol, fg_width width) {
    char const *const rows = pattern;
    uint64_t matches = 0;
    if (width == FG_WIDTH8) {
        __m256i const symbol_u8x32 = _mm256_set1_epi8((char)symbol);
        for (int part = 0; part < 2; part++)
            matches |= (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(load(rows + 32 * part), symbol_u8x32))
                       << 32 * part;
    } else if (width == FG_WIDTH16) {
        __m256i const symbol_u16x16 = _mm256_set1_epi16((short)symbol);
        for (int part = 0; part < 2; part++) { /* 32 rows; packing works on halves, which are put in order again */
            __m256i const packed = _mm256_packs_epi16(_mm256_cmpeq_epi16(load(rows + 64 * part), symbol_u16x16),
                                                      _mm256_cmpeq_epi16(load(rows + 64 * part + 32), symbol_u16x16));
            matches |= (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(packed, 0xD8)) << 32 * part;
        }
    } else {
        __m256i const symbol_u32x8 = _mm256_set1_epi32((int)symbol);
        for (int part = 0; part < 8; part++) {
            __m256i const equal = _mm256_cmpeq_epi32(load(rows + 32 * part), symbol_u32x8);
            matches |= (uint64_t)(uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(equal)) << 8 * part;
        }
    }
    return matches;
}

static size_t edit_word8_avx2(void const *pattern, size_t rows, void const *text, size_t columns) {
    return edit_word(pattern, rows, text, columns, match, FG_WIDTH8);
}
static size_t edit_word16_avx2(void const *pattern, size_t rows, void const *text, size_t columns) {
    return edit_word(pattern, rows, text, columns, match, FG_WIDTH16);
}
static size_t edit_word32_avx2(void const *pattern, size_t rows, void const *text, size_t columns) {
    return edit_word(pattern, rows, text, columns, match, FG_WIDTH32);
}

/* As in avx512.c: words are lanes, each two columns behind the one below it; here four to a register, and eight, that
 * is two registers, at a time. */
enum { SKEW = 2, LANES = 4, PHASES = 4, PASS_WORDS = 2 * LANES };

typedef struct wave {
    __m256i plus[2], minus[2];                           /* vertical */
    __m256i across_plus[2][SKEW], across_minus[2][SKEW]; /* horizontal, of the last two steps */
    __m256i two[2][2], four[2][4];                       /* what is held back, by how many steps */
} wave;

/** What a pass works on: some words of a stripe. `hands_on`: there are eight, and words below them. */
typedef struct pass {
    fg_stripe *stripe;
    uint64_t const *matches;
    ptrdiff_t count;
    int hands_on;
} pass;

FG_INLINE __m256i skewed(wave *w, int r, int phase, uint64_t const *matches) {
    __m256i const row = load(matches);
    __m256i const pairs = _mm256_blend_epi32(row, w->two[r][phase % 2], 0xCC);
    __m256i const fours = _mm256_blend_epi32(pairs, w->four[r][phase], 0xF0);
    w->two[r][phase % 2] = row, w->four[r][phase] = pairs;
    return fours;
}

/** Lanes move up by one; the lowest comes from the register below, or from the edge. */
FG_INLINE __m256i from_below(__m256i lanes, __m256i const *below, __m256i edge) {
    __m256i const moved = _mm256_permute4x64_epi64(lanes, 0x93);
    return _mm256_blend_epi32(moved, below ? _mm256_permute4x64_epi64(*below, 0x93) : edge, 0x03);
}

/** One step. `ragged`: some lane has not begun, or has ended. */
FG_INLINE void step_wave(pass const *p, wave *w, ptrdiff_t step, int phase, int registers, int ragged) {
    ptrdiff_t const column = step + phase, bottom = column - SKEW * (PASS_WORDS - 1);
    int const turn = phase % SKEW;
    uint64_t const edge = ragged && column >= p->count ? 0 : p->stripe->edge[column];
    __m256i const plus_in = _mm256_set1_epi64x((long long)(edge << 63)),
                  minus_in = _mm256_set1_epi64x((long long)(edge >> 1 << 63)), ones = _mm256_set1_epi64x(-1);
    for (int r = registers - 1; r >= 0; r--) {
        ptrdiff_t const at = column - SKEW * LANES * r;
        size_t const row = ragged && (at < 0 || at >= p->count) ? 0 : p->stripe->columns[at];
        __m256i const match = skewed(w, r, phase, p->matches + row * p->stripe->stride + LANES * r);
        __m256i const plus = w->plus[r], minus = w->minus[r];
        __m256i const below_plus = from_below(w->across_plus[r][turn], r ? &w->across_plus[0][turn] : NULL, plus_in),
                      below_minus =
                          from_below(w->across_minus[r][turn], r ? &w->across_minus[0][turn] : NULL, minus_in);
        __m256i const equal = _mm256_or_si256(match, _mm256_srli_epi64(below_minus, 63));
        __m256i const sum = _mm256_add_epi64(_mm256_and_si256(equal, plus), plus);
        __m256i const diagonal = _mm256_or_si256(_mm256_xor_si256(sum, plus), _mm256_or_si256(equal, minus));
        __m256i const across_plus = _mm256_or_si256(minus, _mm256_andnot_si256(_mm256_or_si256(diagonal, plus), ones)),
                      across_minus = _mm256_and_si256(diagonal, plus);
        __m256i const above_plus = _mm256_or_si256(_mm256_add_epi64(across_plus, across_plus),
                                                   _mm256_srli_epi64(below_plus, 63)),
                      above_minus = _mm256_or_si256(_mm256_add_epi64(across_minus, across_minus),
                                                    _mm256_srli_epi64(below_minus, 63));
        __m256i next_plus =
                    _mm256_or_si256(above_minus, _mm256_andnot_si256(_mm256_or_si256(diagonal, above_plus), ones)),
                next_minus = _mm256_and_si256(diagonal, above_plus);
        if (ragged) { /* lanes that have ended keep their last column */
            __m256i const live = _mm256_cmpgt_epi64(_mm256_set1_epi64x((long long)(p->count - at)),
                                                    _mm256_setr_epi64x(0, -SKEW, -2 * SKEW, -3 * SKEW));
            next_plus = _mm256_blendv_epi8(plus, next_plus, live);
            next_minus = _mm256_blendv_epi8(minus, next_minus, live);
        }
        w->across_plus[r][turn] = across_plus, w->across_minus[r][turn] = across_minus;
        w->plus[r] = next_plus, w->minus[r] = next_minus;
    }
    if (registers == 2 && p->hands_on && bottom >= 0 && bottom < p->count) {
        int const plus_bits = _mm256_movemask_pd(_mm256_castsi256_pd(w->across_plus[1][turn])),
                  minus_bits = _mm256_movemask_pd(_mm256_castsi256_pd(w->across_minus[1][turn]));
        p->stripe->edge[bottom] = (uint8_t)(plus_bits >> 3 | minus_bits >> 3 << 1);
    }
}

FG_INLINE void four_steps(pass const *p, wave *w, ptrdiff_t step, int registers, int ragged) {
    step_wave(p, w, step, 0, registers, ragged); /* written out: what `phase` chooses must be a register */
    step_wave(p, w, step, 1, registers, ragged);
    step_wave(p, w, step, 2, registers, ragged);
    step_wave(p, w, step, 3, registers, ragged);
}

FG_INLINE void edit_words(fg_stripe *stripe, size_t first, size_t words, int registers) {
    pass const p = {stripe, stripe->matches + first, (ptrdiff_t)stripe->count,
                    !stripe->is_last || first + words < stripe->words};
    ptrdiff_t const end = p.count + SKEW * ((ptrdiff_t)words - 1), begun = registers == 2 ? SKEW * 2 * LANES : 0;
    wave w;
    memset(&w, 0, sizeof w);
    for (int r = 0; r < registers; r++)
        w.plus[r] = load(stripe->plus + first + LANES * r), w.minus[r] = load(stripe->minus + first + LANES * r);
    ptrdiff_t step = 0;
    for (; step < begun && step < end; step += PHASES) four_steps(&p, &w, step, registers, 1);
    for (; step + PHASES <= p.count; step += PHASES) four_steps(&p, &w, step, registers, 0);
    for (; step < end; step += PHASES) four_steps(&p, &w, step, registers, 1);
    for (int r = 0; r < registers; r++) {
        _mm256_storeu_si256((__m256i *)(stripe->plus + first + LANES * r), w.plus[r]);
        _mm256_storeu_si256((__m256i *)(stripe->minus + first + LANES * r), w.minus[r]);
    }
}

static void edit_stripe_avx2(fg_stripe *stripe) {
    if (stripe->words <= 2) { /* too few lanes: measured */
        edit_stripe_by_word(stripe);
        return;
    }
    for (size_t first = 0; first < stripe->words; first += PASS_WORDS) {
        size_t const left = stripe->words - first, words = left < PASS_WORDS ? left : PASS_WORDS;
        if (words > LANES)
            edit_words(stripe, first, words, 2);
        else
            edit_words(stripe, first, words, 1);
    }
}

FG_TARGET_END

fg_similarity_kernels const fg_similarity_avx2 = {
    .prefix = prefix_avx2,
    .suffix = suffix_avx2,
    .edit_word = {edit_word8_avx2, edit_word16_avx2, edit_word32_avx2},
    .edit_stripe = edit_stripe_avx2,
};

#endif
