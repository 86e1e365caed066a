#include "detokenizer/utf8.h"

#define HIGH_BITS 0x8080808080808080u

static uint8_t const replacement[3] = {0xEF, 0xBF, 0xBD};

/** Bytes of the character that `lead` begins; 0 if it begins none. */
static size_t length_of(uint8_t lead) {
    if (lead < 0x80) return 1;
    if (lead < 0xC2) return 0; /* C0 and C1 would spell ASCII in two bytes */
    if (lead < 0xE0) return 2;
    if (lead < 0xF0) return 3;
    return lead < 0xF5 ? 4 : 0;
}

/** Whether `byte` may follow the first `count` bytes of a character. The second byte of some says more: it bars longer
 * spellings than need be (E0, F0), surrogates (ED) and what lies beyond U+10FFFF (F4). */
static int may_follow(uint8_t lead, size_t count, uint8_t byte) {
    if (count == 1) {
        switch (lead) {
        case 0xE0:
            return byte >= 0xA0 && byte <= 0xBF;
        case 0xED:
            return byte >= 0x80 && byte <= 0x9F;
        case 0xF0:
            return byte >= 0x90 && byte <= 0xBF;
        case 0xF4:
            return byte >= 0x80 && byte <= 0x8F;
        }
    }
    return byte >= 0x80 && byte <= 0xBF;
}

/** How many of the bytes are the beginning of one character; all of it if there are length_of(bytes[0]). */
static size_t matched(uint8_t const *bytes, size_t count) {
    size_t const length = length_of(bytes[0]), end = length < count ? length : count;
    size_t place = length != 0;
    while (place < end && may_follow(bytes[0], place, bytes[place])) place++;
    return place;
}

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
        uint8_t const lead = decoder->bytes[0];
        if (!may_follow(lead, decoder->count, bytes[place])) {
            decoder->count = 0;
            size += put(text + size, replacement, sizeof replacement); /* the byte begins anew, below */
        } else if (decoder->count + 1u == length_of(lead)) {
            size += put(text + size, decoder->bytes, decoder->count);
            decoder->count = 0;
            text[size++] = bytes[place++];
        } else {
            decoder->bytes[decoder->count++] = bytes[place++];
        }
    }
    while (place < count) {
        if (bytes[place] < 0x80) {
            size_t const run = ascii_run(bytes + place, count - place);
            size += put(text + size, bytes + place, run ? run : 1);
            place += run ? run : 1;
            continue;
        }
        size_t const some = matched(bytes + place, count - place);
        if (some && some == length_of(bytes[place])) {
            size += put(text + size, bytes + place, some);
        } else if (some && some == count - place) {
            memcpy(decoder->bytes, bytes + place, some);
            decoder->count = (uint8_t)some;
        } else {
            size += put(text + size, replacement, sizeof replacement);
        }
        place += some ? some : 1;
    }
    return size;
}

size_t fg_utf8_finish(fg_utf8 *decoder, uint8_t *text) {
    if (!decoder->count) return 0;
    decoder->count = 0;
    return put(text, replacement, sizeof replacement);
}

int fg_utf8_is_sound(uint8_t const *bytes, size_t count) {
    size_t place = 0;
    while (place < count) {
        size_t const some = matched(bytes + place, count - place);
        if (!some || some != length_of(bytes[place])) return 0;
        place += some;
    }
    return 1;
}
