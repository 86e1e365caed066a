/** One step of the automaton. */
#ifndef FG_AUTOMATON_STEP_H
#define FG_AUTOMATON_STEP_H

#include "automaton.h"

FG_INLINE unsigned fg_stop_ones(unsigned byte) {
    byte -= byte >> 1 & 0x55;
    byte = (byte & 0x33) + (byte >> 2 & 0x33);
    return (byte + (byte >> 4)) & 15;
}

/** The state that a byte leads to from a state other than the root and other than an end; 0 if there is none. */
FG_INLINE uint32_t fg_stop_child(fg_stops const *stops, uint32_t state, fg_stop_node node, uint8_t byte) {
    if (!(node.shape & FG_STOP_BRANCH)) return stops->text[state + 1] == byte ? state + 1 : 0;
    fg_stop_row const *const row = stops->rows + node.link;
    unsigned const bits = row->bits[byte / 8], bit = 1u << byte % 8;
    if (!(bits & bit)) return 0;
    return stops->children[row->first + row->ranks[byte / 8] + fg_stop_ones(bits & (bit - 1))];
}

FG_INLINE uint32_t fg_stop_fail(fg_stops const *stops, fg_stop_node node) {
    return node.shape & FG_STOP_BRANCH ? stops->rows[node.link].fail : node.link;
}

/** The next state of a stream: that of the longest end that a byte can lengthen. A failure link leads to less depth,
 * and only a byte adds to it, so there are no more falls than bytes. */
FG_INLINE uint32_t fg_stop_next(fg_stops const *stops, uint32_t state, uint8_t byte, size_t *falls) {
    while (state) {
        fg_stop_node const node = stops->nodes[state];
        uint32_t const child = fg_stop_child(stops, state, node, byte);
        if (child) return child;
        state = fg_stop_fail(stops, node);
        ++*falls;
    }
    return stops->root[byte];
}

#endif
