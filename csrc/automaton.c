#include "automaton.h"

#include "base/target.h"
#include "automaton/step.h"

extern fg_stop_kernels const fg_stop_scalar, fg_stop_avx2, fg_stop_avx512, fg_stop_neon;

fg_stop_kernels fg_stop_select(fg_features features) {
    fg_stop_kernels best = fg_stop_scalar;
#if FG_X86
    if (features & FG_AVX2) FG_OVERLAY(best, fg_stop_avx2);
#endif
#if FG_X86_AVX512
    if (features & FG_AVX512) FG_OVERLAY(best, fg_stop_avx512);
#endif
#if FG_ARM
    if (features & FG_NEON) FG_OVERLAY(best, fg_stop_neon);
#endif
    (void)features;
    return best;
}

/* A filter that passes often costs more than it saves: after one that has got less far than FRUITFUL, the root's table
 * is walked for a while. Shorter texts are not worth the call. */
enum { SKIP_LEAST = 32, FRUITFUL = 32, WALK = 96 };

/** The text that may leave once `size` bytes of the piece are read and the last `kept` bytes of it all are not to. */
FG_INLINE void release(fg_stops const *stops, uint32_t state, size_t size, size_t kept, fg_stop_step *step) {
    size_t const held = fg_stop_held(stops, state), leaving = held + size - kept;
    step->head = stops->text + (state + 1 - held);
    step->head_size = leaving < held ? leaving : held;
    step->body_size = leaving - step->head_size;
}

void fg_stop_feed(fg_stops const *stops, fg_stop_kernels const *kernels, uint32_t *state, uint8_t const *text,
                  size_t size, int include, fg_stop_step *step) {
    uint32_t now = *state;
    size_t i = 0, walk_to = 0;
    step->stop = -1, step->stop_size = 0, step->falls = 0;
    while (i < size) {
        if (now) {
            now = fg_stop_next(stops, now, text[i++], &step->falls);
        } else {
            if (size - i >= SKIP_LEAST && i >= walk_to) {
                size_t const skipped = kernels->skip(&stops->filter, text + i, size - i);
                if ((i += skipped) == size) break;
                if (skipped < FRUITFUL) walk_to = i + WALK;
            }
            now = stops->root[text[i++]];
        }
        if (!now) continue;
        fg_stop_node const node = stops->nodes[now];
        if (FG_UNLIKELY(node.shape & FG_STOP_END)) {
            fg_stop_end const end = stops->ends[node.link];
            step->stop = (int32_t)end.index, step->stop_size = end.size, step->consumed = i;
            release(stops, *state, i, include ? 0 : end.size, step);
            *state = 0;
            return;
        }
    }
    step->consumed = size;
    release(stops, *state, size, fg_stop_held(stops, now), step);
    *state = now;
}

void fg_stop_flush(fg_stops const *stops, uint32_t *state, fg_stop_step *step) {
    step->stop = -1, step->stop_size = 0, step->falls = 0, step->consumed = 0;
    release(stops, *state, 0, 0, step);
    *state = 0;
}
