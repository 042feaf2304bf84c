// What every kernel shares. The host joins this text, constants as macros in front, with the kernel's own (plan.py).
//
// INT16      1: samples are int16, scaled by the window; 0: float32
// STAGE      where the computation stops, one of the four below
// FORM       what a log-mel spectrogram becomes, one of the three below
// MAGNITUDE  1: |X|, 0: |X|^2
// BIN_OFFSET added to |X|^2
// MEL_OFFSET added to mel values
// LOG        whether the logarithm of them is taken
// WARPS      of a block
// COLUMNS    of a tile of values: the most frames that a block may have, and one, for no two rows in one bank
//
// PREEMPHASIS     a in y[n] = x[n] - a x[n - 1]
// PREEMPHASIS_OF  what it is done to, one of the three below
// DROPPED         samples that pre-emphasis of a clip leaves out at its start, 0 or 1
// REMOVE_DC       whether a frame's mean is subtracted from it, before its pre-emphasis
// SYMMETRIC       1: a mirrored clip repeats the sample at its edge
#define SPECTRUM 0  // complex STFT
#define STRENGTH 1  // its magnitude or power
#define MEL 2
#define DECIBEL 3

#define FLOAT 0
#define HALF 1
#define IMAGE 2

#define NOTHING 0
#define OF_FRAME 1  // y[0] = (1 - a) x[0]
#define OF_CLIP 2   // y[0] = x[0], or there is no y[0]

#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#endif

#define WARP 32
#define THREADS (WARPS * WARP)
#define ALL_LANES 0xffffffffu

#if INT16
typedef short Sample;
typedef short2 SamplePair;
#else
typedef float Sample;
typedef float2 SamplePair;
#endif

typedef float2 Complex, Twiddle;  // the types that fft.cuh computes with
#define UNROLL _Pragma("unroll")

#if STAGE == SPECTRUM
typedef float2 Value;
#define EVERYWHERE(x) make_float2(x, x)
#else
typedef float Value;
#define EVERYWHERE(x) (x)
#endif

// Where a batch's clips lie, and what of them is wanted.
struct Batch {
  const long long *starts;   // place of each clip's sample 0, counted from `samples`; null: start, start + stride, ...
  const long long *lengths;  // samples of each clip, unchecked when they come from the device; null: n_samples
  long long start;           // negative when only a later piece of the clip lies there
  unsigned stride;
  long long n_samples;       // samples of the longest clip
  long long first;           // sample at which frame 0 of the output begins, before sample 0 if that is padded
  unsigned hop_length;
  long long beyond;          // a frame less the padding after a clip: its last frame begins so far before its end
  long long least;           // samples without which a clip has no frame
  int width;                 // frames in a row of the output; what lies past a clip's last reads as silence
  int n_blocks;              // blocks that share a clip
  unsigned reciprocal;       // 2^32 / n_blocks, rounded down: a division by hand takes a third of the compiler's
};

// A block's share of a clip: frames from first_frame on, as many as it has room for.
struct Clip {
  int index;
  int first_frame;
  int n_frames;         // frames of the share that the clip has, at most a warp's lanes; -1 when its length is out of range
  long long start;
  long long n_samples;  // without what is dropped
  long long first;      // sample at which first_frame begins
};

// The product of what is not negative, for one instruction.
__device__ __forceinline__ long long wide(unsigned a, unsigned b) { return (unsigned long long)a * b; }

// All clips have as many blocks, so that a block's number says which of them it has. For whole warps.
__device__ __forceinline__ Clip clip_of(Batch batch, unsigned block, int log_frames) {
  Clip clip;
  const int t = threadIdx.x % WARP, room = 1 << log_frames;
  clip.index = __umulhi(block, batch.reciprocal);  // or one less
  int share = block - clip.index * batch.n_blocks;
  if (share >= batch.n_blocks) share -= batch.n_blocks, ++clip.index;
  clip.first_frame = share << log_frames;
  clip.start = batch.start + wide(clip.index, batch.stride);
  clip.n_samples = batch.n_samples;
  bool known = true;
  if (batch.lengths) {
    const long long given = __ldg(batch.lengths + clip.index);
    known = given >= batch.least && given <= batch.n_samples;
    clip.n_samples = known ? given : 0;
    if (batch.starts) clip.start = __ldg(batch.starts + clip.index);
  }
#if DROPPED
  clip.start += DROPPED;
  clip.n_samples -= DROPPED;
#endif
  clip.first = batch.first + wide(clip.first_frame, batch.hop_length);
  const bool sounds = clip.first + wide(t, batch.hop_length) <= clip.n_samples - batch.beyond;
  const bool wanted = t < room && clip.first_frame + t < batch.width;
  clip.n_frames = __popc(__ballot_sync(ALL_LANES, sounds && wanted));
  if (!known) clip.n_frames = -1;
  return clip;
}

// Frames of a clip, whose frame 0 is the output's; -1 when its length is out of range.
__device__ __forceinline__ int frames_of(Batch batch, int clip) {
  long long n_samples = batch.n_samples;
  if (batch.lengths) {
    n_samples = __ldg(batch.lengths + clip);
    if (n_samples < batch.least || n_samples > batch.n_samples) return -1;
  }
  return 1 + (n_samples - DROPPED - batch.beyond - batch.first) / batch.hop_length;
}

__device__ __forceinline__ float square(float2 x) { return fmaf(x.x, x.x, x.y * x.y); }

__device__ __forceinline__ float strength(float2 x) {
  const float power = BIN_OFFSET == 0.f ? square(x) : square(x) + BIN_OFFSET;
#if MAGNITUDE
  return sqrtf(power);
#else
  return power;
#endif
}

// x, which `before` stands in front of, with pre-emphasis.
__device__ __forceinline__ float emphasised(float before, float x) { return fmaf(-PREEMPHASIS, before, x); }

// Sample n of a clip, which it has, with the clip's pre-emphasis.
__device__ __forceinline__ float own_sample(const Sample *y, long long n) {
#if PREEMPHASIS_OF == OF_CLIP
  if (DROPPED || n > 0) return emphasised((float)y[n - 1], (float)y[n]);
#endif
  return (float)y[n];
}

// Sample n of a clip, with what lies beyond its ends: zeros, or the clip mirrored as often as it takes.
__device__ __forceinline__ float sample_at(const Sample *y, long long n, long long n_samples, int reflect) {
  if (n < 0 || n >= n_samples) {
    if (!reflect) return 0.f;
    if (n_samples == 1) return own_sample(y, 0);
    const long long period = 2 * (n_samples - 1 + SYMMETRIC);
    n %= period;
    if (n < 0) n += period;
    if (n >= n_samples) n = period - n - SYMMETRIC;
  }
  return own_sample(y, n);
}

// What is subtracted from a frame, which begins at sample n, before its mean is taken: a sample of it, or 0. Beside a
// large mean, what is left has all its digits. What is all padding stays 0.
__device__ __forceinline__ float pivot_of(const Sample *y, long long n, long long n_samples, int reflect) {
  if (!reflect && (n < 0 || n >= n_samples)) return 0.f;
  return own_sample(y, n < 0 ? 0 : min(n, n_samples - 1));
}
