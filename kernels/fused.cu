// PCM to features in one launch; each warp does G frames at a time: window, real FFT of N_FFT = 2 P L samples, mel,
// decibels.
//
// The samples of a frame in pairs are M = P L complex points z[n]; lane j of the L that share a frame holds
// z[p L + j]. P-point transforms in registers, one exchange through shared memory, and L-point transforms whose
// twiddles also hold the factor between the two passes leave Z[q + P r] in lane j, q = j + L i, register (i, r).
// X[k] follows from Z[k] and Z[M - k], which lies in lane L - j: shuffles, no second exchange.
//
// BINS       number of the spectrum's bins that are computed; M + 1: all
// N_TWIST    entries of a lane's twiddle table
//
// FRAME_LENGTH    samples of a frame; what follows up to N_FFT is zero, whatever the clip holds there

#define M (P * L)
#define N_FFT (2 * M)
#define I (P / L)               // L-point transforms that a lane does, after one P-point transform
#define G (WARP / L)            // frames that a warp does at a time; lanes are left over where L does not divide 32
#define PITCH (P + 2)           // float2 from one lane's outputs to the next's: whole float4, no two lanes in one bank
#define REGION (L * PITCH + (L < 16 ? 8 : 0))  // float2 of shared memory that one frame exchanges
#define BOTH (BINS > M / 2)     // whether both X[k] and X[M - k] are stored from a pair
#define HEARD(p) (2 * L * (p) < FRAME_LENGTH)      // whether some lane's pair p is in the frame
#define WHOLE(p) (2 * L * ((p) + 1) <= FRAME_LENGTH)  // whether every lane's pair p is
#define N_HEARD ((FRAME_LENGTH + 2 * L - 1) / (2 * L))  // pairs of a lane, some of which may lie past the frame
#define INNER (PREEMPHASIS_OF == OF_CLIP && !DROPPED)  // first sample of a clip at which an inner frame may begin

__device__ __forceinline__ float2 pair_of(SamplePair s) { return make_float2((float)s.x, (float)s.y); }

// What goes into the window for the samples x of a frame, which `before` stands in front of. What is left of them
// without the pivot is added to `sum`.
__device__ __forceinline__ float2 framed(float before, float2 x, float pivot, float &sum) {
#if REMOVE_DC
  before -= pivot, x.x -= pivot, x.y -= pivot;
  sum += x.x + x.y;
#endif
#if PREEMPHASIS_OF == OF_FRAME
  return make_float2(emphasised(before, x.x), emphasised(x.x, x.y));
#else
  return x;
#endif
}

// The lane's pair p of a frame inside its clip, whose pair 0 lies at `from`. Only samples of the frame are read.
template <bool ALIGNED>
__device__ __forceinline__ float2 inner_pair(const Sample *from, int p, int j, float pivot, float &sum) {
  if (!HEARD(p)) return make_float2(0.f, 0.f);
  const int n = 2 * L * p;
  const bool has_x = WHOLE(p) || n + 2 * j < FRAME_LENGTH, has_y = WHOLE(p) || n + 2 * j + 1 < FRAME_LENGTH;
  float2 x = make_float2(0.f, 0.f);
  if (ALIGNED && WHOLE(p)) {
    x = pair_of(__ldg((const SamplePair *)(from + n)));
  } else {
    if (has_x) x.x = (float)__ldg(from + n);
    if (has_y) x.y = (float)__ldg(from + n + 1);
  }
  float before = 0.f;
#if PREEMPHASIS_OF != NOTHING
  if (has_x) before = (float)__ldg(from + n - (PREEMPHASIS_OF == OF_CLIP || p || j));
#endif
#if PREEMPHASIS_OF == OF_CLIP
  x = make_float2(emphasised(before, x.x), emphasised(x.x, x.y));
#endif
  if (!has_x) x.x = pivot;
  if (!has_y) x.y = pivot;
  return framed(before, x, pivot, sum);
}

