// What the sanitizers must be told: which fiber runs, which memory is out of bounds, and what orders memory.
#pragma once
#include <cstddef>

#if defined(__SANITIZE_THREAD__)
#define SIMT_TSAN 1
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
}
#else
#define SIMT_TSAN 0
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SIMT_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define SIMT_ASAN 0
#endif

namespace [[gnu::visibility("hidden")]] simt {

// The emulator's bookkeeping is shared by all fibers without a lock. While a Quiet lives, TSan looks away.
struct Quiet {
#if SIMT_TSAN
  Quiet() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Quiet() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
#else
  Quiet() {} // not trivial, so that compilers do not call the variable unused
#endif
  Quiet(const Quiet &) = delete;
};

// What was done before a release of `order` is visible after an acquire of it: all that orders memory under
// TSan.
inline void release([[maybe_unused]] void *order) {
#if SIMT_TSAN
  __tsan_release(order);
#endif
}

inline void acquire([[maybe_unused]] void *order) {
#if SIMT_TSAN
  __tsan_acquire(order);
#endif
}

inline void forbid([[maybe_unused]] const unsigned char *begin, [[maybe_unused]] const unsigned char *end) {
#if SIMT_ASAN
  __asan_poison_memory_region(begin, end - begin);
#endif
}

// Also wipes what ASan remembers of the frames of a stack, before another fiber gets it.
inline void allow([[maybe_unused]] const unsigned char *begin, [[maybe_unused]] const unsigned char *end) {
#if SIMT_ASAN
  __asan_unpoison_memory_region(begin, end - begin);
#endif
}

} // namespace simt
