// What Python hands over (native.py): structures of 8-byte fields, the same in both languages.
#pragma once
#include <cstddef>
#include <cstdint>

enum Stage { SPECTRUM, STRENGTH, MEL, DECIBEL };  // where the computation stops, as in common.cuh

// All that a config fixes.
struct Plan {
  int64_t p, l;              // n_fft = 2 P L: P-point transforms, then L-point ones
  int64_t hop_length;
  int64_t padding;           // samples before a clip's sample 0 at which frame 0 begins
  int64_t reflect;           // 1: a clip is mirrored at its ends; 0: zeros surround it
  int64_t int16;             // 1: samples are int16, scaled by the window; 0: float32
  int64_t stage;
  int64_t magnitude;         // 1: |X|, 0: |X|^2
  int64_t n_bins;            // wanted bins of the spectrum: the first ones
  int64_t n_rows;            // rows of the output: bins or mel bands
  int64_t n_twist;           // twiddles of an L-point transform
  const float *window;       // [L, P, 2] factors of samples 2 (p L + j) and the next; halves, since `split` adds two
  const float *twist;        // [P, n_twist, 2] cosine and tangent
  const float *roots;        // [P L / 2, 2] exp(-2 pi i k / n_fft)
  const int32_t *mel_first;    // [n_mels] first bin of a filter
  const int32_t *mel_offsets;  // [n_mels + 1] where its weights begin
  const float *mel_weights;
  double db_high, db_low;    // decibels of a factor of two: few bits, and the rest
  double db_natural;         // decibels of a factor of e
  double least;              // the smallest value that is told from silence
  double silence;            // its decibels
  double ref;                // decibels that read 0
  double top_db;             // kept below a clip's maximum; infinite: all
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
  uint8_t *image;            // [n_clips, n_rows, width] decibels stretched over 0 .. 255, or null
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
  // Lifts what lies more than top_db below the clip's maximum, in some of its rows, and makes the image of them.
  void (*finish)(const Plan &, const Batch &, int64_t clip, Extremes extremes, int64_t first_row, int64_t last_row);
};