// The sum of what the lanes of a frame have, the same bits in each of them.
__device__ __forceinline__ float sum_of_frame(float x, int lane, int j) {
  constexpr int TWOS = L % 5 ? L : L / 5;
  if (L % 5 == 0) {
    const float mine = x;
    x = 0.f;
#pragma unroll
    for (int k = 0; k < 5; ++k) x += __shfl_sync(ALL_LANES, mine, lane - j + j % TWOS + k * TWOS);
  }
#pragma unroll
  for (int d = TWOS / 2; d; d >>= 1) x += __shfl_xor_sync(ALL_LANES, x, d);
  return x;
}

// Loads z[p] = samples 2 n and 2 n + 1 of a frame, n = p L + j, less their mean and with the frame's pre-emphasis:
//   x[n] - a x[n - 1] - (1 - a) mean, and (1 - a) (x[0] - mean) for the first one.
// Frames that reach over an end of the clip go through the lane's own part of `scratch`, which keeps the code of that
// rare path short.
__device__ __forceinline__ void load(const Sample *y, long long first, long long n_samples, int reflect, bool on,
                                     int lane, int j, float2 *scratch, float2 (&z)[P]) {
  const bool inside = on && first >= INNER && first + FRAME_LENGTH <= n_samples;
  const Sample *from = y + first + 2 * j;
  const float pivot = REMOVE_DC && on ? pivot_of(y, first, n_samples, reflect) : 0.f;
  float sum = 0.f;
  if (inside && ((long long)from & (sizeof(SamplePair) - 1)) == 0) {
#pragma unroll
    for (int p = 0; p < P; ++p) z[p] = inner_pair<true>(from, p, j, pivot, sum);
  } else if (inside) {
#pragma unroll
    for (int p = 0; p < P; ++p) z[p] = inner_pair<false>(from, p, j, pivot, sum);
  } else if (on) {
#pragma unroll 1
    for (int n = j; n < L * N_HEARD; n += L) {
      const long long at = first + 2 * n;
      const bool has_x = FRAME_LENGTH == N_FFT || 2 * n < FRAME_LENGTH;
      const bool has_y = FRAME_LENGTH == N_FFT || 2 * n + 1 < FRAME_LENGTH;
      const float2 x = make_float2(has_x ? sample_at(y, at, n_samples, reflect) : pivot,
                                   has_y ? sample_at(y, at + 1, n_samples, reflect) : pivot);
      float before = x.x;
#if PREEMPHASIS_OF == OF_FRAME
      if (has_x && n) before = sample_at(y, at - 1, n_samples, reflect);
#endif
      scratch[n] = framed(before, x, pivot, sum);
    }
#pragma unroll
    for (int p = 0; p < P; ++p) z[p] = HEARD(p) ? scratch[p * L + j] : make_float2(0.f, 0.f);
  } else {
#pragma unroll
    for (int p = 0; p < P; ++p) z[p] = make_float2(0.f, 0.f);
  }
#if REMOVE_DC
  constexpr float SHARE = (PREEMPHASIS_OF == OF_FRAME ? 1.f - PREEMPHASIS : 1.f) / FRAME_LENGTH;
  const float mean = SHARE * sum_of_frame(sum, lane, j);
#pragma unroll
  for (int p = 0; p < N_HEARD; ++p) z[p].x -= mean, z[p].y -= mean;
#endif
}

// Multiplies by the window and does the innermost butterflies. plan.py has halved the window, as `split` doubles.
__device__ __forceinline__ void windowed_pairs(const float2 *window, int j, float2 (&z)[P]) {
#pragma unroll
  for (int p = 0; p < P / 2; ++p) {
    float2 a = z[p];  // zeros where the frame has no pair p
    if (HEARD(p)) {
      const float2 v = __ldg(window + p * L + j);
      a = make_float2(a.x * v.x, a.y * v.y);
    }
    if (HEARD(p + P / 2)) {
      const float2 w = __ldg(window + (p + P / 2) * L + j), b = z[p + P / 2];
      z[p] = make_float2(fmaf(b.x, w.x, a.x), fmaf(b.y, w.y, a.y));
      z[p + P / 2] = make_float2(fmaf(-b.x, w.x, a.x), fmaf(-b.y, w.y, a.y));
    } else {
      z[p] = z[p + P / 2] = a;
    }
  }
}

