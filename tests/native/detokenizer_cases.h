/** What the harness and the fuzz target of the detokenizer share: definitions that decode a whole text at once. */
#include "detokenizer.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            printf("line %d: %s\n", __LINE__, #condition);                                                             \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static void *heap(size_t bytes) {
    void *const room = malloc(bytes ? bytes : 1);
    CHECK(room);
    return room;
}

/** The well-formed sequences of The Unicode Standard, table 3-7: ranges of the first, second, third and fourth byte. */
static uint8_t const well_formed[9][9] = {
    {1, 0x00, 0x7F},
    {2, 0xC2, 0xDF, 0x80, 0xBF},
    {3, 0xE0, 0xE0, 0xA0, 0xBF, 0x80, 0xBF},
    {3, 0xE1, 0xEC, 0x80, 0xBF, 0x80, 0xBF},
    {3, 0xED, 0xED, 0x80, 0x9F, 0x80, 0xBF},
    {3, 0xEE, 0xEF, 0x80, 0xBF, 0x80, 0xBF},
    {4, 0xF0, 0xF0, 0x90, 0xBF, 0x80, 0xBF, 0x80, 0xBF},
    {4, 0xF1, 0xF3, 0x80, 0xBF, 0x80, 0xBF, 0x80, 0xBF},
    {4, 0xF4, 0xF4, 0x80, 0x8F, 0x80, 0xBF, 0x80, 0xBF},
};

/** Decode by that table; `text` has room for 3 * count bytes. Returns the number written. */
static size_t decode_whole(uint8_t const *bytes, size_t count, uint8_t *text) {
    size_t size = 0;
    for (size_t place = 0; place < count;) {
        size_t longest = 0, whole = 0;
        for (int row = 0; row < 9; row++) {
            uint8_t const *const ranges = well_formed[row] + 1;
            size_t some = 0;
            while (some < well_formed[row][0] && place + some < count && bytes[place + some] >= ranges[2 * some] &&
                   bytes[place + some] <= ranges[2 * some + 1])
                some++;
            if (some > longest) longest = some;
            if (some == well_formed[row][0]) whole = some;
        }
        if (whole) {
            memcpy(text + size, bytes + place, whole), size += whole;
        } else {
            memcpy(text + size, "\xEF\xBF\xBD", 3), size += 3;
        }
        place += longest ? longest : 1;
    }
    return size;
}

/** A vocabulary of tokens in buffers of exactly their size. */
typedef struct vocabulary {
    uint8_t *bytes, *marks;
    uint32_t *offsets;
    size_t count, longest;
} vocabulary;

static vocabulary make_vocabulary(uint8_t const *bytes, uint32_t const *offsets, size_t count) {
    vocabulary made = {heap(offsets[count] + FG_TEXT_PADDING), heap(count), heap((count + 1) * 4), count, 0};
    memcpy(made.bytes, bytes, offsets[count]);
    memset(made.bytes + offsets[count], 0xA5, FG_TEXT_PADDING);
    memcpy(made.offsets, offsets, (count + 1) * 4);
    made.longest = fg_mark_tokens(made.bytes, made.offsets, count, made.marks);
    return made;
}

static void free_vocabulary(vocabulary *made) { free(made->bytes), free(made->marks), free(made->offsets); }

static fg_detokenizer begin(vocabulary const *from, int clusters) {
    fg_detokenizer made = {.bytes = from->bytes, .offsets = from->offsets, .marks = from->marks};
    made.count = (uint32_t)from->count;
    made.text = heap(fg_detokenizer_room(from->longest));
    made.clusters = (uint8_t)clusters;
    fg_detokenizer_reset(&made);
    return made;
}

/** A text as it grows. */
typedef struct grown {
    uint8_t *text;
    size_t size;
} grown;

static void grow(grown *all, uint8_t const *text, size_t size, size_t most) {
    CHECK(size <= most);
    CHECK(fg_utf8_prefix(text, size) == size);
    memcpy(all->text + all->size, text, size), all->size += size;
}

/** Push all tokens and end the text; `all` has room. `ends[i]` is its length after token i, if not NULL. */
static void push_all(fg_detokenizer *detokenizer, size_t longest, grown *all, size_t *ends) {
    size_t const most = fg_detokenizer_room(longest) - FG_TEXT_PADDING;
    uint8_t const *text;
    size_t size;
    for (uint32_t token = 0; token < detokenizer->count; token++) {
        CHECK(fg_detokenizer_advance(detokenizer, (int32_t)token, &text, &size) == 0);
        grow(all, text, size, most);
        if (ends) ends[token] = all->size;
        CHECK(fg_detokenizer_pending(detokenizer) <= (detokenizer->clusters ? FG_CLUSTER_MOST : 0) + FG_UTF8_HELD);
    }
    fg_detokenizer_finish(detokenizer, &text, &size);
    grow(all, text, size, most);
    CHECK(fg_detokenizer_pending(detokenizer) == 0);
}
