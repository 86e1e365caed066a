/* Sorted stops make the tree without look-ups: neighbors share the longest beginnings, so a stop leaves the tree of
 * those before it on the path of its neighbor. Each stop that is kept is a run of states, one for each byte; those of
 * the beginning that it shares are never reached. Failure links follow by depth, all runs side by side. */
#include "automaton/step.h"

/** A stop that is kept. */
typedef struct run {
    uint32_t start;  /* text[start] is its first byte, so its state of depth d is start + d - 1 */
    uint32_t size;
    uint32_t shared; /* bytes of its beginning that belong to runs before */
    uint32_t parent; /* the state of that depth */
} run;

typedef struct room {
    fg_stop_source *other;
    run *runs;
    uint32_t *order;
} room;

static size_t rounded(size_t size) { return (size + 7) / 8 * 8; }

size_t fg_stops_size(size_t count, size_t bytes) {
    size_t const branches = count ? count - 1 : 0; /* each stop but the first adds at most one, and two children */
    return rounded(sizeof(fg_stops)) + (bytes + 1) * sizeof(fg_stop_node) + branches * sizeof(fg_stop_row) +
           count * sizeof(fg_stop_end) + rounded(branches * 2 * sizeof(uint32_t)) + rounded(bytes + 1);
}

size_t fg_stops_scratch(size_t count) {
    return count * (sizeof(fg_stop_source) + sizeof(run)) + rounded(count * sizeof(uint32_t));
}

static void *taken(char **memory, size_t size) {
    void *const start = *memory;
    *memory += rounded(size);
    return start;
}

/** The first eight bytes, so that numbers are in the order of the strings; zeros behind the end. */
static uint64_t key_of(fg_stop_source const *source) {
    uint64_t key = 0;
    for (uint32_t i = 0; i < 8; i++) key = key << 8 | (i < source->size ? source->text[i] : 0);
    return key;
}

/** Whether the order is right already: a beginning comes before what it begins, equals in the order of the list. */
static int is_ordered(fg_stop_source const *left, fg_stop_source const *right) {
    if (left->key != right->key) return left->key < right->key;
    int const order = memcmp(left->text, right->text, left->size < right->size ? left->size : right->size);
    return order ? order < 0 : left->size <= right->size;
}

/** Merge sort, bottom up; returns which of the two arrays holds the result. */
static fg_stop_source *sorted(fg_stop_source *from, fg_stop_source *to, size_t count) {
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t start = 0; start < count; start += 2 * width) {
            size_t const middle = count - start < width ? count : start + width;
            size_t const end = count - middle < width ? count : middle + width;
            size_t left = start, right = middle;
            for (size_t i = start; i < end; i++) {
                int const take_left = right == end || (left < middle && is_ordered(from + left, from + right));
                to[i] = from[take_left ? left++ : right++];
            }
        }
        fg_stop_source *const other = from;
        from = to, to = other;
    }
    return from;
}

static uint32_t common(uint8_t const *left, uint32_t left_size, uint8_t const *right, uint32_t right_size) {
    uint32_t const most = left_size < right_size ? left_size : right_size;
    uint32_t size = 0;
    while (size < most && left[size] == right[size]) size++;
    return size;
}

/** Copy the stops that are kept; a stop that begins with another one can never complete. */
static size_t lay_out(fg_stops *stops, fg_stop_source const *sources, size_t count, room const *room) {
    size_t kept = 0, depth = 0; /* order[0..depth) holds the runs on the path of the last one, outermost first */
    uint32_t end = 1;
    for (size_t i = 0; i < count; i++) {
        fg_stop_source const *const source = sources + i;
        run now = {.start = end, .size = source->size};
        if (kept) {
            run const *const before = room->runs + (kept - 1);
            now.shared = common(stops->text + before->start, before->size, source->text, source->size);
            if (now.shared == before->size) continue;
            while (depth && room->runs[room->order[depth - 1]].shared >= now.shared) depth--;
            if (now.shared) now.parent = room->runs[room->order[depth - 1]].start + now.shared - 1;
        }
        memcpy(stops->text + end, source->text, source->size);
        stops->ends[kept] = (fg_stop_end){source->size, source->index};
        room->order[depth++] = (uint32_t)kept;
        room->runs[kept++] = now;
        end += source->size;
    }
    return kept;
}

static void add_child(fg_stops *stops, fg_stop_row *row, uint32_t child) {
    uint8_t const byte = stops->text[child];
    uint32_t const added = row->ranks[31]; /* the children so far, until the ranks are set */
    stops->children[row->first + added] = child;
    row->ranks[31] = (uint8_t)(added + 1);
    row->bits[byte / 8] |= (uint8_t)(1u << byte % 8);
}

