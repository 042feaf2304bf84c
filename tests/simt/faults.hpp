// Turns a fault in a kernel, as an access out of bounds, into an error of the launch: the process lives on.
#pragma once
#include <pthread.h>
#include <signal.h>

#include "arguments.hpp"
#include "scheduler.hpp"

namespace [[gnu::visibility("hidden")]] simt {

constexpr int kFaults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
constexpr size_t kNFaults = sizeof kFaults / sizeof *kFaults;
constexpr int kNoAddress = 0x80; // SI_KERNEL of Linux: the processor named no address

#if SIMT_ASAN || SIMT_TSAN
struct FaultTrap {
  explicit FaultTrap(const Arguments &) {} // the sanitizer reports faults itself, with the line
};
#else
struct FaultTrap {
  explicit FaultTrap(const Arguments &arguments);
  ~FaultTrap();
  FaultTrap(const FaultTrap &) = delete;

  static inline FaultTrap *set = nullptr;
  const Arguments &arguments;
  pthread_t thread = pthread_self();
  struct sigaction before[kNFaults];
  stack_t stack_before;
  unsigned char stack[64 * 1024]; // a kernel that overflows its own leaves none to run on
};

inline void report_fault(const Thread &thread, int signal, const siginfo_t &info) {
  const Block &block = *thread.block;
  auto address = static_cast<const unsigned char *>(info.si_addr);
  const char *name = thread.site.name;
  const int line = thread.site.line;
  long offset = 0;
  size_t place = 0, n_bytes = 0;
  if (signal == SIGFPE)
    report(thread, "divides a whole number by zero, after %s in line %d", name, line);
  else if (signal == SIGILL)
    report(thread, "uses an instruction that this processor lacks, after %s in line %d", name, line);
  else if (signal == SIGBUS || info.si_code == kNoAddress)
    report(thread, "uses an address that is misaligned or impossible, after %s in line %d", name, line);
  else if (block.shared.near(address, &offset))
    report(thread, "uses byte %ld of %zu bytes of shared memory, after %s in line %d", offset,
           static_cast<size_t>(machine.launch.n_shared), name, line);
  else if (FaultTrap::set->arguments.find(address, &place, &offset, &n_bytes))
    report(thread, "uses byte %ld of argument %zu, which has %zu bytes, after %s in line %d", offset, place,
           n_bytes, name, line);
  else if (address < block.stacks.begin(thread.index) && address >= block.stacks.begin(thread.index) - kPage)
    report(thread, "overflows its stack of %zu bytes, after %s in line %d", kStack, name, line);
  else
    report(thread, "uses address %p, which is not mapped, after %s in line %d", info.si_addr, name, line);
}

inline void on_fault(int signal, siginfo_t *info, void *) {
  FaultTrap *trap = FaultTrap::set;
  if (machine.current && pthread_equal(pthread_self(), trap->thread)) {
    report_fault(*machine.current, signal, *info);
    abandon(); // the signal is not blocked in its handler, so that there is nothing to return for
  }
  // Somebody else's fault, which happens again when this returns.
  for (size_t i = 0; i < kNFaults; ++i)
    if (kFaults[i] == signal) sigaction(signal, &trap->before[i], nullptr);
}

inline FaultTrap::FaultTrap(const Arguments &arguments) : arguments(arguments) {
  set = this;
  stack_t handlers = {};
  handlers.ss_sp = stack;
  handlers.ss_size = sizeof stack;
  sigaltstack(&handlers, &stack_before);
  struct sigaction action = {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  for (size_t i = 0; i < kNFaults; ++i) sigaction(kFaults[i], &action, &before[i]);
}

inline FaultTrap::~FaultTrap() {
  for (size_t i = 0; i < kNFaults; ++i) sigaction(kFaults[i], &before[i], nullptr);
  sigaltstack(&stack_before, nullptr);
  set = nullptr;
}
#endif

} // namespace simt
