#include "kernels/tokens/rest.h"

#include "base/target.h"

#if FG_X86

FG_TARGET_BEGIN(FG_ISA_AVX2)

enum { LANES = 8 };

FG_INLINE __m256i load_i32x8(int32_t const *tokens) { return _mm256_loadu_si256((__m256i const *)tokens); }

FG_INLINE __m256i equal_i32x8(int32_t const *tokens, __m256i token_i32x8) {
    return _mm256_cmpeq_epi32(load_i32x8(tokens), token_i32x8);
}

/** One bit a lane. */
FG_INLINE unsigned bits_of(__m256i equal_i32x8) {
    return (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(equal_i32x8));
}

/** Of 8 places, those where the whole needle stands: `places` has first and last token right. */
FG_INLINE unsigned narrowed(unsigned places, int32_t const *tokens, int32_t const *needle, size_t size) {
    for (size_t j = 1; j + 1 < size && places; j++)
        places &= bits_of(equal_i32x8(tokens + j, _mm256_set1_epi32(needle[j])));
    return places;
}

static size_t find_avx2(int32_t const *tokens, size_t count, int32_t const *needle, size_t size) {
    if (size == 0) return 0;
    if (size > count) return count;
    size_t const last = size - 1, starts = count - last;
    __m256i const first_i32x8 = _mm256_set1_epi32(needle[0]), last_i32x8 = _mm256_set1_epi32(needle[last]);
    size_t start = 0;
    for (; start + 4 * LANES <= starts; start += 4 * LANES) {
        __m256i places[4];
        for (int r = 0; r < 4; r++) {
            int32_t const *const here = tokens + start + r * LANES;
            places[r] = _mm256_and_si256(equal_i32x8(here, first_i32x8), equal_i32x8(here + last, last_i32x8));
        }
        __m256i const low = _mm256_or_si256(places[0], places[1]), high = _mm256_or_si256(places[2], places[3]);
        __m256i const any = _mm256_or_si256(low, high);
        if (_mm256_testz_si256(any, any)) continue;
        for (int r = 0; r < 4; r++) {
            unsigned const whole = narrowed(bits_of(places[r]), tokens + start + r * LANES, needle, size);
            if (whole) return start + r * LANES + _tzcnt_u32(whole);
        }
    }
    for (; start + LANES <= starts; start += LANES) {
        __m256i const first = equal_i32x8(tokens + start, first_i32x8);
        unsigned const places = bits_of(_mm256_and_si256(first, equal_i32x8(tokens + start + last, last_i32x8)));
        unsigned const whole = narrowed(places, tokens + start, needle, size);
        if (whole) return start + _tzcnt_u32(whole);
    }
    return find_from(start, tokens, count, needle, size);
}

/** What lies in 8 places: `places` agree in one token. Returns the index behind the best place that is better than
 * `found`, else `found`. */
FG_INLINE size_t recall_block(unsigned places, int32_t const *tokens, size_t start, int32_t const *pattern, size_t size,
                              size_t found, size_t *length) {
    for (size_t agreed = 1; places; agreed++) {
        if (agreed > *length) *length = agreed, found = start + 32 - _lzcnt_u32(places);
        if (agreed == size) break;
        places &= bits_of(equal_i32x8(tokens + start - agreed, _mm256_set1_epi32(pattern[size - 1 - agreed])));
    }
    return found;
}