// Computes X[k] (low) and X[M - k] (high), both times two, from Z[k] = a, Z[M - k] = b and w = exp(-2 pi i k / N_FFT).
__device__ __forceinline__ void split(float2 a, float2 b, float2 w, float2 &low, float2 &high) {
  const float2 even = make_float2(a.x + b.x, a.y - b.y), odd = make_float2(a.y + b.y, b.x - a.x);
  low.x = fmaf(-w.y, odd.y, fmaf(w.x, odd.x, even.x));
  low.y = fmaf(w.y, odd.x, fmaf(w.x, odd.y, even.y));
  high.x = 2.f * even.x - low.x;
  high.y = low.y - 2.f * even.y;
}

#if STAGE == SPECTRUM
__device__ __forceinline__ Value bin_of(float2 x) { return x; }
#else
__device__ __forceinline__ Value bin_of(float2 x) { return strength(x); }
#endif

// Stores the bins of a frame, from the transform's registers, to bins[k * stride].
__device__ __forceinline__ void store_bins(const float2 (&z)[I][L], const float2 *roots, int lane, int j, bool on,
                                           Value *bins, int stride) {
  const int partner = lane - j + (L - j) % L;
#pragma unroll
  for (int r = 0; r < (BOTH ? L / 2 : L); ++r)
#pragma unroll
    for (int i = 0; i < I; ++i) {
      if (P * r + L * i >= BINS) continue;
      const float2 mine = z[I - 1 - i][L - 1 - r], zeroth = i ? z[I - i][L - 1 - r] : z[0][(L - r) % L];
      const float2 sent = j == 0 ? zeroth : mine;  // lane 0 is its own partner
      const float2 b = make_float2(__shfl_sync(ALL_LANES, sent.x, partner), __shfl_sync(ALL_LANES, sent.y, partner));
      const int k = j + L * i + P * r;
      float2 low, high;
      split(z[i][r], b, __ldg(roots + k), low, high);
      if (on) {
        bins[k * stride] = bin_of(low);
        if (BOTH) bins[(M - k) * stride] = bin_of(high);
      }
    }
  if (BOTH && on && j == 0) bins[M / 2 * stride] = bin_of(make_float2(2.f * z[0][L / 2].x, -2.f * z[0][L / 2].y));
}

// Mel filters come in groups of L, of which lane j takes the j-th. Every filter of group g has QUADS[g] vectors of four
// weights, for the bins from first[g * L + j] on; the vectors lie group after group in weights[quad * L + j].
__device__ constexpr int QUADS[] = {MEL_QUADS};