/** Make rows of the states with several children. */
static void branch(fg_stops *stops, run const *runs, size_t kept) {
    uint32_t rows = 0, children = 0;
    for (size_t i = 0; i < kept; i++) stops->nodes[runs[i].parent].link++;
    for (size_t i = 0; i < kept; i++) {
        uint32_t const parent = runs[i].parent, child = runs[i].start + runs[i].shared;
        fg_stop_node *const node = stops->nodes + parent;
        if (!parent) {
            stops->root[stops->text[child]] = child;
            continue;
        }
        if (!(node->shape & FG_STOP_BRANCH)) {
            fg_stop_row *const row = stops->rows + rows;
            *row = (fg_stop_row){.first = children};
            children += node->link + 1;
            node->shape = FG_STOP_BRANCH, node->link = rows++;
            add_child(stops, row, parent + 1); /* sorted: the older run goes on with the lesser byte */
        }
        add_child(stops, stops->rows + node->link, child);
    }
    for (uint32_t i = 0; i < rows; i++) {
        fg_stop_row *const row = stops->rows + i;
        unsigned rank = 0;
        for (size_t group = 0; group < 32; group++) {
            row->ranks[group] = (uint8_t)rank;
            rank += fg_stop_ones(row->bits[group]);
        }
    }
}

/** Set depths, failure links and ends, breadth first: what a failure link leads to is less deep, hence complete. */
static void link(fg_stops *stops, run const *runs, uint32_t *alive, size_t kept) {
    stops->nodes[0] = (fg_stop_node){0, 0};
    stops->states = 1;
    for (size_t i = 0; i < kept; i++) alive[i] = (uint32_t)i;
    for (uint32_t depth = 1; kept; depth++) {
        size_t still = 0;
        for (size_t i = 0; i < kept; i++) {
            uint32_t const which = alive[i];
            run const *const now = runs + which;
            if (depth <= now->shared) {
                alive[still++] = which;
                continue;
            }
            uint32_t const state = now->start + depth - 1, parent = depth - 1 > now->shared ? state - 1 : now->parent;
            fg_stop_node const above = stops->nodes[parent];
            if (above.shape & FG_STOP_END) continue;
            size_t falls = 0;
            uint32_t const fail =
                parent ? fg_stop_next(stops, fg_stop_fail(stops, above), stops->text[state], &falls) : 0;
            fg_stop_node *const node = stops->nodes + state;
            stops->states++;
            if (depth == now->size) {
                *node = (fg_stop_node){which, depth | FG_STOP_END};
                continue;
            }
            if (stops->nodes[fail].shape & FG_STOP_END) {
                *node = (fg_stop_node){stops->nodes[fail].link, depth | FG_STOP_END};
                continue;
            }
            if (node->shape & FG_STOP_BRANCH)
                stops->rows[node->link].fail = fail;
            else
                node->link = fail;
            node->shape |= depth;
            alive[still++] = which;
        }
        kept = still;
    }
}

/** Share the different beginnings out to the buckets, neighbors together. What a short stop leaves of the window is
 * open. */
static void set_filter(fg_stops *stops, run const *runs, size_t kept) {
    fg_stop_filter *const filter = &stops->filter;
    size_t different = 0, number = 0;
    for (size_t i = 0; i < kept; i++) different += runs[i].shared < FG_STOP_WINDOW;
    size_t const share = different < FG_STOP_BUCKETS ? FG_STOP_BUCKETS : different;
    for (size_t i = 0; i < kept; i++) {
        if (runs[i].shared >= FG_STOP_WINDOW) continue;
        uint8_t const bucket = (uint8_t)(1u << number++ * FG_STOP_BUCKETS / share);
        for (uint32_t place = 0; place < FG_STOP_WINDOW; place++) {
            if (place < runs[i].size) {
                uint8_t const byte = stops->text[runs[i].start + place];
                filter->low[place][byte & 15] |= bucket, filter->high[place][byte >> 4] |= bucket;
            } else {
                for (int half = 0; half < 16; half++)
                    filter->low[place][half] |= bucket, filter->high[place][half] |= bucket;
            }
        }
    }
}

fg_stops *fg_stops_build(fg_stop_source *sources, size_t count, size_t bytes, void *scratch, void *block) {
    size_t const branches = count ? count - 1 : 0;
    char *memory = block, *spare = scratch;
    fg_stops *const stops = taken(&memory, sizeof *stops);
    memset(stops, 0, sizeof *stops);
    stops->nodes = taken(&memory, (bytes + 1) * sizeof *stops->nodes);
    stops->rows = taken(&memory, branches * sizeof *stops->rows);
    stops->ends = taken(&memory, count * sizeof *stops->ends);
    stops->children = taken(&memory, branches * 2 * sizeof *stops->children);
    stops->text = taken(&memory, bytes + 1);
    memset(stops->nodes, 0, (bytes + 1) * sizeof *stops->nodes);
    stops->text[0] = 0;

    room const room = {taken(&spare, count * sizeof *room.other), taken(&spare, count * sizeof *room.runs),
                       taken(&spare, count * sizeof *room.order)};
    for (size_t i = 0; i < count; i++) sources[i].key = key_of(sources + i);
    size_t const kept = lay_out(stops, sorted(sources, room.other, count), count, &room);
    branch(stops, room.runs, kept);
    set_filter(stops, room.runs, kept);
    link(stops, room.runs, room.order, kept);
    return stops;
}
