// Exchanges within the four threads that hold a row of a product's sums.

#pragma once

namespace mi {

/// Transposes the 4 x 4 words of a quad: thread q gives its word i to thread i.
__device__ __forceinline__ void transposeQuad(unsigned (&x)[4]) {
  const int q = threadIdx.x & 3;
  unsigned y[4];
  const unsigned s0 = q & 1 ? x[0] : x[1], s1 = q & 1 ? x[2] : x[3];
  const unsigned r0 = __shfl_xor_sync(0xffffffffu, s0, 1), r1 = __shfl_xor_sync(0xffffffffu, s1, 1);
  y[0] = q & 1 ? r0 : x[0];
  y[1] = q & 1 ? x[1] : r0;
  y[2] = q & 1 ? r1 : x[2];
  y[3] = q & 1 ? x[3] : r1;
  const unsigned s2 = q & 2 ? y[0] : y[2], s3 = q & 2 ? y[1] : y[3];
  const unsigned r2 = __shfl_xor_sync(0xffffffffu, s2, 2), r3 = __shfl_xor_sync(0xffffffffu, s3, 2);
  x[0] = q & 2 ? r2 : y[0];
  x[1] = q & 2 ? r3 : y[1];
  x[2] = q & 2 ? y[2] : r2;
  x[3] = q & 2 ? y[3] : r3;
}

}  // namespace mi
