#include "lockfree/snapshot.h"

_Static_assert(sizeof(fg_snapshot_reader) == FG_DESTRUCTIVE_INTERFERENCE, "a reader's slot shares no line");

static size_t place_of(uint64_t version) { return (size_t)(version & (((uint64_t)1 << FG_SNAPSHOT_PLACE_BITS) - 1)); }

size_t fg_snapshot_bytes(size_t readers) {
    return readers * sizeof(fg_snapshot_reader) + (readers + 2) * sizeof(fg_snapshot_place);
}

void fg_snapshot_init(fg_snapshot *snapshot, size_t readers, uint64_t value, void *memory) {
    snapshot->readers = readers;
    snapshot->reader_table = memory;
    snapshot->places = (fg_snapshot_place *)(void *)(snapshot->reader_table + readers);
    fg_store_relaxed(&snapshot->places[0].value, value);
    snapshot->places[0].version = (uint64_t)1 << FG_SNAPSHOT_PLACE_BITS;
    fg_store_release(&snapshot->current, snapshot->places[0].version);
}

fg_snapshot_reader *fg_snapshot_join(fg_snapshot *snapshot) {
    for (size_t i = 0; i < snapshot->readers; i++) {
        fg_snapshot_reader *const reader = &snapshot->reader_table[i];
        uint64_t nobody = 0;
        if (fg_load_relaxed(&reader->owner) == 0 && fg_cas_acq_rel(&reader->owner, &nobody, 1)) return reader;
    }
    return NULL;
}

void fg_snapshot_leave(fg_snapshot_reader *reader) {
    fg_snapshot_park(reader);
    fg_store_release(&reader->owner, 0);
}

uint64_t fg_snapshot_refresh(fg_snapshot *snapshot, fg_snapshot_reader *reader) {
    uint64_t version = fg_load_relaxed(&snapshot->current), found;
    for (;;) {
        /* releases the use of the version before, which this overwrites */
        fg_store_release(&reader->pinned, version);
        found = fg_add_acq_rel(&snapshot->current, 0);
        if (found == version) break;
        version = found;
    }
    reader->version = version;
    return reader->value = fg_load_relaxed(&snapshot->places[place_of(version)].value);
}

/** Each slot is read once, so it keeps one version at most: reading it again for the next place could find it
 * elsewhere, and then more than `readers` old versions would stay. */
size_t fg_snapshot_collect(fg_snapshot *snapshot, uint64_t *freed) {
    size_t count = 0;
    snapshot->places[place_of(fg_load_relaxed(&snapshot->current))].keep = 1;
    for (size_t i = 0; i < snapshot->readers; i++) {
        uint64_t const pinned = fg_load_acquire(&snapshot->reader_table[i].pinned);
        fg_snapshot_place *const place = &snapshot->places[place_of(pinned)];
        /* a reader that was late may pin a version that is gone: it will find out before it reads */
        if (pinned && place->version == pinned) place->keep = 1;
    }
    for (size_t i = 0; i < snapshot->readers + 2; i++) {
        fg_snapshot_place *const place = &snapshot->places[i];
        if (place->version && !place->keep) {
            freed[count++] = fg_load_relaxed(&place->value);
            place->version = 0;
        }
        place->keep = 0;
    }
    return count;
}

/** After each collection at most `readers` old places and the current one are taken: of the two more, one is free. */
size_t fg_snapshot_publish(fg_snapshot *snapshot, uint64_t value, uint64_t *freed) {
    uint64_t const number = (fg_load_relaxed(&snapshot->current) >> FG_SNAPSHOT_PLACE_BITS) + 1;
    size_t free_place = 0;
    while (snapshot->places[free_place].version != 0) free_place++;
    fg_snapshot_place *const place = &snapshot->places[free_place];
    fg_store_relaxed(&place->value, value);
    place->version = number << FG_SNAPSHOT_PLACE_BITS | free_place;
    fg_exchange_acq_rel(&snapshot->current, place->version);
    return fg_snapshot_collect(snapshot, freed);
}

uint64_t fg_snapshot_latest(fg_snapshot const *snapshot) {
    return fg_load_relaxed(&snapshot->places[place_of(fg_load_relaxed(&snapshot->current))].value);
}

size_t fg_snapshot_kept(fg_snapshot const *snapshot) {
    size_t taken = 0;
    for (size_t i = 0; i < snapshot->readers + 2; i++) taken += snapshot->places[i].version != 0;
    return taken - 1;
}
