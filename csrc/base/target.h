/** What a file may be compiled for: the processor, the intrinsics, and the only target pragmas of the tree.
 *
 * A level's file stands inside `#if FG_X86` (or FG_ARM) whole, so every file compiles everywhere, some of them empty:
 * that is what lets the build glob blindly and lets one call build both slices of a universal binary. */
#ifndef FG_TARGET_H
#define FG_TARGET_H

#ifndef FASTGEN_BUILD_SIMD
#define FASTGEN_BUILD_SIMD 1
#endif
#ifndef FASTGEN_REQUIRE_SIMD
#define FASTGEN_REQUIRE_SIMD 0
#endif

#if FASTGEN_BUILD_SIMD && (defined(__x86_64__) || defined(_M_X64))
#define FG_X86 1
#else
#define FG_X86 0
#endif

#if FASTGEN_BUILD_SIMD && (defined(__aarch64__) || defined(_M_ARM64))
#define FG_ARM 1
#else
#define FG_ARM 0
#endif

/* VBMI2 came with GCC 8, Clang 6 and Visual Studio 2017 15.5. */
#if FG_X86 && (defined(__clang__) || (defined(__GNUC__) && __GNUC__ >= 8) || defined(_MSC_VER))
#define FG_X86_AVX512 1
#else
#define FG_X86_AVX512 0
#endif

#if FASTGEN_REQUIRE_SIMD && !(FG_X86_AVX512 || FG_ARM)
#error "FASTGEN_REQUIRE_SIMD: this compiler or processor gets a build that lacks SIMD levels"
#endif

#if FG_X86
#include <immintrin.h>
#elif FG_ARM
#include <arm_neon.h>
#endif

#define FG_ISA_AVX2 "avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt"
#define FG_ISA_AVX512 FG_ISA_AVX2 ",avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2"

#define FG_PRAGMA_(text) _Pragma(#text)
#if defined(__clang__)
#define FG_TARGET_BEGIN(isa) FG_PRAGMA_(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define FG_TARGET_END _Pragma("clang attribute pop")
#elif defined(__GNUC__)
#define FG_TARGET_BEGIN(isa) _Pragma("GCC push_options") FG_PRAGMA_(GCC target(isa))
#define FG_TARGET_END _Pragma("GCC pop_options")
#else /* MSVC needs no region for intrinsics */
#define FG_TARGET_BEGIN(isa)
#define FG_TARGET_END
#endif

#endif
