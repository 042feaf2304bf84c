// Memory between pages that nobody may touch: stacks, shared memory, and a kernel's buffers.
#pragma once
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "sanitizers.hpp"

namespace [[gnu::visibility("hidden")]] simt {

constexpr size_t kPage = 4096;
constexpr size_t kGap = 1 << 20;        // bytes; catches an index that is far out
constexpr size_t kAlign = 16;           // of DYNAMIC_SHARED in CUDA, and of what one access can read at most
constexpr unsigned char kPoison = 0xff; // a float of these bytes is NaN, an int is -1

constexpr size_t round_up(size_t n, size_t step) { return (n + step - 1) / step * step; }

// `n` equal pieces of whole pages, with an inaccessible gap before, between and after them.
class Pieces {
public:
  Pieces(size_t n, size_t n_bytes, size_t gap) : n_(n), piece_(round_up(n_bytes, kPage)), gap_(gap) {
    void *map = mmap(nullptr, size(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    bool ok = map != MAP_FAILED;
    map_ = static_cast<unsigned char *>(map);
    for (size_t i = 0; ok && i < n; ++i) ok = mprotect(begin(i), piece_, PROT_READ | PROT_WRITE) == 0;
    if (ok) return;
    perror("simt: cannot get guarded memory");
    abort();
  }
  Pieces(Pieces &&other)
      : map_(std::exchange(other.map_, nullptr)), n_(other.n_), piece_(other.piece_), gap_(other.gap_) {}
  Pieces &operator=(Pieces &&) = delete;
  ~Pieces() {
    if (!map_) return;
    for (size_t i = 0; i < n_; ++i) allow(begin(i), end(i)); // for the next owner of these addresses
    munmap(map_, size());                                    // also makes TSan forget them
  }

  unsigned char *begin(size_t i) const { return map_ + gap_ + i * (piece_ + gap_); }
  unsigned char *end(size_t i) const { return begin(i) + piece_; }

private:
  size_t size() const { return n_ * (piece_ + gap_) + gap_; }

  unsigned char *map_;
  size_t n_, piece_, gap_;
};

// Memory that ends where nobody may touch any. It starts full of NaN: what was never written may be anything.
class GuardedMemory {
public:
  // It begins `phase` bytes after a multiple of `kAlign`, and as late as that allows.
  explicit GuardedMemory(size_t n_bytes, size_t phase = 0)
      : pieces_(1, n_bytes + phase, kGap), begin_(pieces_.end(0) - round_up(n_bytes + phase, kAlign) + phase),
        end_(begin_ + n_bytes) {
    memset(pieces_.begin(0), kPoison, pieces_.end(0) - pieces_.begin(0));
    forbid(pieces_.begin(0), begin_);
    forbid(end_, pieces_.end(0));
  }

  unsigned char *begin() const { return begin_; }
  size_t size() const { return end_ - begin_; }

  // Whether `address` lies here or in the gaps around, and then at which byte.
  bool near(const void *address, long *offset) const {
    auto byte = static_cast<const unsigned char *>(address);
    *offset = byte - begin_;
    return byte >= pieces_.begin(0) - kGap && byte < pieces_.end(0) + kGap;
  }

  // Finds a byte that was written between this memory and the gaps, which consist of whole pages.
  bool overrun(long *offset) const {
    allow(pieces_.begin(0), pieces_.end(0));
    const unsigned char *sides[][2] = {{end_, pieces_.end(0)}, {pieces_.begin(0), begin_}};
    for (auto [byte, end] : sides)
      for (; byte < end; ++byte) {
        *offset = byte - begin_;
        if (*byte != kPoison) return true;
      }
    return false;
  }

private:
  Pieces pieces_;
  unsigned char *begin_, *end_;
};

} // namespace simt
