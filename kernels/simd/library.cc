// The C interface: which instruction set computes, and how threads share a batch.
#include <unistd.h>
#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "plan.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif
#if defined(__x86_64__) && !defined(ONLY_BASELINE)
#define X86_TARGETS
extern const Target AVX512, AVX2;
#endif
extern const Target BASELINE;

namespace {

constexpr int64_t CHUNK_FRAMES = 64;       // share of a thread at a time: a multiple of every block
constexpr int64_t SHARED_VALUES = 1 << 18;  // size from which on all threads finish a clip together
constexpr size_t LINE = 64;
constexpr int SPINS = 4000;  // looks at the last thread, about 100 us: being woken up takes as long

const Target *target_of(const char *name) {
#ifdef X86_TARGETS
  __builtin_cpu_init();
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx512 && (!*name || !strcmp(name, AVX512.name))) return &AVX512;
  if (avx2 && (!*name || !strcmp(name, AVX2.name))) return &AVX2;
#endif
  return !*name || !strcmp(name, BASELINE.name) ? &BASELINE : nullptr;
}

// Numbers below 1e-38 count as zero while this lives, as on a GPU: arithmetic on them may take a hundred times as long.
class FlushedDenormals {
 public:
#if defined(__x86_64__)
  FlushedDenormals() : before(_mm_getcsr()) { _mm_setcsr(before | 0x8040); }
  ~FlushedDenormals() { _mm_setcsr(before); }

 private:
  unsigned before;
#elif defined(__aarch64__)
  FlushedDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(before));
    asm volatile("msr fpcr, %0" : : "r"(before | 1ull << 24));
  }
  ~FlushedDenormals() { asm volatile("msr fpcr, %0" : : "r"(before)); }

 private:
  uint64_t before;
#endif
};

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

// A thread's own memory, which grows as needed.
void *own_memory(size_t bytes) {
  struct Memory {
    void *data = nullptr;
    size_t bytes = 0;
    ~Memory() { free(data); }
  };
  static thread_local Memory memory;
  if (memory.bytes < bytes) {
    free(memory.data);
    memory.data = aligned_alloc(LINE, (bytes + LINE - 1) / LINE * LINE);
    memory.bytes = memory.data ? bytes : 0;
  }
  return memory.data;
}

// A batch on its way: chunks of all clips, one after the other, which threads take as they are free.
class Work {
 public:
  Work(const Target &target, const Plan &plan, const Batch &batch)
      : target(target), plan(plan), batch(batch), first_chunk(batch.n_clips + 1),
        left(new std::atomic<int64_t>[batch.n_clips]), shared(new char[target.shared_bytes(plan) + 1]) {
    for (int64_t clip = 0; clip < batch.n_clips; ++clip) {
      const int64_t n_chunks = (batch.n_frames[clip] + CHUNK_FRAMES - 1) / CHUNK_FRAMES;
      first_chunk[clip + 1] = first_chunk[clip] + n_chunks;
      left[clip] = n_chunks;
    }
    extremes.resize(n_chunks());
    target.prepare(plan, shared.get());
  }

  int64_t n_chunks() const { return first_chunk.back(); }
  bool failed() const { return no_memory; }

  // What every thread does: chunks until none is left.
  void run() {
    const FlushedDenormals flushed;
    void *scratch = own_memory(target.scratch_bytes(plan));
    if (!scratch) {
      no_memory = true;
      return;
    }
    int64_t clip = 0;
    for (int64_t chunk; (chunk = next_chunk++) < n_chunks();) {
      while (first_chunk[clip + 1] <= chunk) ++clip;
      const int64_t first = (chunk - first_chunk[clip]) * CHUNK_FRAMES, n_frames = batch.n_frames[clip];
      const int64_t last = n_frames - first < CHUNK_FRAMES ? n_frames : first + CHUNK_FRAMES;
      extremes[chunk] = target.compute(plan, batch, clip, first, last, shared.get(), scratch);
      if (--left[clip] == 0 && !is_large()) finish(clip, 0, plan.n_rows);
    }
  }

  // Large clips are finished afterwards, some rows at a time, unless all rows have their statistics in common.
  bool is_large() const { return batch.width * plan.n_rows > SHARED_VALUES && plan.statistics != PER_CLIP; }
  void run_rows() {
    const FlushedDenormals flushed;
    const int64_t at_once = batch.row_stride == 1 ? LINE / sizeof(float) : 1;  // rows whose values share cache lines
    const int64_t n_parts = (plan.n_rows + at_once - 1) / at_once;
    for (int64_t i; (i = next_part++) < batch.n_clips * n_parts;) {
      const int64_t first = i % n_parts * at_once, last = first + at_once;
      finish(i / n_parts, first, last < plan.n_rows ? last : plan.n_rows);
    }
  }

