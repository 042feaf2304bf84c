// What __threadfence orders, told to TSan. Without TSan, all threads see what any of them wrote at once.
//
// By PTX's memory model any two fences are ordered, but which one is first is open, unless an atomic tells:
// a fence, then an atomic; another atomic, which finds what that one left; then a fence. Each "then" is in
// one thread or across barriers. So every thread has two clocks, which barriers pass on: one of the fences it
// is after, which its atomics leave at their address, and one of what its atomics found, for its next fence.
#pragma once
#include "scheduler.hpp"

namespace [[gnu::visibility("hidden")]] simt {

#if SIMT_TSAN
struct Errand {
  void (*act)(void *clock); // __tsan_acquire picks up the clock, __tsan_release leaves what was picked up
  void *clock;
};

// TSan copies clocks from a fiber and to a fiber, so that one is sent: a new one, which is after nothing but
// the start of the launch. Not instrumented, as this would note the calls of one fiber as those of another.
// Each takes about 0.5 ms, for TSan's memory of a fiber.
__attribute__((noinline, no_sanitize("thread"))) inline void send(const Errand *errands, size_t n) {
  void *sender = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(machine.host.tsan_fiber, __tsan_switch_to_fiber_no_sync);
  void *courier = __tsan_create_fiber(0);
  __tsan_switch_to_fiber(courier, __tsan_switch_to_fiber_no_sync);
  for (size_t i = 0; i < n; ++i) errands[i].act(errands[i].clock);
  __tsan_switch_to_fiber(sender, __tsan_switch_to_fiber_no_sync);
  __tsan_destroy_fiber(courier);
}

inline void note_fence() {
  acquire(&machine.current->found);
  release(&machine.current->fenced);
  Quiet quiet;
  machine.current->block->passes_clocks = true;
}

inline void note_atomic(void *address) {
  Quiet quiet;
  Thread &self = *machine.current;
  self.block->passes_clocks = true;
  const Errand errands[] = {{__tsan_acquire, address},
                            {__tsan_release, &self.found},
                            {__tsan_acquire, &self.fenced},
                            {__tsan_release, address}};
  send(errands, 4);
}

// At a barrier of those of `n` threads that `mask`, which repeats, names.
inline void pass_clocks(Thread *threads, unsigned n, unsigned mask) {
  if (!threads->block->passes_clocks) return;
  for (char Thread::*clock : {&Thread::found, &Thread::fenced}) {
    std::vector<Errand> errands;
    for (auto act : {__tsan_acquire, __tsan_release})
      for (unsigned i = 0; i < n; ++i)
        if (mask >> i % kLanes & 1) errands.push_back({act, &(threads[i].*clock)});
    send(errands.data(), errands.size());
  }
}
#else
inline void note_fence() {}
inline void note_atomic(void *) {}
inline void pass_clocks(Thread *, unsigned, unsigned) {}
#endif

inline void thread_fence() {
  pause();
  note_fence();
}

inline void before_atomic(void *address) {
  pause();
  note_atomic(address);
}

} // namespace simt
