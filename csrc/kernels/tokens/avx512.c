#include "kernels/tokens/rest.h"

#include "base/target.h"

#if FG_X86_AVX512

FG_TARGET_BEGIN(FG_ISA_AVX512)

enum { LANES = 16 };

FG_INLINE __m512i load_i32x16(int32_t const *tokens) { return _mm512_loadu_si512(tokens); }

FG_INLINE __mmask16 equal_lanes(int32_t const *tokens, __m512i token_i32x16) {
    return _mm512_cmpeq_epi32_mask(load_i32x16(tokens), token_i32x16);
}

FG_INLINE __mmask16 lanes_before(size_t end) { return (__mmask16)(end < LANES ? (1u << end) - 1 : 0xFFFFu); }

/** Of the places from `tokens` on, those in `places` where the whole needle stands. */
FG_INLINE __mmask16 narrowed(__mmask16 places, int32_t const *tokens, int32_t const *needle, size_t size) {
    for (size_t j = 1; j + 1 < size && places; j++)
        places = _mm512_mask_cmpeq_epi32_mask(places, _mm512_maskz_loadu_epi32(places, tokens + j),
                                              _mm512_set1_epi32(needle[j]));
    return places;
}

static size_t find_avx512(int32_t const *tokens, size_t count, int32_t const *needle, size_t size) {
    if (size == 0) return 0;
    if (size > count) return count;
    size_t const last = size - 1, starts = count - last;
    __m512i const first_i32x16 = _mm512_set1_epi32(needle[0]), last_i32x16 = _mm512_set1_epi32(needle[last]);
    size_t start = 0;
    for (; start + 4 * LANES <= starts; start += 4 * LANES) {
        __mmask16 places[4];
        for (int r = 0; r < 4; r++) {
            int32_t const *const here = tokens + start + r * LANES;
            places[r] = equal_lanes(here, first_i32x16);
            places[r] = _mm512_mask_cmpeq_epi32_mask(places[r], load_i32x16(here + last), last_i32x16);
        }
        if (!(places[0] | places[1] | places[2] | places[3])) continue;
        for (int r = 0; r < 4; r++) {
            __mmask16 const whole = narrowed(places[r], tokens + start + r * LANES, needle, size);
            if (whole) return start + r * LANES + _tzcnt_u32(whole);
        }
    }
    for (; start < starts; start += LANES) {
        __mmask16 const inside = lanes_before(starts - start);
        __m512i const tokens_i32x16 = _mm512_maskz_loadu_epi32(inside, tokens + start);
        __mmask16 places = _mm512_mask_cmpeq_epi32_mask(inside, tokens_i32x16, first_i32x16);
        __m512i const ends_i32x16 = _mm512_maskz_loadu_epi32(inside, tokens + start + last);
        places = _mm512_mask_cmpeq_epi32_mask(places, ends_i32x16, last_i32x16);
        places = narrowed(places, tokens + start, needle, size);
        if (places) return start + _tzcnt_u32(places);
    }
    return count;
}

/** What lies in 16 places: `places` agree in one token. Returns the index behind the best place that is better than
 * `found`, else `found`. */
FG_INLINE size_t recall_block(__mmask16 places, int32_t const *tokens, size_t start, int32_t const *pattern,
                              size_t size, size_t found, size_t *length) {
    for (size_t agreed = 1; places; agreed++) {
        if (agreed > *length) *length = agreed, found = start + 32 - _lzcnt_u32(places);
        if (agreed == size) break;
        __m512i const token_i32x16 = _mm512_set1_epi32(pattern[size - 1 - agreed]);
        places = _mm512_mask_cmpeq_epi32_mask(places, load_i32x16(tokens + start - agreed), token_i32x16);
    }
    return found;
}

