/** The definition of every kernel: what the other levels must equal. */
#include "kernels/similarity.h"

#include "kernels/similarity/bits.h"

static size_t prefix_scalar(void const *a, void const *b, size_t count) {
    uint8_t const *const p = a, *const q = b;
    size_t same = 0;
    while (same < count && p[same] == q[same]) same++;
    return same;
}

static size_t suffix_scalar(void const *a, void const *b, size_t count) {
    uint8_t const *const p = a, *const q = b;
    size_t same = 0;
    while (same < count && p[count - 1 - same] == q[count - 1 - same]) same++;
    return same;
}

FG_INLINE uint64_t match(void const *pattern, uint32_t symbol, fg_width width) {
    uint64_t matches = 0;
    for (size_t row = 0; row < FG_WORD; row++)
        matches |= (uint64_t)(fg_symbol_at(pattern, row, width) == symbol) << row;
    return matches;
}

static size_t edit_word8_scalar(void const *pattern, size_t rows, void const *text, size_t columns) {
    return edit_word(pattern, rows, text, columns, match, FG_WIDTH8);
}
static size_t edit_word16_scalar(void const *pattern, size_t rows, void const *text, size_t columns) {
    return edit_word(pattern, rows, text, columns, match, FG_WIDTH16);
}
static size_t edit_word32_scalar(void const *pattern, size_t rows, void const *text, size_t columns) {
    return edit_word(pattern, rows, text, columns, match, FG_WIDTH32);
}

static void edit_stripe_scalar(fg_stripe *stripe) { edit_stripe_by_word(stripe); }

static void edit_low_scalar(fg_needle const *needle, fg_text const *texts, size_t count, int64_t *distances) {
    for (size_t i = 0; i < count; i++) {
        uint64_t plus = ~(uint64_t)0, minus = 0;
        for (size_t column = 0; column < texts[i].count; column++) {
            uint64_t plus_in = 1, minus_in = 0;
            advance(&plus, &minus, needle->matches[needle->ids[texts[i].data[column]]], &plus_in, &minus_in);
        }
        distances[texts[i].index] = (int64_t)texts[i].count + rise(plus, minus, needle->rows);
    }
}

static void edit_high_scalar(fg_needle const *needle, fg_text const *texts, size_t count, int64_t *distances) {
    size_t const words = (needle->rows + FG_WORD - 1) / FG_WORD;
    for (size_t i = 0; i < count; i++) {
        uint64_t plus[FG_NEEDLE_WORDS], minus[FG_NEEDLE_WORDS];
        for (size_t word = 0; word < words; word++) plus[word] = ~(uint64_t)0, minus[word] = 0;
        for (size_t column = 0; column < texts[i].count; column++) {
            uint64_t plus_in = 1, minus_in = 0;
            for (size_t word = 0; word < words; word++)
                advance(&plus[word], &minus[word], needle->by_byte[texts[i].data[column]][word], &plus_in, &minus_in);
        }
        int64_t distance = (int64_t)texts[i].count;
        for (size_t word = 0; word < words; word++)
            distance += rise(plus[word], minus[word], needle->rows - word * FG_WORD);
        distances[texts[i].index] = distance;
    }
}

fg_similarity_kernels const fg_similarity_scalar = {
    .prefix = prefix_scalar,
    .suffix = suffix_scalar,
    .edit_word = {edit_word8_scalar, edit_word16_scalar, edit_word32_scalar},
    .edit_stripe = edit_stripe_scalar,
    .edit_low = edit_low_scalar,
    .edit_high = edit_high_scalar,
};
