// Fibers: stacks of their own that take turns on one system thread, and how to switch from one to another.
#pragma once
#include <cstdint>

#include "memory.hpp"

// glibc's swapcontext makes a system call on every switch, for the signal mask: kernels run six times longer.
// ASan, besides, intercepts it and then forgets the bounds of all arrays on the stack. TSan is slow anyhow,
// which keeps the portable path tested.
#if defined(__x86_64__) && !SIMT_TSAN
#define SIMT_HAND_SWITCH 1
#else
#define SIMT_HAND_SWITCH 0
#include <ucontext.h>
#endif

#if SIMT_HAND_SWITCH
// Pushes the registers that a call preserves, changes the stack, pops them, and returns in the other fiber.
asm(R"(
  .text
  .p2align 4
  .type simt_switch_stack, @function
simt_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size simt_switch_stack, . - simt_switch_stack
)");
extern "C" [[gnu::visibility("hidden")]] void simt_switch_stack(void **from, void *to);
#endif

namespace [[gnu::visibility("hidden")]] simt {

struct Fiber {
#if SIMT_HAND_SWITCH
  void *stack_pointer = nullptr;
#else
  ucontext_t registers;
#endif
  const void *stack = nullptr; // its lowest byte
  size_t n_stack = 0;          // bytes
  void *asan_frames = nullptr; // ASan's own stack of the fiber, while it does not run
  void *tsan_fiber = nullptr;
};

// Makes the code that runs now a fiber, to which the others can switch.
inline void adopt([[maybe_unused]] Fiber &fiber) {
#if SIMT_TSAN
  fiber.tsan_fiber = __tsan_get_current_fiber();
#endif
}

// Makes a fiber that will call `entry`, which must never return. It sees all that the caller has done so far.
inline void create(Fiber &fiber, unsigned char *begin, unsigned char *end, void (*entry)()) {
  allow(begin, end);
  fiber.stack = begin;
  fiber.n_stack = end - begin;
#if SIMT_HAND_SWITCH
  // Six registers, the address to return to, and room for a caller's: the stack is aligned as after a call.
  uintptr_t *top = reinterpret_cast<uintptr_t *>(end) - 8;
  memset(top, 0, 8 * sizeof *top);
  top[6] = reinterpret_cast<uintptr_t>(entry);
  fiber.stack_pointer = top;
#else
  getcontext(&fiber.registers);
  fiber.registers.uc_stack.ss_sp = begin;
  fiber.registers.uc_stack.ss_size = fiber.n_stack;
  fiber.registers.uc_link = nullptr;
  makecontext(&fiber.registers, entry, 0);
#endif
#if SIMT_TSAN
  fiber.tsan_fiber = __tsan_create_fiber(0);
#endif
}

// For TSan's reports.
inline void set_name([[maybe_unused]] Fiber &fiber, [[maybe_unused]] unsigned block,
                     [[maybe_unused]] unsigned thread) {
#if SIMT_TSAN
  char name[64];
  snprintf(name, sizeof name, "block %u, thread %u", block, thread);
  __tsan_set_fiber_name(fiber.tsan_fiber, name);
#endif
}

enum class Leave { kForNow, kForGood };

// Not instrumented: between the two switches, TSan's and the stack's, the code belongs to no fiber.
#if SIMT_TSAN
__attribute__((noinline, no_sanitize("thread")))
#endif
inline void switch_to(Fiber &from, Fiber &to, [[maybe_unused]] Leave leave) {
#if SIMT_TSAN
  __tsan_switch_to_fiber(to.tsan_fiber, __tsan_switch_to_fiber_no_sync); // taking turns must not order memory
#endif
#if SIMT_ASAN
  void **frames = leave == Leave::kForGood ? nullptr : &from.asan_frames;
  __sanitizer_start_switch_fiber(frames, to.stack, to.n_stack);
#endif
#if SIMT_HAND_SWITCH
  simt_switch_stack(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(&from.registers, &to.registers);
#endif
#if SIMT_ASAN
  __sanitizer_finish_switch_fiber(from.asan_frames, nullptr, nullptr);
#endif
}

// The first thing a new fiber does; `caller` is the one that switched to it.
inline void begin_fiber([[maybe_unused]] Fiber &caller) {
#if SIMT_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &caller.stack, &caller.n_stack);
#endif
}

} // namespace simt
