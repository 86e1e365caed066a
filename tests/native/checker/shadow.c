/** Memory that is watched: blocks with a life, and for each 4 bytes who used them last.
 *
 * Plain accesses are reported by the compiler: -fsanitize=thread puts a call before each, and the calls land here
 * instead of in ThreadSanitizer's runtime. Two accesses of different threads, one of them a store, must be ordered by
 * happens-before, as in C. Steps of plain accesses count as those of the atomic operation that comes next. */
#include "engine.h"

#include <stdio.h>
#include <string.h>

enum { GRAIN = 4, ROOM = 128 };

typedef struct shadow {
    uint32_t run; /* of which all this is true */
    uint16_t location; /* of the atomic word that begins here; 0: none */
    uint8_t writer;
    uint32_t written; /* step of the last plain store */
    void const *written_at;
    uint32_t read[CHECKER_THREADS], touched[CHECKER_THREADS]; /* last plain load; last atomic operation */
} shadow;

typedef struct stretch {
    char *begin, *end;
    uint32_t allocated; /* step */
    uint8_t allocated_by, freed_by;
    bool freed;
    checker_clock freed_clock;
} stretch;

static _Alignas(ROOM) char arena[CHECKER_ARENA];
static shadow shadows[CHECKER_ARENA / GRAIN];
static stretch blocks[CHECKER_BLOCKS];
static uint32_t block_count;
static size_t used;
static bool reuses;
static uint32_t free_count, free_list[CHECKER_BLOCKS];

void checker_shadow_start(void) {
    block_count = free_count = 0;
    used = ROOM;
    reuses = false;
}

void checker_reuse(void) { reuses = true; }

static checker_clock const *now(void) { return &checker_views[checker_current].clock; }
static uint32_t plain_step(void) { return now()->of[checker_current] + 1; }

static bool ordered(uint32_t step, int thread) {
    return thread == checker_current || checker_before(step, thread, now());
}

static bool watched(void const *address) {
    return (char const *)address >= arena && (char const *)address < arena + CHECKER_ARENA;
}

static shadow *shadow_of(void const *address) {
    shadow *const found = &shadows[((char const *)address - arena) / GRAIN];
    if (found->run != checker_run_number) *found = (shadow){.run = checker_run_number};
    return found;
}

