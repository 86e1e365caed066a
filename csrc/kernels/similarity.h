/** Kernels that say how alike two texts are: edit distance, shared beginnings, shingles.
 *
 * Texts are sequences of symbols, all of one width: bytes, the units of a string (1, 2 or 4 bytes a code point), or
 * token ids (4 bytes). Edit distance is Levenshtein's: insertions, deletions and substitutions cost 1. All results are
 * integers, and the same on every level.
 *
 * Edit distance is bit-parallel. D[r][c] is the distance of the first r symbols of the pattern and the first c of the
 * text; neighbors differ by -1, 0 or 1, so 64 rows of a column are two words of vertical differences:
 *
 *      bit r of `plus`:  D[r + 1][c] = D[r][c] + 1        bit r of `minus`:  D[r + 1][c] = D[r][c] - 1
 *
 * and one column follows from the one before it in a dozen word operations, an addition carrying along the rows.
 *
 * G. Myers, "A fast bit-vector algorithm for approximate string matching based on dynamic programming", JACM 46, 1999.
 * H. Hyyrö, "A bit-vector algorithm for computing Levenshtein and Damerau edit distances", Nordic J. Comput. 10, 2003.
 */
#ifndef FG_KERNELS_SIMILARITY_H
#define FG_KERNELS_SIMILARITY_H

#include "base/base.h"
#include "cpu.h"

/** Bytes of a symbol, as a power of two. The order indexes the kernel tables. */
typedef enum fg_width { FG_WIDTH8 = 0, FG_WIDTH16 = 1, FG_WIDTH32 = 2 } fg_width;
enum { FG_WIDTHS = 3, FG_WORD = 64 };

/** How many of `count` bytes are the same at the beginning of two ranges. */
typedef size_t fg_prefix_fn(void const *a, void const *b, size_t count);

/** How many of `count` bytes are the same at the end of two ranges. */
typedef size_t fg_suffix_fn(void const *a, void const *b, size_t count);

/** Edit distance for a pattern of one word: `rows` is 1 to 64. The memory of all 64 rows must be readable; what stands
 * behind the pattern does not matter. */
typedef size_t fg_edit_word_fn(void const *pattern, size_t rows, void const *text, size_t columns);

/* A taller pattern is cut into stripes of 16 words. */
enum { FG_STRIPE_WORDS = 16, FG_STRIPE_ROWS = FG_STRIPE_WORDS * FG_WORD };

/** One stripe: `words` words of pattern against `count` columns of text. `matches` has a row for each symbol of the
 * stripe, `stride` words long, whose bit r says that row r of the stripe holds the symbol; row 0 is for all symbols
 * that it lacks, and empty. `stride` is `words` rounded up to whole eights, and `matches` stands at a cache line.
 *
 * `edge` has the horizontal differences of the row above the stripe, one byte a column (bit 0: +1, bit 1: -1). If
 * `is_last` is not set, `words` is 16 and those of the stripe's bottom row take their place. */
typedef struct fg_stripe {
    uint64_t const *matches;
    uint16_t const *columns; /* the row of `matches` for each column */
    uint8_t *edge;
    size_t count, words, stride;
    int is_last;
    uint64_t plus[FG_STRIPE_WORDS], minus[FG_STRIPE_WORDS]; /* the left column; on return the last */
} fg_stripe;
typedef void fg_edit_stripe_fn(fg_stripe *stripe);

/** A text of bytes among many. */
typedef struct fg_text {
    uint8_t const *data;
    size_t count;
    size_t index; /* its place among the results */
} fg_text;

/** A pattern of 1 to 512 bytes, to compare with many texts. A low one has at most 64 rows and 63 different bytes, which
 * are numbered from 1 on: 0 is for bytes that it lacks. */
enum { FG_NEEDLE_WORDS = 8, FG_NEEDLE_ROWS = FG_NEEDLE_WORDS * FG_WORD };
typedef struct fg_needle {
    size_t rows, distinct;
    int is_low;
    uint8_t ids[256];                       /* of a low needle */
    uint64_t matches[FG_WORD];              /* of a low needle, by id */
    uint64_t by_byte[256][FG_NEEDLE_WORDS]; /* of a high one */
} fg_needle;

/** Edit distances of a needle to some texts, best of similar length: at most 16 for a low needle, 8 for a high one. */
enum { FG_LOW_LANES = 16, FG_HIGH_LANES = 8 };
typedef void fg_edit_lanes_fn(fg_needle const *needle, fg_text const *texts, size_t count, int64_t *distances);

