#include "cpu.h"

#include "base/target.h"

#if FG_X86

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
static void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]) {
    __cpuidex((int *)registers, (int)leaf, (int)subleaf);
}
static uint64_t enabled_states(void) { return _xgetbv(0); }
#else
#include <cpuid.h>
static void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]) {
    __cpuid_count(leaf, subleaf, registers[0], registers[1], registers[2], registers[3]);
}
static uint64_t enabled_states(void) { /* XGETBV as bytes: the intrinsic would need a target region */
    uint32_t low, high;
    __asm__ __volatile__(".byte 0x0f, 0x01, 0xd0" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}
#endif

enum { EAX, EBX, ECX, EDX };

static int has(uint32_t word, uint32_t bits) { return (word & bits) == bits; }

fg_features fg_cpu_detect(void) {
    uint32_t leaf0[4], leaf1[4], leaf7[4], extended[4];
    cpuid(0, 0, leaf0);
    cpuid(0x80000000u, 0, extended);
    if (leaf0[EAX] < 7 || extended[EAX] < 0x80000001u) return FG_SCALAR;
    cpuid(1, 0, leaf1);
    cpuid(7, 0, leaf7);
    cpuid(0x80000001u, 0, extended);

    /* leaf 1 ECX: FMA 12, POPCNT 23, OSXSAVE 27, AVX 28, F16C 29. Without OSXSAVE the XGETBV below would trap. */
    if (!has(leaf1[ECX], 1u << 12 | 1u << 23 | 1u << 27 | 1u << 28 | 1u << 29)) return FG_SCALAR;
    uint64_t const states = enabled_states(); /* XCR0: SSE 1, YMM 2, opmask 5, ZMM_Hi256 6, Hi16_ZMM 7 */
    if ((states & 0x06u) != 0x06u) return FG_SCALAR;
    /* leaf 7 EBX: BMI1 3, AVX2 5, BMI2 8; leaf 0x80000001 ECX: LZCNT 5 */
    if (!has(leaf7[EBX], 1u << 3 | 1u << 5 | 1u << 8) || !has(extended[ECX], 1u << 5)) return FG_SCALAR;

    fg_features features = FG_AVX2;
    /* leaf 7 EBX: F 16, DQ 17, BW 30, VL 31; ECX: VBMI 1, VBMI2 6 */
    if (FG_X86_AVX512 && (states & 0xE6u) == 0xE6u && has(leaf7[EBX], 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31) &&
        has(leaf7[ECX], 1u << 1 | 1u << 6))
        features |= FG_AVX512;
    return features;
}

#elif FG_ARM

#if defined(__linux__)
#include <sys/auxv.h>
#ifndef HWCAP_ASIMD
#define HWCAP_ASIMD (1ul << 1)
#endif
fg_features fg_cpu_detect(void) { return getauxval(AT_HWCAP) & HWCAP_ASIMD ? FG_NEON : FG_SCALAR; }
#else
fg_features fg_cpu_detect(void) { return FG_NEON; } /* Apple and Windows require Advanced SIMD on arm64 */
#endif

#else

fg_features fg_cpu_detect(void) { return FG_SCALAR; }

#endif
