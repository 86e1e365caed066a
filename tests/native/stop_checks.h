/** Stops, a text and its pieces; the definition of what must come out; and a check of everything that a step says. */
#ifndef FG_STOP_CHECKS_H
#define FG_STOP_CHECKS_H

#include "automaton/step.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct text_of {
    uint8_t const *bytes;
    size_t size;
} text_of;

#define CHECK(condition) ((condition) ? (void)0 : fail(#condition, __LINE__))

static void fail(char const *condition, int line) {
    printf("line %d: not %s\n", line, condition);
    abort();
}

static void *memory_of(size_t size) {
    void *const memory = malloc(size ? size : 1);
    if (!memory) exit(3);
    return memory;
}

/** Build in blocks of exactly the promised sizes, so that sanitizers see a byte more. */
static fg_stops *built(text_of const *stops, size_t count) {
    fg_stop_source *const sources = memory_of(count * sizeof *sources);
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        sources[i] = (fg_stop_source){stops[i].bytes, (uint32_t)stops[i].size, (uint32_t)i, 0};
        bytes += stops[i].size;
    }
    void *const scratch = memory_of(fg_stops_scratch(count)), *const block = memory_of(fg_stops_size(count, bytes));
    fg_stops *const automaton = fg_stops_build(sources, count, bytes, scratch, block);
    free(sources), free(scratch);
    CHECK((void *)automaton == block && automaton->states <= bytes + 1);
    return automaton;
}

static int ends_with(uint8_t const *text, size_t size, uint8_t const *end, size_t end_size) {
    return size >= end_size && memcmp(text + (size - end_size), end, end_size) == 0;
}

/** The definition: the stop that a text of this length ends with, the longest and of equals the first; -1: none. */
static int stop_at(text_of const *stops, size_t count, uint8_t const *text, size_t size) {
    int best = -1;
    for (size_t i = 0; i < count; i++)
        if (ends_with(text, size, stops[i].bytes, stops[i].size) && (best < 0 || stops[i].size > stops[best].size))
            best = (int)i;
    return best;
}

/** The definition: the longest end of a text that is the beginning of a stop and no stop. */
static size_t held_of(text_of const *stops, size_t count, uint8_t const *text, size_t size) {
    size_t longest = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t end = 1; end < stops[i].size && end <= size; end++)
            if (end > longest && ends_with(text, size, stops[i].bytes, end)) longest = end;
    return longest;
}

/** What the whole text must give. */
typedef struct expectation {
    int stop;
    size_t end, visible; /* where the stop ends, or the text; how much of it leaves */
} expectation;

static expectation expected(text_of const *stops, size_t count, text_of text, int include) {
    for (size_t end = 1; end <= text.size; end++) {
        int const stop = stop_at(stops, count, text.bytes, end);
        if (stop >= 0) return (expectation){stop, end, include ? end : end - stops[stop].size};
    }
    return (expectation){-1, text.size, text.size};
}

/** Feed a text in pieces: bit i % 8 of cuts[i / 8] says whether a piece ends behind byte i. `holds` (may be NULL) has
 * what is to be held back behind each byte. */
static void check_pieces(fg_stops const *automaton, fg_stop_kernels const *kernels, text_of const *stops, text_of text,
                         uint8_t const *cuts, int include, expectation wanted, size_t const *holds) {
    uint32_t state = 0;
    size_t sent = 0, falls = 0;
    fg_stop_step step;
    for (size_t start = 0, end; start < text.size; start = end) {
        for (end = start + 1; end < text.size && !(cuts[(end - 1) / 8] >> (end - 1) % 8 & 1);) end++;
        fg_stop_feed(automaton, kernels, &state, text.bytes + start, end - start, include, &step);
        falls += step.falls;
        CHECK(falls <= start + step.consumed);
        CHECK(sent + step.head_size <= text.size && memcmp(step.head, text.bytes + sent, step.head_size) == 0);
        sent += step.head_size;
        CHECK(step.body_size == 0 || sent == start);
        sent += step.body_size;
        CHECK(sent <= end);
        if (step.stop >= 0) {
            CHECK(step.stop == wanted.stop && step.stop_size == stops[wanted.stop].size);
            CHECK(start + step.consumed == wanted.end && sent == wanted.visible && state == 0);
            return;
        }
        CHECK(step.consumed == end - start && step.stop_size == 0 && end <= wanted.end);
        CHECK(end - sent == fg_stop_held(automaton, state) && (!holds || end - sent == holds[end - 1]));
    }
    CHECK(wanted.stop < 0);
    fg_stop_flush(automaton, &state, &step);
    CHECK(step.head_size == text.size - sent && step.body_size == 0 && step.stop < 0 && state == 0);
    CHECK(memcmp(step.head, text.bytes + sent, step.head_size) == 0);
}

#endif
