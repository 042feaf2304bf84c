// What follows a clip's levels: its own statistics, then a mean and a deviation of each band. A block has a row of a
// clip, or a whole clip where that has statistics of its own.
//
// NORMALIZE  whose statistics are subtracted and divided by, one of the three below
// VARIANCE   0: only the mean is subtracted
#define PER_NOTHING 0
#define PER_BAND 1
#define PER_CLIP 2

// Where a group of a clip's values lies.
struct Group {
  long long from;  // first row's frame 0
  int n_rows;
  int width;       // frames of a row
  int n_frames;    // of them that the clip has
};

// The sum of x - pivot - mean, or of its square, over the frames that the clip has.
template <bool SQUARED>
__device__ __forceinline__ float sum_of(const float *values, Group group, float pivot, float mean, Sum *board) {
  Sum sum = {0.f, 0.f};
  for (int row = 0; row < group.n_rows; ++row) {
    const float *from = values + group.from + (long long)row * group.width;
#pragma unroll 4
    for (int t = threadIdx.x; t < group.n_frames; t += THREADS) {
      const float x = from[t] - pivot - mean;
      sum = plus(sum, SQUARED ? x * x : x);
    }
  }
  return total(sum, board);
}

// `bands` holds the mean of each band, and then one over the deviation of each. Variances divide by the number of
// values less `ddof`; `in_variance` is added to them, `in_deviation` to their roots. `final` may be where `values` are.
extern "C" __global__ void __launch_bounds__(THREADS)
statistics(const long long *starts, const long long *lengths, long long start, unsigned stride, long long n_samples,
           long long first, unsigned hop_length, long long beyond, long long least_samples, int width, int n_blocks,
           unsigned reciprocal, const float *bands, int n_rows, int ddof, float in_variance, float in_deviation,
           const float *values, void *final) {
  DYNAMIC_SHARED(shared);
  Sum *board = (Sum *)shared;
  const Batch batch = {starts, lengths, start, stride, n_samples, first, hop_length, beyond, least_samples, width,
                       n_blocks, reciprocal};
  const int group_rows = NORMALIZE == PER_CLIP ? n_rows : 1, n_groups = n_rows / group_rows;
  const int clip = blockIdx.x / n_groups, first_row = blockIdx.x % n_groups * group_rows;
  const int n_frames = frames_of(batch, clip);
  const Group group = {((long long)clip * n_rows + first_row) * width, group_rows, width, max(n_frames, 0)};
  float pivot = 0.f, mean = 0.f, deviation = 1.f;
#if NORMALIZE != PER_NOTHING
  if (n_frames > 0) {
    const long long n = (long long)n_frames * group_rows;
    pivot = values[group.from];  // Beside it, the sums and differences keep their digits.
    mean = sum_of<false>(values, group, pivot, 0.f, board) / (float)n;
#if VARIANCE
    const float squares = sum_of<true>(values, group, pivot, mean, board + WARPS);
    deviation = sqrtf(squares / (float)max(n - ddof, 1ll) + in_variance) + in_deviation;
#endif
  }
#endif
  for (int row = 0; row < group_rows; ++row) {
    const float offset = bands[first_row + row], factor = bands[n_rows + first_row + row];
    const long long from = group.from + (long long)row * width;
    for (int t = threadIdx.x; t < width; t += THREADS) {
      float x = values[from + t];
#if NORMALIZE != PER_NOTHING
      x = x - pivot - mean;
      if (VARIANCE) x = deviation == 0.f ? 0.f : x / deviation;
#endif
      x = (x - offset) * factor;
#if NORMALIZE != PER_NOTHING
      if (t >= n_frames) x = n_frames < 0 ? __int_as_float(NOT_A_NUMBER) : 0.f;
#endif
#if FORM == HALF
      ((unsigned short *)final)[from + t] = half_bits(x);
#else
      ((float *)final)[from + t] = x;
#endif
    }
  }
}
