// What a host hands over to run one kernel. emulator.py fills the same fields in; driver.cpp reads a file.
#pragma once
#include <cstdint>

namespace simt {

struct Argument {
  uint64_t kind; // 'p' a pointer, '=' the same pointer as an argument before, 'i' a whole, 'f' a real number
  uint64_t n_bytes; // of the number or of what the pointer points to; for '=' the place of the other, from 0
  void *value;      // the pointer itself, or the address of the number
};

enum Order : uint64_t { kForward, kBackward, kRandom };

struct Launch {
  uint64_t n_blocks;
  uint64_t n_threads; // per block
  uint64_t n_shared;  // bytes of dynamic shared memory per block
  uint64_t order;     // in which threads run between two barriers
  uint64_t seed;      // of the random order
  uint64_t resident;  // blocks that are in flight at once; in random order their threads interleave
  uint64_t n_arguments;
  const Argument *arguments;
};

} // namespace simt

// The one symbol that a compiled kernel exports. Returns null, or what went wrong, valid until the next call.
extern "C" const char *simt_launch(const simt::Launch *launch);