// Stores the mel values of a frame, weighted sums of bins[], to tile[row * COLUMNS]. The recursion over groups makes
// every address a constant.
template <int GROUP, int DONE>
__device__ __forceinline__ void store_mel(const float *bins, const int *first, const float4 *weights, int n_rows, int j,
                                          bool on, float *tile) {
  constexpr int N_GROUPS = sizeof QUADS / sizeof *QUADS;
  if constexpr (GROUP < N_GROUPS) {
    const float *from = bins + __ldg(first + GROUP * L + j);
    float sum = 0.f;
#pragma unroll
    for (int n = 0; n < QUADS[GROUP]; ++n) {
      const float4 w = __ldg(weights + (DONE + n) * L + j);
      sum = fmaf(w.x, from[4 * n], sum);
      sum = fmaf(w.y, from[4 * n + 1], sum);
      sum = fmaf(w.z, from[4 * n + 2], sum);
      sum = fmaf(w.w, from[4 * n + 3], sum);
    }
    const bool full = GROUP + 1 < N_GROUPS;
    if (on && (full || GROUP * L + j < n_rows)) tile[(GROUP * L + j) * COLUMNS] = sum;
    store_mel<GROUP + 1, DONE + QUADS[GROUP]>(bins, first, weights, n_rows, j, on, tile);
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
frontend(const Sample *samples, const long long *starts, const long long *lengths, long long start, unsigned stride,
         long long n_samples, long long first, unsigned hop_length, long long beyond, long long least_samples,
         int width, int n_blocks, unsigned reciprocal, int reflect, const float2 *window, const float2 *twist,
         const float2 *roots, const int *mel_first, const float4 *mel_weights, int n_rows, int log_frames, Value *out,
         float scale, float least, float ref, float top_db, int *peaks, unsigned *tickets, void *final,
         float *loudest) {
  DYNAMIC_SHARED(shared);
  const int warp = __shfl_sync(ALL_LANES, threadIdx.x / WARP, 0);  // The compiler now knows that all lanes agree
  const int lane = threadIdx.x % WARP, j = lane % L, g = lane / L;
  const bool live = WARP % L == 0 || g < G;
  const Batch batch = {starts, lengths, start, stride, n_samples, first, hop_length, beyond, least_samples, width,
                       n_blocks, reciprocal};
  const Clip clip = clip_of(batch, blockIdx.x, log_frames);
  int *board = (int *)shared;
  float2 *exchange = (float2 *)(shared + 16) + (warp * G + (live ? g : 0)) * REGION;
  Value *tile = (Value *)(shared + 16 + sizeof(float2) * (WARPS * G * REGION));

#pragma unroll 1
  for (int t = warp * G; t < clip.n_frames; t += WARPS * G) {
    const bool on = live && t + g < clip.n_frames;
    float2 z[P];
    const long long at = clip.first + wide(t + g, hop_length);
    load(samples + clip.start, at, clip.n_samples, reflect, on, lane, j, exchange, z);
    windowed_pairs(window, j, z);
    dft<P>(Plain(), z);
    __syncwarp();
    if (live)
#pragma unroll
      for (int q = 0; q < P; q += 2)
        *(float4 *)(exchange + j * PITCH + q) = make_float4(z[q].x, z[q].y, z[q + 1].x, z[q + 1].y);
    __syncwarp();
    float2 y[I][L];
#pragma unroll
    for (int i = 0; i < I; ++i) {
#pragma unroll
      for (int l = 0; l < L; ++l) y[i][l] = exchange[l * PITCH + j + L * i];
      float2 table[N_TWIST];
#pragma unroll
      for (int n = 0; n < N_TWIST; ++n) table[n] = __ldg(twist + (i * N_TWIST + n) * L + j);
      dft<L>(Twisted<>{table}, y[i]);
    }
#if STAGE <= STRENGTH
    store_bins(y, roots, lane, j, on, tile + t + g, COLUMNS);
#else
    float *bins = (float *)exchange + ((g * (L - 2 * REGION)) & (WARP - 1));  // a warp's frames share no bank
    __syncwarp();
    store_bins(y, roots, lane, j, live, bins, 1);
    if (BOTH && live && j < 3) bins[BINS + j] = 0.f;  // A filter's last vector may reach so far.
    __syncwarp();
    store_mel<0, 0>(bins, mel_first, mel_weights, n_rows, j, on, tile + t + g);
#endif
    __syncwarp();  // before the next frame's samples go to `exchange`
  }
  __syncthreads();
  const Levels levels = {scale, least, ref, top_db};
  const long long n_values = (long long)n_rows * width, to = clip.index * n_values;
  store_tile(tile, n_rows, clip, log_frames, width, out + to, levels, peaks);
#if STAGE == DECIBEL
  if (tickets) finish_clip(clip, n_blocks, out + to, n_values, levels, {peaks, tickets, final, loudest}, board);
#endif
}
