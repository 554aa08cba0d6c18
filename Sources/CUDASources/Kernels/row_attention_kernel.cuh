// The kernel of attention of a few rows: row_attention.cu describes it, and what it is launched with.

#pragma once

#include "dependent_launch.cuh"
#include "row_attention_merge.cuh"

namespace mi {

/// With `ofSequences` a block takes the one row blockIdx.y, whose keys and values are a sequence's own.
template <int D, int bytes, int rowWarps, bool ofSequences = false>
__device__ __forceinline__ void rowAttention(const RowAttentionParameters& a) {
  using T = RowTile<D, bytes, rowWarps>;
  constexpr int keysN = T::warpKeys / 8;
  extern __shared__ __align__(1024) unsigned char memory[];
  if (ofSequences) letKernelBehindBegin();
  const unsigned base = sharedAddress(memory);
  const int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;
  const int kvHead = blockIdx.z, split = blockIdx.x;
  const int rowBase = ofSequences ? blockIdx.y : 0;
  const int packedRows = ofSequences ? a.groupSize : a.rows * a.groupSize;
  const int firstPacked = ofSequences ? 0 : blockIdx.y * T::rows;

  // MARK: The split: the part of the keys that this block takes

  // The block's key range follows from the positions of its rows.
  const int firstRow = firstPacked / a.groupSize;
  const int lastRow = (minimum(firstPacked + T::rows, packedRows) - 1) / a.groupSize;
  int least = 0x7fffffff, most = -1;
  const bool known = rowWarps == 1 && a.keys > 0 && a.window == 0x7fffffff;
  for (int r = firstRow + lane; r <= lastRow; r += warpSize) {
    const int position = positionOf(a, rowBase + r);
    least = minimum(least, position);
    most = maximum(most, position);
  }
  if (!known) {
    least = __reduce_min_sync(0xffffffffu, least);
    most = __reduce_max_sync(0xffffffffu, most);
  }
  const int end = known ? a.keys : most + 1;
  const int begin =
      !known && least >= a.window ? (least - a.window + 1) / T::stageKeys * T::stageKeys : 0;
  // Divisions of 32 bits: the first copies wait for them.
  const unsigned steps = end > begin ? (end - begin + T::stageKeys - 1) / T::stageKeys : 0;
  const int each = (int)(steps / (unsigned)a.splits), more = (int)steps - each * a.splits;
  const int firstStep = split * each + minimum(split, more),
            stepCount = each + (split < more ? 1 : 0);
  const int firstKey = begin + firstStep * T::stageKeys;

  const void *keys = a.k, *values = a.v;
  const float *keyScales = a.keyScales, *valueScales = a.valueScales;
  long long headStride = a.kvHeadStride;
  if (ofSequences) {
    const SequenceRow& own = a.sequences[rowBase];
    keys = own.k, values = own.v, keyScales = own.keyScales, valueScales = own.valueScales;
    headStride = own.kvHeadStride;
  }
  const char* k = (const char*)keys + kvHead * headStride * bytes;
  const char* v = (const char*)values + kvHead * headStride * bytes;

  auto copyStage = [&](int step) {
    const int first = firstKey + step * T::stageKeys;
    const unsigned to = base + step % T::stages * 2 * T::matrixBytes;
    const char* fromK = k + (long long)first * T::rowBytes;
    const char* fromV = v + (long long)first * T::rowBytes;
    constexpr int chunks = T::rowBytes / 16;
    const bool whole = first + T::stageKeys <= end;
#pragma unroll
    for (int matrix = 0; matrix < 2; matrix++) {
      const char* from = matrix ? fromV : fromK;
      const unsigned place = to + matrix * T::matrixBytes;
#pragma unroll
      for (int i = 0; i < T::stageKeys * chunks / T::threads; i++) {
        const int index = thread + i * T::threads, key = index / chunks, chunk = index % chunks;
        if (whole) {
          copyAsync16(place + T::chunkOffset(key, chunk), from + index * 16);
        } else {
          const bool valid = first + key < end;
          copyAsync16(place + T::chunkOffset(key, chunk), from + (valid ? index * 16 : 0), valid);
        }
      }
    }
  };

  // Positions, and keys and values of earlier steps, no kernel of this step writes: their copies begin before the kernel in front has
  // ended. It stores the newest key, which is the last one.
  if (ofSequences && firstKey + stepCount * T::stageKeys >= end) waitForKernelsInFront();
#pragma unroll
  for (int step = 0; step < T::stages - 1; step++) {
    if (step < stepCount) copyStage(step);
    copyAsyncCommit();
  }
  if (ofSequences) waitForKernelsInFront();

  // This thread's two packed rows, and q's fragments straight from global memory. With e4m3 keys
  // the 16 dimensions of a step stand in the order in which a four-byte word yields them, and q
  // becomes fp16 with a power of two taken out of every row.
  int position[2];
  float scale[2];
  unsigned q[D / 16][4];
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const int packed = firstPacked + (rowWarps == 1 ? 0 : warp * 16) + (lane >> 2) + i * 8;
    const bool valid = packed < packedRows;
    const int r = rowBase + (valid ? packed / a.groupSize : 0), member = valid ? packed % a.groupSize : 0;
    position[i] = valid ? positionOf(a, r) : -1;
    const bf16* from = a.q + (long long)r * a.qStride + (kvHead * a.groupSize + member) * D;
    if (bytes == 2) {
#pragma unroll
      for (int step = 0; step < D / 16; step++) {
        q[step][i] = valid ? *(const unsigned*)(from + step * 16 + 2 * (lane & 3)) : 0u;
        q[step][i + 2] = valid ? *(const unsigned*)(from + step * 16 + 2 * (lane & 3) + 8) : 0u;
      }
      scale[i] = a.scaleLog2;
    } else {
      float largest = 0.0f;
#pragma unroll
      for (int step = 0; step < D / 16; step++) {
        const uint2 four =
            valid ? *(const uint2*)(from + step * 16 + 4 * (lane & 3)) : make_uint2(0u, 0u);
        q[step][i] = four.x;
        q[step][i + 2] = four.y;
        largest = fmaxf(largest,
            fmaxf(fmaxf(fabsf(lowFloat(four.x)), fabsf(highFloat(four.x))),
                fmaxf(fabsf(lowFloat(four.y)), fabsf(highFloat(four.y)))));
      }
      largest = quadMaximum(largest);
      const int exponent = minimum(maximum((int)(__float_as_uint(largest) >> 23), 1), 253);
      const float down =
          __uint_as_float((unsigned)(254 - exponent) << 23);  // the largest comes to lie in 1..<2
#pragma unroll
      for (int step = 0; step < D / 16; step++) {
        q[step][i] = toF16Pair(lowFloat(q[step][i]) * down, highFloat(q[step][i]) * down);
        q[step][i + 2] =
            toF16Pair(lowFloat(q[step][i + 2]) * down, highFloat(q[step][i + 2]) * down);
      }
      scale[i] = a.scaleLog2 * keyScales[kvHead] * __uint_as_float((unsigned)exponent << 23);
    }
  }
  if (known) {
    least = __reduce_min_sync(0xffffffffu, least);
    most = __reduce_max_sync(0xffffffffu, most);
  }

