// Products of means: a thread block multiplies 64 means of queries with 128 means of keys in fp32.
#ifndef MI_MEAN_PRODUCTS_CUH
#define MI_MEAN_PRODUCTS_CUH

namespace mi {

struct MeanProducts {
  /// Means of queries and of keys of a thread block; a thread computes 4 x 8 products.
  static constexpr int queries = 64;
  static constexpr int keys = 128;
  /// Elements of a vector that are in shared memory at a time.
  static constexpr int depth = 16;
  static constexpr int threads = 256;

  float queryTile[depth][queries + 4];
  float keyTile[depth][keys + 4];

  /// products[r][c] += query row(r) . key column(c), for the thread's own ones.
  ///
  /// q: [queryCount][headDim], k: [keyCount][headDim], 16-byte aligned, headDim a multiple of 16. The tile begins at query
  /// firstQuery, which may lie before the first one, and at key firstKey; what is not there counts as zeros. In shared memory; called
  /// by all threads.
  __device__ __forceinline__ void add(
      const float* q, int firstQuery, int queryCount, const float* k, int firstKey, int keyCount, int headDim,
      float (&products)[4][8]) {
    const int x = threadIdx.x % 16, y = threadIdx.x / 16;
    for (int d = 0; d < headDim; d += depth) {
      // Each thread brings four elements of a query and twice four of keys.
      const int line = threadIdx.x / 4, part = threadIdx.x % 4 * 4;
      const int queryLine = firstQuery + line;
      const bool isQuery = (unsigned)queryLine < (unsigned)queryCount;
      const float4 query =
          isQuery ? *(const float4*)(q + (long long)queryLine * headDim + d + part) : make_float4(0, 0, 0, 0);
      queryTile[part][line] = query.x;
      queryTile[part + 1][line] = query.y;
      queryTile[part + 2][line] = query.z;
      queryTile[part + 3][line] = query.w;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int keyLine = line + 64 * i;
        const bool isKey = firstKey + keyLine < keyCount;
        const float4 key =
            isKey ? *(const float4*)(k + (long long)(firstKey + keyLine) * headDim + d + part) : make_float4(0, 0, 0, 0);
        keyTile[part][keyLine] = key.x;
        keyTile[part + 1][keyLine] = key.y;
        keyTile[part + 2][keyLine] = key.z;
        keyTile[part + 3][keyLine] = key.w;
      }
      __syncthreads();
#pragma unroll
      for (int i = 0; i < depth; ++i) {
        const float4 a = *(const float4*)&queryTile[i][4 * y];
        const float4 b0 = *(const float4*)&keyTile[i][4 * x];
        const float4 b1 = *(const float4*)&keyTile[i][64 + 4 * x];
        const float left[4] = {a.x, a.y, a.z, a.w};
        const float right[8] = {b0.x, b0.y, b0.z, b0.w, b1.x, b1.y, b1.z, b1.w};
#pragma unroll
        for (int r = 0; r < 4; ++r) {
#pragma unroll
          for (int c = 0; c < 8; ++c) products[r][c] = fmaf(left[r], right[c], products[r][c]);
        }
      }
      __syncthreads();
    }
  }

  /// Where the thread's products lie in the tile.
  __device__ __forceinline__ static int row(int r) { return 4 * (threadIdx.x / 16) + r; }
  __device__ __forceinline__ static int column(int c) { return c / 4 * 64 + 4 * (threadIdx.x % 16) + c % 4; }
};

}  // namespace mi

#endif
