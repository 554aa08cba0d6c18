// Keys and values of a layer, and the columns of every head, as blocks of e4m3 for attention_fp8_hopper.cu (fp8_blocks.cuh has the
// layout), head dimension 128. Keys at and beyond `keys`, and columns beyond a plan's count, are stored as zeros.
//
// In this order on one stream, no dynamic shared memory:
// kv_statistics (bf16* k, bf16* v, float* partial, int keys, long long kvHeadStride)
//   grid   (ceil(keys / 1024), kvHeads, 2), block 256; partial: [2][kvHeads][ceil(keys / 1024)][3][128] fp32, a workspace
// kv_factors (float* partial, KVFactors* factors, int keys)
//   grid   (kvHeads, 2), block 1024; factors: [kvHeads], 1056 bytes each
// quantize_blocks (bf16* k, bf16* v, KVFactors* factors, fp8* keyBlocks, fp8* valueBlocks, int keys, long long kvHeadStride)
//   grid   (ceil(keys / 64), kvHeads), block 256; keyBlocks, valueBlocks: [kvHeads][ceil(keys / 64)] blocks of 8192 bytes
// quantize_columns (AttentionParameters, KVFactors* factors, fp8* columnKeys, fp8* columnValues, int maximumColumns)
//   grid   (maximumColumns / 64, queryHeads), block 256; columnKeys, columnValues: [queryHeads][maximumColumns / 64] blocks
//   of 8192 bytes, maximumColumns a multiple of 64, at least every plan's columnCount

#include "hopper_plan.cuh"
#include "fp8.cuh"
#include "fp8_blocks.cuh"
#include "numbers.cuh"

using namespace mi;

constexpr int rowsOfChunk = 1024;

extern "C" __global__ void __launch_bounds__(256) kv_statistics(
    const bf16* k, const bf16* v, float* partial, int keys, long long kvHeadStride) {
  const bf16* source = (blockIdx.z == 0 ? k : v) + blockIdx.y * kvHeadStride;
  const int strip = threadIdx.x >> 4, channel = 8 * (threadIdx.x & 15);
  const int first = blockIdx.x * rowsOfChunk, end = minimum(keys, first + rowsOfChunk);
  float sum[8], low[8], high[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) sum[i] = 0, low[i] = infinity(), high[i] = -infinity();
#pragma unroll 4
  for (int row = first + strip; row < end; row += 16) {
    float x[8];
    AsBf16::load8(source + (long long)row * 128 + channel, x);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      sum[i] += x[i];
      low[i] = fminf(low[i], x[i]);
      high[i] = fmaxf(high[i], x[i]);
    }
  }
  __shared__ float shared[3][16][128];
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    shared[0][strip][channel + i] = sum[i];
    shared[1][strip][channel + i] = low[i];
    shared[2][strip][channel + i] = high[i];
  }
  __syncthreads();
  float* to = partial + (((long long)blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x) * 384;
  for (int item = threadIdx.x; item < 384; item += 256) {
    const int which = item >> 7;
    float result = shared[which][0][item & 127];
    for (int i = 1; i < 16; ++i) {
      const float x = shared[which][i][item & 127];
      result = which == 0 ? result + x : which == 1 ? fminf(result, x) : fmaxf(result, x);
    }
    to[item] = result;
  }
}

extern "C" __global__ void __launch_bounds__(1024) kv_factors(const float* partial, KVFactors* factors, int keys) {
  const int chunks = (keys + rowsOfChunk - 1) / rowsOfChunk;
  const float* from = partial + ((long long)blockIdx.y * gridDim.x + blockIdx.x) * chunks * 384;
  const int strip = threadIdx.x >> 7, channel = threadIdx.x & 127;
  float sum = 0, low = infinity(), high = -infinity();
#pragma unroll 4
  for (int chunk = strip; chunk < chunks; chunk += 8) {
    sum += from[chunk * 384 + channel];
    low = fminf(low, from[chunk * 384 + 128 + channel]);
    high = fmaxf(high, from[chunk * 384 + 256 + channel]);
  }
  __shared__ float shared[3][8][128];
  shared[0][strip][channel] = sum;
  shared[1][strip][channel] = low;
  shared[2][strip][channel] = high;
  __syncthreads();
  if (threadIdx.x >= 128) return;
  for (int i = 1; i < 8; ++i) {
    sum += shared[0][i][channel];
    low = fminf(low, shared[1][i][channel]);
    high = fmaxf(high, shared[2][i][channel]);
  }
  const float mean = sum / (float)keys;
  KVFactors& f = factors[blockIdx.x];
  (blockIdx.y == 0 ? f.keyMean : f.valueMean)[channel] = mean;
  __shared__ float largest[4];
  const float most = warpMaximum(fmaxf(high - mean, mean - low));
  if ((threadIdx.x & 31) == 0) largest[threadIdx.x >> 5] = most;
  asm volatile("bar.sync 1, 128;" ::: "memory");
  if (threadIdx.x == 0) {
    const float all = fmaxf(fmaxf(largest[0], largest[1]), fmaxf(largest[2], largest[3]));
    (blockIdx.y == 0 ? f.keyScale : f.valueScale) = all > 1e-30f ? all / largestFp8 : 1.0f;
  }
}

