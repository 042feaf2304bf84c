// Runs CUDA C++ kernels on a CPU, to prove them without a GPU: their source is compiled as C++ after this.
//
// Every CUDA thread is a fiber. Fibers take turns at barriers and shuffles and, in random order, at atomics
// and fences: results that differ from order to order show what the kernel leaves open. A barrier that some
// threads miss ends the launch with its line. TSan takes for ordered only what CUDA orders.
#pragma once
#include "builtins.hpp"
#include "faults.hpp"

namespace [[gnu::visibility("hidden")]] simt {

template <class Call> void call(const void *call) { (*static_cast<const Call *>(call))(); }

template <class... Parameters, size_t... I>
void run_kernel(const Arguments &arguments, void (*kernel)(Parameters...), std::index_sequence<I...>) {
  if (arguments.size() != sizeof...(Parameters)) {
    snprintf(machine.failure, kMessage, "kernel %s takes %zu arguments, not %zu", machine.kernel,
             sizeof...(Parameters), arguments.size());
    return;
  }
  if (!(... && fits<Parameters>(arguments[I], machine.kernel, I))) return;
  auto body = [&arguments, kernel] { kernel(value_of<Parameters>(arguments[I])...); };
  machine.body = call<decltype(body)>;
  machine.body_data = &body;
  FaultTrap trap(arguments);
  run();
}

template <class... Parameters>
const char *launch(const Launch &launch, const char *name, void (*kernel)(Parameters...)) {
  Quiet quiet;
  machine.kernel = name;
  machine.launch = launch;
  machine.random = launch.seed;
  machine.failure[0] = 0;
  const Arguments arguments(launch);
  run_kernel(arguments, kernel, std::index_sequence_for<Parameters...>());
  arguments.check(name);
  if (machine.failure[0]) return machine.failure;
  arguments.copy_back();
  return nullptr;
}

} // namespace simt

// Stands after the kernel's source, and makes it the one that simt_launch runs.
#define SIMT_KERNEL(entry)                                                                                   \
  extern "C" [[gnu::visibility("default")]] const char *simt_launch(const simt::Launch *launch) {            \
    return simt::launch(*launch, #entry, entry);                                                             \
  }
