// From a tile of values in shared memory to the output: rows of frames, decibels, what top_db cuts off, images.

struct Levels {   // of decibels
  float scale;    // decibels of a factor of two
  float least;    // the smallest value that is told from silence
  float ref;      // decibels that read 0
  float top_db;   // kept below each clip's own maximum; infinite: all
};

struct Finish {            // what a clip's blocks leave to the last of them
  int *peaks;              // [n_clips, 2] largest value, and FLT_MAX less the smallest, as the bits of a float
  unsigned *tickets;       // [n_clips] blocks that are done; both are zero before and after each launch
  void *final;             // the output in FORM, unless that is FLOAT
  float *loudest;          // [n_clips] largest value of each clip; NaN or infinity tells of such samples
};

#define LARGEST 0x7f7fffff  // FLT_MAX
#define FLAT_DB 1e-3f       // a clip that spans less is constant, as in reference.py
#define IN_FLIGHT 8         // vectors that a thread of the last block loads at once

// Whether the last of a clip's blocks has anything left to do.
__device__ __forceinline__ bool needs_finish(Levels levels) { return FORM != FLOAT || levels.top_db <= 1e30f; }

__device__ __forceinline__ float decibels(float x, Levels levels) {
  const float audible = x < levels.least ? levels.least : x;  // keeps a NaN
  return fmaf(levels.scale, __log2f(audible), -levels.ref);
}

// The bits of a float16, rounded to nearest even.
__device__ __forceinline__ unsigned short half_bits(float x) {
  const unsigned bits = __float_as_int(x), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
  if (size >= 0x47800000u) return sign | (size > 0x7f800000u ? 0x7e00u : 0x7c00u);  // 65536 and more
  if (size < 0x38800000u) return sign | __float2int_rn(__int_as_float(size) * 16777216.f);  // steps of 2^-24
  return sign | (size - 0x38000000u + 0xfffu + (size >> 13 & 1u)) >> 13;
}

// A thread keeps its frame and steps through the rows: THREADS is a multiple of the frames of a tile.
__device__ __forceinline__ void store_tile(const Value *tile, int n_rows, int first_row, int first_frame,
                                           int log_frames, Clip clip, int clip_index, Value *out, Levels levels,
                                           Finish finish) {
  const int n_frames = 1 << log_frames, t = threadIdx.x & (n_frames - 1), frame = first_frame + t;
  const int step = THREADS >> log_frames, first = threadIdx.x >> log_frames;
  const Value *from = tile + first * COLUMNS + t;
  Value *to = out + clip.out + (long long)(first_row + first) * clip.width + frame;
  const bool sounds = frame < clip.n_frames;
  int largest = 0, smallest = LARGEST;
  if (frame < clip.width)
#pragma unroll 4
    for (int row = first; row < n_rows; row += step) {
      const Value x = sounds ? *from : NOTHING;
#if STAGE == DECIBEL
      *to = decibels(x, levels);
      const int bits = __float_as_int(x) & 0x7fffffff;  // in this order, a NaN is the largest
      largest = max(largest, bits);
      smallest = min(smallest, bits);
#else
      *to = x;
#endif
      from += step * COLUMNS;
      to += (long long)step * clip.width;
    }
#if STAGE == DECIBEL
  if (!sounds) smallest = LARGEST;
#pragma unroll
  for (int d = WARP / 2; d; d >>= 1) {
    largest = max(largest, __shfl_xor_sync(ALL_LANES, largest, d));
    if (FORM == IMAGE) smallest = min(smallest, __shfl_xor_sync(ALL_LANES, smallest, d));
  }
  if (threadIdx.x % WARP == 0 && needs_finish(levels)) {
    atomicMax(&finish.peaks[2 * clip_index], largest);
    if (FORM == IMAGE) atomicMax(&finish.peaks[2 * clip_index + 1], LARGEST - smallest);
  }
#endif
}