/// The block of the 64 keys whose positions are in `positions` (below 0: zeros). 256 threads.
__device__ __forceinline__ void quantizeBlock(
    const bf16* k, const bf16* v, const int* positions, const KVFactors& factors, fp8* keyBlock, fp8* valueBlock) {
  __shared__ unsigned values[64][33];
  const float inverse[2] = {1.0f / factors.keyScale, 1.0f / factors.valueScale};
#pragma unroll
  for (int pass = 0; pass < 4; ++pass) {
    const bool ofKeys = pass < 2;
    const int item = threadIdx.x + 256 * (pass & 1), row = item >> 3, chunk = item & 7;
    const int position = positions[row];
    unsigned words[4] = {0, 0, 0, 0};
    if (position >= 0) {
      const bf16* from = (ofKeys ? k : v) + (long long)position * 128 + 16 * chunk;
      const float* mean = (ofKeys ? factors.keyMean : factors.valueMean) + 16 * chunk;
      float x[2][8];
      AsBf16::load8(from, x[0]);
      AsBf16::load8(from + 8, x[1]);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float* four = x[i >> 1] + 4 * (i & 1);
        float y[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) y[j] = (four[j] - mean[4 * i + j]) * inverse[ofKeys ? 0 : 1];
        words[i] = packFp8(y[0], y[1]) | packFp8(y[2], y[3]) << 16;
      }
    }
    if (ofKeys) {
      *(uint4*)(keyBlock + row * 128 + ((chunk ^ (row & 7)) << 4)) = make_uint4(words[0], words[1], words[2], words[3]);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) values[row][4 * chunk + i] = words[i];
    }
  }
  __syncthreads();
#pragma unroll
  for (int pass = 0; pass < 2; ++pass) {
    const int item = threadIdx.x + 256 * pass, chunk = item & 3, channel = item >> 2;
    unsigned words[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      words[i] = 0;
#pragma unroll
      for (int j = 0; j < 4; ++j)
        words[i] |= (unsigned)((const unsigned char*)values[permutedKey(16 * chunk + 4 * i + j)])[channel] << 8 * j;
    }
    *(uint4*)(valueBlock + channel * 64 + ((chunk ^ (channel >> 1 & 3)) << 4)) = make_uint4(words[0], words[1], words[2], words[3]);
  }
}

extern "C" __global__ void __launch_bounds__(256) quantize_blocks(const bf16* k, const bf16* v, const KVFactors* factors,
    fp8* keyBlocks, fp8* valueBlocks, int keys, long long kvHeadStride) {
  __shared__ int positions[64];
  const int position = 64 * blockIdx.x + threadIdx.x;
  if (threadIdx.x < 64) positions[threadIdx.x] = position < keys ? position : -1;
  __syncthreads();
  const long long to = ((long long)blockIdx.y * gridDim.x + blockIdx.x) * fp8BlockBytes;
  quantizeBlock(k + blockIdx.y * kvHeadStride, v + blockIdx.y * kvHeadStride, positions, factors[blockIdx.y], keyBlocks + to,
      valueBlocks + to);
}

extern "C" __global__ void __launch_bounds__(256) quantize_columns(const __grid_constant__ AttentionParameters a,
    const KVFactors* factors, fp8* columnKeys, fp8* columnValues, int maximumColumns) {
  const int head = blockIdx.y, kvHead = head / a.groupSize;
  const HeadPlan& plan = a.heads[head];
  if (plan.kind == 0 || 64 * (int)blockIdx.x >= plan.columnCount) return;
  __shared__ int positions[64];
  const int i = 64 * blockIdx.x + threadIdx.x;
  if (threadIdx.x < 64) positions[threadIdx.x] = i < plan.columnCount ? plan.columns[i] : -1;
  __syncthreads();
  const long long to = ((long long)head * (maximumColumns >> 6) + blockIdx.x) * fp8BlockBytes;
  quantizeBlock(a.k + kvHead * a.kvHeadStride, a.v + kvHead * a.kvHeadStride, positions, factors[kvHead], columnKeys + to,
      columnValues + to);
}