static size_t recall_avx512(int32_t const *tokens, size_t count, int32_t const *pattern, size_t size, size_t least,
                            size_t *length) {
    __m512i const last_i32x16 = _mm512_set1_epi32(pattern[size - 1]);
    size_t end = count, found = 0;
    *length = least - 1;
    while (*length < size && end >= size + 4 * LANES) {
        /* a better place agrees in one token more than the best so far */
        __m512i const better_i32x16 = _mm512_set1_epi32(pattern[size - 1 - *length]);
        size_t const before = *length;
        for (; end >= size + 4 * LANES && *length == before; end -= 4 * LANES) {
            __mmask16 places[4];
            for (int r = 0; r < 4; r++) {
                int32_t const *const here = tokens + end - (r + 1) * LANES;
                places[r] = equal_lanes(here, last_i32x16);
                places[r] = _mm512_mask_cmpeq_epi32_mask(places[r], load_i32x16(here - before), better_i32x16);
            }
            if (!(places[0] | places[1] | places[2] | places[3])) continue;
            for (int r = 0; r < 4 && *length < size; r++)
                found = recall_block(places[r], tokens, end - (r + 1) * LANES, pattern, size, found, length);
        }
    }
    for (; end >= size + LANES && *length < size; end -= LANES) {
        __mmask16 const places = equal_lanes(tokens + end - LANES, last_i32x16);
        found = recall_block(places, tokens, end - LANES, pattern, size, found, length);
    }
    return recall_before(end, tokens, pattern, size, found, length);
}

static size_t agree_avx512(int32_t const *left, int32_t const *right, size_t count) {
    size_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES) {
        __mmask16 unequal[4];
        for (int r = 0; r < 4; r++)
            unequal[r] =
                _mm512_cmpneq_epi32_mask(load_i32x16(left + i + r * LANES), load_i32x16(right + i + r * LANES));
        if (!(unequal[0] | unequal[1] | unequal[2] | unequal[3])) continue;
        uint64_t const low = unequal[0] | (uint64_t)unequal[1] << 16, high = unequal[2] | (uint64_t)unequal[3] << 16;
        return i + _tzcnt_u64(low | high << 32);
    }
    for (; i < count; i += LANES) {
        __mmask16 const inside = lanes_before(count - i);
        __m512i const left_i32x16 = _mm512_maskz_loadu_epi32(inside, left + i);
        __mmask16 const unequal = _mm512_cmpneq_epi32_mask(left_i32x16, _mm512_maskz_loadu_epi32(inside, right + i));
        if (unequal) return i + _tzcnt_u32(unequal);
    }
    return count;
}

static size_t recur_avx512(int32_t const *earlier, size_t count, int32_t token, int32_t *missing, int32_t first,
                           int32_t step) {
    __m512i const token_i32x16 = _mm512_set1_epi32(token), one_i32x16 = _mm512_set1_epi32(1);
    __m512i const lanes_i32x16 = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i const stride_i32x16 = _mm512_set1_epi32(LANES * step), zero_i32x16 = _mm512_setzero_si512();
    __m512i anew_i32x16 =
        _mm512_sub_epi32(_mm512_set1_epi32(first), _mm512_mullo_epi32(lanes_i32x16, _mm512_set1_epi32(step)));
    size_t last = count, i = 0;
    for (; i + LANES <= count; i += LANES) {
        __mmask16 const holds = equal_lanes(earlier + i, token_i32x16);
        __m512i const fewer_i32x16 =
            _mm512_max_epi32(_mm512_sub_epi32(load_i32x16(missing + i), one_i32x16), zero_i32x16);
        __m512i const missing_i32x16 = _mm512_mask_mov_epi32(anew_i32x16, holds, fewer_i32x16);
        _mm512_storeu_si512(missing + i, missing_i32x16);
        __mmask16 const complete = _mm512_testn_epi32_mask(missing_i32x16, missing_i32x16);
        if (complete) last = i + 31 - _lzcnt_u32(complete);
        anew_i32x16 = _mm512_sub_epi32(anew_i32x16, stride_i32x16);
    }
    return recur_from(i, earlier, count, token, missing, first, step, last);
}

FG_TARGET_END

fg_tokens_kernels const fg_tokens_avx512 = {
    .find = find_avx512,
    .recall = recall_avx512,
    .agree = agree_avx512,
    .recur = recur_avx512,
};

#endif
