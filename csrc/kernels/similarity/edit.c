/** The way through an edit distance: what can be cut off, stripes, and the band that a limit leaves of them. */
#include "kernels/similarity.h"

#include "kernels/similarity/bits.h"

enum { LINE = FG_CACHE_LINE };

fg_edit fg_edit_begin(fg_similarity_kernels const *kernels, fg_width width, void const *a, size_t a_count,
                      void const *b, size_t b_count, size_t limit) {
    size_t const shorter = a_count < b_count ? a_count : b_count;
    size_t const prefix = kernels->prefix(a, b, shorter << width) >> width, rest = shorter - prefix;
    size_t const suffix =
        kernels->suffix(fg_text_at(a, a_count - rest, width), fg_text_at(b, b_count - rest, width), rest << width) >>
        width;
    a = fg_text_at(a, prefix, width), a_count -= prefix + suffix;
    b = fg_text_at(b, prefix, width), b_count -= prefix + suffix;
    size_t const most = a_count > b_count ? a_count : b_count;
    fg_edit edit = {.width = width, .limit = limit < most ? limit : most};
    if (a_count <= b_count)
        edit.pattern = a, edit.rows = a_count, edit.text = b, edit.columns = b_count;
    else
        edit.pattern = b, edit.rows = b_count, edit.text = a, edit.columns = a_count;
    return edit;
}

/* A path of at most `limit` steps off the diagonal, `columns` - `rows` of which it must take to the right, strays below
 * the diagonal by at most half of the others (E. Ukkonen, "Algorithms for approximate string matching", Information and
 * Control 64, 1985). Needs a limit that is not below the difference of the lengths. */
static size_t stray_below(fg_edit const *edit) { return (edit->limit - (edit->columns - edit->rows)) / 2; }

static size_t first_column(fg_edit const *edit, size_t row) {
    size_t const stray = stray_below(edit);
    return row > stray ? row - stray : 0;
}

static size_t end_column(fg_edit const *edit, size_t end_row) {
    size_t const end = end_row + stray_below(edit) + (edit->columns - edit->rows);
    return end < edit->columns ? end : edit->columns;
}

double fg_edit_cells(fg_edit const *edit) {
    if (edit->columns - edit->rows > edit->limit) return 0.0;
    double const band = (double)edit->limit + FG_STRIPE_ROWS;
    return (double)edit->rows * (band < (double)edit->columns ? band : (double)edit->columns);
}

int fg_edit_at_once(fg_similarity_kernels const *kernels, fg_edit const *edit, size_t *distance) {
    if (edit->columns - edit->rows > edit->limit || edit->rows == 0) {
        *distance = edit->columns - edit->rows;
        return 1;
    }
    if (edit->rows > FG_WORD) return 0;
    uint32_t window[FG_WORD] = {0}; /* 64 symbols, whatever their width */
    memcpy(window, edit->pattern, edit->rows << edit->width);
    *distance = kernels->edit_word[edit->width](window, edit->rows, edit->text, edit->columns);
    return 1;
}

static size_t tallest(fg_edit const *edit) { return edit->rows < FG_STRIPE_ROWS ? edit->rows : FG_STRIPE_ROWS; }

static size_t stride_of(size_t rows) { return ((rows + FG_WORD - 1) / FG_WORD + 7) / 8 * 8; }

static size_t whole_lines(size_t bytes) { return (bytes + LINE - 1) / LINE * LINE; }

static size_t most_symbols(fg_edit const *edit) {
    return edit->width == FG_WIDTH8 && tallest(edit) > 256 ? 256 : tallest(edit);
}

static int slot_bits_of(fg_edit const *edit) {
    int bits = 1;
    while ((size_t)1 << bits < 2 * tallest(edit)) bits++;
    return bits;
}

