// The table of one instruction set's kernels; the including file defines MI_TABLE and MI_NAME.

#include "vector.h"
#include "blocks.h"
#include "attention.h"
#include "few_rows.h"
#include "rows.h"
#include "estimation.h"
#include "elementwise.h"
#include "linear.h"
#include "dequantise.h"

const mi_kernels MI_TABLE = {
  .name = MI_NAME,
  .scratch_bytes = scratch_bytes,
  .attention = attention,
  .row_attention = row_attention,
  .last_row_maximum = last_row_maximum,
  .last_row_sums = last_row_sums,
  .group_shares = group_shares,
  .linear_rows = linear_rows,
  .linear_block = linear_block,
  .dequantise = dequantise,
  .to_float32 = to_float32,
  .to_bfloat16 = to_bfloat16,
  .float8_to_float32 = float8_to_float32,
  .rms_norm = rms_norm,
  .swiglu = swiglu,
  .add_bias = add_bias,
  .rotate = rotate,
};
