// Dense causal attention of a decoding step: row r is the next token of sequence r, whose keys and values lie where sequences[r] says.
// Otherwise as row_attention_m16 of row_attention.cu.
//
// row_attention_sequences_dD, row_attention_sequences_fp8_dD   (D = 64, 96, 128; RowAttentionParameters by value)
//   grid x = splits, y = rows, z = kvHeads; block and dynamic shared memory as there; groupSize at most 16
//   positions: [rows], device memory
//   counters: rows * kvHeads words; only for splits * groupSize <= 256. Else row_attention_combine_dD follows.

#include "row_attention_kernel.cuh"

#define ROW_ATTENTION_SEQUENCES(D)                                                                                      \
  extern "C" __global__ void __launch_bounds__(128, 2) row_attention_sequences_d##D(RowAttentionParameters a) {         \
    mi::rowAttention<D, 2, 1, true>(a);                                                                                 \
  }                                                                                                                     \
  extern "C" __global__ void __launch_bounds__(128, 2) row_attention_sequences_fp8_d##D(RowAttentionParameters a) {     \
    mi::rowAttention<D, 1, 1, true>(a);                                                                                 \
  }

ROW_ATTENTION_SEQUENCES(64)
ROW_ATTENTION_SEQUENCES(96)
ROW_ATTENTION_SEQUENCES(128)
