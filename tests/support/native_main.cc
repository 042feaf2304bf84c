// Computes the batch that lies in a file, and writes it back: the CPU path as a program, for an emulator of another CPU.
//
// The file has the number of pointers, their places, a Plan, a Batch, and their arrays. A pointer, and its place, count
// bytes from the Plan on.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "plan.h"

extern "C" int cumel_compute(const Plan *plan, const Batch *batch, const char *wanted, int n_threads);

int main(int n_arguments, char **arguments) {
  FILE *file = n_arguments == 3 ? fopen(arguments[1], "r+b") : nullptr;
  int64_t n_pointers;
  if (!file || fread(&n_pointers, 8, 1, file) != 1) return 3;
  std::vector<int64_t> places(n_pointers);
  if (fread(places.data(), 8, n_pointers, file) != (size_t)n_pointers) return 3;
  const long begin = ftell(file);
  fseek(file, 0, SEEK_END);
  const size_t n_bytes = ftell(file) - begin;
  char *bytes = (char *)aligned_alloc(64, (n_bytes + 63) / 64 * 64);
  fseek(file, begin, SEEK_SET);
  if (fread(bytes, 1, n_bytes, file) != n_bytes) return 3;
  for (int64_t place : places) *(char **)(bytes + place) = bytes + *(int64_t *)(bytes + place);
  const int status = cumel_compute((Plan *)bytes, (Batch *)(bytes + sizeof(Plan)), "", atoi(arguments[2]));
  fseek(file, begin, SEEK_SET);
  if (fwrite(bytes, 1, n_bytes, file) != n_bytes || fclose(file)) return 3;
  return status;
}
