/** Token ids to text: whole code points, or whole grapheme clusters, as soon as their last byte is there.
 *
 * Most tokens are well-formed UTF-8 by themselves. Which ones is known beforehand, a byte for each token, so their text
 * is a pointer into the vocabulary: three loads and a test, no copy. All others pass the decoder. Nothing here
 * allocates; one token takes time proportional to its own bytes, however long the text is. */
#ifndef FG_DETOKENIZER_H
#define FG_DETOKENIZER_H

#include "detokenizer/clusters.h"
#include "detokenizer/utf8.h"

/** Readable bytes behind a vocabulary's last token and behind every text: copies may move 64 bytes at a time. */
#define FG_TEXT_PADDING 64

/** Most bytes that are held back of an unfinished cluster. A longer one leaves in stretches of whole code points. */
#define FG_CLUSTER_MOST 64

typedef enum fg_token_mark {
    FG_TOKEN_BROKEN = 1,  /* not well-formed UTF-8 by itself */
    FG_TOKEN_SPECIAL = 2, /* set by the owner of the marks */
    FG_TOKEN_PLAIN = 4,   /* printable ASCII only */
    FG_TOKEN_ANY = 128    /* set for every token */
} fg_token_mark;

/** Set the marks of all tokens, token i being bytes[offsets[i]] up to bytes[offsets[i + 1]]; FG_TEXT_PADDING bytes must
 * be readable behind the last. Returns the most bytes that one token's text may have. */
size_t fg_mark_tokens(uint8_t const *bytes, uint32_t const *offsets, size_t count, uint8_t *marks);

typedef struct fg_detokenizer {
    /* What the owner sets, zeroing the rest. */
    uint8_t const *bytes;
    uint32_t const *offsets;
    uint8_t const *marks;
    uint32_t count;       /* tokens in the vocabulary */
    uint8_t *text;        /* room for fg_detokenizer_room() bytes */
    uint8_t skip_special; /* special tokens have no text */
    uint8_t spaces;       /* a space between a special token and what stands beside it */
    uint8_t strip;        /* the first space of the text is left out, if the text begins with one */
    uint8_t clusters;     /* hold back unfinished clusters, not only unfinished characters */

    uint8_t watched;       /* marks that call for fg_detokenizer_take() */
    uint8_t started;       /* a token with text has come */
    uint8_t after_special; /* the last such was special */
    fg_utf8 decoder;
    fg_cluster cluster;
    size_t held_at, held; /* where in `text` the unfinished cluster lies */
} fg_detokenizer;

/** Bytes of `text` for a vocabulary of which fg_mark_tokens() returned `longest`. No text is longer than that less
 * FG_TEXT_PADDING. */
FG_INLINE size_t fg_detokenizer_room(size_t longest) {
    return FG_CLUSTER_MOST + 3 * FG_UTF8_HELD + 1 + longest + FG_TEXT_PADDING;
}

/** Begin a text. */
void fg_detokenizer_reset(fg_detokenizer *detokenizer);

/** fg_detokenizer_advance() for any token of the vocabulary. */
void fg_detokenizer_take(fg_detokenizer *detokenizer, uint32_t token, uint8_t const **text, size_t *size);

/** Add a token: `*text` is what it completes, valid until the next call. Returns 0, or -1 if there is no such token;
 * nothing has changed then. */
FG_INLINE int fg_detokenizer_advance(fg_detokenizer *detokenizer, int32_t token, uint8_t const **text, size_t *size) {
    uint32_t const id = (uint32_t)token;
    if (FG_UNLIKELY(id >= detokenizer->count)) return -1;
    if (FG_LIKELY(!(detokenizer->marks[id] & detokenizer->watched))) {
        uint32_t const begin = detokenizer->offsets[id];
        *text = detokenizer->bytes + begin;
        *size = detokenizer->offsets[id + 1] - begin;
    } else {
        fg_detokenizer_take(detokenizer, id, text, size);
    }
    return 0;
}

/** End the text: `*text` is what was held back, valid until the next call; then begin another. */
void fg_detokenizer_finish(fg_detokenizer *detokenizer, uint8_t const **text, size_t *size);

/** Copy a text, 32 bytes at a time: up to FG_TEXT_PADDING bytes behind it are read, and written behind the copy. */
FG_INLINE void fg_text_copy(uint8_t *to, uint8_t const *text, size_t size) {
    size_t place = 0;
    do {
        memcpy(to + place, text + place, 32);
        place += 32;
    } while (place < size);
}

/** Bytes held back. */
FG_INLINE size_t fg_detokenizer_pending(fg_detokenizer const *detokenizer) {
    return detokenizer->held + detokenizer->decoder.count;
}

#endif