 private:
  void finish(int64_t clip, int64_t first_row, int64_t last_row) {
    Extremes all = extremes[first_chunk[clip]];
    for (int64_t chunk = first_chunk[clip]; chunk < first_chunk[clip + 1]; ++chunk) {
      all.least = extremes[chunk].least < all.least ? extremes[chunk].least : all.least;
      all.most = extremes[chunk].most > all.most ? extremes[chunk].most : all.most;
    }
    if (batch.loudest && first_row == 0) memcpy(batch.loudest + clip, &all.most, sizeof(float));
    target.finish(plan, batch, clip, all, first_row, last_row);
  }

  const Target &target;
  const Plan &plan;
  const Batch &batch;
  std::vector<int64_t> first_chunk;           // [n_clips + 1] number of each clip's first chunk
  std::unique_ptr<std::atomic<int64_t>[]> left;  // [n_clips] chunks that are not done
  std::unique_ptr<char[]> shared;
  std::vector<Extremes> extremes;             // [n_chunks]
  std::atomic<int64_t> next_chunk{0}, next_part{0};
  std::atomic<bool> no_memory{false};
};

// Threads that wait for work. Never destroyed, since they end with the process; after a fork there is a new one.
class Pool {
 public:
  // Calls a function on `n_threads` threads, the caller's among them, and waits for all.
  template <class F> void run(int n_threads, const F &function) {
    std::unique_lock<std::mutex> mine(busy, std::try_to_lock);
    if (n_threads < 2 || !mine) return function();  // another caller has the threads
    start([](const void *f) { (*(const F *)f)(); }, &function, n_threads - 1);
    function();
    std::unique_lock<std::mutex> lock(mutex);
    wanted = 0;  // those that have not begun need not
    lock.unlock();
    for (int i = 0; i < SPINS && running > 0; ++i) pause();
    lock.lock();
    done.wait(lock, [this] { return running == 0; });
  }

  static Pool &of_process() {  // without a lock, which a fork could leave locked
    static std::atomic<Pool *> current{nullptr};
    Pool *pool = current;
    if (pool && pool->owner == getpid()) return *pool;
    Pool *fresh = new Pool;
    if (current.compare_exchange_strong(pool, fresh)) return *fresh;
    delete fresh;  // another thread was first
    return *pool;
  }

 private:
  void start(void (*function)(const void *), const void *f, int n) {
    const std::lock_guard<std::mutex> lock(mutex);
    while ((int)threads.size() < n) try {
        threads.emplace_back([this] { work(); });
      } catch (const std::system_error &) {  // no more threads than these
        break;
      }
    call = function;
    argument = f;
    wanted = n < (int)threads.size() ? n : (int)threads.size();
    keep_apart();
    ready.notify_all();
  }

  // Keeps the threads off the caller's core: there, a thread that wakes up may wait for it while other cores idle.
  void keep_apart() {
#if defined(__linux__)
    cpu_set_t cores;
    const int here = sched_getcpu();
    if (here < 0 || here >= CPU_SETSIZE || sched_getaffinity(0, sizeof cores, &cores)) return;
    CPU_CLR(here, &cores);
    if (!CPU_COUNT(&cores)) return;
    for (int i = 0; i < wanted; ++i) pthread_setaffinity_np(threads[i].native_handle(), sizeof cores, &cores);
#endif
  }

  void work() {
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      ready.wait(lock, [this] { return wanted > 0; });
      --wanted, ++running;
      lock.unlock();
      call(argument);
      lock.lock();
      if (--running == 0) done.notify_all();
    }
  }

  const pid_t owner = getpid();
  std::mutex busy, mutex;
  std::condition_variable ready, done;
  void (*call)(const void *) = nullptr;
  const void *argument = nullptr;
  int wanted = 0;
  std::atomic<int> running{0};  // changed under the mutex; looked at without it before the caller sleeps
  std::vector<std::thread> threads;  // never joined: the pool is never destroyed
};

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

// The name of the instruction set that computes: `wanted`, or the best there is when that is empty; null where the
// machine does not have it.
EXPORT const char *cumel_target(const char *wanted) {
  const Target *target = target_of(wanted);
  return target ? target->name : nullptr;
}

// Computes a batch. Returns 0; 1 where there is no memory, 2 where the machine does not have the instruction set.
EXPORT int cumel_compute(const Plan *plan, const Batch *batch, const char *wanted, int n_threads) try {
  const Target *target = target_of(wanted);
  if (!target) return 2;
  Work work(*target, *plan, *batch);
  const int64_t most = work.n_chunks() < n_threads ? work.n_chunks() : n_threads;
  Pool &pool = Pool::of_process();
  pool.run((int)most, [&work] { work.run(); });
  if (work.failed()) return 1;
  if (work.is_large()) pool.run((int)most, [&work] { work.run_rows(); });
  return 0;
} catch (const std::exception &) {
  return 1;
}
