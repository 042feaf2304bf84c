// Samples of LANES frames at a time, transposed: one vector holds sample n of all of them.
//
// Frames overlap, so each sample is moved once, not once a frame. Columns of hop_length samples lie side by side: row i
// holds sample i of each. Sample n of the frames is the LANES values from row n % hop_length, column n / hop_length on.
#pragma once
#include <cstring>

#include "plan.h"
#include "vectors.h"

namespace {

struct Layout {
  int frame_length;
  int n_rows;     // samples of a column that frames read
  int n_columns;  // a multiple of four
  int pitch;      // samples from column to column in the copy that is transposed
  int firsts;     // where LANES first samples lie, which pre-emphasis treats in their own way
  int zeros;      // where LANES zeros lie
  int size;       // floats of the transposed samples, those two included
};

inline Layout layout_of(const Plan &plan) {
  Layout of;
  of.frame_length = plan.frame_length;
  of.n_rows = plan.hop_length < of.frame_length ? plan.hop_length : of.frame_length;
  of.n_columns = (LANES + (of.frame_length - 1) / of.n_rows + 3) / 4 * 4;
  of.pitch = of.n_rows + 3;  // rows are read by fours
  of.firsts = (of.n_rows + 3) * of.n_columns + LANES;
  of.zeros = of.firsts + LANES;
  of.size = of.zeros + LANES;
  return of;
}

inline size_t copied_floats(Layout of) { return (size_t)of.n_columns * of.pitch + 4; }
inline size_t summed_values(Layout of) { return 2 * ((size_t)of.n_columns + LANES); }

// Where sample n of the frames lies.
inline int place_of(const Plan &plan, Layout of, int n) {
  if (n >= of.frame_length) return of.zeros;
  return n == 0 && plan.frame_emphasis > 0 ? of.firsts : n % of.n_rows * of.n_columns + n / of.n_rows;
}

// A clip with its pre-emphasis, and with what lies beyond its ends: zeros, or the clip mirrored as often as it takes.
template <class Sample> struct Clip {
  const Sample *y;
  int64_t n_samples;
  int64_t pad_mode;
  double emphasis;
  int64_t follows;  // first sample that follows another one

  Clip(const Plan &plan, const Sample *samples, int64_t n)
      : y(samples + plan.dropped), n_samples(n - plan.dropped), pad_mode(plan.pad_mode),
        emphasis(plan.clip_emphasis), follows(plan.clip_emphasis > 0 && !plan.dropped) {}

  float sample(int64_t n) const {
    return emphasis > 0 && n >= follows ? emphasized((float)y[n], (float)y[n - 1], emphasis) : (float)y[n];
  }

  float any_sample(int64_t n) const {
    if (n >= 0 && n < n_samples) return sample(n);
    if (pad_mode == CONSTANT) return 0.f;
    const int64_t edge = pad_mode == SYMMETRIC, period = 2 * (n_samples - 1 + edge);
    if (period == 0) return sample(0);
    n = (n % period + period) % period;
    return sample(n < n_samples ? n : period - edge - n);
  }

  // Samples first .. first + n.
  void copy(int64_t first, int64_t n, float *to) const {
    int64_t i = 0;
    for (; i < n && first + i < follows; ++i) to[i] = any_sample(first + i);
    const int64_t inside = n_samples - first < n ? n_samples - first : n;
    if (emphasis > 0)
      for (; i < inside; ++i) to[i] = emphasized((float)y[first + i], (float)y[first + i - 1], emphasis);
    else
      for (; i < inside; ++i) to[i] = (float)y[first + i];
    for (; i < n; ++i) to[i] = any_sample(first + i);
  }
};

// Rows i .. i + 3 of N columns.
template <int N> INLINE void transpose_rows(const float *from, long stride, float *to, int n_columns) {
  typename Vector<N>::Floats x[4];
  UNROLL
  for (int k = 0; k < 4; ++k) x[k] = quads<N>(from + k * stride, 4 * stride);
  transpose4<N>(x);
  UNROLL
  for (int k = 0; k < 4; ++k) *(typename Vector<N>::Unaligned *)(to + (long)k * n_columns) = x[k];
}

inline void transpose(const float *from, long stride, Layout of, float *to) {
  for (int i = 0; i < of.n_rows; i += 4) {
    int c = 0;
    for (; c + LANES <= of.n_columns; c += LANES)
      transpose_rows<LANES>(from + c * stride + i, stride, to + i * of.n_columns + c, of.n_columns);
    for (; c < of.n_columns; c += 4)
      transpose_rows<4>(from + c * stride + i, stride, to + i * of.n_columns + c, of.n_columns);
  }
}

// Transposes the samples of n_frames frames, the first of which begins at sample `first`. Lanes past them may hold
// anything.
template <class Sample>
void load_frames(const Plan &plan, Layout of, Clip<Sample> clip, int64_t first, int n_frames, float *copied,
                 float *to) {
  const int64_t hop = plan.hop_length;
  if constexpr (sizeof(Sample) == sizeof(float))
    if (first >= 0 && of.n_rows == hop && clip.emphasis == 0 && first + of.n_columns * hop + 3 <= clip.n_samples)
      return transpose(clip.y + first, hop, of, to);
  const int used = n_frames - 1 + (of.frame_length - 1) / of.n_rows + 1;
  for (int c = 0; c < of.n_columns; ++c)
    if (c < used)
      clip.copy(first + c * hop, of.n_rows, copied + (long)c * of.pitch);
    else
      memset(copied + (long)c * of.pitch, 0, sizeof(float) * of.n_rows);
  transpose(copied, of.pitch, of, to);
}

// The sum of n rows of LANES columns. Four at a time are added in float32, which are exact where all are the same.
INLINE Doubles sum_rows(const float *from, long n_columns, int n) {
  const auto row = [=](int i) { return *(const Unaligned *)(from + i * n_columns); };
  Doubles sum = {};
  int i = 0;
  for (; i + 4 <= n; i += 4) sum += widened((row(i) + row(i + 1)) + (row(i + 2) + row(i + 3)));
  for (; i < n; ++i) sum += widened(row(i));
  return sum;
}

// The mean of each frame times a factor, from sums of columns, which frames share; in float64, since an error of the
// mean adds up over all samples.
inline Floats means(Layout of, const float *samples, double factor, double *sums) {
  const int whole = of.frame_length / of.n_rows, rest = of.frame_length % of.n_rows;
  double *all = sums, *part = sums + of.n_columns + LANES;  // of a column's rows, and of its first `rest` rows
  for (int c = 0; c < of.n_columns; c += LANES) {
    const Doubles head = sum_rows(samples + c, of.n_columns, rest);
    *(UnalignedDoubles *)(part + c) = head;
    *(UnalignedDoubles *)(all + c) =
        head + sum_rows(samples + (long)rest * of.n_columns + c, of.n_columns, of.n_rows - rest);
  }
  Doubles sum = {};
  for (int k = 0; k < whole; ++k) sum += *(const UnalignedDoubles *)(all + k);
  if (rest) sum += *(const UnalignedDoubles *)(part + whole);
  return __builtin_convertvector(sum * (factor / of.frame_length), Floats);
}

// Pre-emphasis of the frames, where they lie: from each row the one before it, times a, is subtracted. Before row 0 is
// the last row of the column before, but for the frames' first samples.
inline void emphasize(Layout of, double a, float *samples, float *last) {
  const long n = of.n_columns;
  last[0] = 0.f;  // before column 0, whose row 0 is a first sample only
  memcpy(last + 1, samples + (of.n_rows - 1) * n, sizeof(float) * (n - 1));
  *(Unaligned *)(samples + of.firsts) = (float)(1 - a) * *(const Unaligned *)samples;
  long j = of.n_rows * n;
  for (; j - LANES >= n; j -= LANES) {
    float *row = samples + j - LANES;
    *(Unaligned *)row = emphasized(*(const Unaligned *)row, *(const Unaligned *)(row - n), a);
  }
  while (--j >= n) samples[j] = emphasized(samples[j], samples[j - n], a);
  for (int c = 0; c < n; ++c) samples[c] = emphasized(samples[c], last[c], a);
}

}  // namespace
