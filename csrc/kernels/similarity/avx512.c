#include "kernels/similarity.h"

#include "base/target.h"

#if FG_X86_AVX512

FG_TARGET_BEGIN(FG_ISA_AVX512)

#include "kernels/similarity/bits.h"

static size_t prefix_avx512(void const *a, void const *b, size_t count) {
    uint8_t const *const p = a, *const q = b;
    for (size_t i = 0; i < count; i += 64) {
        __mmask64 const lanes = count - i < 64 ? ((__mmask64)1 << (count - i)) - 1 : ~(__mmask64)0;
        __mmask64 const different =
            _mm512_cmpneq_epi8_mask(_mm512_maskz_loadu_epi8(lanes, p + i), _mm512_maskz_loadu_epi8(lanes, q + i));
        if (different) return i + _tzcnt_u64(different);
    }
    return count;
}

static size_t suffix_avx512(void const *a, void const *b, size_t count) {
    uint8_t const *const p = a, *const q = b;
    size_t left = count;
    for (; left >= 64; left -= 64) {
        __mmask64 const different =
            _mm512_cmpneq_epi8_mask(_mm512_loadu_si512(p + left - 64), _mm512_loadu_si512(q + left - 64));
        if (different) return count - left + _lzcnt_u64(different);
    }
    __mmask64 const lanes = ((__mmask64)1 << left) - 1;
    __mmask64 const different =
        _mm512_cmpneq_epi8_mask(_mm512_maskz_loadu_epi8(lanes, p), _mm512_maskz_loadu_epi8(lanes, q));
    if (!different) return count;
    return count - left + _lzcnt_u64(different << (64 - left));
}

/* Matches by comparing: no table of the pattern's symbols is needed. */
FG_INLINE uint64_t match(void const *pattern, uint32_t symbol, fg_width width) {
    char const *const rows = pattern;
    if (width == FG_WIDTH8) return _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(rows), _mm512_set1_epi8((char)symbol));
    if (width == FG_WIDTH16) {
        __m512i const symbol_u16x32 = _mm512_set1_epi16((short)symbol);
        uint64_t const low = _mm512_cmpeq_epi16_mask(_mm512_loadu_si512(rows), symbol_u16x32),
                       high = _mm512_cmpeq_epi16_mask(_mm512_loadu_si512(rows + 64), symbol_u16x32);
        return high << 32 | low;
    }
    __m512i const symbol_u32x16 = _mm512_set1_epi32((int)symbol);
    uint64_t matches = 0;
    for (int quarter = 0; quarter < 4; quarter++)
        matches |= (uint64_t)_mm512_cmpeq_epi32_mask(_mm512_loadu_si512(rows + 64 * quarter), symbol_u32x16)
                   << 16 * quarter;
    return matches;
}

static size_t edit_word8_avx512(void const *pattern, size_t rows, void const *text, size_t columns) {
    return edit_word(pattern, rows, text, columns, match, FG_WIDTH8);
}
static size_t edit_word16_avx512(void const *pattern, size_t rows, void const *text, size_t columns) {
    return edit_word(pattern, rows, text, columns, match, FG_WIDTH16);
}
static size_t edit_word32_avx512(void const *pattern, size_t rows, void const *text, size_t columns) {
    return edit_word(pattern, rows, text, columns, match, FG_WIDTH32);
}

/* VPTERNLOG's tables: bit abc of the constant is the result for those three bits. */
enum { XOR_OR = 0xBE /* (a ^ b) | c */, OR_NOT_OR = 0xF1 /* a | ~(b | c) */ };

/* Eight words of a stripe are the lanes of a register, each two columns behind the lane below it:
 *
 *      step      j      j + 1   j + 2
 *      lane 0  col j   col j+1 col j+2          lane 0 of the second register is 16 columns behind
 *      lane 1  col j-2 col j-1 col j
 *
 * What a word hands on to the next was found two steps ago, so that moving it up a lane, which takes as long as half a
 * step, is not waited for. Lanes that have not begun are led by empty matches and no difference above, which leave the
 * left column as it is. */
enum { SKEW = 2, LANES = 8, PHASES = 8 };

typedef struct wave {
    __m512i plus[2], minus[2];                           /* vertical */
    __m512i across_plus[2][SKEW], across_minus[2][SKEW]; /* horizontal, of the last two steps */
    __m512i two[2][2], four[2][4], eight[2][8];          /* what is held back, by how many steps */
} wave;

/** The matches of each lane's column. A load brings the eight words of one column; lanes are held back by the bits of
 * their number: 2, 4 and 8 steps. `phase` is the step modulo 8. */