#if STAGE == DECIBEL
#if FORM == IMAGE
typedef unsigned char Final;
#elif FORM == HALF
typedef unsigned short Final;
#else
typedef float Final;
#endif
struct __align__(4 * sizeof(Final)) Final4 { Final x, y, z, w; };

struct Stretch {  // of a clip's decibels
  float floor;    // what lies below is lifted to it; NaN for a clip with NaN or infinity in it
  float scale;    // levels of the image per decibel
};

__device__ __forceinline__ Final final_of(float db, Stretch stretch) {
  const float x = db > stretch.floor ? db : stretch.floor;  // NaN when the floor is
#if FORM == IMAGE
  return (Final)((x - stretch.floor) * stretch.scale);
#elif FORM == HALF
  return half_bits(x);
#else
  return x;
#endif
}

__device__ __forceinline__ Stretch stretch_of(float peak, float least, Levels levels) {
  if (!(peak <= __int_as_float(LARGEST))) return {__int_as_float(0x7fc00000), 0.f};  // NaN
  const float top = decibels(peak, levels), low = decibels(least, levels);
  const float floor = top - levels.top_db;
  if (FORM != IMAGE) return {floor, 0.f};
  const float bottom = low > floor ? low : floor, span = top - bottom;
  return {bottom, span < FLAT_DB ? 0.f : 255.f / span * 1.0000002f};  // up, so that the maximum reaches 255
}

// Lifts what lies more than top_db below a clip's maximum and makes its final form; whole blocks, vectors in flight.
// Frames past the end hold silence, which is not above any floor: black in an image.
__device__ __forceinline__ void make_final(const float *from, Final *to, long long n_values, Stretch stretch) {
  const bool aligned = ((long long)from & 15) == 0 && ((long long)to & (4 * sizeof(Final) - 1)) == 0;
  const long long n_quads = aligned ? n_values / 4 : 0;
  for (long long i = threadIdx.x; i < n_quads; i += IN_FLIGHT * THREADS) {
    float4 x[IN_FLIGHT];
#pragma unroll
    for (int k = 0; k < IN_FLIGHT; ++k)
      if (i + k * THREADS < n_quads) x[k] = ((const float4 *)from)[i + k * THREADS];
#pragma unroll
    for (int k = 0; k < IN_FLIGHT; ++k)
      if (i + k * THREADS < n_quads)
        ((Final4 *)to)[i + k * THREADS] = {final_of(x[k].x, stretch), final_of(x[k].y, stretch),
                                           final_of(x[k].z, stretch), final_of(x[k].w, stretch)};
  }
  for (long long i = 4 * n_quads + threadIdx.x; i < n_values; i += THREADS)
    to[i] = final_of(from[i], stretch);
}

// The last of a clip's blocks to get here finishes the clip and leaves the workspace as it was. It sees every other
// block's values: barriers order a block's threads with its first, which fences on both sides of its ticket.
__device__ __forceinline__ void finish_clip(Clip clip, int clip_index, int n_rows, float *out, Levels levels,
                                            Finish finish, int *board) {
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    board[0] = atomicAdd(&finish.tickets[clip_index], 1u) + 1u == (unsigned)clip.n_blocks;
    if (board[0]) {
      __threadfence();
      board[1] = atomicExch(&finish.peaks[2 * clip_index], 0);
      board[2] = LARGEST - atomicExch(&finish.peaks[2 * clip_index + 1], 0);
      atomicExch(&finish.tickets[clip_index], 0u);
      if (finish.loudest) finish.loudest[clip_index] = __int_as_float(board[1]);
    }
  }
  __syncthreads();
  if (!board[0]) return;
  const Stretch stretch = stretch_of(__int_as_float(board[1]), __int_as_float(board[2]), levels);
  float *from = out + clip.out;
  Final *to = FORM == FLOAT ? (Final *)from : (Final *)finish.final + clip.out;
  make_final(from, to, (long long)n_rows * clip.width, stretch);
}
#endif