static stretch *block_of(void const *address) {
    uint32_t low = 0, high = block_count;
    while (low < high) {
        uint32_t const middle = (low + high) / 2;
        if (blocks[middle].end <= (char const *)address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < block_count && blocks[low].begin <= (char const *)address ? &blocks[low] : NULL;
}

bool checker_describe(void const *address, char *text, size_t size) {
    stretch const *const block = watched(address) ? block_of(address) : NULL;
    if (!block) return false;
    snprintf(text, size, "block%d+%d", (int)(block - blocks), (int)((char const *)address - block->begin));
    return true;
}

void *checker_alloc(size_t bytes) {
    size_t const size = (bytes + ROOM - 1) / ROOM * ROOM;
    stretch *block = NULL;
    for (uint32_t i = free_count; reuses && i-- && !block;) {
        if (blocks[free_list[i]].end - blocks[free_list[i]].begin != (ptrdiff_t)bytes) continue;
        block = &blocks[free_list[i]];
        memmove(free_list + i, free_list + i + 1, (--free_count - i) * sizeof free_list[0]);
        checker_join(&checker_views[checker_current].clock, &block->freed_clock);
        for (char *at = block->begin; at < block->end; at += GRAIN) shadow_of(at)->run = 0;
    }
    if (!block) {
        if (block_count == CHECKER_BLOCKS || used + size + ROOM > CHECKER_ARENA)
            checker_fail("no watched memory is left", CHECKER_HERE);
        block = &blocks[block_count++];
        block->begin = arena + used;
        block->end = block->begin + bytes;
        used += size + ROOM; /* what lies between blocks belongs to nobody */
    }
    block->allocated = plain_step();
    block->allocated_by = (uint8_t)checker_current;
    block->freed = false;
    memset(block->begin, 0xDB, bytes);
    return block->begin;
}

static void report(char const *what, void const *address, int thread, void const *at, void const *other,
                   checker_place place) {
    char text[256], where[64] = "?";
    checker_describe(address, where, sizeof where);
    snprintf(text, sizeof text, "%s at %s, thread %d and before it thread %d", what, where, checker_current, thread);
    checker_code(at, other);
    checker_fail(text, place);
}

static stretch *live(void const *address, void const *at, checker_place place) {
    stretch *const block = block_of(address);
    if (!block) report("access outside every block", address, checker_current, at, NULL, place);
    if (block->freed) report("use after free", address, block->freed_by, at, NULL, place);
    if (!ordered(block->allocated, block->allocated_by))
        report("data race with the allocation", address, block->allocated_by, at, NULL, place);
    return block;
}

void checker_free(void *memory) {
    if (!memory) return;
    checker_place const place = CHECKER_HERE;
    stretch *const block = live(memory, __builtin_return_address(0), place);
    if (block->begin != memory) report("free inside a block", memory, block->allocated_by, NULL, NULL, place);
    for (char *at = block->begin; at < block->end; at += GRAIN) {
        shadow const *const used_by = shadow_of(at);
        if (!ordered(used_by->written, used_by->writer))
            report("free not ordered after a store", at, used_by->writer, NULL, used_by->written_at, place);
        for (int i = 0; i < CHECKER_THREADS; i++)
            if (!ordered(used_by->read[i], i) || !ordered(used_by->touched[i], i))
                report("free not ordered after a use", at, i, NULL, NULL, place);
    }
    block->freed = true;
    block->freed_by = (uint8_t)checker_current;
    checker_tick();
    block->freed_clock = *now();
    free_list[free_count++] = (uint32_t)(block - blocks);
}

size_t checker_live(void) { return block_count - free_count; }

uint16_t *checker_atomic_access(void *cell, checker_place place) {
    if (!watched(cell)) checker_fail("an atomic word outside the memory of checker_alloc", place);
    if ((uintptr_t)cell % sizeof(uint64_t)) checker_fail("an atomic word that is not aligned", place);
    live(cell, NULL, place);
    shadow *const first = shadow_of(cell), *const second = shadow_of((char *)cell + GRAIN);
    shadow const *const written = second->written > first->written ? second : first;
    if (!ordered(written->written, written->writer))
        report("data race: atomic after plain store", cell, written->writer, NULL, written->written_at, place);
    return &first->location;
}

void checker_atomic_touched(void *cell, bool written, uint32_t step, checker_place place) {
    shadow *const first = shadow_of(cell);
    for (int i = 0; written && i < CHECKER_THREADS; i++)
        if (!ordered(first->read[i], i)) report("data race: atomic store after plain load", cell, i, NULL, NULL, place);
    first->touched[checker_current] = step;
}

static void plain(void const *address, size_t bytes, bool stores, void const *at) {
    if (!watched(address)) return;
    checker_place const place = {"plain access", 0};
    live(address, at, place);
    live((char const *)address + bytes - 1, at, place);
    char const *const begin = (char const *)((uintptr_t)address & ~(uintptr_t)(GRAIN - 1));
    for (char const *grain = begin; grain < (char const *)address + bytes; grain += GRAIN) {
        shadow *const mine = shadow_of(grain);
        if (!ordered(mine->written, mine->writer))
            report(stores ? "data race: store after store" : "data race: load after store", grain, mine->writer, at,
                   mine->written_at, place);
        shadow *const word = shadow_of((char const *)((uintptr_t)grain & ~(uintptr_t)7));
        for (int i = 0; i < CHECKER_THREADS; i++) {
            if (stores && !ordered(mine->read[i], i)) report("data race: store after load", grain, i, at, NULL, place);
            if (word->location && !ordered(word->touched[i], i))
                report("data race: plain access after atomic", grain, i, at, NULL, place);
        }
        if (stores) {
            word->location = 0; /* what was atomic is now new memory; the next atomic operation begins a new history */
            mine->written = plain_step();
            mine->writer = (uint8_t)checker_current;
            mine->written_at = at;
        } else {
            mine->read[checker_current] = plain_step();
        }
    }
}

/* The interface of the compiler's instrumentation. */

void __tsan_init(void) {}
void __tsan_func_entry(void *caller) { (void)caller; }
void __tsan_func_exit(void) {}

#define ACCESSES(bytes)                                                                                                \
    void __tsan_read##bytes(void *address) { plain(address, bytes, false, __builtin_return_address(0)); }              \
    void __tsan_write##bytes(void *address) { plain(address, bytes, true, __builtin_return_address(0)); }              \
    void __tsan_unaligned_read##bytes(void *address) { plain(address, bytes, false, __builtin_return_address(0)); }    \
    void __tsan_unaligned_write##bytes(void *address) { plain(address, bytes, true, __builtin_return_address(0)); }
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)

void __tsan_read_range(void *address, size_t bytes) {
    if (bytes) plain(address, bytes, false, __builtin_return_address(0));
}
void __tsan_write_range(void *address, size_t bytes) {
    if (bytes) plain(address, bytes, true, __builtin_return_address(0));
}

/* The command line renames memcpy and its like to these. */

void *checker_memcpy(void *target, void const *source, size_t bytes) {
    if (bytes) plain(source, bytes, false, __builtin_return_address(0));
    if (bytes) plain(target, bytes, true, __builtin_return_address(0));
    return memmove(target, source, bytes);
}
void *checker_memmove(void *target, void const *source, size_t bytes) {
    return checker_memcpy(target, source, bytes);
}
void *checker_memset(void *target, int value, size_t bytes) {
    if (bytes) plain(target, bytes, true, __builtin_return_address(0));
    return memset(target, value, bytes);
}
