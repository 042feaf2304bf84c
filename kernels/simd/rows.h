// Rows of LANES frames: mel bands, their levels, and the way to the output.
#pragma once
#include <cfloat>
#include <cstring>

#include "plan.h"
#include "vectors.h"

namespace {

// The polynomial of Cephes' logf: (ln(1 + f) - f + f^2 / 2) / f^3, for mantissas 1 + f from sqrt(1/2) to sqrt(2).
constexpr float LOGARITHM[] = {7.0376836292e-2f,  -1.1514610310e-1f, 1.1676998740e-1f,
                               -1.2420140846e-1f, 1.4249322787e-1f,  -1.6668057665e-1f,
                               2.0000714765e-1f,  -2.4999993993e-1f, 3.3333331174e-1f};
constexpr int INFINITE = 0x7f800000;  // bits
constexpr float FLAT_DB = 1e-3f;      // a clip that spans less is constant, as in reference.py

// The numbers of `Plan` that levels need.
struct Levels {
  float high, low, natural, least, silence, shift;
  bool logarithm;
};

inline Levels levels_of(const Plan &plan) {
  const float least = (float)plan.least;
  return {(float)plan.octave_high, (float)plan.octave_low, (float)plan.natural, least > FLT_MIN ? least : FLT_MIN,
          (float)plan.silence,     (float)plan.shift,      plan.logarithm != 0};
}

template <class V> INLINE V larger(V a, V b) { return a > b ? a : b; }
template <class V> INLINE V smaller(V a, V b) { return a < b ? a : b; }

// The sum of a filter's weights times its bins.
INLINE Floats mel_band(const Floats *bins, const float *weights, int n) {
  Floats sum = {};
  for (int k = 0; k < n; ++k) sum = fmaf(weights[k], bins[k], sum);
  return sum;
}

// The logarithm of x in the levels' unit. Of NaN or infinity it makes some number.
INLINE Floats logarithm(const Levels &levels, Floats x) {
  const Ints exponent = ((Ints)x - 0x3f3504f3) >> 23;
  const Floats e = converted(exponent), f = (Floats)((Ints)x - (exponent << 23)) - 1.f, square = f * f;
  Floats sum = all(LOGARITHM[0]);
  UNROLL
  for (int i = 1; i < 9; ++i) sum = fmaf(sum, f, all(LOGARITHM[i]));
  const Floats natural = f + square * fmaf(sum, f, all(-0.5f));
  return fmaf(levels.high, e, fmaf(levels.natural, natural, levels.low * e));
}

// What becomes of mel values with their offset: numbers below `least` are silence.
INLINE Floats level(const Levels &levels, Floats x) {
  const Floats loud = levels.logarithm ? logarithm(levels, x) : levels.natural * x;
  return (x < levels.least ? all(levels.silence) : loud) - levels.shift;
}

inline float level(const Levels &levels, int32_t bits) {
  const Floats of_all = level(levels, (Floats)(bits - Ints{}));
  return of_all[0];
}

// Writes the first n_frames lanes of rows to out[row * row_stride + frame * frame_stride].
inline void write(const Floats *rows, int64_t n_rows, int n_frames, float *out, int64_t row_stride,
                  int64_t frame_stride) {
  int64_t row = 0;
  if (frame_stride == 1 && n_frames == LANES) {
    for (; row < n_rows; ++row) *(Unaligned *)(out + row * row_stride) = rows[row];
  } else if (row_stride == 1) {
    for (; row + 4 <= n_rows; row += 4) {
      Floats x[4] = {rows[row], rows[row + 1], rows[row + 2], rows[row + 3]};
      transpose4<LANES>(x);
      for (int t = 0; t < n_frames; ++t)
        memcpy(out + row + t * frame_stride, (const float *)&x[t % 4] + t / 4 * 4, 4 * sizeof(float));
    }
  }
  for (; row < n_rows; ++row)
    for (int t = 0; t < n_frames; ++t) out[row * row_stride + t * frame_stride] = rows[row][t];
}

// The same for complex values, whose strides count pairs.
inline void write(const Complex *rows, int64_t n_rows, int n_frames, float *out, int64_t row_stride,
                  int64_t frame_stride) {
  for (int64_t row = 0; row < n_rows; ++row)
    for (int t = 0; t < n_frames; ++t) {
      float *to = out + 2 * (row * row_stride + t * frame_stride);
      to[0] = rows[row].x[t];
      to[1] = rows[row].y[t];
    }
}

}  // namespace