FG_INLINE __m512i skewed(wave *w, int r, int phase, uint64_t const *matches) {
    __m512i const row = _mm512_load_si512(matches);
    __m512i const pairs = _mm512_mask_mov_epi64(row, 0xAA, w->two[r][phase % 2]);
    __m512i const fours = _mm512_mask_mov_epi64(pairs, 0xCC, w->four[r][phase % 4]);
    __m512i const eights = _mm512_mask_mov_epi64(fours, 0xF0, w->eight[r][phase]);
    w->two[r][phase % 2] = row, w->four[r][phase % 4] = pairs, w->eight[r][phase] = fours;
    return eights;
}

/** One step of all lanes; those that are not `live` (NULL: all are) keep their last column. */
FG_INLINE void advance_wave(wave *w, int phase, __m512i const *match, uint8_t edge, __mmask8 const *live,
                            int registers) {
    int const turn = phase % SKEW;
    __m512i const plus_in = _mm512_set1_epi64((long long)((uint64_t)edge << 63)),
                  minus_in = _mm512_set1_epi64((long long)((uint64_t)(edge >> 1) << 63));
    for (int r = registers - 1; r >= 0; r--) {
        __m512i const plus = w->plus[r], minus = w->minus[r];
        __m512i const below_plus =
                          _mm512_alignr_epi64(w->across_plus[r][turn], r ? w->across_plus[0][turn] : plus_in, 7),
                      below_minus =
                          _mm512_alignr_epi64(w->across_minus[r][turn], r ? w->across_minus[0][turn] : minus_in, 7);
        __m512i const equal = _mm512_or_si512(match[r], _mm512_srli_epi64(below_minus, 63));
        __m512i const sum = _mm512_add_epi64(_mm512_and_si512(equal, plus), plus);
        __m512i const diagonal = _mm512_ternarylogic_epi64(sum, plus, _mm512_or_si512(equal, minus), XOR_OR);
        __m512i const across_plus = _mm512_ternarylogic_epi64(minus, diagonal, plus, OR_NOT_OR),
                      across_minus = _mm512_and_si512(diagonal, plus);
        __m512i const above_plus = _mm512_shldi_epi64(across_plus, below_plus, 1),
                      above_minus = _mm512_shldi_epi64(across_minus, below_minus, 1);
        __m512i const next_plus = _mm512_ternarylogic_epi64(above_minus, diagonal, above_plus, OR_NOT_OR),
                      next_minus = _mm512_and_si512(diagonal, above_plus);
        w->across_plus[r][turn] = across_plus, w->across_minus[r][turn] = across_minus;
        w->plus[r] = live ? _mm512_mask_mov_epi64(plus, live[r], next_plus) : next_plus;
        w->minus[r] = live ? _mm512_mask_mov_epi64(minus, live[r], next_minus) : next_minus;
    }
}

/** The horizontal differences below the last word, in the shape of `edge`. */
FG_INLINE uint8_t bottom_edge(wave const *w, int phase, int r) {
    unsigned const plus = _mm512_movepi64_mask(w->across_plus[r][phase % SKEW]),
                   minus = _mm512_movepi64_mask(w->across_minus[r][phase % SKEW]);
    return (uint8_t)(plus >> (LANES - 1) | minus >> (LANES - 1) << 1);
}

/** Lanes whose column is before the end, which lane 0's is `behind` columns behind. */
FG_INLINE __mmask8 live_lanes(ptrdiff_t behind) {
    return (__mmask8)(behind < 0 ? 0xFF : behind / SKEW + 1 >= LANES ? 0 : 0xFF << (behind / SKEW + 1));
}

/** One step. `ragged`: some lane has not begun, or has ended. */
FG_INLINE void step_wave(fg_stripe const *stripe, wave *w, ptrdiff_t step, int phase, int registers, int ragged) {
    ptrdiff_t const count = (ptrdiff_t)stripe->count, column = step + phase;
    ptrdiff_t const bottom = column - SKEW * (ptrdiff_t)(FG_STRIPE_WORDS - 1); /* the column of the last lane */
    __m512i match[2];
    __mmask8 live[2];
    for (int r = 0; r < registers; r++) {
        ptrdiff_t const at = column - SKEW * LANES * r;
        size_t const row = ragged && (at < 0 || at >= count) ? 0 : stripe->columns[at];
        match[r] = skewed(w, r, phase, stripe->matches + row * stripe->stride + LANES * r);
        live[r] = live_lanes(at - count);
    }
    uint8_t const above = ragged && column >= count ? 0 : stripe->edge[column];
    advance_wave(w, phase, match, above, ragged ? live : NULL, registers);
    if (registers == 2 && !stripe->is_last && bottom >= 0 && bottom < count)
        stripe->edge[bottom] = bottom_edge(w, phase, 1);
}

