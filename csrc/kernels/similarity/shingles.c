/** N-grams as numbers that are equal where the n-grams are: exact, whatever n.
 *
 * As many symbols as fit are packed into a word, which is interned. A longer n-gram is its first and its last 2g, 4g
 * ... symbols, as two numbers in one word, interned again: naming by doubling, after R. Karp, R. Miller, A. Rosenberg,
 * "Rapid identification of repeated patterns in strings, trees and arrays", STOC 1972. */
#include "kernels/similarity.h"

static void clear(fg_interner *interner) {
    memset(interner->numbers, 0, sizeof *interner->numbers << interner->bits);
    interner->count = 0;
}

FG_INLINE uint32_t number_of(fg_interner *interner, uint64_t word) {
    size_t const mask = ((size_t)1 << interner->bits) - 1;
    size_t slot = (size_t)(word * interner->multiplier >> (64 - interner->bits));
    while (interner->numbers[slot] && interner->words[slot] != word) slot = (slot + 1) & mask;
    if (!interner->numbers[slot]) interner->words[slot] = word, interner->numbers[slot] = ++interner->count;
    return interner->numbers[slot] - 1;
}

/** Number n-grams that fit a word. */
FG_INLINE void number_packed_as(void const *text, size_t count, size_t n, fg_interner *interner, uint32_t *numbers,
                                fg_width width) {
    int const symbol_bits = 8 << width, bits = (int)n * symbol_bits;
    uint64_t const mask = bits == 64 ? ~(uint64_t)0 : ((uint64_t)1 << bits) - 1;
    uint64_t word = 0;
    for (size_t i = 0; i < n - 1; i++) word = word << symbol_bits | fg_symbol_at(text, i, width);
    for (size_t i = n - 1; i < count; i++) {
        word = (word << symbol_bits | fg_symbol_at(text, i, width)) & mask;
        numbers[i - (n - 1)] = number_of(interner, word);
    }
}

static void number_packed(fg_width width, void const *text, size_t count, size_t n, fg_interner *interner,
                          uint32_t *numbers) {
    if (width == FG_WIDTH8)
        number_packed_as(text, count, n, interner, numbers, FG_WIDTH8);
    else if (width == FG_WIDTH16)
        number_packed_as(text, count, n, interner, numbers, FG_WIDTH16);
    else
        number_packed_as(text, count, n, interner, numbers, FG_WIDTH32);
}

/** Number n-grams made of two shorter ones, the second of which begins `apart` symbols after the first. */
static void number_pairs(size_t count, size_t apart, fg_interner *interner, uint32_t *numbers) {
    for (size_t i = 0; i < count; i++) /* later numbers are read before they are replaced */
        numbers[i] = number_of(interner, (uint64_t)numbers[i] << 32 | numbers[i + apart]);
}

fg_shared fg_shingle(fg_width width, void const *a, size_t a_count, void const *b, size_t b_count, size_t n,
                     fg_interner *interner, uint32_t *a_numbers, uint32_t *b_numbers) {
    size_t const fits = (size_t)8 >> width;
    size_t reach = n < fits ? n : fits; /* symbols of the n-grams that are numbered so far */
    clear(interner);
    number_packed(width, a, a_count, reach, interner, a_numbers);
    size_t a_distinct = interner->count;
    number_packed(width, b, b_count, reach, interner, b_numbers);
    while (reach < n) {
        size_t const next = 2 * reach < n ? 2 * reach : n;
        clear(interner);
        number_pairs(a_count - next + 1, next - reach, interner, a_numbers);
        a_distinct = interner->count;
        number_pairs(b_count - next + 1, next - reach, interner, b_numbers);
        reach = next;
    }
    uint8_t *const seen = (uint8_t *)interner->words; /* no longer needed: room for one byte for each number */
    memset(seen, 0, a_distinct);
    size_t both = 0;
    for (size_t i = 0; i < b_count - n + 1; i++)
        if (b_numbers[i] < a_distinct) both += !seen[b_numbers[i]], seen[b_numbers[i]] = 1;
    return (fg_shared){a_distinct, interner->count - a_distinct + both, both};
}
