// What every kernel shares. The host joins this text, constants as macros in front, with the kernel's own (plan.py).
//
// INT16      1: samples are int16, scaled by the window; 0: float32
// STAGE      where the computation stops, one of the four below
// FORM       what a log-mel spectrogram becomes, one of the three below
// MAGNITUDE  1: |X|, 0: |X|^2
// WARPS      of a block
// COLUMNS    of a tile of values: the most frames that a block may have, and one, for no two rows in one bank
#define SPECTRUM 0  // complex STFT
#define STRENGTH 1  // its magnitude or power
#define MEL 2
#define DECIBEL 3

#define FLOAT 0
#define HALF 1
#define IMAGE 2

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

#if STAGE == SPECTRUM
typedef float2 Value;
#define NOTHING make_float2(0.f, 0.f)
#else
typedef float Value;
#define NOTHING 0.f
#endif

struct Clip {           // plan.CLIP is its twin
  long long start;      // its sample 0, counted from `samples`; negative when only a later piece of it lies there
  long long first;      // its sample at which frame 0 begins, before sample 0 if that is padded
  long long n_samples;
  long long out;        // its value 0, counted from the output
  int n_frames;
  int width;            // frames in a row of its output; those past n_frames read as silence
  int n_blocks;         // that share in it, in all launches together
  int unused;
};

__device__ __forceinline__ float square(float2 x) { return fmaf(x.x, x.x, x.y * x.y); }

__device__ __forceinline__ float strength(float2 x) {
#if MAGNITUDE
  return sqrtf(square(x));
#else
  return square(x);
#endif
}

// Sample n of a clip, with what lies beyond its ends: zeros, or the clip mirrored as often as it takes.
__device__ __forceinline__ float sample_at(const Sample *y, long long n, long long n_samples, int reflect) {
  if (n < 0 || n >= n_samples) {
    if (!reflect) return 0.f;
    if (n_samples == 1) return (float)y[0];
    const long long period = 2 * (n_samples - 1);
    n %= period;
    if (n < 0) n += period;
    if (n >= n_samples) n = period - n;
  }
  return (float)y[n];
}
