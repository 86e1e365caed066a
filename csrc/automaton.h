/** Stop strings in a stream of text: which one ends first, and how little of the text must be held back meanwhile.
 *
 * All stops are one automaton over bytes (A. Aho, M. Corasick, "Efficient string matching: an aid to bibliographic
 * search", CACM 18(6), 1975). Its state is the longest end of the text that is the beginning of a stop. That end is
 * exactly what must be held back, and it stands in the stops themselves: so a stream's whole state is one number,
 * nothing is copied, and what leaves is two spans, one of the automaton's text and one of the new text.
 *
 * The stop that completes first wins, and of several that complete at one byte the longest; among equal strings the
 * first of the list. A state in which a stop has completed is therefore a dead end, and what a stop says after another
 * stop that it contains is not built. */
#ifndef FG_AUTOMATON_H
#define FG_AUTOMATON_H

#include "base/base.h"
#include "automaton/skip.h"

enum {
    FG_STOP_END = 1 << 30,
    FG_STOP_BRANCH = 1 << 29,
    FG_STOP_DEPTH = FG_STOP_BRANCH - 1,    /* what the two bits above leave for a depth */
    FG_STOP_BYTES_MOST = FG_STOP_DEPTH - 1 /* never more bytes of stops than this */
};

/** One stop string, not empty; `index` is its place in the caller's list. */
typedef struct fg_stop_source {
    uint8_t const *text;
    uint32_t size, index;
    uint64_t key; /* set by the build: the first eight bytes */
} fg_stop_source;

typedef struct fg_stop_node {
    uint32_t link;  /* chain: the failure state; branch: its row; end: its stop in `ends` */
    uint32_t shape; /* the depth; FG_STOP_BRANCH or FG_STOP_END beside it if the state is one */
} fg_stop_node;

/** A state with several children: bit b % 8 of bits[b / 8] says whether byte b leads to one, ranks[b / 8] how many
 * children come before those of its eight bytes. */
typedef struct fg_stop_row {
    uint32_t fail, first; /* the first child is children[first] */
    uint8_t bits[32], ranks[32];
} fg_stop_row;

typedef struct fg_stop_end {
    uint32_t size, index;
} fg_stop_end;

/** The automaton, in one block of memory with all that it points to; read only once it is built, so that any number of
 * streams and threads may use it.
 *
 * State s > 0 is the beginning of a stop whose last byte is text[s], and whose depth many bytes are the ones up to it.
 * State 0 is the root, the empty beginning. The only child of a chain state s is s + 1. */
typedef struct fg_stops {
    uint32_t root[256]; /* the state that each byte leads to from the root */
    fg_stop_filter filter;
    uint8_t *text; /* the stops, one after the other from text[1] on */
    fg_stop_node *nodes;
    fg_stop_row *rows;
    uint32_t *children;
    fg_stop_end *ends;
    uint32_t states; /* that a text can reach, the root included */
} fg_stops;

/** Bytes of the block and of the build's scratch, for `count` stops of `bytes` in all. Both want the alignment that
 * malloc gives. At most 9 bytes for a byte of the stops and 88 for a stop, beside the table of the root. */
size_t fg_stops_size(size_t count, size_t bytes);
size_t fg_stops_scratch(size_t count);

/** Build the automaton at the start of `block` and return it; reorders `sources`. Linear in `bytes`, but for the
 * sorting of the stops. */
fg_stops *fg_stops_build(fg_stop_source *sources, size_t count, size_t bytes, void *scratch, void *block);

/** What a piece of text brings. The text that may leave is `head`, then the first `body_size` bytes of the piece. */
typedef struct fg_stop_step {
    uint8_t const *head; /* held back until now; in the automaton's memory */
    size_t head_size, body_size;
    size_t consumed;  /* bytes of the piece up to the last one of the stop; all of them if there is none */
    size_t stop_size; /* bytes of the stop that completed, 0 if none did */
    int32_t stop;     /* its index, -1 if none did */
    size_t falls;     /* failure links followed; over a stream never more than the bytes of its text */
} fg_stop_step;

FG_INLINE size_t fg_stop_held(fg_stops const *stops, uint32_t state) {
    return stops->nodes[state].shape & FG_STOP_DEPTH;
}

/** Read a piece of a stream that is in `*state` (0 at its start). With `include` the text keeps the stop that ends it.
 * After a stop the state is 0 and the stream is over. Linear in `size`, amortized over the stream. */
void fg_stop_feed(fg_stops const *stops, fg_stop_kernels const *kernels, uint32_t *state, uint8_t const *text,
                  size_t size, int include, fg_stop_step *step);

/** End a stream: what is held back leaves, since it is no stop after all. */
void fg_stop_flush(fg_stops const *stops, uint32_t *state, fg_stop_step *step);

#endif
