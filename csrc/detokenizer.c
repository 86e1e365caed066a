#include "detokenizer.h"

#define EACH_BYTE 0x0101010101010101u
#define HIGH_BITS (EACH_BYTE << 7)

/** Not zero if a byte is not printable ASCII. */
static uint64_t unprintable(uint64_t word) {
    uint64_t const above_tilde = word + EACH_BYTE; /* DEL and above have, or get, the high bit; none below carries */
    uint64_t const below_space = ~(word + EACH_BYTE * 0x60);
    return (word | above_tilde | below_space) & HIGH_BITS;
}

/** The next eight bytes; those behind the end become spaces. Without branches: lengths of tokens can't be foretold. */
static uint64_t next_word(uint8_t const *bytes, size_t count) {
    static uint8_t const ends[16] = {255, 255, 255, 255, 255, 255, 255, 255};
    uint64_t word, inside;
    memcpy(&word, bytes, sizeof word);
    memcpy(&inside, ends + 8 - (count < 8 ? count : 8), sizeof inside);
    return (word & inside) | (EACH_BYTE * 0x20 & ~inside);
}

size_t fg_mark_tokens(uint8_t const *bytes, uint32_t const *offsets, size_t count, uint8_t *marks) {
    size_t longest = 0;
    for (size_t token = 0; token < count; token++) {
        uint8_t const *const begin = bytes + offsets[token];
        size_t const size = offsets[token + 1] - offsets[token];
        uint64_t high = next_word(begin, size), others = unprintable(high);
        for (size_t place = 8; place < size; place += 8) {
            uint64_t const next = next_word(begin + place, size - place);
            high |= next, others |= unprintable(next);
        }
        int const broken = high & HIGH_BITS && fg_utf8_prefix(begin, size) < size;
        size_t const most = broken ? 3 * size : size; /* U+FFFD for each byte */
        marks[token] = (uint8_t)(FG_TOKEN_ANY | (others ? 0 : FG_TOKEN_PLAIN) | (broken ? FG_TOKEN_BROKEN : 0));
        longest = most > longest ? most : longest;
    }
    return longest;
}

/** Choose the marks whose tokens need more than a look into the vocabulary. */
static void watch(fg_detokenizer *detokenizer) {
    int const beginning = !detokenizer->started && (detokenizer->strip || detokenizer->spaces);
    if (beginning || detokenizer->clusters || detokenizer->decoder.count || detokenizer->after_special)
        detokenizer->watched = FG_TOKEN_ANY;
    else
        detokenizer->watched =
            FG_TOKEN_BROKEN | (detokenizer->skip_special || detokenizer->spaces ? FG_TOKEN_SPECIAL : 0);
}

void fg_detokenizer_reset(fg_detokenizer *detokenizer) {
    detokenizer->started = detokenizer->after_special = 0;
    detokenizer->decoder = (fg_utf8){0};
    detokenizer->cluster = (fg_cluster){0};
    detokenizer->held_at = detokenizer->held = 0;
    watch(detokenizer);
}

/** Find where the clusters that are surely whole end in `text`, of which the first `held` bytes were looked at before.
 * What is held back is the same however the text was cut. */
static size_t whole_clusters(fg_detokenizer *detokenizer, size_t size) {
    size_t cut = 0, length;
    for (size_t place = detokenizer->held; place < size; place += length) {
        uint32_t const point = fg_utf8_first(detokenizer->text + place, &length);
        if (fg_cluster_begins(&detokenizer->cluster, point) || place + length - cut > FG_CLUSTER_MOST) cut = place;
    }
    return fg_cluster_is_closed(&detokenizer->cluster) ? size : cut;
}

/** Text in `text`, its first `held` bytes from before: return what can leave, keep the rest. */
static size_t release(fg_detokenizer *detokenizer, size_t size) {
    size_t const cut = detokenizer->clusters ? whole_clusters(detokenizer, size) : size;
    detokenizer->held_at = cut, detokenizer->held = size - cut;
    return cut;
}

void fg_detokenizer_take(fg_detokenizer *detokenizer, uint32_t token, uint8_t const **text, size_t *size) {
    uint8_t const mark = detokenizer->marks[token];
    uint8_t const *bytes = detokenizer->bytes + detokenizer->offsets[token];
    size_t count = detokenizer->offsets[token + 1] - detokenizer->offsets[token], end = detokenizer->held;
    int const special = (mark & FG_TOKEN_SPECIAL) != 0;
    *text = detokenizer->text, *size = 0;
    if (count == 0 || (special && detokenizer->skip_special)) return;

    memmove(detokenizer->text, detokenizer->text + detokenizer->held_at, end);
    if (!detokenizer->started) {
        detokenizer->started = 1;
        if (detokenizer->strip && *bytes == ' ') bytes++, count--;
    } else if (detokenizer->spaces && (special || detokenizer->after_special)) {
        end += fg_utf8_decode(&detokenizer->decoder, (uint8_t const *)" ", 1, detokenizer->text + end);
    }
    detokenizer->after_special = detokenizer->spaces && special;
    if (mark & FG_TOKEN_PLAIN && count && detokenizer->clusters && !detokenizer->decoder.count &&
        detokenizer->cluster.last != FG_CLUSTER_PREPEND) {
        /* A boundary before each of its characters; only the last may have something to follow. */
        fg_text_copy(detokenizer->text + end, bytes, count);
        detokenizer->cluster = (fg_cluster){FG_CLUSTER_OTHER, 0, 0, 0};
        detokenizer->held_at = *size = end + count - 1, detokenizer->held = 1;
        return;
    }
    end += fg_utf8_decode(&detokenizer->decoder, bytes, count, detokenizer->text + end);
    *size = release(detokenizer, end);
    watch(detokenizer);
}

void fg_detokenizer_finish(fg_detokenizer *detokenizer, uint8_t const **text, size_t *size) {
    uint8_t *const begin = detokenizer->text + detokenizer->held_at;
    *text = begin;
    *size = detokenizer->held + fg_utf8_finish(&detokenizer->decoder, begin + detokenizer->held);
    fg_detokenizer_reset(detokenizer);
}