  float o[D / 8][4], top[2] = {-infinity(), -infinity()}, sum[2] = {0.0f, 0.0f};
#pragma unroll
  for (int n = 0; n < D / 8; n++)
#pragma unroll
    for (int j = 0; j < 4; j++) o[n][j] = 0.0f;

  for (int step = 0; step < stepCount; step++) {
    copyAsyncWait<T::stages - 2>();
    __syncthreads();
    if (step + T::stages - 1 < stepCount) copyStage(step + T::stages - 1);
    copyAsyncCommit();

#pragma unroll 1
    for (int pass = 0; pass < T::passes; pass++) {
      const int keyInStage = rowWarps == 1 ? warp * T::warpKeys : pass * T::warpKeys;
      const int key0 = firstKey + step * T::stageKeys + keyInStage;
      if (key0 >= end) break;
      const unsigned kBase =
          base + step % T::stages * 2 * T::matrixBytes + keyInStage * T::rowBytes;
      const unsigned vBase = kBase + T::matrixBytes;

      float s[keysN][4];
#pragma unroll
      for (int n = 0; n < keysN; n++)
#pragma unroll
        for (int j = 0; j < 4; j++) s[n][j] = 0.0f;
#pragma unroll
      for (int chunk = 0; chunk < T::rowBytes / 16; chunk += 2)
#pragma unroll
        for (int n = 0; n < keysN; n += 2) {
          unsigned f[4];
          loadMatrix4(f,
              kBase + n * 8 * T::rowBytes +
                  T::chunkOffset((lane & 7) + (lane >> 4) * 8, chunk + (lane >> 3 & 1)));
          if (bytes == 2) {
            multiplyAdd(s[n], q[chunk / 2], f[0], f[1]);
            multiplyAdd(s[n + 1], q[chunk / 2], f[2], f[3]);
          } else {
#pragma unroll
            for (int i = 0; i < 4; i++) {
              unsigned low, high;
              fp8ToF16Pairs(f[i], low, high);
              multiplyAddF16(s[n + (i >> 1)], q[chunk + (i & 1)], low, high);
            }
          }
        }

      if (key0 + T::warpKeys - 1 > least || most - key0 >= a.window) {
#pragma unroll
        for (int n = 0; n < keysN; n++)
#pragma unroll
          for (int j = 0; j < 4; j++) {
            const int distance = position[j >> 1] - (key0 + n * 8 + 2 * (lane & 3) + (j & 1));
            if (distance < 0 || distance >= a.window) s[n][j] = -infinity();
          }
      }

      float high[2] = {s[0][0], s[0][2]};
#pragma unroll
      for (int n = 0; n < keysN; n++) {
        high[0] = fmaxf(high[0], fmaxf(s[n][0], s[n][1]));
        high[1] = fmaxf(high[1], fmaxf(s[n][2], s[n][3]));
      }
      high[0] = quadMaximum(high[0]) * scale[0];
      high[1] = quadMaximum(high[1]) * scale[1];
      if (__any_sync(0xffffffffu, high[0] > top[0] + T::slack || high[1] > top[1] + T::slack)) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
          const float now = fmaxf(high[i], top[i]);
          const float factor = now == top[i] ? 1.0f : exp2Approximate(top[i] - now);
          top[i] = now;
          sum[i] *= factor;
#pragma unroll
          for (int n = 0; n < D / 8; n++) {
            o[n][2 * i] *= factor;
            o[n][2 * i + 1] *= factor;
          }
        }
      }
      const float m0 = (top[0] == -infinity() ? 0.0f : top[0]) - T::bias;
      const float m1 = (top[1] == -infinity() ? 0.0f : top[1]) - T::bias;
      unsigned p[keysN / 2][4];
#pragma unroll
      for (int n = 0; n < keysN; n++) {
        const float p0 = exp2Approximate(fmaf(s[n][0], scale[0], -m0)),
                    p1 = exp2Approximate(fmaf(s[n][1], scale[0], -m0));
        const float p2 = exp2Approximate(fmaf(s[n][2], scale[1], -m1)),
                    p3 = exp2Approximate(fmaf(s[n][3], scale[1], -m1));
        sum[0] += p0 + p1;
        sum[1] += p2 + p3;
        p[n >> 1][(n & 1) * 2] = bytes == 2 ? toBF16Pair(p0, p1) : toF16Pair(p0, p1);
        p[n >> 1][(n & 1) * 2 + 1] = bytes == 2 ? toBF16Pair(p2, p3) : toF16Pair(p2, p3);
      }

#pragma unroll
      for (int n = 0; n < keysN / 2; n++)
#pragma unroll
        for (int chunk = 0; chunk < T::rowBytes / 16; chunk += 2) {
          unsigned f[4];
          loadMatrix4Transposed(
              f, vBase + n * 16 * T::rowBytes + T::chunkOffset(lane & 15, chunk + (lane >> 4)));
          if (bytes == 2) {
            multiplyAdd(o[chunk], p[n], f[0], f[1]);
            multiplyAdd(o[chunk + 1], p[n], f[2], f[3]);
          } else {
          // A word holds dimensions 2n, 2n + 1 of two keys: even dimensions make one product, odd
          // ones another.
#pragma unroll
            for (int i = 0; i < 2; i++) {
              unsigned even[2], odd[2];
              fp8ToF16Pairs(__byte_perm(f[2 * i], 0, 0x3120), even[0], odd[0]);
              fp8ToF16Pairs(__byte_perm(f[2 * i + 1], 0, 0x3120), even[1], odd[1]);
              multiplyAddF16(o[2 * chunk + 2 * i], p[n], even[0], even[1]);
              multiplyAddF16(o[2 * chunk + 2 * i + 1], p[n], odd[0], odd[1]);
            }
          }
        }
    }
  }
  copyAsyncWait<0>();
  top[0] -= T::bias;
  top[1] -= T::bias;
  sum[0] = quadSum(sum[0]);
  sum[1] = quadSum(sum[1]);

  // Columns of the accumulators in memory order, to fp32 rows of `D` elements.
  auto store = [&](float* row, int i, float factor) {
#pragma unroll
    for (int n = 0; n < D / 8; n += bytes == 2 ? 1 : 2) {
      if (bytes == 2) {
        *(float2*)(row + n * 8 + 2 * (lane & 3)) =
            make_float2(o[n][2 * i] * factor, o[n][2 * i + 1] * factor);
      } else {
        *(float4*)(row + n * 8 + 4 * (lane & 3)) = make_float4(o[n][2 * i] * factor,
            o[n + 1][2 * i] * factor, o[n][2 * i + 1] * factor, o[n + 1][2 * i + 1] * factor);
      }
    }
  };
  const float valueScale = bytes == 2 ? 1.0f : valueScales[kvHead];
  float2* statistics = (float2*)(a.workspace + (long long)a.splits * a.rows * a.queryHeads * D);
  auto partial = [&](int packed) {
    return ((long long)split * a.rows + rowBase + packed / a.groupSize) * a.queryHeads +
        kvHead * a.groupSize + packed % a.groupSize;
  };

  if (rowWarps > 1) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int packed = firstPacked + warp * 16 + (lane >> 2) + i * 8;
      if (packed >= packedRows) continue;
      store(a.workspace + partial(packed) * D, i, valueScale);
      if ((lane & 3) == 0) statistics[partial(packed)] = make_float2(top[i], sum[i]);
    }
  } else {
    // The warps hold the same rows over different keys: bring them to one maximum and add.
    __syncthreads();
    float* rows = (float*)memory;  // [4 warps][16][D]
    __shared__ float2 parts[4][16];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int row = (lane >> 2) + i * 8;
      if (firstPacked + row < packedRows) store(rows + (warp * 16 + row) * D, i, valueScale);
      if ((lane & 3) == 0) parts[warp][row] = make_float2(top[i], sum[i]);
    }
    __syncthreads();
    for (int index = thread; index < 16 * D / 4; index += T::threads) {
      const int row = index / (D / 4), column = index % (D / 4) * 4, packed = firstPacked + row;
      if (packed >= packedRows) break;
      float all = -infinity(), total = 0.0f;
#pragma unroll
      for (int i = 0; i < 4; i++) all = fmaxf(all, parts[i][row].x);
      float4 r = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const float weight = all == -infinity() ? 0.0f : exp2Approximate(parts[i][row].x - all);
        const float4 x = *(const float4*)(rows + (i * 16 + row) * D + column);
        total += weight * parts[i][row].y;
        r.x += weight * x.x, r.y += weight * x.y, r.z += weight * x.z, r.w += weight * x.w;
      }
      *(float4*)(a.workspace + partial(packed) * D + column) = r;
      if (column == 0) statistics[partial(packed)] = make_float2(all, total);
    }
    if (a.counters != nullptr && isLastOfHead(a.counters + rowBase * gridDim.z + kvHead, a.splits))
      combineHead<D>(a, rowBase, packedRows, kvHead, (float2*)memory);
  }
}

}  // namespace mi
