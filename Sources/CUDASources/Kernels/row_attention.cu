// Dense causal attention of a few rows at given positions: decoding (one row) and recall sampling
// (some hundred rows).
//
//   o[r][h] = softmax over keys j <= positions[r], positions[r] - j < window
//             of (scale * q[r][h] . k[j]) times v[j]
//
// The keys are split among blocks, whose partial results are merged (row_attention_merge.cuh): by
// whichever block of a kv head ends last (m16 with counters), or by a second launch. The heads of a
// group and the rows are packed into one matrix (packed row m = r * groupSize + member of the
// group), so that a block reads its keys once for all of them.
//
// 1. row_attention_m16_dD, row_attention_m64_dD           (D = 64, 96, 128; k and v bf16)
//    row_attention_m16_fp8_dD, row_attention_m64_fp8_dD   (k and v e4m3, value = scale * stored)
//      (RowAttentionParameters by value)
//      grid   x = splits, y = ceil(rows * groupSize / M), z = kvHeads = queryHeads / groupSize;
//        M = 16 or 64 as in the name
//      block  x = 128
//      dynamic shared memory, bytes: 98304 (d64), 73728 (d96), 98304 (d128), the same for all
//        variants; above 48 KiB, so CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES has to be set
//        once
//      m16 where rows * groupSize <= 16 (decoding: memory bound, warps share out the keys), else m64
//        (warps share out the rows)
//      splits: any number >= 1, at most ceil(keys / 64) make sense; whole waves of blocks:
//        multiprocessors / (y * z) for m16 with bf16, 2 * multiprocessors / (y * z) for m16 with
//        e4m3, 10 to 20 blocks a multiprocessor for m64, rounded down
// 2. row_attention_combine_dD, unless the first launch had counters
//      (RowAttentionParameters by value)
//      grid   x = rows * queryHeads;  block  x = 256;  no dynamic shared memory
//
// workspace: splits * rows * queryHeads * (D + 2) floats; not initialised, not kept between calls.
// counters: kvHeads words, zero before the launch and after it; m16 only, and only for
//   splits * rows * groupSize <= 256: one block reads all of that, which takes longer than another
//   launch where it is more.
// Keys above the largest position are never read. A row at a negative position gets o = 0 and
// logSumExp = -infinity.

#include "row_attention_kernel.cuh"

#define ROW_ATTENTION(D)                                     \
  extern "C" __global__ void __launch_bounds__(128, 2)       \
      row_attention_m16_d##D(RowAttentionParameters a) {     \
    mi::rowAttention<D, 2, 1>(a);                            \
  }                                                          \
  extern "C" __global__ void __launch_bounds__(128, 2)       \
      row_attention_m64_d##D(RowAttentionParameters a) {     \
    mi::rowAttention<D, 2, 4>(a);                            \
  }                                                          \
  extern "C" __global__ void __launch_bounds__(128, 2)       \
      row_attention_m16_fp8_d##D(RowAttentionParameters a) { \
    mi::rowAttention<D, 1, 1>(a);                            \
  }                                                          \
  extern "C" __global__ void __launch_bounds__(128, 2)       \
      row_attention_m64_fp8_d##D(RowAttentionParameters a) { \
    mi::rowAttention<D, 1, 4>(a);                            \
  }                                                          \
  extern "C" __global__ void __launch_bounds__(256)          \
      row_attention_combine_d##D(RowAttentionParameters a) { \
    mi::combineRows<D>(a);                                   \
  }

ROW_ATTENTION(64)
ROW_ATTENTION(96)
ROW_ATTENTION(128)
