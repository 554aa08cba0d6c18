// What a decoding step does to the heads of its rows, in a launch (decoding_heads.cuh).

#include "decoding_heads.cuh"
#include "dependent_launch.cuh"

// A warp takes a head of q, k or v. Grid: (rows * (queryHeads + 2 * kvHeads) + 7) / 8; 256 threads. Parameters: DecodingHeads.
extern "C" __global__ void __launch_bounds__(256) decoding_heads(const __grid_constant__ mi::DecodingHeads a) {
  mi::letKernelBehindBegin();
  mi::waitForKernelsInFront();
  const int item = blockIdx.x * 8 + (threadIdx.x >> 5);
  if (item < mi::decodingHeadItems(a)) mi::decodingHead(a, item);
}