typedef struct fg_similarity_kernels {
    fg_prefix_fn *prefix;
    fg_suffix_fn *suffix;
    fg_edit_word_fn *edit_word[FG_WIDTHS];
    fg_edit_stripe_fn *edit_stripe;
    fg_edit_lanes_fn *edit_low, *edit_high;
} fg_similarity_kernels;

/** The best table for these features; every slot is filled. */
fg_similarity_kernels fg_similarity_select(fg_features features);

/** Two texts and the way through their edit distance. */
typedef struct fg_edit {
    void const *pattern, *text; /* `rows` <= `columns` */
    size_t rows, columns, limit;
    fg_width width;
    size_t row, column; /* the next stripe's first; `column` never goes back */
    size_t corner;      /* D[row][column] */
    size_t known;       /* columns of `edge` that the last stripe got to */
    /* room, which fg_edit_lay_out() takes from one piece of memory */
    uint64_t *matches;
    uint16_t *column_rows, *slot_rows;
    uint32_t *slot_symbols;
    uint8_t *edge;
    int slot_bits;
    uint64_t multiplier; /* odd; secret where texts come from strangers */
} fg_edit;

/** Cut equal beginnings and ends off, make the shorter text the pattern, and clamp `limit` to what the distance can be
 * at most. */
fg_edit fg_edit_begin(fg_similarity_kernels const *kernels, fg_width width, void const *a, size_t a_count,
                      void const *b, size_t b_count, size_t limit);

/** Table cells that the rest will take: what time is proportional to. */
double fg_edit_cells(fg_edit const *edit);

/** Whether the distance is found without room and at once, and if so, the distance in `distance`. */
int fg_edit_at_once(fg_similarity_kernels const *kernels, fg_edit const *edit, size_t *distance);

/** Bytes of room for the rest: O(columns). */
size_t fg_edit_room(fg_edit const *edit);
void fg_edit_lay_out(fg_edit *edit, void *room, uint64_t multiplier);

/** Go through one stripe. Returns whether it was the last, which sets `distance`: a number above `limit` says only that
 * the distance is above it. */
int fg_edit_step(fg_similarity_kernels const *kernels, fg_edit *edit, size_t *distance);

/** Make a needle of 1 to 512 bytes. */
void fg_needle_make(fg_needle *needle, uint8_t const *pattern, size_t rows);

/** Edit distances to many texts, each into the place that its `index` says. Reorders; `texts` and `room` do not overlap
 * and have `count` elements each. */
void fg_edit_many(fg_similarity_kernels const *kernels, fg_needle const *needle, fg_text const *texts, size_t count,
                  fg_text *room, int64_t *distances);

/** A set of 64-bit words that numbers its elements in order of arrival, in `1 << bits` slots, more than it will hold.
 *
 * Slots are found by multiply-shift with a random odd multiplier, so that nobody can choose words that collide (M.
 * Dietzfelbinger, T. Hagerup, J. Katajainen, M. Penttonen, "A reliable randomized algorithm for the closest-pair
 * problem", J. Algorithms 25, 1997). Numbers don't depend on the multiplier. */
typedef struct fg_interner {
    uint64_t *words;
    uint32_t *numbers; /* 0: the slot is free; else number + 1 */
    uint32_t count;
    int bits;
    uint64_t multiplier;
} fg_interner;

/** How many different n-grams two texts have: the first, the second, and both of them. */
typedef struct fg_shared {
    size_t a, b, both;
} fg_shared;

/** Compare the sets of n-grams, exactly. n is 1 to the length of the shorter text. `a_numbers` and `b_numbers` are room
 * for a number for each symbol; the interner has more slots than the texts have symbols. */
fg_shared fg_shingle(fg_width width, void const *a, size_t a_count, void const *b, size_t b_count, size_t n,
                     fg_interner *interner, uint32_t *a_numbers, uint32_t *b_numbers);

/** The symbol at a place. */
FG_INLINE uint32_t fg_symbol_at(void const *text, size_t index, fg_width width) {
    if (width == FG_WIDTH8) return ((uint8_t const *)text)[index];
    if (width == FG_WIDTH16) return ((uint16_t const *)text)[index];
    return ((uint32_t const *)text)[index];
}

FG_INLINE void const *fg_text_at(void const *text, size_t index, fg_width width) {
    return (char const *)text + (index << width);
}

#endif