FG_INLINE void eight_steps(fg_stripe const *stripe, wave *w, ptrdiff_t step, int registers, int ragged) {
    step_wave(stripe, w, step, 0, registers, ragged); /* written out: what `phase` chooses must be a register */
    step_wave(stripe, w, step, 1, registers, ragged);
    step_wave(stripe, w, step, 2, registers, ragged);
    step_wave(stripe, w, step, 3, registers, ragged);
    step_wave(stripe, w, step, 4, registers, ragged);
    step_wave(stripe, w, step, 5, registers, ragged);
    step_wave(stripe, w, step, 6, registers, ragged);
    step_wave(stripe, w, step, 7, registers, ragged);
}

FG_INLINE void edit_stripe(fg_stripe *stripe, int registers) {
    ptrdiff_t const count = (ptrdiff_t)stripe->count, lag = SKEW * ((ptrdiff_t)stripe->words - 1);
    ptrdiff_t const begun = registers == 2 ? SKEW * 2 * LANES : 0; /* the second register's lane 0 has a column */
    wave w;
    memset(&w, 0, sizeof w);
    for (int r = 0; r < registers; r++) {
        w.plus[r] = _mm512_loadu_si512(stripe->plus + LANES * r);
        w.minus[r] = _mm512_loadu_si512(stripe->minus + LANES * r);
    }
    ptrdiff_t step = 0;
    for (; step < begun && step < count + lag; step += PHASES) eight_steps(stripe, &w, step, registers, 1);
    for (; step + PHASES <= count; step += PHASES) eight_steps(stripe, &w, step, registers, 0);
    for (; step < count + lag; step += PHASES) eight_steps(stripe, &w, step, registers, 1);
    for (int r = 0; r < registers; r++) {
        _mm512_storeu_si512(stripe->plus + LANES * r, w.plus[r]);
        _mm512_storeu_si512(stripe->minus + LANES * r, w.minus[r]);
    }
}

static void edit_stripe_avx512(fg_stripe *stripe) {
    if (stripe->words > 8)
        edit_stripe(stripe, 2);
    else
        edit_stripe(stripe, 1);
}

/* Many texts: each is a lane of its own. A low needle's matches are at most 64 words, so they stay in registers, and a
 * look-up is a permutation: one for 16 symbol ids, and a choice for each further bit of the id. */
enum { GROUPS = FG_LOW_LANES / LANES };

FG_INLINE __m512i look_up(__m512i ids_u64x8, __m512i const *table, int tables) {
    __m512i found[4];
    for (int t = 0; t < tables; t++) found[t] = _mm512_permutex2var_epi64(table[2 * t], ids_u64x8, table[2 * t + 1]);
    if (tables > 1) {
        __mmask8 const bit4 = _mm512_test_epi64_mask(ids_u64x8, _mm512_set1_epi64(16));
        found[0] = _mm512_mask_mov_epi64(found[0], bit4, found[1]);
        if (tables > 2) {
            __mmask8 const bit5 = _mm512_test_epi64_mask(ids_u64x8, _mm512_set1_epi64(32));
            found[2] = _mm512_mask_mov_epi64(found[2], bit4, found[3]);
            found[0] = _mm512_mask_mov_epi64(found[0], bit5, found[2]);
        }
    }
    return found[0];
}

/** Symbol ids of up to 64 bytes. */
FG_INLINE __m512i ids_of(uint8_t const *text, size_t count, __m512i const ids[4]) {
    __mmask64 const lanes = count < 64 ? ((__mmask64)1 << count) - 1 : ~(__mmask64)0;
    __m512i const bytes_u8x64 = _mm512_maskz_loadu_epi8(lanes, text);
    return _mm512_mask_mov_epi8(_mm512_permutex2var_epi8(ids[0], bytes_u8x64, ids[1]), _mm512_movepi8_mask(bytes_u8x64),
                                _mm512_permutex2var_epi8(ids[2], bytes_u8x64, ids[3]));
}

