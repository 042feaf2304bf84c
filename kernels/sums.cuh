// Sums of many numbers, by the threads of a block, about as exact as in float64.

// A sum, and what rounding has left out of it (Knuth's TwoSum).
struct Sum { float high, low; };

__device__ __forceinline__ Sum plus(Sum sum, float x) {
  const float high = sum.high + x, added = high - sum.high;
  return {high, sum.low + ((sum.high - (high - added)) + (x - added))};
}

__device__ __forceinline__ Sum plus(Sum a, Sum b) {
  const Sum sum = plus(a, b.high);
  return {sum.high, sum.low + b.low};
}

// The sum of what all threads of a block have, the same bits for each. `board` in shared memory has room for WARPS
// sums, and no other sum of the block is written there.
__device__ __forceinline__ float total(Sum sum, Sum *board) {
#pragma unroll
  for (int d = WARP / 2; d; d >>= 1) {
    const Sum other = {__shfl_xor_sync(ALL_LANES, sum.high, d), __shfl_xor_sync(ALL_LANES, sum.low, d)};
    sum = plus(sum, other);
  }
  if (threadIdx.x % WARP == 0) board[threadIdx.x / WARP] = sum;
  __syncthreads();
  sum = board[0];
#pragma unroll
  for (int warp = 1; warp < WARPS; ++warp) sum = plus(sum, board[warp]);
  return sum.high + sum.low;
}
