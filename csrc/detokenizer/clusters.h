/** Extended grapheme clusters: what a reader takes for one character. */
#ifndef FG_DETOKENIZER_CLUSTERS_H
#define FG_DETOKENIZER_CLUSTERS_H

#include "base/base.h"

/** Grapheme_Cluster_Break, with what else the rules of UAX #29 ask for. Of 16 that are tabulated one takes four bits;
 * the others are ASCII or computed. */
typedef enum fg_cluster_class {
    FG_CLUSTER_OTHER = 0,
    FG_CLUSTER_CONTROL,
    FG_CLUSTER_EXTEND,        /* also InCB=Extend */
    FG_CLUSTER_EXTEND_ONLY,   /* not InCB=Extend: the zero-width non-joiner */
    FG_CLUSTER_EXTEND_LINKER, /* also InCB=Linker */
    FG_CLUSTER_LINKER,        /* InCB=Linker and nothing else */
    FG_CLUSTER_CONSONANT,     /* InCB=Consonant */
    FG_CLUSTER_JOINER,        /* ZWJ, also InCB=Extend */
    FG_CLUSTER_FLAG,          /* Regional_Indicator */
    FG_CLUSTER_PREPEND,
    FG_CLUSTER_SPACING,
    FG_CLUSTER_L,
    FG_CLUSTER_V,
    FG_CLUSTER_T,
    FG_CLUSTER_LV,      /* tabulated for all Hangul syllables */
    FG_CLUSTER_PICTURE, /* Extended_Pictographic */
    FG_CLUSTER_LVT,
    FG_CLUSTER_CR,
    FG_CLUSTER_LF
} fg_cluster_class;

/** What the code points so far say about the next boundary. All zero before the first. */
typedef struct fg_cluster {
    uint8_t last;     /* fg_cluster_class of the last code point */
    uint8_t odd_flag; /* an odd number of flag letters stands last */
    uint8_t picture;  /* 1: a picture and extenders stand last; 2: and then a joiner */
    uint8_t conjunct; /* a linker and extenders (InCB) stand last */
} fg_cluster;

/** Add a code point; returns whether a cluster begins with it. */
int fg_cluster_begins(fg_cluster *cluster, uint32_t point);

/** Whether the last code point ends its cluster, whatever follows. */
FG_INLINE int fg_cluster_is_closed(fg_cluster const *cluster) {
    return cluster->last == FG_CLUSTER_CONTROL || cluster->last == FG_CLUSTER_LF;
}

#endif
