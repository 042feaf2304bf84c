// Features of any n_fft around cuFFT: `cut` writes windowed frames to device memory, cuFFT transforms them, `features`
// does the rest from their spectra.
// A block's frames lie side by side: frame t of block b is row (b << log_frames) + t of the frames and the spectra.

#define TILE_ROWS WARP  // output rows of a block: bins, or mel filters

extern "C" __global__ void __launch_bounds__(THREADS)
cut(const Sample *samples, const long long *starts, const long long *lengths, long long start, unsigned stride,
    long long n_samples, long long first, unsigned hop_length, long long beyond, long long least_samples,
    int width, int n_blocks, unsigned reciprocal, int reflect, const float *window, int n_fft, int frame_length,
    int log_frames, unsigned first_block, float *frames) {
  const Batch batch = {starts, lengths, start, stride, n_samples, first, hop_length, beyond, least_samples, width,
                       n_blocks, reciprocal};
  const Clip clip = clip_of(batch, first_block + (blockIdx.x >> log_frames), log_frames);
  const int t = blockIdx.x & ((1 << log_frames) - 1);
  const long long at = clip.first + wide(t, hop_length);
  float *to = frames + (long long)blockIdx.x * n_fft;
  const Sample *y = samples + clip.start;
  const int n_heard = t < clip.n_frames ? frame_length : 0;
  float pivot = 0.f, mean = 0.f;
  const auto centred = [&](int n) { return sample_at(y, at + n, clip.n_samples, reflect) - pivot - mean; };
#if REMOVE_DC
  DYNAMIC_SHARED(shared);
  pivot = n_heard ? pivot_of(y, at, clip.n_samples, reflect) : 0.f;
  Sum sum = {0.f, 0.f};
  for (int n = threadIdx.x; n < n_heard; n += THREADS) sum = plus(sum, centred(n));
  mean = total(sum, (Sum *)shared) / frame_length;
#endif
  for (int n = threadIdx.x; n < n_fft; n += THREADS) {
    float x = 0.f;
    if (n < n_heard) {
      x = centred(n);
#if PREEMPHASIS_OF == OF_FRAME
      x = emphasised(centred(n ? n - 1 : 0), x);
#endif
      x *= window[n];
    }
    to[n] = x;
  }
}

// Mel filters come without their zeros: filter m has the weights mel_offsets[m] to mel_offsets[m + 1], for the bins
// from mel_first[m] on.
extern "C" __global__ void __launch_bounds__(THREADS)
features(const float2 *spectra, const long long *starts, const long long *lengths, long long start, unsigned stride,
         long long n_samples, long long first, unsigned hop_length, long long beyond, long long least_samples,
         int width, int n_blocks, unsigned reciprocal, int n_bins, const int *mel_first, const int *mel_offsets,
         const float *mel_weights, int n_rows, int log_frames, unsigned first_block, Value *out, float scale,
         float least, float ref, float top_db, int *peaks) {
  DYNAMIC_SHARED(shared);
  Value *tile = (Value *)shared;
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  const int n_tiles = (n_rows + TILE_ROWS - 1) / TILE_ROWS, block = blockIdx.x / n_tiles;
  const int first_row = blockIdx.x % n_tiles * TILE_ROWS, row = first_row + lane;
  const Batch batch = {starts, lengths, start, stride, n_samples, first, hop_length, beyond, least_samples, width,
                       n_blocks, reciprocal};
  const Clip clip = clip_of(batch, first_block + block, log_frames);
  if (row < n_rows)
    for (int t = warp; t < clip.n_frames; t += WARPS) {
      const float2 *bins = spectra + (((long long)block << log_frames) + t) * n_bins;
#if STAGE == SPECTRUM
      tile[lane * COLUMNS + t] = bins[row];
#elif STAGE == STRENGTH
      tile[lane * COLUMNS + t] = strength(bins[row]);
#else
      const float *weights = mel_weights + mel_offsets[row];
      const int n_weights = mel_offsets[row + 1] - mel_offsets[row];
      float sum = 0.f;
      for (int k = 0; k < n_weights; ++k) sum = fmaf(weights[k], strength(bins[mel_first[row] + k]), sum);
      tile[lane * COLUMNS + t] = sum;
#endif
    }
  __syncthreads();
  const Levels levels = {scale, least, ref, top_db};
  Value *to = out + ((long long)clip.index * n_rows + first_row) * width;
  store_tile(tile, min(TILE_ROWS, n_rows - first_row), clip, log_frames, width, to, levels, peaks);
}
