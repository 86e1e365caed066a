/** Ends a level's file: the inline kernels above, once for each dtype, and the level's table.
 *
 * FG_LOGITS_LEVEL is the level's name. The dtype is a constant in each instance, so its branches vanish. */
#define FG_PASTE_(a, b) a##b
#define FG_PASTE(a, b) FG_PASTE_(a, b)

#define FG_INSTANCE(suffix, dtype)                                                                                     \
    static float scan_##suffix(void const *row, size_t count, uint32_t const *mask, float *lane_maxima) {              \
        return scan(row, count, mask, lane_maxima, dtype);                                                             \
    }                                                                                                                  \
    static size_t find_##suffix(void const *row, size_t count, float value) { return find(row, count, value, dtype); } \
    static double mass_##suffix(void const *row, size_t count, uint32_t const *mask, float const *lane_maxima,         \
                                fg_domain const *domain, double *block_mass) {                                         \
        return mass(row, count, mask, lane_maxima, domain, block_mass, dtype);                                         \
    }                                                                                                                  \
    static double surprisal_##suffix(void const *row, size_t count, uint32_t const *mask, float const *lane_maxima,    \
                                     fg_domain const *domain, double *block_mass, double *sum) {                       \
        return surprisal(row, count, mask, lane_maxima, domain, block_mass, sum, dtype);                               \
    }                                                                                                                  \
    static fg_moments moments_##suffix(void const *row, size_t count, float shift) {                                   \
        return moments(row, count, shift, dtype);                                                                      \
    }                                                                                                                  \
    static void lift_##suffix(void const *block, size_t count, uint32_t const *mask, float ceiling, float *scores) {   \
        lift(block, count, mask, ceiling, scores, dtype);                                                              \
    }                                                                                                                  \
    static void weigh_##suffix(void const *block, size_t count, fg_domain const *domain, float *weights) {             \
        weigh(block, count, domain, weights, dtype);                                                                   \
    }                                                                                                                  \
    static size_t filter_##suffix(void const *row, size_t count, float const *lane_maxima, float threshold,            \
                                  float *scores, uint32_t *indices, size_t capacity) {                                 \
        return filter(row, count, lane_maxima, threshold, scores, indices, capacity, dtype);                           \
    }

FG_INSTANCE(float32, FG_FLOAT32)
FG_INSTANCE(bfloat16, FG_BFLOAT16)
FG_INSTANCE(float16, FG_FLOAT16)

#ifdef FG_LOGITS_REGION
FG_TARGET_END
#endif

fg_logits_kernels const FG_PASTE(fg_logits_, FG_LOGITS_LEVEL) = {
    .scan = {scan_float32, scan_bfloat16, scan_float16},
    .find = {find_float32, find_bfloat16, find_float16},
    .mass = {mass_float32, mass_bfloat16, mass_float16},
    .surprisal = {surprisal_float32, surprisal_bfloat16, surprisal_float16},
    .moments = {moments_float32, moments_bfloat16, moments_float16},
    .lift = {lift_float32, lift_bfloat16, lift_float16},
    .fold = fold,
    .reach = reach,
    .weigh = {weigh_float32, weigh_bfloat16, weigh_float16},
    .filter = {filter_float32, filter_bfloat16, filter_float16},
};
