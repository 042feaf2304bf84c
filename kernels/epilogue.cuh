// From a tile of values in shared memory to the output: rows of frames, decibels, what top_db cuts off, images.
//
// The last block finishes the clip. top_db and images depend on a clip's extremes, which are known when all its blocks
// have written their values. So
//   1. each block writes its values, and adds its extremes to the clip's two `peaks`, by atomic maximum;
//   2. thread 0 of each block draws the clip's next ticket: the block with the last ticket is the last to get here;
//   3. thread 0 tells its block through `board`, three ints in shared memory: [0] whether this block is the last, and
//      then [1] the clip's largest value and [2] its smallest, as the bits of a float;
//   4. the last block reads the clip's values again and makes them final; its thread 0 has set `peaks` and `tickets`
//      back to zero, so the next launch finds them as this one did.
// A launch without `tickets` stops after step 1, and finish.cu follows, in which many blocks share a clip.

// From values of the mel spectrogram to levels, which are decibels or what else a config makes of them.
struct Levels {
  float scale;    // levels of a factor of two, or of 1 without the logarithm
  float least;    // smallest value above silence; smaller ones count as this
  float ref;      // levels to subtract, so that the reference reads 0
  float top_db;   // levels kept below each clip's own maximum; infinite: all
};

// What a clip's blocks hand to the last of them.
struct Finish {
  int *peaks;              // [n_clips, 2] largest value, and FLT_MAX less the smallest, as the bits of a float
  unsigned *tickets;       // [n_clips] blocks that are done; zero before and after each launch, as are `peaks`
  void *final;             // output in FORM; unused when FORM is FLOAT
  float *loudest;          // [n_clips] largest value of each clip; NaN or infinite where the samples were
};

#define LARGEST 0x7f7fffff  // FLT_MAX
#define NOT_A_NUMBER 0x7fc00000
#define FLAT_DB 1e-3f       // A clip that spans less is constant, as in config.py.
#define IN_FLIGHT 8         // vectors of four values that a thread of the last block loads at once

__device__ __forceinline__ float decibels(float x, Levels levels) {
  if (MEL_OFFSET != 0.f) x += MEL_OFFSET;
  const float audible = x < levels.least ? levels.least : x;  // a NaN stays one
  return fmaf(levels.scale, LOG ? __log2f(audible) : audible, -levels.ref);
}

// The bits of a float16, rounded to nearest even.
__device__ __forceinline__ unsigned short half_bits(float x) {
  const unsigned bits = __float_as_int(x), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
  if (size >= 0x47800000u) return sign | (size > 0x7f800000u ? 0x7e00u : 0x7c00u);  // 65536 and more
  if (size < 0x38800000u) return sign | __float2int_rn(__int_as_float(size) * 16777216.f);  // steps of 2^-24
  return sign | (size - 0x38000000u + 0xfffu + (size >> 13 & 1u)) >> 13;
}

// Stores a block's rows of frames to `out`, which points at frame 0 of the clip in the first of these rows. A thread
// keeps its frame and steps through the rows: THREADS is a multiple of the frames of a tile.
__device__ __forceinline__ void store_tile(const Value *tile, int n_rows, Clip clip, int log_frames, int width,
                                           Value *out, Levels levels, int *peaks) {
  const int t = threadIdx.x & ((1 << log_frames) - 1), frame = clip.first_frame + t;
  const int step = THREADS >> log_frames, first = threadIdx.x >> log_frames;
  const Value *from = tile + first * COLUMNS + t;
  const Value silence = EVERYWHERE(clip.n_frames < 0 ? __int_as_float(NOT_A_NUMBER) : 0.f);
  Value *to = out + (long long)first * width + frame;
  const bool sounds = t < clip.n_frames;
  int largest = 0, smallest = LARGEST;
  if (frame < width)
#pragma unroll 4
    for (int row = first; row < n_rows; row += step) {
      const Value x = sounds ? *from : silence;
#if STAGE == DECIBEL
      *to = decibels(x, levels);
      const int bits = __float_as_int(x) & 0x7fffffff;  // A NaN is the largest integer.
      largest = max(largest, bits);
      smallest = min(smallest, bits);
#else
      *to = x;
#endif
      from += step * COLUMNS;
      to += (long long)step * width;
    }
#if STAGE == DECIBEL
  if (!sounds) smallest = LARGEST;
#pragma unroll
  for (int d = WARP / 2; d; d >>= 1) {
    largest = max(largest, __shfl_xor_sync(ALL_LANES, largest, d));
    if (FORM == IMAGE) smallest = min(smallest, __shfl_xor_sync(ALL_LANES, smallest, d));
  }
  if (threadIdx.x % WARP == 0 && peaks) {
    atomicMax(&peaks[2 * clip.index], largest);
    if (FORM == IMAGE) atomicMax(&peaks[2 * clip.index + 1], LARGEST - smallest);
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

// What makes a clip's decibels final.
struct Stretch {
  float floor;    // decibels to which lower ones are lifted; NaN for a clip with NaN or infinity in it
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
  if (!(peak <= __int_as_float(LARGEST))) return {__int_as_float(NOT_A_NUMBER), 0.f};
  const float top = decibels(peak, levels), low = decibels(least, levels);
  const float floor = top - levels.top_db;
  if (FORM != IMAGE) return {floor, 0.f};
  const float bottom = low > floor ? low : floor, span = top - bottom;
  return {bottom, span < FLAT_DB ? 0.f : 255.f / span * 1.0000002f};  // rounded up, so that the maximum reaches 255
}

// Lifts values more than top_db below a clip's maximum, and stores all in their final form. A whole block works on
// them, each thread with several loads in flight. Frames past the end hold silence, which is never above a floor: black
// in an image.
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

// Steps 2 to 4 above, for a clip whose n_values begin at `out`. The last block sees every other block's values:
// barriers order a block's threads with thread 0, which has a memory fence before and after it draws its ticket.
__device__ __forceinline__ void finish_clip(Clip clip, int n_blocks, float *out, long long n_values, Levels levels,
                                            Finish finish, int *board) {
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    board[0] = atomicAdd(&finish.tickets[clip.index], 1u) + 1u == (unsigned)n_blocks;
    if (board[0]) {
      __threadfence();
      board[1] = atomicExch(&finish.peaks[2 * clip.index], 0);
      board[2] = LARGEST - atomicExch(&finish.peaks[2 * clip.index + 1], 0);
      atomicExch(&finish.tickets[clip.index], 0u);
      if (finish.loudest) finish.loudest[clip.index] = __int_as_float(board[1]);
    }
  }
  __syncthreads();
  if (!board[0]) return;
  const Stretch stretch = stretch_of(__int_as_float(board[1]), __int_as_float(board[2]), levels);
  make_final(out, FORM == FLOAT ? (Final *)out : (Final *)finish.final + clip.index * n_values, n_values, stretch);
}
#endif
