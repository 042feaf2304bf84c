// Features of any n_fft around cuFFT: frames in device memory, their spectra by cuFFT, and the rest from those.
// A block's frames lie side by side: frame t of block b is row (b << log_frames) + t of the frames and the spectra.

#define TILE_ROWS WARP  // output rows of a block: bins, or mel filters

extern "C" __global__ void __launch_bounds__(THREADS)
cut(const Sample *samples, const Clip *clips, const int2 *work, long long hop_length, int reflect,
    const float *window, int n_fft, int log_frames, float *frames) {
  const int2 block = work[blockIdx.x >> log_frames];
  const Clip clip = clips[block.x];
  const int frame = block.y + (blockIdx.x & ((1 << log_frames) - 1));
  const long long first = clip.first + frame * hop_length;
  float *to = frames + (long long)blockIdx.x * n_fft;
  for (int n = threadIdx.x; n < n_fft; n += THREADS)
    to[n] = frame < clip.n_frames
                ? window[n] * sample_at(samples + clip.start, first + n, clip.n_samples, reflect) : 0.f;
}

// Mel filters come without their zeros: filter m has the weights mel_offsets[m] to mel_offsets[m + 1], the first of
// them for bin mel_first[m].
extern "C" __global__ void __launch_bounds__(THREADS)
features(const float2 *spectra, const Clip *clips, const int2 *work, int n_bins, const int *mel_first,
       const int *mel_offsets, const float *mel_weights, int n_rows, int log_frames, Value *out, float scale, float least,
       float ref, float top_db, int *peaks, unsigned *tickets, void *final, float *loudest) {
  DYNAMIC_SHARED(shared);
  int *board = (int *)shared;
  Value *tile = (Value *)(shared + 16);
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  const int n_tiles = (n_rows + TILE_ROWS - 1) / TILE_ROWS, index = blockIdx.x / n_tiles;
  const int first_row = blockIdx.x % n_tiles * TILE_ROWS, row = first_row + lane;
  const int clip_index = work[index].x, first_frame = work[index].y;
  const Clip clip = clips[clip_index];
  const int n_frames = 1 << log_frames;
  if (row < n_rows)
    for (int t = warp; t < n_frames && first_frame + t < clip.n_frames; t += WARPS) {
      const float2 *bins = spectra + (((long long)index << log_frames) + t) * n_bins;
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
  const Finish finish = {peaks, tickets, final, loudest};
  store_tile(tile, min(TILE_ROWS, n_rows - first_row), first_row, first_frame, log_frames, clip, clip_index, out,
             levels, finish);
#if STAGE == DECIBEL
  if (needs_finish(levels)) finish_clip(clip, clip_index, n_rows, out, levels, finish, board);
#endif
}
