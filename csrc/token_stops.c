#include "token_stops.h"

/** The first sequence in [low, high) whose id at `depth` is at least `bound`; all of them are longer than that. */
static size_t first_from(fg_token_stops const *stops, size_t low, size_t high, size_t depth, int64_t bound) {
    while (low < high) {
        size_t const middle = low + (high - low) / 2;
        if (stops->ids[stops->starts[middle] + depth] < bound)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t fg_token_stops_ended(fg_token_stops const *stops, int32_t const *tokens, size_t count) {
    size_t low = 0, high = stops->count, found = stops->count;
    for (size_t depth = 0; depth < count && low < high; depth++) {
        int64_t const token = tokens[count - 1 - depth];
        low = first_from(stops, low, high, depth, token);
        high = first_from(stops, low, high, depth, token + 1);
        if (low < high && stops->starts[low + 1] - stops->starts[low] == depth + 1) found = low++;
    }
    return found;
}
