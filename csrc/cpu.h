/** What the processor and the operating system offer, as a set of levels.
 *
 * avx2    AVX2, FMA, BMI1, BMI2, LZCNT, POPCNT, F16C (x86-64-v3), and the OS saves the YMM registers
 * avx512  avx2 and AVX-512 F, BW, DQ, VL, VBMI, VBMI2 (Ice Lake, Zen 4 and later), and the OS saves ZMM and mask
 * registers neon    every AArch64 processor
 *
 * Scalar code is level zero and always there. A level implies the lower ones of its architecture. */
#ifndef FG_CPU_H
#define FG_CPU_H

#include "base/base.h"

typedef uint32_t fg_features;
enum { FG_SCALAR = 0, FG_AVX2 = 1u << 0, FG_AVX512 = 1u << 1, FG_NEON = 1u << 2 };

/** Levels that this build holds and this machine can run. */
fg_features fg_cpu_detect(void);

#endif