FG_INLINE void edit_low(fg_needle const *needle, fg_text const *texts, size_t count, int64_t *distances, int tables) {
    FG_ALIGNED(64) uint8_t symbols[FG_LOW_LANES][64];
    uint64_t lengths[FG_LOW_LANES] = {0}, plus[FG_LOW_LANES], minus[FG_LOW_LANES];
    size_t longest = 0;
    __m512i const places_u64x8 = _mm512_setr_epi64(0, 64, 128, 192, 256, 320, 384, 448), ones = _mm512_set1_epi64(-1);
    __m512i table[8], ids[4], plus_u64x8[GROUPS], minus_u64x8[GROUPS], left_i64x8[GROUPS];
    for (int t = 0; t < 2 * tables; t++) table[t] = _mm512_loadu_si512(needle->matches + LANES * t);
    for (int t = 0; t < 4; t++) ids[t] = _mm512_loadu_si512(needle->ids + 64 * t);
    for (size_t i = 0; i < count; i++) {
        lengths[i] = texts[i].count;
        if (texts[i].count > longest) longest = texts[i].count;
    }
    for (int g = 0; g < GROUPS; g++) {
        plus_u64x8[g] = ones, minus_u64x8[g] = _mm512_setzero_si512();
        left_i64x8[g] = _mm512_loadu_si512(lengths + LANES * g);
    }
    for (size_t start = 0; start < longest; start += 64) {
        for (size_t i = 0; i < count; i++)
            if (texts[i].count > start)
                _mm512_store_si512(symbols[i], ids_of(texts[i].data + start, texts[i].count - start, ids));
        for (size_t part = start; part < longest && part < start + 64; part += 8) {
            __m512i ids_u64x8[GROUPS];
            for (int g = 0; g < GROUPS; g++)
                ids_u64x8[g] = _mm512_i64gather_epi64(places_u64x8, symbols[LANES * g] + (part - start), 1);
            for (int byte = 0; byte < 8; byte++)
                for (int g = 0; g < GROUPS; g++) {
                    __mmask8 const live = _mm512_cmpgt_epi64_mask(left_i64x8[g], _mm512_setzero_si512());
                    __m512i const match = look_up(ids_u64x8[g], table, tables);
                    __m512i const p = plus_u64x8[g], m = minus_u64x8[g];
                    __m512i const sum = _mm512_add_epi64(_mm512_and_si512(match, p), p);
                    __m512i const diagonal = _mm512_ternarylogic_epi64(sum, p, _mm512_or_si512(match, m), XOR_OR);
                    __m512i const across_plus = _mm512_ternarylogic_epi64(m, diagonal, p, OR_NOT_OR),
                                  across_minus = _mm512_and_si512(diagonal, p);
                    __m512i const above_plus = _mm512_shldi_epi64(across_plus, ones, 1),
                                  above_minus = _mm512_slli_epi64(across_minus, 1);
                    __m512i const next_plus = _mm512_ternarylogic_epi64(above_minus, diagonal, above_plus, OR_NOT_OR);
                    plus_u64x8[g] = _mm512_mask_mov_epi64(p, live, next_plus);
                    minus_u64x8[g] = _mm512_mask_and_epi64(m, live, diagonal, above_plus);
                    left_i64x8[g] = _mm512_add_epi64(left_i64x8[g], ones);
                    ids_u64x8[g] = _mm512_srli_epi64(ids_u64x8[g], 8);
                }
        }
    }
    for (int g = 0; g < GROUPS; g++) {
        _mm512_storeu_si512(plus + LANES * g, plus_u64x8[g]);
        _mm512_storeu_si512(minus + LANES * g, minus_u64x8[g]);
    }
    for (size_t i = 0; i < count; i++)
        distances[texts[i].index] = (int64_t)texts[i].count + rise(plus[i], minus[i], needle->rows);
}

static void edit_low_avx512(fg_needle const *needle, fg_text const *texts, size_t count, int64_t *distances) {
    if (needle->distinct < 16)
        edit_low(needle, texts, count, distances, 1);
    else if (needle->distinct < 32)
        edit_low(needle, texts, count, distances, 2);
    else
        edit_low(needle, texts, count, distances, 4);
}

/** Four words of matches for eight texts' bytes, word by word: transposed in two rounds. The second half of texts
 * stands in the upper half of registers, so lanes hold texts 0, 1, 4, 5, 2, 3, 6, 7. */
FG_INLINE void four_words(fg_needle const *needle, uint8_t const bytes[LANES], size_t word, __m512i match[4]) {
    __m512i both[4];
    for (int i = 0; i < 4; i++)
        both[i] = _mm512_inserti64x4(
            _mm512_castsi256_si512(_mm256_loadu_si256((__m256i const *)&needle->by_byte[bytes[i]][word])),
            _mm256_loadu_si256((__m256i const *)&needle->by_byte[bytes[i + 4]][word]), 1);
    __m512i const even01 = _mm512_unpacklo_epi64(both[0], both[1]), odd01 = _mm512_unpackhi_epi64(both[0], both[1]),
                  even23 = _mm512_unpacklo_epi64(both[2], both[3]), odd23 = _mm512_unpackhi_epi64(both[2], both[3]);
    match[0] = _mm512_shuffle_i64x2(even01, even23, 0x88), match[1] = _mm512_shuffle_i64x2(odd01, odd23, 0x88);
    match[2] = _mm512_shuffle_i64x2(even01, even23, 0xDD), match[3] = _mm512_shuffle_i64x2(odd01, odd23, 0xDD);
}