static size_t recall_avx2(int32_t const *tokens, size_t count, int32_t const *pattern, size_t size, size_t least,
                          size_t *length) {
    __m256i const last_i32x8 = _mm256_set1_epi32(pattern[size - 1]);
    size_t end = count, found = 0;
    *length = least - 1;
    while (*length < size && end >= size + 4 * LANES) {
        /* a better place agrees in one token more than the best so far */
        __m256i const better_i32x8 = _mm256_set1_epi32(pattern[size - 1 - *length]);
        size_t const before = *length;
        for (; end >= size + 4 * LANES && *length == before; end -= 4 * LANES) {
            __m256i places[4];
            for (int r = 0; r < 4; r++) {
                int32_t const *const here = tokens + end - (r + 1) * LANES;
                places[r] = _mm256_and_si256(equal_i32x8(here, last_i32x8), equal_i32x8(here - before, better_i32x8));
            }
            __m256i const low = _mm256_or_si256(places[0], places[1]), high = _mm256_or_si256(places[2], places[3]);
            __m256i const any = _mm256_or_si256(low, high);
            if (_mm256_testz_si256(any, any)) continue;
            for (int r = 0; r < 4 && *length < size; r++)
                found = recall_block(bits_of(places[r]), tokens, end - (r + 1) * LANES, pattern, size, found, length);
        }
    }
    for (; end >= size + LANES && *length < size; end -= LANES) {
        unsigned const places = bits_of(equal_i32x8(tokens + end - LANES, last_i32x8));
        found = recall_block(places, tokens, end - LANES, pattern, size, found, length);
    }
    return recall_before(end, tokens, pattern, size, found, length);
}

static size_t agree_avx2(int32_t const *left, int32_t const *right, size_t count) {
    size_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES) {
        __m256i equal[4];
        for (int r = 0; r < 4; r++) equal[r] = equal_i32x8(left + i + r * LANES, load_i32x8(right + i + r * LANES));
        __m256i const low = _mm256_and_si256(equal[0], equal[1]), high = _mm256_and_si256(equal[2], equal[3]);
        if (bits_of(_mm256_and_si256(low, high)) == 0xFFu) continue;
        unsigned const bits01 = bits_of(equal[0]) | bits_of(equal[1]) << 8;
        unsigned const bits23 = bits_of(equal[2]) | bits_of(equal[3]) << 8;
        return i + _tzcnt_u32(~(bits01 | bits23 << 16));
    }
    for (; i + LANES <= count; i += LANES) {
        unsigned const equal = bits_of(equal_i32x8(left + i, load_i32x8(right + i)));
        if (equal != 0xFFu) return i + _tzcnt_u32(~equal);
    }
    return agree_from(i, left, right, count);
}

static size_t recur_avx2(int32_t const *earlier, size_t count, int32_t token, int32_t *missing, int32_t first,
                         int32_t step) {
    __m256i const token_i32x8 = _mm256_set1_epi32(token), one_i32x8 = _mm256_set1_epi32(1);
    __m256i const lanes_i32x8 = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), zero_i32x8 = _mm256_setzero_si256();
    __m256i const stride_i32x8 = _mm256_set1_epi32(LANES * step);
    __m256i anew_i32x8 =
        _mm256_sub_epi32(_mm256_set1_epi32(first), _mm256_mullo_epi32(lanes_i32x8, _mm256_set1_epi32(step)));
    size_t last = count, i = 0;
    for (; i + LANES <= count; i += LANES) {
        __m256i const holds_i32x8 = equal_i32x8(earlier + i, token_i32x8);
        __m256i const fewer_i32x8 = _mm256_max_epi32(_mm256_sub_epi32(load_i32x8(missing + i), one_i32x8), zero_i32x8);
        __m256i const missing_i32x8 = _mm256_blendv_epi8(anew_i32x8, fewer_i32x8, holds_i32x8);
        _mm256_storeu_si256((__m256i *)(missing + i), missing_i32x8);
        unsigned const complete = bits_of(_mm256_cmpeq_epi32(missing_i32x8, zero_i32x8));
        if (complete) last = i + 31 - _lzcnt_u32(complete);
        anew_i32x8 = _mm256_sub_epi32(anew_i32x8, stride_i32x8);
    }
    return recur_from(i, earlier, count, token, missing, first, step, last);
}

FG_TARGET_END

fg_tokens_kernels const fg_tokens_avx2 = {
    .find = find_avx2,
    .recall = recall_avx2,
    .agree = agree_avx2,
    .recur = recur_avx2,
};

#endif
