/** The floating-point mode of the calling thread, made standard while kernels run.
 *
 * Other libraries switch flush-to-zero or the rounding mode on in threads that fastgen runs in; both would change bits.
 */
#ifndef FG_FPENV_H
#define FG_FPENV_H

#include "base/base.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
typedef unsigned int fg_fpenv;
/* 0x1F80: all exceptions masked, round to nearest even, no flush-to-zero, denormals kept. */
FG_INLINE fg_fpenv fg_fpenv_enter(void) {
    fg_fpenv const before = _mm_getcsr();
    if (FG_UNLIKELY((before & 0xFFC0u) != 0x1F80u)) _mm_setcsr(0x1F80u);
    return before;
}
FG_INLINE void fg_fpenv_leave(fg_fpenv before) {
    if (FG_UNLIKELY((before & 0xFFC0u) != 0x1F80u)) _mm_setcsr(before);
}
#elif defined(__aarch64__) && !defined(_MSC_VER)
typedef uint64_t fg_fpenv;
/* FPCR 0: round to nearest even, no flush-to-zero, NaNs propagate. */
FG_INLINE fg_fpenv fg_fpenv_enter(void) {
    fg_fpenv before;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(before));
    if (FG_UNLIKELY(before != 0)) __asm__ __volatile__("msr fpcr, %0" ::"r"((fg_fpenv)0));
    return before;
}
FG_INLINE void fg_fpenv_leave(fg_fpenv before) {
    if (FG_UNLIKELY(before != 0)) __asm__ __volatile__("msr fpcr, %0" ::"r"(before));
}
#else
typedef int fg_fpenv;
FG_INLINE fg_fpenv fg_fpenv_enter(void) { return 0; }
FG_INLINE void fg_fpenv_leave(fg_fpenv before) { (void)before; }
#endif

#endif
