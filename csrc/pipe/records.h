/** Records: pieces as 64-bit words. A header, token ids in pairs, payloads (words that mean something to the caller),
 * UTF-8 padded to whole words. */
#ifndef FG_RECORDS_H
#define FG_RECORDS_H

#include "base/base.h"

/* What one piece holds at most. */
#define FG_PIECE_TOKENS_MOST ((1u << 20) - 1)
#define FG_PIECE_PAYLOADS_MOST ((1u << 20) - 1)
#define FG_PIECE_BYTES_MOST ((1u << 24) - 1)

typedef struct fg_piece {
    int32_t const *tokens;
    uint64_t const *payloads;
    uint8_t const *text;
    size_t token_count, payload_count, size;
} fg_piece;

/* A header: tokens << 44 | payloads << 24 | bytes. */

FG_INLINE uint64_t fg_header_of(fg_piece const *piece) {
    return (uint64_t)piece->token_count << 44 | (uint64_t)piece->payload_count << 24 | piece->size;
}
FG_INLINE uint32_t fg_tokens_in(uint64_t header) { return (uint32_t)(header >> 44); }
FG_INLINE uint32_t fg_payloads_in(uint64_t header) { return (uint32_t)(header >> 24) & FG_PIECE_PAYLOADS_MOST; }
FG_INLINE uint32_t fg_bytes_in(uint64_t header) { return (uint32_t)header & FG_PIECE_BYTES_MOST; }

/** Words of a record, its header included. */
FG_INLINE uint32_t fg_length_of(uint64_t header) {
    return 1 + (fg_tokens_in(header) + 1) / 2 + fg_payloads_in(header) + (fg_bytes_in(header) + 7) / 8;
}

/** Add up what records hold. */
FG_INLINE void fg_records_measure(uint64_t const *words, size_t count, fg_piece *sizes) {
    sizes->token_count = sizes->payload_count = sizes->size = 0;
    for (size_t place = 0; place < count; place += fg_length_of(words[place])) {
        sizes->token_count += fg_tokens_in(words[place]);
        sizes->payload_count += fg_payloads_in(words[place]);
        sizes->size += fg_bytes_in(words[place]);
    }
}

/** Gather the tokens, the payloads and the text of records, each end to end. */
FG_INLINE void fg_records_join(uint64_t const *words, size_t count, int32_t *tokens, uint64_t *payloads,
                               uint8_t *text) {
    for (size_t place = 0; place < count;) {
        uint64_t const header = words[place++];
        for (uint32_t i = 0; i < fg_tokens_in(header); i++) {
            *tokens++ = (int32_t)(uint32_t)(words[place + i / 2] >> (32 * (i % 2)));
        }
        place += (fg_tokens_in(header) + 1) / 2;
        for (uint32_t i = 0; i < fg_payloads_in(header); i++) *payloads++ = words[place++];
        memcpy(text, words + place, fg_bytes_in(header));
        text += fg_bytes_in(header);
        place += (fg_bytes_in(header) + 7) / 8;
    }
}

#endif
