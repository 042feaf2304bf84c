// Cepstra of a log-mel spectrogram: a product with the DCT, the lifter folded into it. Each lane computes one frame.

extern "C" __global__ void __launch_bounds__(THREADS)
mfcc(const float *log_mel, const float *dct, int n_mels, int n_mfcc, int n_frames, float *out) {
  const int n_tiles = (n_frames + WARP - 1) / WARP;
  const int clip = blockIdx.x / n_tiles, frame = blockIdx.x % n_tiles * WARP + threadIdx.x % WARP;
  if (frame >= n_frames) return;
  const float *from = log_mel + (long long)clip * n_mels * n_frames + frame;
  float *to = out + (long long)clip * n_mfcc * n_frames + frame;
  for (int c = threadIdx.x / WARP; c < n_mfcc; c += WARPS) {
    float sum = 0.f;
    for (int m = 0; m < n_mels; ++m) sum = fmaf(dct[c * n_mels + m], from[(long long)m * n_frames], sum);
    to[(long long)c * n_frames] = sum;
  }
}
