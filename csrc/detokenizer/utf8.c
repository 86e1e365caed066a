#include "detokenizer/utf8.h"

#define HIGH_BITS 0x8080808080808080u

static uint8_t const replacement[3] = {0xEF, 0xBF, 0xBD};

/** Length of the ASCII at the beginning, in steps of eight bytes. */
static size_t ascii_run(uint8_t const *bytes, size_t count) {
    size_t run = 0;
    while (count - run >= 8) {
        uint64_t word;
        memcpy(&word, bytes + run, sizeof word);
        if (word & HIGH_BITS) break;
        run += 8;
    }
    return run;
}

static size_t put(uint8_t *text, uint8_t const *bytes, size_t count) {
    memcpy(text, bytes, count);
    return count;
}

size_t fg_utf8_decode(fg_utf8 *decoder, uint8_t const *bytes, size_t count, uint8_t *text) {
    size_t place = 0, size = 0;
    while (decoder->count && place < count) {
        uint8_t grown[FG_UTF8_HELD + 1];
        memcpy(grown, decoder->bytes, decoder->count);
        grown[decoder->count] = bytes[place];
        fg_utf8_part const part = fg_utf8_sequence(grown, decoder->count + 1u);
        if (part.form == FG_UTF8_INCOMPLETE) {
            decoder->bytes[decoder->count++] = bytes[place++];
            continue;
        }
        decoder->count = 0;
        if (part.form == FG_UTF8_WELL_FORMED) {
            size += put(text + size, grown, part.length);
            place++;
        } else {
            size += put(text + size, replacement, sizeof replacement); /* the byte begins anew, below */
        }
    }
    while (place < count) {
        size_t const run = ascii_run(bytes + place, count - place);
        size += put(text + size, bytes + place, run);
        place += run;
        if (place == count) break;
        fg_utf8_part const part = fg_utf8_sequence(bytes + place, count - place);
        if (part.form == FG_UTF8_WELL_FORMED) {
            size += put(text + size, bytes + place, part.length);
        } else if (part.form == FG_UTF8_INCOMPLETE) {
            memcpy(decoder->bytes, bytes + place, part.length);
            decoder->count = (uint8_t)part.length;
        } else {
            size += put(text + size, replacement, sizeof replacement);
        }
        place += part.length;
    }
    return size;
}

size_t fg_utf8_finish(fg_utf8 *decoder, uint8_t *text) {
    if (!decoder->count) return 0;
    decoder->count = 0;
    return put(text, replacement, sizeof replacement);
}
