/** What levels do the same way, a word at a time. */
#ifndef FG_SIMILARITY_BITS_H
#define FG_SIMILARITY_BITS_H

#include "kernels/similarity.h"

/** Set bits of a word. */
FG_INLINE int count_bits(uint64_t word) {
#if defined(_MSC_VER) && !defined(__clang__)
    word -= word >> 1 & 0x5555555555555555u;
    word = (word & 0x3333333333333333u) + (word >> 2 & 0x3333333333333333u);
    word = (word + (word >> 4)) & 0x0F0F0F0F0F0F0F0Fu;
    return (int)(word * 0x0101010101010101u >> 56);
#else
    return __builtin_popcountll(word);
#endif
}

/** D[rows][c] - D[0][c], from the vertical differences of one word. */
FG_INLINE int rise(uint64_t plus, uint64_t minus, size_t rows) {
    uint64_t const mask = rows >= FG_WORD ? ~(uint64_t)0 : ((uint64_t)1 << rows) - 1;
    return count_bits(plus & mask) - count_bits(minus & mask);
}

/** One word of one column: the horizontal differences come in above its first row and leave below its last. */
FG_INLINE void advance(uint64_t *plus, uint64_t *minus, uint64_t match, uint64_t *plus_in, uint64_t *minus_in) {
    uint64_t const equal = match | *minus_in; /* a step down from above reaches as far as an equal symbol */
    uint64_t const diagonal = (((equal & *plus) + *plus) ^ *plus) | equal | *minus; /* D[r + 1][c + 1] = D[r][c] */
    uint64_t const across_plus = *minus | ~(diagonal | *plus), across_minus = diagonal & *plus;
    uint64_t const above_plus = across_plus << 1 | *plus_in, above_minus = across_minus << 1 | *minus_in;
    *plus_in = across_plus >> 63, *minus_in = across_minus >> 63;
    *plus = above_minus | ~(diagonal | above_plus);
    *minus = above_plus & diagonal;
}

/** Which of 64 symbols are equal to one. */
typedef uint64_t match_fn(void const *pattern, uint32_t symbol, fg_width width);

FG_INLINE size_t edit_word(void const *pattern, size_t rows, void const *text, size_t columns, match_fn *match,
                           fg_width width) {
    uint64_t plus = ~(uint64_t)0, minus = 0;
    for (size_t column = 0; column < columns; column++) {
        uint64_t plus_in = 1, minus_in = 0;
        advance(&plus, &minus, match(pattern, fg_symbol_at(text, column, width), width), &plus_in, &minus_in);
    }
    return (size_t)((ptrdiff_t)columns + rise(plus, minus, rows));
}

/** A stripe, one word of one column after the other. */
FG_INLINE void edit_stripe_by_word(fg_stripe *stripe) {
    for (size_t column = 0; column < stripe->count; column++) {
        uint64_t const *const matches = stripe->matches + stripe->columns[column] * stripe->stride;
        uint64_t plus_in = stripe->edge[column] & 1, minus_in = stripe->edge[column] >> 1;
        for (size_t word = 0; word < stripe->words; word++)
            advance(&stripe->plus[word], &stripe->minus[word], matches[word], &plus_in, &minus_in);
        if (!stripe->is_last) stripe->edge[column] = (uint8_t)(plus_in | minus_in << 1);
    }
}

#endif
