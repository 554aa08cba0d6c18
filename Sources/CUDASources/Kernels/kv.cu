// The key-value cache of one layer: storing rows, and fp8 e4m3 storage with one scale a kv head.
//
// Caches are [kvHeads][capacity][headDim] with a head stride (capacity * headDim) in elements.
// Bases are 16-byte aligned, headDim and strides multiples of 8 (fp8: headDim a multiple of 16).
// blocks(n) = (n + 255) / 256 blocks of 256 threads; no dynamic shared memory.

#include "fp8.cuh"
#include "numbers.cuh"
#include "reductions.cuh"

using namespace mi;

// Stores k and v rows at positions firstPosition ..< firstPosition + rows. k, v: [rows][kvHeads]
// [headDim] bf16 with row strides. position: what is added to firstPosition, or null.
// Grid: (blocks(rows * kvHeads * headDim / 8), 2). Block: 256.
// Parameters: k, v, kCache, vCache, int rows, int kvHeads, int headDim, long long kStride,
// long long vStride, int firstPosition, long long kvHeadStride, const int* position.
extern "C" __global__ void __launch_bounds__(256) store(
    const bf16* k, const bf16* v, bf16* kCache, bf16* vCache, int rows, int kvHeads, int headDim,
    long long kStride, long long vStride, int firstPosition, long long kvHeadStride,
    const int* position) {
  const unsigned pieces = (unsigned)headDim / 8;
  const unsigned rowItems = kvHeads * pieces;
  const unsigned item = blockIdx.x * 256 + threadIdx.x;
  const unsigned row = item / rowItems;
  if (row >= (unsigned)rows) return;
  const unsigned inRow = item - row * rowItems;
  const unsigned head = inRow / pieces;
  const unsigned piece = inRow - head * pieces;
  const bf16* source = blockIdx.y == 0 ? k + row * kStride : v + row * vStride;
  bf16* target = (blockIdx.y == 0 ? kCache : vCache) + head * kvHeadStride +
                 (long long)(firstPosition + (position ? *position : 0) + row) * headDim + piece * 8;
  *(uint4*)target = *(const uint4*)(source + inRow * 8);
}

// amax[h] = max(amax[h], largest magnitude of positions firstPosition ..< firstPosition + count of kv
// head h); NaN is passed over. amax: [kvHeads] fp32, not negative: zero it before the first range.
// Grid: (any number of blocks, kvHeads); (min(256, count * headDim / 16384 + 1), kvHeads) is good.
// Block: 256. Parameters: cache, amax, int headDim, int firstPosition, int count,
// long long kvHeadStride.
extern "C" __global__ void __launch_bounds__(256) fp8_amax(
    const bf16* cache, float* amax, int headDim, int firstPosition, int count,
    long long kvHeadStride) {
  const bf16* source = cache + blockIdx.y * kvHeadStride + (long long)firstPosition * headDim;
  const long long pieces = (long long)count * headDim / 8;
  float largest = 0;
#pragma unroll 4
  for (long long i = (long long)blockIdx.x * 256 + threadIdx.x; i < pieces; i += gridDim.x * 256ll) {
    float values[8];
    AsBf16::load8(source + i * 8, values);
#pragma unroll
    for (int j = 0; j < 8; ++j) largest = fmaxf(largest, fabsf(values[j]));
  }
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) {
    largest = fmaxf(largest, __shfl_xor_sync(allLanes, largest, step));
  }
  // The bits of floats that are not negative are in the order of the floats.
  if ((threadIdx.x & 31) == 0) atomicMax((int*)amax + blockIdx.y, __float_as_int(largest));
}

// scales[h] = headroom * amax[h] / 448, or 1 where amax is 0 or all but 0 (1e-30); headroom leaves room
// for larger numbers to come. Grid: 1. Block: heads (at most 1024). Parameters: amax, scales, headroom.
extern "C" __global__ void fp8_scales(
    const float* amax, float* scales, float headroom) {
  const float largest = amax[threadIdx.x];
  scales[threadIdx.x] = largest > 1e-30f ? headroom * largest / largestFp8 : 1.0f;
}

// quantized = cache / scale, saturating at 448, for a range of positions. quantized: the same layout
// in bytes, head stride quantizedHeadStride. Grid: (blocks(count * headDim / 16), kvHeads). Block: 256.
// Parameters: cache, scales, quantized, int headDim, int firstPosition, int count,
// long long kvHeadStride, long long quantizedHeadStride.
extern "C" __global__ void __launch_bounds__(256) fp8_quantize(
    const bf16* cache, const float* scales, fp8* quantized, int headDim, int firstPosition,
    int count, long long kvHeadStride, long long quantizedHeadStride) {
  const long long item = (long long)blockIdx.x * 256 + threadIdx.x;
  if (item * 16 >= (long long)count * headDim) return;
  const long long place = (long long)firstPosition * headDim + item * 16;
  const float inverse = 1.0f / scales[blockIdx.y];
  float values[2][8];
  AsBf16::load8(cache + blockIdx.y * kvHeadStride + place, values[0]);
  AsBf16::load8(cache + blockIdx.y * kvHeadStride + place + 8, values[1]);
  unsigned words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float* four = values[i / 2] + i % 2 * 4;
    words[i] = packFp8(four[0] * inverse, four[1] * inverse) |
               packFp8(four[2] * inverse, four[3] * inverse) << 16;
  }
  *(uint4*)(quantized + blockIdx.y * quantizedHeadStride + place) =
      make_uint4(words[0], words[1], words[2], words[3]);
}

// cache = quantized * scale, rounded to bf16, for a range of positions. Grid and block as
// fp8_quantize. Parameters: quantized, scales, cache, int headDim, int firstPosition, int count,
// long long kvHeadStride, long long quantizedHeadStride.
extern "C" __global__ void __launch_bounds__(256) fp8_dequantize(
    const fp8* quantized, const float* scales, bf16* cache, int headDim, int firstPosition,
    int count, long long kvHeadStride, long long quantizedHeadStride) {
  const long long item = (long long)blockIdx.x * 256 + threadIdx.x;
  if (item * 16 >= (long long)count * headDim) return;
  const long long place = (long long)firstPosition * headDim + item * 16;
  const float scale = scales[blockIdx.y];
  const uint4 bytes = *(const uint4*)(quantized + blockIdx.y * quantizedHeadStride + place);
  const unsigned words[4] = {bytes.x, bytes.y, bytes.z, bytes.w};
  float values[2][8];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    float* four = values[i / 2] + i % 2 * 4;
    unpackFp8(words[i] & 0xFFFFu, four[0], four[1]);
    unpackFp8(words[i] >> 16, four[2], four[3]);
#pragma unroll
    for (int j = 0; j < 4; ++j) four[j] *= scale;
  }
  bf16* target = cache + blockIdx.y * kvHeadStride + place;
  AsBf16::store8(target, values[0]);
  AsBf16::store8(target + 8, values[1]);
}
