// The places where CUDA threads wait for each other or exchange values. Each is told the line of the call.
#pragma once
#include <type_traits>

#include "fences.hpp"

namespace [[gnu::visibility("hidden")]] simt {

constexpr unsigned kAllLanes = 0xffffffffu;

inline void sync_threads(int line) {
  Quiet quiet;
  Thread &self = *machine.current;
  Block &block = *self.block;
  self.site = {"__syncthreads", line};
  if (block.n_waiting && block.barrier != self.site)
    SIMT_FAIL("reaches __syncthreads in line %d while others wait in line %d", line, block.barrier.line);
  if (block.n_alive != block.threads.size())
    SIMT_FAIL("reaches __syncthreads in line %d, but other threads have left the kernel", line);
  block.barrier = self.site;
  void *order = &block.barrier_order[block.n_barriers % 2];
  release(order);
  if (++block.n_waiting == block.threads.size()) {
    block.n_waiting = 0;
    ++block.n_barriers;
    pass_clocks(&self - self.index, block.threads.size(), kAllLanes);
    for (unsigned i = 0; i < block.threads.size(); ++i) block.ready.insert(i);
  }
  suspend();
  acquire(order);
}

// Finds where the other lanes of `mask` wait already, or else where they will.
inline Meeting &join(Warp &warp, unsigned mask, unsigned lane, const Site &site) {
  Meeting *idle = nullptr;
  for (auto &meeting : warp.meetings) {
    const Site &other = meeting->site;
    if (meeting->arrived == meeting->mask) {
      if (meeting->mask == mask && meeting->left == mask) idle = meeting.get();
    } else if (meeting->mask == mask) {
      if (other != site)
        SIMT_FAIL("reaches %s in line %d while other lanes wait at %s in line %d", site.name, site.line,
                  other.name, other.line);
      return *meeting;
    } else if (meeting->mask >> lane & 1 && meeting->arrived & mask) {
      SIMT_FAIL("%s in line %d has mask %08x, but other lanes wait at %s in line %d with mask %08x",
                site.name, site.line, mask, other.name, other.line, meeting->mask);
    }
  }
  if (!idle) {
    warp.meetings.push_back(std::make_unique<Meeting>());
    idle = warp.meetings.back().get();
  }
  idle->mask = mask;
  idle->site = site;
  idle->arrived = idle->left = 0;
  return *idle;
}

// Waits for all lanes of `mask`, and returns the value of lane `source`. A shuffle does not order memory.
inline uint64_t exchange(const Site &site, unsigned mask, uint64_t value, unsigned source,
                         bool orders_memory) {
  Quiet quiet;
  Thread &self = *machine.current;
  const unsigned warp_index = self.index / kLanes, lane = self.index % kLanes;
  Warp &warp = self.block->warps[warp_index];
  self.site = site;
  if (!(mask >> lane & 1))
    SIMT_FAIL("%s in line %d: the mask %08x lacks the caller", site.name, site.line, mask);
  if (mask & warp.gone)
    SIMT_FAIL("%s in line %d: the mask %08x names lanes that left the kernel or never were", site.name,
              site.line, mask);
  if (!(mask >> source & 1))
    SIMT_FAIL("%s in line %d: reads lane %u, which is not in the mask %08x", site.name, site.line, source,
              mask);
  Meeting &meeting = join(warp, mask, lane, site);
  meeting.values[lane] = value;
  meeting.arrived |= 1u << lane;
  if (orders_memory) release(&meeting);
  if (meeting.arrived == mask) {
    if (orders_memory) pass_clocks(&self - lane, kLanes, mask);
    self.block->ready.insert_lanes(warp_index, mask);
  }
  suspend();
  if (orders_memory) acquire(&meeting);
  meeting.left |= 1u << lane;
  return meeting.values[source];
}

inline void sync_warp(int line, unsigned mask = kAllLanes) {
  exchange({"__syncwarp", line}, mask, 0, machine.current->index % kLanes, true);
}

template <class T> T shuffle(const Site &site, unsigned mask, T value, unsigned source) {
  static_assert(std::is_arithmetic_v<T> && (sizeof value == 4 || sizeof value == 8),
                "CUDA shuffles 4 or 8 bytes");
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  bits = exchange(site, mask, bits, source, false);
  memcpy(&value, &bits, sizeof value);
  return value;
}

// The lane that calls, and the last of the `width` lanes it is grouped with.
struct Group {
  Group(const Site &site, int width) : lane(machine.current->index % kLanes), last(lane | (width - 1)) {
    if (width < 1 || width > 32 || width & (width - 1))
      SIMT_FAIL("%s in line %d: width=%d is not a power of two up to 32", site.name, site.line, width);
  }
  unsigned lane, last;
};

template <class T> T shuffle_index(int line, unsigned mask, T value, int source, int width = 32) {
  const Site site{"__shfl_sync", line};
  const Group group(site, width);
  return shuffle(site, mask, value, (group.lane & ~(width - 1)) | (source & (width - 1)));
}

// Like the hardware, both read the caller's own value where the source would lie beyond its group.
template <class T> T shuffle_xor(int line, unsigned mask, T value, int flip, int width = 32) {
  const Site site{"__shfl_xor_sync", line};
  const Group group(site, width);
  const unsigned source = group.lane ^ flip;
  return shuffle(site, mask, value, source <= group.last ? source : group.lane);
}

template <class T> T shuffle_down(int line, unsigned mask, T value, unsigned delta, int width = 32) {
  const Site site{"__shfl_down_sync", line};
  const Group group(site, width);
  const unsigned source = group.lane + delta;
  return shuffle(site, mask, value, source <= group.last ? source : group.lane);
}

// Of whole warps: all lanes learn from each other in five rounds.
inline unsigned ballot(int line, unsigned mask, bool is) {
  const Site site{"__ballot_sync", line};
  const unsigned lane = machine.current->index % kLanes;
  unsigned bits = unsigned(is) << lane;
  for (unsigned flip = 1; flip < kLanes; flip *= 2) bits |= shuffle(site, mask, bits, lane ^ flip);
  return bits;
}

} // namespace simt
