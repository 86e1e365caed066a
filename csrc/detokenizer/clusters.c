#include "detokenizer/clusters.h"

#include "detokenizer/cluster_table.h"

enum { SYLLABLES = 0xAC00, FINALS = 28 }; /* every 28th Hangul syllable has no final consonant */

static uint8_t class_of(uint32_t point) {
    if (point < 0x80) {
        if (point == '\r') return FG_CLUSTER_CR;
        if (point == '\n') return FG_CLUSTER_LF;
        return point < 0x20 || point == 0x7F ? FG_CLUSTER_CONTROL : FG_CLUSTER_OTHER;
    }
    if (point >= FG_CLUSTER_TABULATED) {
        if (point >> 12 != 0xE0) return FG_CLUSTER_OTHER;
        int const extends = (point >= 0xE0020 && point <= 0xE007F) || (point >= 0xE0100 && point <= 0xE01EF);
        return extends ? FG_CLUSTER_EXTEND : FG_CLUSTER_CONTROL; /* tags and variation selectors */
    }
    uint64_t const sixteen = fg_cluster_blocks[fg_cluster_index[point >> 6]][point >> 4 & 3];
    uint8_t const class = sixteen >> (point & 15) * 4 & 15;
    return class == FG_CLUSTER_LV && (point - SYLLABLES) % FINALS ? FG_CLUSTER_LVT : class;
}

static int extends(uint8_t class) {
    return class == FG_CLUSTER_EXTEND || class == FG_CLUSTER_EXTEND_ONLY || class == FG_CLUSTER_EXTEND_LINKER ||
           class == FG_CLUSTER_JOINER;
}

static int is_control(uint8_t class) {
    return class == FG_CLUSTER_CONTROL || class == FG_CLUSTER_CR || class == FG_CLUSTER_LF;
}

/** Whether there is a boundary before a code point of this class. */
static int begins(fg_cluster const *cluster, uint8_t class) {
    uint8_t const last = cluster->last;
    if (last == FG_CLUSTER_CR && class == FG_CLUSTER_LF) return 0; /* GB3 */
    if (is_control(last) || is_control(class)) return 1;           /* GB4, GB5 */
    if (extends(class) || class == FG_CLUSTER_SPACING) return 0;   /* GB9, GB9a */
    if (last == FG_CLUSTER_PREPEND) return 0;                      /* GB9b */
    switch (class) {
    case FG_CLUSTER_L:
    case FG_CLUSTER_LV:
    case FG_CLUSTER_LVT:
        return last != FG_CLUSTER_L; /* GB6 */
    case FG_CLUSTER_V:
        return last != FG_CLUSTER_L && last != FG_CLUSTER_LV && last != FG_CLUSTER_V;
    case FG_CLUSTER_T: /* GB7, GB8 */
        return last != FG_CLUSTER_LV && last != FG_CLUSTER_V && last != FG_CLUSTER_LVT && last != FG_CLUSTER_T;
    case FG_CLUSTER_CONSONANT:
        return !cluster->conjunct; /* GB9c as of Unicode 18 */
    case FG_CLUSTER_PICTURE:
        return cluster->picture != 2; /* GB11 */
    case FG_CLUSTER_FLAG:
        return !cluster->odd_flag; /* GB12, GB13 */
    default:
        return 1; /* GB999 */
    }
}

int fg_cluster_begins(fg_cluster *cluster, uint32_t point) {
    uint8_t const class = class_of(point);
    int const boundary = begins(cluster, class);
    cluster->last = class;
    cluster->odd_flag = class == FG_CLUSTER_FLAG && !cluster->odd_flag;
    if (class == FG_CLUSTER_PICTURE)
        cluster->picture = 1;
    else
        cluster->picture = cluster->picture != 1 || !extends(class) ? 0 : class == FG_CLUSTER_JOINER ? 2 : 1;
    if (class == FG_CLUSTER_EXTEND_LINKER || class == FG_CLUSTER_LINKER)
        cluster->conjunct = 1;
    else if (class != FG_CLUSTER_EXTEND && class != FG_CLUSTER_JOINER)
        cluster->conjunct = 0;
    return boundary;
}