FG_INLINE void edit_high(fg_needle const *needle, fg_text const *texts, size_t count, int64_t *distances,
                         size_t words) {
    static uint8_t const text_of_lane[LANES] = {0, 1, 4, 5, 2, 3, 6, 7};
    __m512i const ones = _mm512_set1_epi64(-1), zero = _mm512_setzero_si512();
    __m512i plus[FG_NEEDLE_WORDS], minus[FG_NEEDLE_WORDS];
    size_t shortest = SIZE_MAX, longest = 0;
    for (size_t word = 0; word < words; word++) plus[word] = ones, minus[word] = zero;
    for (size_t i = 0; i < count; i++) {
        shortest = texts[i].count < shortest ? texts[i].count : shortest;
        longest = texts[i].count > longest ? texts[i].count : longest;
    }
    if (count < LANES) shortest = 0;
    for (size_t column = 0; column < longest; column++) {
        uint8_t bytes[LANES] = {0};
        __mmask8 live = 0xFF;
        if (column < shortest) {
            for (size_t i = 0; i < LANES; i++) bytes[i] = texts[i].data[column];
        } else {
            live = 0;
            for (size_t lane = 0; lane < LANES; lane++) {
                size_t const i = text_of_lane[lane];
                if (i >= count || column >= texts[i].count) continue;
                bytes[i] = texts[i].data[column], live |= (__mmask8)(1u << lane);
            }
        }
        __m512i plus_in = ones, minus_in = zero;
        for (size_t first = 0; first < words; first += 4) {
            __m512i match[4];
            four_words(needle, bytes, first, match);
            for (size_t word = first; word < first + 4; word++) {
                __m512i const p = plus[word], m = minus[word];
                __m512i const equal = _mm512_or_si512(match[word - first], _mm512_srli_epi64(minus_in, 63));
                __m512i const sum = _mm512_add_epi64(_mm512_and_si512(equal, p), p);
                __m512i const diagonal = _mm512_ternarylogic_epi64(sum, p, _mm512_or_si512(equal, m), XOR_OR);
                __m512i const across_plus = _mm512_ternarylogic_epi64(m, diagonal, p, OR_NOT_OR),
                              across_minus = _mm512_and_si512(diagonal, p);
                __m512i const above_plus = _mm512_shldi_epi64(across_plus, plus_in, 1),
                              above_minus = _mm512_shldi_epi64(across_minus, minus_in, 1);
                plus_in = across_plus, minus_in = across_minus;
                plus[word] = _mm512_mask_mov_epi64(
                    p, live, _mm512_ternarylogic_epi64(above_minus, diagonal, above_plus, OR_NOT_OR));
                minus[word] = _mm512_mask_and_epi64(m, live, diagonal, above_plus);
            }
        }
    }
    uint64_t last[2][FG_NEEDLE_WORDS][LANES];
    for (size_t word = 0; word < words; word++)
        _mm512_storeu_si512(last[0][word], plus[word]), _mm512_storeu_si512(last[1][word], minus[word]);
    for (size_t lane = 0; lane < LANES; lane++) {
        size_t const i = text_of_lane[lane];
        if (i >= count) continue;
        int64_t distance = (int64_t)texts[i].count;
        for (size_t word = 0; word * FG_WORD < needle->rows; word++)
            distance += rise(last[0][word][lane], last[1][word][lane], needle->rows - word * FG_WORD);
        distances[texts[i].index] = distance;
    }
}

static void edit_high_avx512(fg_needle const *needle, fg_text const *texts, size_t count, int64_t *distances) {
    if (needle->rows <= 4 * FG_WORD)
        edit_high(needle, texts, count, distances, 4);
    else
        edit_high(needle, texts, count, distances, 8);
}

FG_TARGET_END

fg_similarity_kernels const fg_similarity_avx512 = {
    .prefix = prefix_avx512,
    .suffix = suffix_avx512,
    .edit_word = {edit_word8_avx512, edit_word16_avx512, edit_word32_avx512},
    .edit_stripe = edit_stripe_avx512,
    .edit_low = edit_low_avx512,
    .edit_high = edit_high_avx512,
};

#endif