size_t fg_edit_room(fg_edit const *edit) {
    size_t const slots = (size_t)1 << slot_bits_of(edit);
    return LINE + (most_symbols(edit) + 1) * stride_of(tallest(edit)) * sizeof(uint64_t) +
           whole_lines(slots * sizeof(uint32_t)) + whole_lines(slots * sizeof(uint16_t)) +
           whole_lines(edit->columns * sizeof(uint16_t)) + edit->columns;
}

void fg_edit_lay_out(fg_edit *edit, void *room, uint64_t multiplier) {
    char *next = (char *)room + (LINE - (uintptr_t)room % LINE) % LINE;
    edit->slot_bits = slot_bits_of(edit), edit->multiplier = multiplier;
    size_t const slots = (size_t)1 << edit->slot_bits;
    edit->matches = (void *)next;
    next += (most_symbols(edit) + 1) * stride_of(tallest(edit)) * sizeof(uint64_t);
    edit->slot_symbols = (void *)next, next += whole_lines(slots * sizeof(uint32_t));
    edit->slot_rows = (void *)next, next += whole_lines(slots * sizeof(uint16_t));
    edit->column_rows = (void *)next, next += whole_lines(edit->columns * sizeof(uint16_t));
    edit->edge = (void *)next;
    memset(edit->edge, 1, edit->columns); /* D[0][c] = c */
    edit->row = edit->column = edit->corner = 0, edit->known = edit->columns;
}

/** The slot of a symbol, or the free one where it belongs. Free slots have row 0. */
FG_INLINE size_t slot_of(fg_edit const *edit, uint32_t symbol) {
    size_t const mask = ((size_t)1 << edit->slot_bits) - 1;
    size_t slot = (size_t)(symbol * edit->multiplier >> (64 - edit->slot_bits));
    while (edit->slot_rows[slot] && edit->slot_symbols[slot] != symbol) slot = (slot + 1) & mask;
    return slot;
}

/* Rows of `matches` are given out as symbols turn up: the bytes' from a table, those of wider symbols by their hash. */
FG_INLINE void fill_matches(fg_edit *edit, void const *pattern, size_t rows, size_t first, size_t end, fg_width width) {
    size_t const stride = stride_of(rows);
    uint16_t byte_rows[256], given = 0;
    if (width == FG_WIDTH8)
        memset(byte_rows, 0, sizeof byte_rows);
    else
        memset(edit->slot_rows, 0, sizeof *edit->slot_rows << edit->slot_bits);
    memset(edit->matches, 0, stride * sizeof *edit->matches);
    for (size_t row = 0; row < rows; row++) {
        uint32_t const symbol = fg_symbol_at(pattern, row, width);
        size_t const slot = width == FG_WIDTH8 ? 0 : slot_of(edit, symbol);
        uint16_t *const place = width == FG_WIDTH8 ? &byte_rows[symbol] : &edit->slot_rows[slot];
        if (!*place) {
            *place = ++given;
            if (width != FG_WIDTH8) edit->slot_symbols[slot] = symbol;
            memset(edit->matches + given * stride, 0, stride * sizeof *edit->matches);
        }
        edit->matches[*place * stride + row / FG_WORD] |= (uint64_t)1 << row % FG_WORD;
    }
    for (size_t column = first; column < end; column++) {
        uint32_t const symbol = fg_symbol_at(edit->text, column, width);
        edit->column_rows[column] = width == FG_WIDTH8 ? byte_rows[symbol] : edit->slot_rows[slot_of(edit, symbol)];
    }
}

/** D at the end of a stretch of one row, minus D at its beginning. */
static ptrdiff_t drift(uint8_t const *edge, size_t first, size_t end) {
    ptrdiff_t sum = 0;
    for (size_t column = first; column < end; column++) sum += (edge[column] & 1) - (edge[column] >> 1);
    return sum;
}

