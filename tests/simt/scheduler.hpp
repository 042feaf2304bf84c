// Runs the threads of a launch, one fiber each, in an order of choice, until all are done or one fails.
#pragma once
#include <numeric>

#include "state.hpp"

namespace [[gnu::visibility("hidden")]] simt {

// Ends the launch from within the kernel: the host gets to run, and no thread ever again.
#define SIMT_FAIL(...) (simt::report(*simt::machine.current, __VA_ARGS__), simt::abandon())

[[noreturn, gnu::cold]] inline void abandon() {
  switch_to(machine.current->fiber, machine.host, Leave::kForGood);
  abort();
}

// Lets others run until somebody makes the current thread ready.
inline void suspend() { switch_to(machine.current->fiber, machine.host, Leave::kForNow); }

// In random order, others may get their turn before what comes next.
inline void pause() {
  if (machine.launch.order != kRandom) return;
  Quiet quiet;
  machine.current->block->ready.insert(machine.current->index);
  suspend();
}

// splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
inline uint64_t draw(uint64_t limit) {
  uint64_t z = machine.random += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return (z ^ z >> 31) % limit;
}

inline void leave_kernel(Thread &self) {
  Quiet quiet;
  Block &block = *self.block;
  Warp &warp = block.warps[self.index / kLanes];
  const unsigned lane = 1u << self.index % kLanes;
  for (auto &meeting : warp.meetings) {
    const Site &site = meeting->site;
    if (meeting->arrived != meeting->mask && meeting->mask & lane)
      SIMT_FAIL("leaves the kernel while others wait for it at %s in line %d", site.name, site.line);
  }
  if (block.n_waiting)
    SIMT_FAIL("leaves the kernel while others wait for it at %s in line %d", block.barrier.name,
              block.barrier.line);
  warp.gone |= lane;
  self.done = true;
  --block.n_alive;
}

inline void enter_thread() {
  begin_fiber(machine.host);
  machine.body(machine.body_data);
  release(&machine.end_order);
  leave_kernel(*machine.current);
  switch_to(machine.current->fiber, machine.host, Leave::kForGood);
}

inline std::unique_ptr<Block> begin_block(unsigned index) {
  const Launch &launch = machine.launch;
  if (machine.stacks.empty()) machine.stacks.emplace_back(launch.n_threads, kStack, kPage);
  Pieces &stacks = machine.stacks.back();
  auto block = std::make_unique<Block>(index, launch.n_threads, launch.n_shared, std::move(stacks));
  machine.stacks.pop_back();
  for (unsigned i = 0; i < launch.n_threads; ++i) {
    Thread &thread = block->threads[i];
    thread.block = block.get();
    thread.index = i;
    create(thread.fiber, block->stacks.begin(i), block->stacks.end(i), enter_thread);
    set_name(thread.fiber, index, i);
    block->ready.insert(i);
  }
  return block;
}

// After a failure threads may still wait, and are dropped: kernels own nothing that must be destroyed.
// TSan's fibers stay, 8100 at most, as it reports no race with one that was destroyed long ago.
inline void end_block(Block &block) {
  if (!SIMT_TSAN) machine.stacks.push_back(std::move(block.stacks)); // TSan would see two owners of one stack
}

inline void report_deadlock(const Block &block) {
  char waits[kMessage / 2] = "";
  const Thread *last = nullptr;
  for (const Thread &thread : block.threads) {
    if (thread.done || (last && !(last->site != thread.site))) continue;
    last = &thread;
    const size_t n = strlen(waits);
    snprintf(waits + n, sizeof waits - n, "%s from thread %u on at %s in line %d", n ? "," : "", thread.index,
             thread.site.name, thread.site.line);
  }
  report(*last, "deadlock, as all wait:%s", waits);
}

inline Thread &choose() {
  if (machine.launch.order == kRandom) {
    unsigned n = 0;
    for (auto &block : machine.blocks) n += block->ready.size();
    n = draw(n);
    for (auto &block : machine.blocks) {
      const unsigned in_block = block->ready.size();
      if (n < in_block) return block->threads[block->ready.nth(n)];
      n -= in_block;
    }
  }
  Block &block = *machine.blocks.front();
  return block.threads[block.ready.nth(machine.launch.order == kBackward ? block.ready.size() - 1 : 0)];
}

// Looks after a block of which no thread is ready.
inline void settle(Block &block) {
  long offset = 0;
  if (block.n_alive) return report_deadlock(block);
  if (block.shared.overrun(&offset))
    return report(block.threads[0], "or another of this block wrote byte %ld of %zu bytes of shared memory",
                  offset, static_cast<size_t>(machine.launch.n_shared));
  end_block(block);
  auto place = machine.blocks.begin();
  while (place->get() != &block) ++place;
  machine.blocks.erase(place);
}

inline void run_blocks() {
  const unsigned n_blocks = machine.launch.n_blocks;
  std::vector<unsigned> indices(n_blocks);
  std::iota(indices.begin(), indices.end(), 0);
  if (machine.launch.order == kBackward)
    for (unsigned &i : indices) i = n_blocks - 1 - i;
  if (machine.launch.order == kRandom)
    for (unsigned i = n_blocks; i > 1; --i) std::swap(indices[i - 1], indices[draw(i)]);

  auto next = indices.begin();
  while (!machine.failure[0] && (next != indices.end() || !machine.blocks.empty())) {
    while (next != indices.end() && machine.blocks.size() < machine.launch.resident)
      machine.blocks.push_back(begin_block(*next++));
    Thread &thread = choose();
    Block &block = *thread.block;
    block.ready.erase(thread.index);
    machine.current = &thread;
    switch_to(machine.host, thread.fiber, Leave::kForNow);
    machine.current = nullptr;
    if (!machine.failure[0] && !block.ready.size()) settle(block);
  }
}

// Runs the launch that `machine` describes, and leaves `machine` ready for the next.
inline void run() {
  adopt(machine.host);
  run_blocks();
  for (auto &block : machine.blocks) end_block(*block);
  machine.blocks.clear();
  machine.stacks.clear();
  acquire(&machine.end_order); // what the kernel did is done when the launch returns
}

} // namespace simt
