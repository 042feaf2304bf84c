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
  int n_fft;
  int n_rows;     // samples of a column that frames read
  int n_columns;      // a multiple of four
  int pitch;          // samples from column to column in the copy that is transposed
};

inline Layout layout_of(const Plan &plan) {
  Layout of;
  of.n_fft = 2 * plan.p * plan.l;
  of.n_rows = plan.hop_length < of.n_fft ? plan.hop_length : of.n_fft;
  of.n_columns = (LANES + (of.n_fft - 1) / (plan.hop_length < of.n_fft ? (int)plan.hop_length : of.n_fft) + 3) / 4 * 4;
  of.pitch = of.n_rows + 3;  // rows are read by fours
  return of;
}

inline size_t copied_floats(Layout of) { return (size_t)of.n_columns * of.pitch + 4; }
inline size_t transposed_floats(Layout of) { return (size_t)(of.n_rows + 3) * of.n_columns + LANES; }

// Sample n of a clip, with what lies beyond its ends: zeros, or the clip mirrored as often as it takes.
template <class Sample> float sample_at(const Sample *y, int64_t n, int64_t n_samples, bool reflect) {
  if (n < 0 || n >= n_samples) {
    if (!reflect) return 0.f;
    if (n_samples == 1) return (float)y[0];
    if (n < 0) n = -n;
    if (n >= n_samples) {
      const int64_t period = 2 * (n_samples - 1);
      n %= period;
      if (n >= n_samples) n = period - n;
    }
  }
  return (float)y[n];
}

// Samples first .. first + n of a clip as floats.
template <class Sample>
void copy(const Sample *y, int64_t first, int64_t n, int64_t n_samples, bool reflect, float *to) {
  int64_t i = 0;
  for (; i < n && first + i < 0; ++i) to[i] = sample_at(y, first + i, n_samples, reflect);
  const int64_t inside = n_samples - first < n ? n_samples - first : n;
  for (; i < inside; ++i) to[i] = (float)y[first + i];
  for (; i < n; ++i) to[i] = sample_at(y, first + i, n_samples, reflect);
}

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
void load_frames(const Plan &plan, Layout of, const Sample *y, int64_t first, int64_t n_samples, int n_frames,
                 float *copied, float *to) {
  const int64_t hop = plan.hop_length;
  if constexpr (sizeof(Sample) == sizeof(float))
    if (first >= 0 && of.n_rows == hop && first + of.n_columns * hop + 3 <= n_samples)
      return transpose(y + first, hop, of, to);
  const int used = n_frames - 1 + (of.n_fft - 1) / of.n_rows + 1;
  for (int c = 0; c < of.n_columns; ++c)
    if (c < used)
      copy(y, first + c * hop, of.n_rows, n_samples, plan.reflect, copied + (long)c * of.pitch);
    else
      memset(copied + (long)c * of.pitch, 0, sizeof(float) * of.n_rows);
  transpose(copied, of.pitch, of, to);
}

}  // namespace
