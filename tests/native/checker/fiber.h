/** Switching stacks. Only what a C call must keep: no signal mask, so no system call. */
#ifndef CHECKER_FIBER_H
#define CHECKER_FIBER_H

#include <stddef.h>
#include <stdint.h>

/** Go on at stack `to` and keep the own stack pointer in `*from`. */
void checker_switch(void **from, void *to);

#if defined(__x86_64__)
__asm__(".text\n.globl checker_switch\n.type checker_switch,@function\nchecker_switch:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
        ".size checker_switch, .-checker_switch\n");
#elif defined(__aarch64__)
__asm__(".text\n.globl checker_switch\n.type checker_switch,%function\nchecker_switch:\n"
        "sub sp, sp, #160\n"
        "stp x19, x20, [sp, #0]\nstp x21, x22, [sp, #16]\nstp x23, x24, [sp, #32]\nstp x25, x26, [sp, #48]\n"
        "stp x27, x28, [sp, #64]\nstp x29, x30, [sp, #80]\nstp d8, d9, [sp, #96]\nstp d10, d11, [sp, #112]\n"
        "stp d12, d13, [sp, #128]\nstp d14, d15, [sp, #144]\n"
        "mov x9, sp\nstr x9, [x0]\nmov sp, x1\n"
        "ldp x19, x20, [sp, #0]\nldp x21, x22, [sp, #16]\nldp x23, x24, [sp, #32]\nldp x25, x26, [sp, #48]\n"
        "ldp x27, x28, [sp, #64]\nldp x29, x30, [sp, #80]\nldp d8, d9, [sp, #96]\nldp d10, d11, [sp, #112]\n"
        "ldp d12, d13, [sp, #128]\nldp d14, d15, [sp, #144]\n"
        "add sp, sp, #160\nret\n.size checker_switch, .-checker_switch\n");
#else
#error "the checker switches stacks on x86-64 and arm64"
#endif

/** A stack on which `entry`, which never returns, starts at the first switch to it. */
static inline void *checker_fresh(uint8_t *stack, size_t bytes, void (*entry)(void)) {
    uintptr_t top = ((uintptr_t)stack + bytes) & ~(uintptr_t)63;
#if defined(__x86_64__)
    uintptr_t *frame = (uintptr_t *)(top - 64); /* entry starts as if called: 8 off a multiple of 16 */
    frame -= 8;
    frame[6] = (uintptr_t)entry;
    frame[7] = 0;
    for (int i = 0; i < 6; i++) frame[i] = 0;
#else
    uintptr_t *frame = (uintptr_t *)(top - 160);
    for (int i = 0; i < 20; i++) frame[i] = 0;
    frame[11] = (uintptr_t)entry;
#endif
    return frame;
}

#endif
