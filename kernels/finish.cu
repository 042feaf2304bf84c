// Makes decibels final in a second launch, in which many blocks share a clip, when the first launch has no last block
// that does it (epilogue.cuh).

extern "C" __global__ void __launch_bounds__(THREADS)
finish(float *values, long long n_values, int share, int n_shares, float scale, float least, float ref, float top_db,
       const int *peaks, void *final, float *loudest) {
  const int clip = blockIdx.x / n_shares, part = blockIdx.x % n_shares;
  const int peak = peaks[2 * clip], smallest = LARGEST - peaks[2 * clip + 1];
  if (loudest && part == 0 && threadIdx.x == 0) loudest[clip] = __int_as_float(peak);
  const Stretch stretch = stretch_of(__int_as_float(peak), __int_as_float(smallest), {scale, least, ref, top_db});
  const long long skipped = (long long)part * share, from = clip * n_values + skipped;
  Final *to = FORM == FLOAT ? (Final *)values : (Final *)final;
  make_final(values + from, to + from, min((long long)share, n_values - skipped), stretch);
}
