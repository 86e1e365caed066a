/** Stop sequences of token ids, looked up by how a sequence ends.
 *
 * The sequences are kept back to front and in lexical order, a shorter one before those that begin with it. Walking
 * back from the last token, those that still agree are one stretch of that order, so a token costs two binary searches
 * and no more, however many sequences share it. */
#ifndef FG_TOKEN_STOPS_H
#define FG_TOKEN_STOPS_H

#include "base/base.h"

typedef struct fg_token_stops {
    int32_t const *ids; /* of all sequences, each back to front */
    uint32_t const
        *starts; /* sequence i is ids[starts[i]] to ids[starts[i + 1] - 1]; never empty, never the same twice */
    size_t count;
} fg_token_stops;

/** The longest of the sequences that `tokens` ends with, or stops->count. At most (2 + 2 log2(stops->count)) compares
 * for each token of the longest sequence, and rarely for more than the last token. */
size_t fg_token_stops_ended(fg_token_stops const *stops, int32_t const *tokens, size_t count);

#endif
