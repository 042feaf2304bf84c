// PCM to features on a CPU, LANES frames at a time; compiled once for each instruction set, which TARGET names.
//
// A block is LANES frames that follow each other. Nothing in a lane depends on any other lane, and a block that has
// fewer frames is computed as a whole: so a frame's numbers do not depend on what shares its block.
#include "frames.h"
#include "plan.h"
#include "rows.h"
#include "statistics.h"
#include "transforms.h"
#include "vectors.h"

namespace {

constexpr size_t LINE = 64;           // bytes that all arrays are aligned to
constexpr int64_t LONGEST_HOP = 1024;  // samples; the next block of a longer one is not fetched in advance

struct Scratch {
  float *copied, *samples;
  double *sums;
  Complex *exchange;
  void *bins;
  Floats *rows;
  size_t bytes;
};

// Arrays of one thread from `base` on, one after the other.
Scratch scratch_of(const Plan &plan, char *base) {
  const Layout layout = layout_of(plan);
  char *next = base;
  const auto take = [&next](size_t bytes) {
    char *array = next;
    next += (bytes + LINE - 1) / LINE * LINE;
    return array;
  };
  Scratch scratch;
  scratch.copied = (float *)take(sizeof(float) * copied_floats(layout));
  scratch.samples = (float *)take(sizeof(float) * layout.size);
  scratch.sums = (double *)take(sizeof(double) * summed_values(layout));
  scratch.exchange = (Complex *)take(sizeof(Complex) * plan.l * pitch_of(plan.p));
  scratch.bins = take((plan.stage == SPECTRUM ? sizeof(Complex) : sizeof(Floats)) * plan.n_bins);
  scratch.rows = (Floats *)take(sizeof(Floats) * (plan.stage >= MEL ? plan.n_rows : 0));
  scratch.bytes = next - base;
  return scratch;
}

size_t scratch_bytes(const Plan &plan) { return scratch_of(plan, nullptr).bytes; }

size_t shared_bytes(const Plan &plan) { return 2 * sizeof(int) * 2 * plan.p * plan.l; }

// Where first_pass finds its samples, in the order of its use.
void prepare(const Plan &plan, void *shared) {
  const Layout layout = layout_of(plan);
  int *where = (int *)shared;
  for (int j = 0; j < plan.l; ++j)
    for (int p = 0; p < plan.p; ++p)
      for (int i = 0; i < 2; ++i) *where++ = place_of(plan, layout, 2 * (p * (int)plan.l + j) + i);
}

// |X| or |X|^2 out of the squares.
void strengths(const Plan &plan, Floats *bins) {
  const float offset = (float)plan.bin_offset;
  if (offset > 0)
    for (int64_t k = 0; k < plan.n_bins; ++k) bins[k] = bins[k] + offset;
  if (plan.magnitude)
    for (int64_t k = 0; k < plan.n_bins; ++k) bins[k] = square_root(bins[k]);
}

// Mel bands of a block, or their levels; and the extremes of those of its frames, `offset` included.
void mel_rows(const Plan &plan, const Floats *bins, int n_frames, Floats *rows, Extremes &extremes) {
  const Levels levels = levels_of(plan);
  const float offset = plan.stage == DECIBEL ? (float)plan.offset : 0.f;
  Ints least = INFINITE - Ints{}, most = {};
  for (int64_t row = 0; row < plan.n_rows; ++row) {
    const int begin = plan.mel_offsets[row], n = plan.mel_offsets[row + 1] - begin;
    const Floats x = mel_band(bins + plan.mel_first[row], plan.mel_weights + begin, n) + offset;
    const Ints bits = (Ints)x & 0x7fffffff;
    least = smaller(least, bits);
    most = larger(most, bits);
    rows[row] = plan.stage == DECIBEL ? level(levels, x) : x;
  }
  for (int t = 0; t < n_frames; ++t) {
    extremes.least = least[t] < extremes.least ? least[t] : extremes.least;
    extremes.most = most[t] > extremes.most ? most[t] : extremes.most;
  }
}

// The frames of a block: transposed, pre-emphasised, and their means.
Frames load(const Plan &plan, const Batch &batch, int64_t clip, int64_t first, int n_frames, const int *where,
            Scratch scratch) {
  const Layout layout = layout_of(plan);
  const int64_t start = batch.starts[clip], n_samples = batch.lengths[clip];
  if (plan.int16) {
    const Clip<int16_t> of(plan, (const int16_t *)batch.samples + start, n_samples);
    load_frames(plan, layout, of, first, n_frames, scratch.copied, scratch.samples);
  } else {
    const Clip<float> of(plan, (const float *)batch.samples + start, n_samples);
    load_frames(plan, layout, of, first, n_frames, scratch.copied, scratch.samples);
  }
  const double a = plan.frame_emphasis;
  Frames frames = {scratch.samples, where, {}};
  if (plan.remove_dc) frames.mean = means(layout, scratch.samples, 1 - a, scratch.sums);
  if (a > 0) emphasize(layout, a, scratch.samples, (float *)scratch.sums);
  if (layout.frame_length < 2 * plan.p * plan.l) *(Unaligned *)(scratch.samples + layout.zeros) = Floats{};
  return frames;
}

// Samples of the block from `frame` on that the one before it does not read, as far as the clip has them.
Upcoming upcoming_at(const Plan &plan, const Batch &batch, int64_t clip, int64_t frame) {
  const int64_t overlap = plan.frame_length - plan.hop_length, n_samples = batch.lengths[clip];
  const int64_t first = frame * plan.hop_length - plan.padding + (overlap > 0 ? overlap : 0);
  int64_t n = n_samples - first;
  if (first < 0 || n <= 0 || plan.hop_length > LONGEST_HOP) return {nullptr, 0};
  if (n > LANES * plan.hop_length) n = LANES * plan.hop_length;
  const int64_t size = plan.int16 ? sizeof(int16_t) : sizeof(float);
  return {(const char *)batch.samples + (batch.starts[clip] + first) * size, n * size};
}

Extremes compute(const Plan &plan, const Batch &batch, int64_t clip, int64_t first_frame, int64_t last_frame,
                 const void *shared, void *base) {
  const Scratch scratch = scratch_of(plan, (char *)base);
  const int *where = (const int *)shared;
  Extremes extremes = {INFINITE, 0};
  for (int64_t frame = first_frame; frame < last_frame; frame += LANES) {
    const int n_frames = last_frame - frame < LANES ? last_frame - frame : LANES;
    float *out = batch.out + (plan.stage == SPECTRUM ? 2 : 1) *
                                 (clip * batch.clip_stride + frame * batch.frame_stride);
    const Upcoming upcoming = upcoming_at(plan, batch, clip, frame + LANES);
    const int64_t first = frame * plan.hop_length - plan.padding;
    const Frames frames = load(plan, batch, clip, first, n_frames, where, scratch);
    if (plan.stage == SPECTRUM) {
      Complex *bins = (Complex *)scratch.bins;
      transform(plan, frames, upcoming, scratch.exchange, bins);
      write(bins, plan.n_rows, n_frames, out, batch.row_stride, batch.frame_stride);
      continue;
    }
    Floats *bins = (Floats *)scratch.bins;
    transform(plan, frames, upcoming, scratch.exchange, bins);
    strengths(plan, bins);
    if (plan.stage >= MEL) mel_rows(plan, bins, n_frames, scratch.rows, extremes);
    write(plan.stage >= MEL ? scratch.rows : bins, plan.n_rows, n_frames, out, batch.row_stride, batch.frame_stride);
  }
  return extremes;
}

// Lifts n values to a floor, and stretches them over 0 .. 255 from there where an image is wanted.
void lift(float *values, int64_t n, int64_t stride, float floor, float scale, uint8_t *image) {
  if (stride == 1)
    for (int64_t i = 0; i < n; ++i) values[i] = values[i] < floor ? floor : values[i];
  else
    for (int64_t i = 0; i < n; ++i) values[i * stride] = values[i * stride] < floor ? floor : values[i * stride];
  if (image)
    for (int64_t i = 0; i < n; ++i) image[i] = (uint8_t)(int)((values[i * stride] - floor) * scale);
}

void fill(const Plan &plan, const Batch &batch, int64_t clip, int64_t first_row, int64_t last_row, float silence) {
  const int64_t pair = plan.stage == SPECTRUM ? 2 : 1;
  for (int64_t row = first_row; row < last_row; ++row)
    for (int64_t frame = batch.n_frames[clip]; frame < batch.width; ++frame)
      for (int64_t i = 0; i < pair; ++i)
        batch.out[pair * (clip * batch.clip_stride + row * batch.row_stride + frame * batch.frame_stride) + i] =
            silence;
}

// Lifts a clip's rows to `floor`, and makes their image.
void lift_rows(const Plan &plan, const Batch &batch, int64_t clip, int64_t first_row, int64_t last_row, float floor,
               float scale) {
  const int64_t n_frames = batch.n_frames[clip];
  float *out = batch.out + clip * batch.clip_stride;
  if (batch.row_stride == 1 && !batch.image)
    for (int64_t frame = 0; frame < n_frames; ++frame)
      lift(out + frame * batch.frame_stride + first_row, last_row - first_row, 1, floor, scale, nullptr);
  else
    for (int64_t row = first_row; row < last_row; ++row) {
      uint8_t *image = batch.image ? batch.image + (clip * plan.n_rows + row) * batch.width : nullptr;
      lift(out + row * batch.row_stride, n_frames, batch.frame_stride, floor, scale, image);
    }
}

void finish(const Plan &plan, const Batch &batch, int64_t clip, Extremes extremes, int64_t first_row,
            int64_t last_row) {
  if (plan.stage < DECIBEL) return fill(plan, batch, clip, first_row, last_row, 0.f);
  const Levels levels = levels_of(plan);
  const float top = level(levels, extremes.most), low = level(levels, extremes.least);
  const float silence = levels.silence - levels.shift;
  float floor = top - (float)plan.span > silence ? top - (float)plan.span : silence, scale = 0.f;
  fill(plan, batch, clip, first_row, last_row, plan.statistics ? 0.f : floor);
  if (extremes.most >= INFINITE) return;  // NaN or infinity: the caller refuses the clip
  if (batch.image) {
    floor = low > floor ? low : floor;
    scale = top - floor < FLAT_DB ? 0.f : 255.f / (top - floor) * 1.0000002f;  // up, so that the maximum reaches 255
  }
  if (batch.image || floor > low) lift_rows(plan, batch, clip, first_row, last_row, floor, scale);
  if (plan.statistics || plan.band_scale) normalize(plan, batch, clip, first_row, last_row);
}

}  // namespace

extern const Target TARGET;
const Target TARGET = {
#if LANES == 16
    "avx512",
#elif LANES == 8
    "avx2",
#else
    "baseline",
#endif
    LANES, shared_bytes, prepare, scratch_bytes, compute, finish};
