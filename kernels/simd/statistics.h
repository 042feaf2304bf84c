// The statistics of a clip's rows, and what they make of its values, in float64.
//
// A row is summed in TILE sums, of which each takes every TILE-th frame. So the bits do not depend on how the output
// lies in memory: one row's TILE frames are added at once, or one frame's TILE rows.
#pragma once
#include <cmath>

#include "plan.h"
#include "vectors.h"

namespace {

constexpr int TILE = 16;
typedef float Tile __attribute__((vector_size(4 * TILE), aligned(4)));
typedef double Sums __attribute__((vector_size(8 * TILE), aligned(8)));

INLINE Sums widened(const float *x) { return __builtin_convertvector(*(const Tile *)x, Sums); }

// At most TILE rows of a clip.
struct Rows {
  float *first;
  int64_t n_rows, n_frames, row_stride, frame_stride;

  bool is_frame_by_frame() const { return row_stride == 1 && n_rows == TILE; }
};

// Of each row, the sum of its values less its `centre`, or of their squares.
template <bool SQUARED> void add_up(Rows of, const double *centre, double *sums) {
  const auto term = [](auto x) { return SQUARED ? x * x : x; };
  if (of.is_frame_by_frame()) {
    Sums parts[TILE] = {}, total = {};
    const Sums centres = *(const Sums *)centre;
    for (int64_t t = 0; t < of.n_frames; ++t)
      parts[t % TILE] += term(widened(of.first + t * of.frame_stride) - centres);
    for (int i = 0; i < TILE; ++i) total += parts[i];
    *(Sums *)sums = total;
    return;
  }
  for (int64_t row = 0; row < of.n_rows; ++row) {
    const float *x = of.first + row * of.row_stride;
    Sums parts = {};
    int64_t t = 0;
    if (of.frame_stride == 1)
      for (; t + TILE <= of.n_frames; t += TILE) parts += term(widened(x + t) - centre[row]);
    for (; t < of.n_frames; ++t) parts[t % TILE] += term((double)x[t * of.frame_stride] - centre[row]);
    sums[row] = 0;
    for (int i = 0; i < TILE; ++i) sums[row] += parts[i];
  }
}

// (x - centre) scale - shift, for each row.
inline void rescale(Rows of, const double *centre, const double *scale, const double *shift) {
  if (of.is_frame_by_frame()) {
    const Sums centres = *(const Sums *)centre, scales = *(const Sums *)scale, shifts = *(const Sums *)shift;
    for (int64_t t = 0; t < of.n_frames; ++t) {
      float *x = of.first + t * of.frame_stride;
      *(Tile *)x = __builtin_convertvector((widened(x) - centres) * scales - shifts, Tile);
    }
    return;
  }
  for (int64_t row = 0; row < of.n_rows; ++row) {
    float *x = of.first + row * of.row_stride;
    int64_t t = 0;
    if (of.frame_stride == 1)
      for (; t + TILE <= of.n_frames; t += TILE)
        *(Tile *)(x + t) = __builtin_convertvector((widened(x + t) - centre[row]) * scale[row] - shift[row], Tile);
    for (; t < of.n_frames; ++t) {
      float &value = x[t * of.frame_stride];
      value = (float)(((double)value - centre[row]) * scale[row] - shift[row]);
    }
  }
}

// What a clip's deviation divides by, as a factor; 0 where nothing ever changes.
inline double factor_of(const Plan &plan, double squares, int64_t n_values) {
  if (!plan.variance) return 1;
  const double variance = squares / (double)(n_values - plan.ddof > 1 ? n_values - plan.ddof : 1);
  const double deviation = plan.eps_in_variance ? std::sqrt(variance + plan.eps) : std::sqrt(variance) + plan.eps;
  return deviation > 0 ? 1 / deviation : 0;
}

// Of some rows: less their mean, by their deviation, over the clip's own frames; then the last factor of each band.
// PER_CLIP takes all rows at once.
inline void normalize(const Plan &plan, const Batch &batch, int64_t clip, int64_t first_row, int64_t last_row) {
  float *out = batch.out + clip * batch.clip_stride;
  const int64_t n_frames = batch.n_frames[clip], n_values = n_frames * (last_row - first_row);
  const auto rows = [&](int64_t row, int64_t n) {
    const int64_t n_rows = last_row - row < TILE ? last_row - row : TILE;
    return Rows{out + row * batch.row_stride, n_rows, n, batch.row_stride, batch.frame_stride};
  };
  double centre[TILE] = {}, scale[TILE], shift[TILE] = {}, sums[TILE];
  const auto total = [&](auto add) {
    double sum = 0;
    for (int64_t row = first_row; row < last_row; row += TILE) {
      add(rows(row, n_frames), centre, sums);
      for (int64_t i = 0; i < rows(row, n_frames).n_rows; ++i) sum += sums[i];
    }
    return sum;
  };
  double of_clip = 1;
  if (plan.statistics == PER_CLIP) {
    for (double &c : centre) c = out[first_row * batch.row_stride];  // near the mean: sums of small numbers are exact
    const double mean = centre[0] + total(add_up<false>) / (double)n_values;
    for (double &c : centre) c = mean;
    of_clip = factor_of(plan, total(add_up<true>), n_values);
  }
  for (int64_t row = first_row; row < last_row; row += TILE) {
    const Rows of = rows(row, plan.statistics ? n_frames : batch.width);  // silence past the end is of a band, too
    for (double &s : scale) s = of_clip;
    if (plan.statistics == PER_BAND) {
      for (int64_t i = 0; i < of.n_rows; ++i) centre[i] = of.first[i * of.row_stride];
      add_up<false>(of, centre, sums);
      for (int64_t i = 0; i < of.n_rows; ++i) centre[i] += sums[i] / (double)n_frames;
      add_up<true>(of, centre, sums);
      for (int64_t i = 0; i < of.n_rows; ++i) scale[i] = factor_of(plan, sums[i], n_frames);
    }
    for (int64_t i = 0; plan.band_scale && i < of.n_rows; ++i) {
      scale[i] *= plan.band_scale[row + i];
      shift[i] = plan.band_shift[row + i];
    }
    rescale(of, centre, scale, shift);
  }
}

}  // namespace
