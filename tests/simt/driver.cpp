// Runs one launch in a process of its own, as sanitizers need one: driver LAUNCH_FILE BUFFERS_FILE.
//
// The launch file is the fields of simt::Launch but the last, then all simt::Arguments, whose values are
// addresses in the process that wrote it, then the bytes at these. The buffers file gets the bytes of the
// buffers afterwards.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "launch.hpp"

constexpr size_t kAlign = 16;    // bytes; what is misaligned there shall be so here
constexpr int kLaunchFailed = 3; // what driver.py expects; sanitizers exit with others

static void check(bool ok, const char *what) {
  if (ok) return;
  perror(what);
  exit(EXIT_FAILURE);
}

static void read(FILE *file, void *to, size_t n_bytes) {
  check(fread(to, 1, n_bytes, file) == n_bytes, "simt driver: cannot read the launch");
}

// Exactly as long as asked for, so that ASan sees the first byte that is out of bounds.
static void *allocate(size_t n_bytes, size_t phase) {
  void *memory = nullptr;
  check(posix_memalign(&memory, kAlign, phase + n_bytes) == 0, "simt driver: no memory");
  return static_cast<char *>(memory) + phase;
}

int main(int n_words, char **words) {
  check(n_words == 3, "usage: driver LAUNCH_FILE BUFFERS_FILE");
  FILE *in = fopen(words[1], "rb");
  check(in, words[1]);
  simt::Launch launch = {};
  read(in, &launch, offsetof(simt::Launch, arguments));
  std::vector<simt::Argument> arguments(launch.n_arguments);
  read(in, arguments.data(), arguments.size() * sizeof arguments[0]);
  for (simt::Argument &argument : arguments) {
    if (argument.kind == '=' || !argument.value) continue;
    argument.value = allocate(argument.n_bytes, reinterpret_cast<uintptr_t>(argument.value) % kAlign);
    read(in, argument.value, argument.n_bytes);
  }
  fclose(in);

  launch.arguments = arguments.data();
  if (const char *failure = simt_launch(&launch)) {
    fprintf(stderr, "%s\n", failure);
    return kLaunchFailed;
  }

  FILE *out = fopen(words[2], "wb");
  check(out, words[2]);
  for (const simt::Argument &argument : arguments)
    if (argument.kind == 'p' && argument.value) fwrite(argument.value, 1, argument.n_bytes, out);
  check(fclose(out) == 0, words[2]);
  return EXIT_SUCCESS;
}