int fg_edit_step(fg_similarity_kernels const *kernels, fg_edit *edit, size_t *distance) {
    size_t const left = edit->rows - edit->row, rows = left < FG_STRIPE_ROWS ? left : FG_STRIPE_ROWS;
    size_t const first = first_column(edit, edit->row), end = end_column(edit, edit->row + rows);
    void const *const pattern = fg_text_at(edit->pattern, edit->row, edit->width);
    edit->corner = (size_t)((ptrdiff_t)edit->corner + drift(edit->edge, edit->column, first));
    /* what the stripe above did not reach is taken to rise, as a path straight to the right does */
    if (edit->known < end) memset(edit->edge + edit->known, 1, end - edit->known);
    if (edit->width == FG_WIDTH8)
        fill_matches(edit, pattern, rows, first, end, FG_WIDTH8);
    else if (edit->width == FG_WIDTH16)
        fill_matches(edit, pattern, rows, first, end, FG_WIDTH16);
    else
        fill_matches(edit, pattern, rows, first, end, FG_WIDTH32);

    fg_stripe stripe = {.matches = edit->matches,
                        .columns = edit->column_rows + first,
                        .edge = edit->edge + first,
                        .count = end - first,
                        .words = (rows + FG_WORD - 1) / FG_WORD,
                        .stride = stride_of(rows),
                        .is_last = rows == left};
    for (size_t word = 0; word < stripe.words; word++) stripe.plus[word] = ~(uint64_t)0;
    ptrdiff_t const above = stripe.is_last ? drift(edit->edge, first, end) : 0;
    kernels->edit_stripe(&stripe);
    if (!stripe.is_last) {
        edit->row += rows, edit->column = first, edit->corner += rows, edit->known = end;
        return 0;
    }
    ptrdiff_t found = (ptrdiff_t)edit->corner + above;
    for (size_t word = 0; word < stripe.words; word++)
        found += rise(stripe.plus[word], stripe.minus[word], rows - word * FG_WORD);
    *distance = (size_t)found;
    return 1;
}

/** A number that grows with the length: the length itself, then steps of 1/32 of a power of two. */
enum { OCTAVES = 20, KEYS = OCTAVES * 32 + 64 };
static size_t length_key(size_t length) {
    size_t octave = 0;
    while (length >> octave >= 64) octave++;
    return octave <= OCTAVES ? octave * 32 + (length >> octave) : KEYS - 1;
}

void fg_needle_make(fg_needle *needle, uint8_t const *pattern, size_t rows) {
    needle->rows = rows, needle->distinct = 0, needle->is_low = rows <= FG_WORD;
    memset(needle->ids, 0, sizeof needle->ids), memset(needle->matches, 0, sizeof needle->matches);
    for (size_t row = 0; row < rows && needle->is_low; row++) {
        uint8_t *const id = &needle->ids[pattern[row]];
        if (!*id) *id = (uint8_t)++needle->distinct;
        needle->is_low = needle->distinct < FG_WORD;
        if (needle->is_low) needle->matches[*id] |= (uint64_t)1 << row;
    }
    if (needle->is_low) return;
    memset(needle->by_byte, 0, sizeof needle->by_byte);
    for (size_t row = 0; row < rows; row++)
        needle->by_byte[pattern[row]][row / FG_WORD] |= (uint64_t)1 << row % FG_WORD;
}

void fg_edit_many(fg_similarity_kernels const *kernels, fg_needle const *needle, fg_text const *texts, size_t count,
                  fg_text *room, int64_t *distances) {
    size_t starts[KEYS] = {0}; /* texts of similar length go together: sorted by counting */
    for (size_t i = 0; i < count; i++) starts[length_key(texts[i].count)]++;
    for (size_t key = 0, start = 0; key < KEYS; key++) {
        size_t const next = start + starts[key];
        starts[key] = start, start = next;
    }
    for (size_t i = 0; i < count; i++) room[starts[length_key(texts[i].count)]++] = texts[i];
    size_t const lanes = needle->is_low ? FG_LOW_LANES : FG_HIGH_LANES;
    fg_edit_lanes_fn *const edit = needle->is_low ? kernels->edit_low : kernels->edit_high;
    for (size_t i = 0; i < count; i += lanes) edit(needle, room + i, count - i < lanes ? count - i : lanes, distances);
}
