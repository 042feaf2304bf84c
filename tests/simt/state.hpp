// What the emulator knows of a launch: its blocks, their warps and threads, and where each of them waits.
#pragma once
#include <cstdarg>
#include <memory>
#include <vector>

#include "fibers.hpp"
#include "launch.hpp"

namespace [[gnu::visibility("hidden")]] simt {

constexpr size_t kStack = (SIMT_ASAN || SIMT_TSAN ? 256 : 128) * 1024; // bytes; sanitizers need larger frames
constexpr unsigned kLanes = 32;
constexpr size_t kMessage = 1024;

struct Block;

// A call in the kernel's source at which threads wait for each other.
struct Site {
  const char *name = "the start of the kernel";
  int line = 1;
  bool operator!=(const Site &other) const { return name != other.name || line != other.line; }
};

struct Thread {
  Fiber fiber;
  Block *block = nullptr;
  unsigned index = 0;
  bool done = false;
  Site site;                  // where it waits, or waited last
  char found = 0, fenced = 0; // clocks; see fences.hpp
};

// The lanes named in a mask come together here. Another mask has a Meeting of its own: were they to share
// one, TSan would take the lanes of one mask for ordered after those of the other.
struct Meeting {
  unsigned mask;
  Site site;
  unsigned arrived = 0, left = 0; // lanes, as masks
  uint64_t values[kLanes] = {};   // what each lane brought for the others to read
};

struct Warp {
  std::vector<std::unique_ptr<Meeting>> meetings;
  unsigned gone = 0; // lanes that left the kernel or never were, as a mask
};

// Threads of one block that can run, by index.
class ReadySet {
public:
  explicit ReadySet(unsigned n) : words_((n + 63) / 64) {}
  void insert(unsigned i) { words_[i / 64] |= uint64_t(1) << i % 64; }
  void insert_lanes(unsigned warp, unsigned mask) { words_[warp / 2] |= uint64_t(mask) << warp % 2 * kLanes; }
  void erase(unsigned i) { words_[i / 64] &= ~(uint64_t(1) << i % 64); }

  unsigned size() const {
    unsigned n = 0;
    for (uint64_t word : words_) n += __builtin_popcountll(word);
    return n;
  }

  // The `n`th, counted from 0, of more than `n`.
  unsigned nth(unsigned n) const {
    unsigned w = 0;
    for (unsigned in_word; n >= (in_word = __builtin_popcountll(words_[w])); ++w) n -= in_word;
    uint64_t word = words_[w];
    while (n--) word &= word - 1;
    return w * 64 + __builtin_ctzll(word);
  }

private:
  std::vector<uint64_t> words_;
};

struct Block {
  Block(unsigned index, unsigned n_threads, size_t n_shared, Pieces &&stacks)
      : index(index), threads(n_threads), warps((n_threads + kLanes - 1) / kLanes), ready(n_threads),
        shared(n_shared), stacks(std::move(stacks)), n_alive(n_threads) {
    if (n_threads % kLanes) warps.back().gone = ~0u << n_threads % kLanes;
  }

  unsigned index;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  ReadySet ready;
  GuardedMemory shared;
  Pieces stacks;
  unsigned n_alive;
  Site barrier;            // the __syncthreads that was reached last
  unsigned n_waiting = 0;  // there
  unsigned n_barriers = 0; // that all threads reached
  // Orders memory, in turns: the first thread may reach a barrier before the last has left the one before.
  char barrier_order[2] = {};
  bool passes_clocks = false; // from thread to thread at barriers; once there was a fence or an atomic
};

// The state of the one launch that can be in progress.
struct Machine {
  const char *kernel = nullptr;
  Launch launch = {};
  void (*body)(const void *) = nullptr; // calls the kernel
  const void *body_data = nullptr;
  uint64_t random = 0;
  Fiber host;
  Thread *current = nullptr;
  std::vector<std::unique_ptr<Block>> blocks; // in flight, in the order they began
  std::vector<Pieces> stacks;                 // of blocks that ended
  char end_order = 0;                         // what memory is ordered by for the host
  char failure[kMessage] = "";
};

inline Machine machine;

// Notes what went wrong, unless something else went wrong before.
[[gnu::format(printf, 2, 3), gnu::cold]] inline void report(const Thread &thread, const char *format, ...) {
  if (machine.failure[0]) return;
  const int n = snprintf(machine.failure, kMessage, "kernel %s, block %u, thread %u: ", machine.kernel,
                         thread.block->index, thread.index);
  va_list values;
  va_start(values, format);
  vsnprintf(machine.failure + n, kMessage - n, format, values);
  va_end(values);
}

} // namespace simt
