// What Python hands over (native.py): structures of 8-byte fields, the same in both languages.
#pragma once
#include <cstddef>
#include <cstdint>

enum Stage { SPECTRUM, STRENGTH, MEL, DECIBEL };  // where the computation stops, as in common.cuh
enum PadMode { CONSTANT, REFLECT, SYMMETRIC };     // beyond a clip: zeros, or the clip mirrored without or with its edge
enum Statistics { NONE, PER_BAND, PER_CLIP };      // what a clip is normalized by

// All that a config fixes.
struct Plan {
  int64_t p, l;              // n_fft = 2 P L: P-point transforms, then L-point ones
  int64_t frame_length;      // samples of a frame, at most n_fft; zeros follow them
  int64_t hop_length;
  int64_t padding;           // samples before a clip's sample 0 at which frame 0 begins
  int64_t pad_mode;
  int64_t dropped;           // 1: a clip begins at its second sample, the first being there for pre-emphasis
  int64_t remove_dc;         // 1: each frame's mean is subtracted from it
  int64_t int16;             // 1: samples are int16, scaled by the window; 0: float32
  int64_t stage;
  int64_t magnitude;         // 1: |X|, 0: |X|^2
  int64_t n_bins;            // wanted bins of the spectrum: the first ones
  int64_t n_rows;            // rows of the output: bins or mel bands
  int64_t n_twist;           // twiddles of an L-point transform
  int64_t logarithm;         // 0: values stay as they are
  int64_t statistics;
  int64_t variance;          // 1: divided by the deviation
  int64_t ddof;
  int64_t eps_in_variance;   // 1: eps is added before the root; 0: after it
  const float *window;       // [L, P, 2] factors of samples 2 (p L + j) and the next; halves, since `split` adds two
  const float *twist;        // [P, n_twist, 2] cosine and tangent
  const float *roots;        // [P L / 2, 2] exp(-2 pi i k / n_fft)
  const int32_t *mel_first;    // [n_mels] first bin of a filter
  const int32_t *mel_offsets;  // [n_mels + 1] where its weights begin
  const float *mel_weights;
  const double *band_scale;  // [n_mels] the last factor of each band, and what is subtracted then; or null
  const double *band_shift;
  double clip_emphasis;      // a in y[n] = x[n] - a x[n - 1], of the clip
  double frame_emphasis;     // the same of each frame, where y[0] = (1 - a) x[0]
  double bin_offset;         // added to |X|^2
  double offset;             // added to mel values
  double octave_high, octave_low;  // the level of a factor of two: few bits, and the rest
  double natural;            // the level of a factor of e, or of 1 without a logarithm
  double least;              // the smallest value that is told from silence
  double silence;            // its level, before `shift`
  double shift;              // subtracted from levels
  double span;               // of levels, kept below a clip's maximum; infinite: all
  double eps;
};

// What one call computes.
struct Batch {
  const void *samples;
  const int64_t *starts;     // [n_clips] place of each clip's sample 0 in `samples`
  const int64_t *lengths;    // [n_clips] samples
  const int64_t *n_frames;   // [n_clips]
  int64_t n_clips;
  int64_t width;             // frames of the output; those past a clip's last read as silence
  float *out;                // values (for SPECTRUM pairs of them)
  int64_t clip_stride, row_stride, frame_stride;  // distances in `out`, in values
  uint8_t *image;            // [n_clips, n_rows, width] levels stretched over 0 .. 255, or null
  float *loudest;            // [n_clips] largest mel value of each clip: NaN or infinity tells of such samples
};

// The extremes of mel values, as the bits of a float: in this order, a NaN is the largest.
struct Extremes {
  int32_t least, most;
};

// One instruction set.
struct Target {
  const char *name;
  int lanes;                                       // frames of a block
  size_t (*shared_bytes)(const Plan &);            // size of the table that `prepare` writes, for all threads
  void (*prepare)(const Plan &, void *shared);
  size_t (*scratch_bytes)(const Plan &);           // size of one thread's arrays
  Extremes (*compute)(const Plan &, const Batch &, int64_t clip, int64_t first_frame, int64_t last_frame,
                      const void *shared, void *scratch);
  // Makes some rows of a clip final: lifts what lies below its floor, normalizes, makes the image.
  void (*finish)(const Plan &, const Batch &, int64_t clip, Extremes extremes, int64_t first_row, int64_t last_row);
};
